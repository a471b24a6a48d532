"""Reads what a TFLite file declares, straight from the flatbuffer: no weights are copied, no runtime is needed."""

from __future__ import annotations

import mmap
import struct
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any

from edgeconv.dims import DimExpr, Size, symbols
from edgeconv.errors import InvalidInputError, MissingDependencyError
from edgeconv.formats.affine import Affine
from edgeconv.formats.declared import new_dim_name
from edgeconv.formats.record import read_record
from edgeconv.formats.tflite_file import FILE_IDENTIFIER, METADATA_NAME
from edgeconv.formats.tflite_metadata import STANDARD_NAME, read_standard
from edgeconv.signature import Dim, DType, Signature, TensorSpec

__all__ = ["SIGNATURE_KEY", "TfliteModel", "read_model"]

SIGNATURE_KEY = "serving_default"


@dataclass(frozen=True, slots=True, kw_only=True)
class TfliteModel:
    """What a file declares.

    Attributes:
        signature: Of its main subgraph.
        inputs: Name and tensor index, in the subgraph's order.
        outputs: The same.
        affines: What the integers of inputs and outputs stand for, by name.
        metadata: Every metadata entry that is text, by name; of TFLite's own the fields that are.
        record: What edgeconv stored besides the signature.
        has_standard_metadata: Whether TFLite's own metadata is there.
        operators: Name of every operator, in the order of the file.
        description: What the tool that wrote the file says of it.
    """

    signature: Signature
    inputs: tuple[tuple[str, int], ...]
    outputs: tuple[tuple[str, int], ...]
    affines: Mapping[str, Affine]
    metadata: dict[str, str]
    record: dict[str, str]
    has_standard_metadata: bool
    operators: tuple[str, ...]
    description: str


def read_model(path: Path) -> TfliteModel:
    """Read what a file declares.

    Raises:
        InvalidInputError: It is missing, truncated, or no TFLite file.
        MissingDependencyError: The reader of the format is not installed.
    """
    try:
        from ai_edge_litert import schema_py_generated as schema
    except ImportError as error:
        raise MissingDependencyError(
            "TFLite files need LiteRT to be read",
            why="ai-edge-litert is not installed",
            hint="pip install 'edgeconv[tflite]'",
        ) from error
    try:
        with path.open("rb") as stream:
            content = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        if content[4:8] != FILE_IDENTIFIER:
            raise ValueError(f"it starts with {content[:8]!r}")  # noqa: TRY301 - told as damage below
        model = schema.Model.GetRootAs(content, 0)
        _check_buffers(model, len(content))
        return _describe(model, content, schema)
    except (OSError, ValueError, IndexError, struct.error, TypeError, AttributeError) as error:
        raise InvalidInputError(
            f"'{path}' is no intact TFLite file",
            why=f"{type(error).__name__}: {error}",
            hint="it may be truncated: fetch or convert it again",
        ) from error


def _check_buffers(model: Any, size_bytes: int) -> None:  # noqa: ANN401 - untyped library
    """Refuse a file that ends before its weights do: the runtime maps it into memory and would crash."""
    for index in range(model.BuffersLength()):
        buffer = model.Buffers(index)
        end = buffer.Offset() + buffer.Size() if buffer.Offset() > 1 else 0
        if not buffer.DataIsNone() and buffer.DataLength():
            last = buffer.Data(buffer.DataLength() - 1)  # raises where there is nothing
            end = 0 if last is not None else size_bytes + 1
        if end > size_bytes:
            raise ValueError(f"buffer {index} ends {end - size_bytes} bytes behind the file")


