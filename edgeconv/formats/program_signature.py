"""Reads what an exported program declares, from the JSON in its archive; no framework is needed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias, cast

from edgeconv.dims import DimExpr, Size
from edgeconv.formats.declared import new_dim_name
from edgeconv.signature import Dim, DType, Signature, TensorSpec

__all__ = ["read_program_signature"]

_Object: TypeAlias = Mapping[str, object]

# torch/_export/serde/schema.py, ScalarType
_DTYPES: Mapping[int, DType] = {
    1: DType.UINT8,
    2: DType.INT8,
    3: DType.INT16,
    4: DType.INT32,
    5: DType.INT64,
    6: DType.FLOAT16,
    7: DType.FLOAT32,
    8: DType.FLOAT64,
    10: DType.COMPLEX64,
    11: DType.COMPLEX128,
    12: DType.BOOL,
    13: DType.BFLOAT16,
    28: DType.UINT16,
    34: DType.UINT32,
    35: DType.UINT64,
}


def read_program_signature(model: _Object, output_names: Sequence[str] = ()) -> Signature:
    """Inputs as `forward` names them, and outputs; each dynamic size is a dim of its own.

    Args:
        model: The JSON of the program.
        output_names: What to call the outputs, if they are as many; else they are named by where they stand in
            what `forward` returns: `output`, `output_0`, or the key in a dict.

    Raises:
        ValueError: The JSON is not what torch.export writes for a program of tensors.
    """
    try:
        module = cast("_Object", model["graph_module"])
        graph = cast("_Object", module["graph"])
        sides = cast("_Object", module["signature"])
        inputs = _user_tensors(sides["input_specs"], "user_input")
        outputs = _user_tensors(sides["output_specs"], "user_output")
        reader = _Reader(cast("Mapping[str, _Object]", graph["tensor_values"]))
        names = _argument_names(module, len(inputs)) or inputs
        called = output_names if len(output_names) == len(outputs) else _output_names(module)
        return Signature(
            inputs=tuple(reader.read(*pair) for pair in zip(names, inputs, strict=True)),
            outputs=tuple(reader.read(*pair) for pair in zip(called, outputs, strict=True)),
            dims=tuple(reader.dims),
        )
    except (KeyError, TypeError, AttributeError, IndexError, StopIteration) as error:
        raise ValueError(
            f"its program is not understood: {type(error).__name__}: {error}"
        ) from error


def _user_tensors(specs: object, kind: str) -> list[str]:
    """Names inside the graph of the tensors that go in, or come out."""
    arguments = [
        spec[kind]["arg"]
        for spec in cast("list[dict[str, dict[str, _Object]]]", specs)
        if kind in spec
    ]
    return [str(cast("_Object", a["as_tensor"])["name"]) for a in arguments]


def _call(module: _Object) -> _Object:
    """How the program as a whole is called."""
    calls = cast("list[_Object]", module["module_call_graph"])
    return next(cast("_Object", call["signature"]) for call in calls if call["fqn"] == "")


def _argument_names(module: _Object, count: int) -> list[str]:
    """The parameters of `forward`; none where they are not as many as the inputs."""
    found = cast("list[str]", _call(module).get("forward_arg_names") or [])
    return [str(name) for name in found] if len(found) == count else []


def _output_names(module: _Object) -> list[str]:
    _, tree = json.loads(str(_call(module)["out_spec"]))
    prefix = () if _keys(tree) is not None else ("output",)
    return ["_".join(path) for path in _leaves(tree, prefix)]


def _leaves(tree: _Object, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    children = cast("list[_Object]", tree["children_spec"])
    if tree["type"] is None:
        yield path
    keys = _keys(tree) or [str(index) for index in range(len(children))]
    for key, child in zip(keys, children, strict=True):
        yield from _leaves(child, (*path, key))


def _keys(tree: _Object) -> list[str] | None:
    """The keys of a dict; None for anything else."""
    if str(tree["type"]).rpartition(".")[2] not in ("dict", "OrderedDict", "immutable_dict"):
        return None
    return [str(key) for key in json.loads(str(tree["context"]))]


class _Reader:
    """Reads specs of tensors, and collects their dynamic sizes.

    Args:
        tensors: What the graph says of its tensors, by name.
    """

    def __init__(self, tensors: Mapping[str, _Object]) -> None:
        self._tensors = tensors
        self.dims: list[Dim] = []

    def read(self, name: str, inner: str) -> TensorSpec:
        """The spec of the tensor that is called `inner` in the graph."""
        found = self._tensors[inner]
        sizes = cast("list[_Object]", found["sizes"])
        dtype = _DTYPES[cast("int", found["dtype"])]
        shape = tuple(self._size(size, new_dim_name(name, axis)) for axis, size in enumerate(sizes))
        return TensorSpec(name=name, dtype=dtype, shape=shape)

    def _size(self, size: _Object, name: str) -> Size:
        if "as_int" in size:
            return int(cast("int", size["as_int"]))
        hint = cast("_Object", cast("_Object", size["as_expr"]).get("hint") or {})
        self.dims.append(Dim(name=name, example=int(cast("int", hint.get("as_int", 1)))))
        return DimExpr.symbol(name)
