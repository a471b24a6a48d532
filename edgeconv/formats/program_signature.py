"""Reads what an exported program declares, from the JSON in its archive; no framework is needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
}


def read_program_signature(model: _Object, output_names: Sequence[str]) -> Signature:
    """Inputs as `forward` names them, and outputs; each dynamic size is a dim of its own.

    Args:
        model: The JSON of the program.
        output_names: What to call the outputs, which have no names there; more or fewer of them are numbered.

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
        names = _argument_names(module) or inputs
        if len(names) != len(inputs):
            names = inputs
        called = output_names if len(output_names) == len(outputs) else _numbered(len(outputs))
        return Signature(
            inputs=tuple(reader.read(*pair) for pair in zip(names, inputs, strict=True)),
            outputs=tuple(reader.read(*pair) for pair in zip(called, outputs, strict=True)),
            dims=tuple(reader.dims),
        )
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise ValueError(
            f"its program is not understood: {type(error).__name__}: {error}"
        ) from error


def _numbered(count: int) -> list[str]:
    return [f"output_{index}" for index in range(count)]


def _user_tensors(specs: object, kind: str) -> list[str]:
    """Names inside the graph of the tensors that go in, or come out."""
    arguments = [
        spec[kind]["arg"]
        for spec in cast("list[dict[str, dict[str, _Object]]]", specs)
        if kind in spec
    ]
    return [str(cast("_Object", a["as_tensor"])["name"]) for a in arguments]


def _argument_names(module: _Object) -> list[str]:
    """The parameters of `forward`."""
    calls = cast("list[_Object]", module["module_call_graph"])
    signatures = [call["signature"] for call in calls if call["fqn"] == ""]
    found = cast("_Object", signatures[0]).get("forward_arg_names") if signatures else None
    return [str(name) for name in cast("list[str]", found or [])]


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