def _describe(model: Any, content: mmap.mmap, schema: Any) -> TfliteModel:  # noqa: ANN401
    if not model.SubgraphsLength():
        raise ValueError("it holds no subgraph")
    graph = model.Subgraphs(0)
    entries = _read_metadata(model, content)
    metadata = _read_texts(entries)
    inputs, outputs = _read_names(model, graph)
    stored = metadata.get(METADATA_NAME)
    known, record = read_record(stored) if stored else (Signature(inputs=(), outputs=()), {})
    reader = _SpecReader(graph, schema, known)
    specs = [tuple(reader.read(name, index) for name, index in ends) for ends in (inputs, outputs)]
    return TfliteModel(
        signature=Signature(inputs=specs[0], outputs=specs[1], dims=reader.dims(specs)),
        inputs=inputs,
        outputs=outputs,
        affines=dict(_read_affines(graph, (*inputs, *outputs), schema)),
        metadata=metadata,
        record=record,
        has_standard_metadata=STANDARD_NAME in entries,
        operators=tuple(_read_operators(model, schema)),
        description=(model.Description() or b"").decode(errors="replace"),
    )


def _read_metadata(model: Any, content: mmap.mmap) -> dict[str, bytes]:  # noqa: ANN401
    entries = [model.Metadata(index) for index in range(model.MetadataLength())]
    return {e.Name().decode(): _content_of(model.Buffers(e.Buffer()), content) for e in entries}


def _read_texts(entries: Mapping[str, bytes]) -> dict[str, str]:
    """The entries that are text: others are binary, whatever of them can be decoded."""
    texts = read_standard(entries[STANDARD_NAME]) if STANDARD_NAME in entries else {}
    for name, entry in entries.items():
        try:
            text = entry.rstrip(b"\0").decode()
        except UnicodeDecodeError:
            continue
        if all(character.isprintable() or character in "\n\r\t" for character in text):
            texts[name] = text
    return texts


def _content_of(buffer: Any, content: mmap.mmap) -> bytes:  # noqa: ANN401
    """The bytes of a buffer, which in a large file stand outside of the flatbuffer."""
    if buffer.Offset() > 1:
        return content[buffer.Offset() : buffer.Offset() + buffer.Size()]
    return b"" if buffer.DataIsNone() else bytes(buffer.DataAsNumpy())


def _read_names(
    model: Any,  # noqa: ANN401
    graph: Any,  # noqa: ANN401
) -> tuple[tuple[tuple[str, int], ...], tuple[tuple[str, int], ...]]:
    definition = _find_signature(model)
    inputs = [int(graph.Inputs(i)) for i in range(graph.InputsLength())]
    outputs = [int(graph.Outputs(i)) for i in range(graph.OutputsLength())]
    if definition is None:
        return _tensor_names(graph, inputs), _tensor_names(graph, outputs)
    named_inputs = _read_map(definition.Inputs(i) for i in range(definition.InputsLength()))
    named_outputs = _read_map(definition.Outputs(i) for i in range(definition.OutputsLength()))
    return _in_order(named_inputs, inputs), _in_order(named_outputs, outputs)


def _read_affines(
    graph: Any,  # noqa: ANN401
    ends: Iterable[tuple[str, int]],
    schema: Any,  # noqa: ANN401
) -> Iterable[tuple[str, Affine]]:
    kinds = schema.TensorType
    for name, index in ends:
        tensor = graph.Tensors(index)
        stored = tensor.Quantization()
        is_integer = tensor.Type() in (kinds.INT8, kinds.UINT8, kinds.INT16)
        if is_integer and stored is not None and stored.ScaleLength() == 1:
            zero = int(stored.ZeroPoint(0)) if stored.ZeroPointLength() else 0
            yield name, Affine(scale=float(stored.Scale(0)), zero_point=zero)


def _find_signature(model: Any) -> Any:  # noqa: ANN401
    """The signature of the main subgraph: `serving_default`, or the first; None if there is none."""
    found = [model.SignatureDefs(i) for i in range(model.SignatureDefsLength())]
    found = [definition for definition in found if definition.SubgraphIndex() == 0]
    preferred = [d for d in found if (d.SignatureKey() or b"").decode() == SIGNATURE_KEY]
    return next(iter([*preferred, *found]), None)


def _read_map(entries: Iterable[Any]) -> list[tuple[str, int]]:
    return [(entry.Name().decode(), int(entry.TensorIndex())) for entry in entries]


