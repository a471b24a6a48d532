"""What a file declares, and what edgeconv's record adds to it: plain data, no framework."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeconv.dims import DimExpr
from edgeconv.formats.declared import merge_signatures, new_dim_name
from edgeconv.formats.program_signature import read_program_signature
from edgeconv.formats.record import read_record, write_record
from edgeconv.signature import Dim, DType, Layout, Signature, TensorSpec

Json: TypeAlias = Any  # of whatever kind: what is read is what is tested
N = DimExpr.symbol("N")
IMAGE = TensorSpec(name="image", dtype=DType.FLOAT32, shape=(N, 3, 8, 8), layout=Layout.NCHW)
TOKENS = TensorSpec(name="tokens", dtype=DType.INT64, shape=(N, 7))
STORED = Signature(
    inputs=(IMAGE, TOKENS),
    outputs=(replace(TOKENS, name="best", shape=(N,)),),
    dims=(Dim(name="N", example=2, min=1, max=16),),
)


def _declared(**changes: Json) -> Signature:
    """As a format without names for dims and without an order declares it."""
    own = DimExpr.symbol("image_0")
    image = TensorSpec(name="image", dtype=DType.FLOAT32, shape=(own, 3, 8, 8))
    return Signature(
        inputs=(replace(TOKENS, shape=(own, 7)), replace(image, **changes)),
        outputs=(replace(TOKENS, name="best", shape=(own,)),),
        dims=(Dim(name="image_0", example=1),),
    )


def test_order_and_dims_come_from_the_record() -> None:
    assert merge_signatures(_declared(), STORED) == STORED


def test_dtypes_and_fixed_sizes_come_from_the_file() -> None:
    merged = merge_signatures(_declared(dtype=DType.FLOAT16, shape=(4, 3, 8, 9)), STORED)
    assert merged.inputs[0].dtype == DType.FLOAT16
    assert merged.inputs[0].shape == (4, 3, 8, 9)
    assert merged.inputs[0].layout == Layout.NCHW


@pytest.mark.parametrize("changes", [{"name": "picture"}, {"shape": (1, 3, 8)}])
def test_another_name_or_rank_shows_as_declared(changes: dict[str, Any]) -> None:
    declared = _declared(**changes)
    assert merge_signatures(declared, STORED) == declared


@given(st.text(min_size=1), st.integers(0, 9))
def test_a_new_dim_has_a_usable_name(name: str, axis: int) -> None:
    dim = new_dim_name(name, axis)
    assert dim.isidentifier()
    assert dim.endswith(f"_{axis}")


@given(st.dictionaries(st.text(), st.text(), max_size=4))
def test_a_record_is_read_as_it_was_written(metadata: dict[str, str]) -> None:
    text = write_record(STORED, metadata)
    assert read_record(text) == (STORED, metadata)
    assert write_record(STORED, dict(reversed(metadata.items()))) == text


@pytest.mark.parametrize(
    "text",
    ["", "null", "[]", "{}", '{"signature": null, "metadata": {}}', '{"signature": {"inputs": 1}}'],
)
def test_what_is_no_record_is_told(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - of whatever kind
        read_record(text)


def _program(tree: Json, outputs: int, *, names: list[str] | None = None) -> dict[str, Any]:
    """The parts of a program's JSON that its signature is read from."""
    sizes = [{"as_expr": {"expr_str": "s0", "hint": {"as_int": 4}}}, {"as_int": 3}]
    tensors = {name: {"dtype": 7, "sizes": sizes} for name in ("arg", "out")}
    result = {"user_output": {"arg": {"as_tensor": {"name": "out"}}}}
    return {
        "graph_module": {
            "graph": {"tensor_values": tensors},
            "signature": {
                "input_specs": [
                    {"parameter": {"arg": {"name": "p"}}},
                    {"user_input": {"arg": {"as_tensor": {"name": "arg"}}}},
                ],
                "output_specs": [result] * outputs,
            },
            "module_call_graph": [
                {
                    "fqn": "",
                    "signature": {"out_spec": json.dumps([1, tree]), "forward_arg_names": names},
                }
            ],
        }
    }


LEAF: Json = {"type": None, "context": None, "children_spec": []}


def _node(kind: str, context: object, *children: object) -> dict[str, object]:
    return {"type": kind, "context": json.dumps(context), "children_spec": list(children)}


@pytest.mark.parametrize(
    ("tree", "names"),
    [
        (LEAF, ["output"]),
        (_node("builtins.tuple", None, LEAF, LEAF), ["output_0", "output_1"]),
        (_node("builtins.list", None, LEAF), ["output_0"]),
        (_node("builtins.dict", ["scores", "best"], LEAF, LEAF), ["scores", "best"]),
        (
            _node("builtins.dict", ["a"], _node("builtins.tuple", None, LEAF, LEAF)),
            ["a_0", "a_1"],
        ),
    ],
)
def test_outputs_of_a_program_are_named_by_where_they_stand(tree: Json, names: list[str]) -> None:
    found = read_program_signature(_program(tree, len(names)))
    assert [spec.name for spec in found.outputs] == names
    assert str(found.inputs[0]) == "arg:float32[arg_0,3]"
    assert found.dims[0] == Dim(name="arg_0", example=4)


def test_stored_names_win_if_they_are_as_many() -> None:
    tree = _node("builtins.tuple", None, LEAF, LEAF)
    found = read_program_signature(_program(tree, 2, names=["image"]), ["scores", "best"])
    assert [spec.name for spec in found.outputs] == ["scores", "best"]
    assert [spec.name for spec in found.inputs] == ["image"]
    other = read_program_signature(_program(tree, 2), ["scores"])
    assert [spec.name for spec in other.outputs] == ["output_0", "output_1"]


@pytest.mark.parametrize("key", ["graph", "signature", "module_call_graph"])
def test_a_program_without_a_part_is_told(key: str) -> None:
    program = _program(LEAF, 1)
    del program["graph_module"][key]
    with pytest.raises(ValueError, match="not understood"):
        read_program_signature(program)