def _in_order(named: list[tuple[str, int]], order: Sequence[int]) -> tuple[tuple[str, int], ...]:
    """Names in the subgraph's order; several of one tensor take its places one after the other."""
    places: dict[int, list[int]] = defaultdict(list)
    for position, index in enumerate(order):
        places[index].append(position)
    found = [(places[index].pop(0) if places[index] else len(order)) for _, index in named]
    return tuple(item for _, item in sorted(zip(found, named, strict=True), key=itemgetter(0)))


def _tensor_names(graph: Any, indices: Sequence[int]) -> tuple[tuple[str, int], ...]:  # noqa: ANN401
    """Tensors by their own names; one that is empty or was there before gets its index."""
    named: dict[str, int] = {}
    for index in indices:
        name = (graph.Tensors(index).Name() or b"").decode()
        named[f"{name}_{index}" if not name or name in named else name] = index
    return tuple(named.items())


def _read_operators(model: Any, schema: Any) -> Iterable[str]:  # noqa: ANN401
    values = vars(schema.BuiltinOperator).items()
    names = {value: name for name, value in values if isinstance(value, int)}
    codes = []
    for index in range(model.OperatorCodesLength()):
        code = model.OperatorCodes(index)
        name = names.get(max(code.BuiltinCode(), code.DeprecatedBuiltinCode()), "UNKNOWN")
        custom = (code.CustomCode() or b"").decode()
        codes.append(f"{name}:{custom}" if custom else name)
    for graph in (model.Subgraphs(i) for i in range(model.SubgraphsLength())):
        for index in range(graph.OperatorsLength()):
            yield codes[graph.Operators(index).OpcodeIndex()]


class _SpecReader:
    """Specs of tensors; dims get their names from what edgeconv stored, or new ones.

    Args:
        graph: The subgraph.
        schema: The schema's module.
        known: The signature that edgeconv stored.
    """

    def __init__(self, graph: Any, schema: Any, known: Signature) -> None:  # noqa: ANN401
        self._graph = graph
        values = vars(schema.TensorType).items()
        self._dtypes = {value: name.lower() for name, value in values if isinstance(value, int)}
        self._known = {spec.name: spec for spec in (*known.outputs, *known.inputs)}
        self._dims = {dim.name: dim for dim in known.dims}

    def read(self, name: str, index: int) -> TensorSpec:
        """The spec of one input or output."""
        tensor = self._graph.Tensors(index)
        shape = [int(tensor.Shape(i)) for i in range(tensor.ShapeLength())]
        signature = [int(tensor.ShapeSignature(i)) for i in range(tensor.ShapeSignatureLength())]
        known = self._known.get(name)
        stored = known.shape if known and len(known.shape) == len(shape) else (None,) * len(shape)
        sizes = [
            self._size(size, example, wanted, new_dim_name(name, axis))
            for axis, (size, example, wanted) in enumerate(
                zip(signature or shape, shape, stored, strict=True)
            )
        ]
        dtype = DType(self._dtypes[tensor.Type()])
        if known is None:
            return TensorSpec(name=name, dtype=dtype, shape=tuple(sizes))
        return TensorSpec(name=name, dtype=dtype, shape=tuple(sizes), layout=known.layout)

    def _size(self, size: int, example: int, stored: Size | None, new_name: str) -> Size:
        """A size that the file leaves open is what edgeconv stored; a size that it fixes is what the file says."""
        if size >= 0:
            return size
        if stored is not None:
            return stored
        self._dims.setdefault(new_name, Dim(name=new_name, example=max(example, 1)))
        return DimExpr.symbol(new_name)

    def dims(self, specs: Sequence[Sequence[TensorSpec]]) -> tuple[Dim, ...]:
        """The dims that specs speak of."""
        sizes = [size for group in specs for spec in group for size in spec.shape]
        used = frozenset().union(*map(symbols, sizes))
        return tuple(dim for name, dim in self._dims.items() if name in used)
