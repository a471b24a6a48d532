"""ONNX files: what they declare, what is stored in them, and how they run in ONNX Runtime."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from edgeconv.dims import DimExpr, Size, parse_size, symbols
from edgeconv.errors import InvalidInputError, MissingDependencyError
from edgeconv.formats.affine import IO_ENTRY, Affine, parse_affines
from edgeconv.formats.declared import new_dim_name, with_layouts
from edgeconv.formats.handler import Array, RunResult, Session
from edgeconv.formats.inputs import TRY_OTHERS, check_inputs
from edgeconv.formats.onnx_file import Weight, read_onnx, write_onnx
from edgeconv.formats.record import RECORD_NAME, read_record, write_record
from edgeconv.signature import Dim, DType, Signature, TensorSpec

__all__ = ["HANDLER", "OnnxHandler", "put_record", "rename_values"]

_DTYPES = {
    "float": "float32",
    "double": "float64",
}


class OnnxSession:
    """An ONNX Runtime session.

    Args:
        signature: Names, dtypes and shapes.
        session: ONNX Runtime's `InferenceSession`.
    """

    def __init__(self, signature: Signature, session: Any) -> None:  # noqa: ANN401 - untyped library
        self._signature = signature
        self._session = session

    def run(self, inputs: Mapping[str, Array], *, repeat: int = 1) -> RunResult:
        """Run on inputs by name, `repeat` times.

        Raises:
            InvalidInputError: A name, dtype or shape does not fit, or ONNX Runtime refuses the inputs.
        """
        check_inputs(self._signature, inputs)
        names = [spec.name for spec in self._signature.outputs]
        feeds = {spec.name: inputs[spec.name] for spec in self._signature.inputs}
        latencies, results = [], []
        try:
            for _ in range(repeat):
                started = time.perf_counter()
                results = self._session.run(names, feeds)
                latencies.append(time.perf_counter() - started)
        except Exception as error:
            raise InvalidInputError(
                "the ONNX model does not run on these inputs",
                why=str(error).partition("\n")[0],
                hint=TRY_OTHERS,
            ) from error
        return RunResult(
            outputs=dict(zip(names, results, strict=True)), latencies_seconds=tuple(latencies)
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._session = None


class OnnxHandler:
    """Reads, labels and runs ONNX files."""

    def read_signature(self, path: Path) -> Signature:
        """Names, dtypes and shapes of the graph; the ranges of dims from edgeconv's record.

        Raises:
            InvalidInputError: The file is damaged.
        """
        try:
            return _declared(_load(path)[0])
        except ValueError as error:
            raise _damaged(path, error) from error

    def read_metadata(self, path: Path) -> dict[str, str]:
        """What edgeconv stored, or the file's own metadata properties.

        Raises:
            InvalidInputError: The file is damaged.
        """
        properties = {entry.key: entry.value for entry in _load(path)[0].metadata_props}
        text = properties.pop(RECORD_NAME, "")
        try:
            return properties | (read_record(text)[1] if text else {})
        except ValueError as error:
            raise _damaged(path, error) from error

    def read_affines(self, path: Path) -> dict[str, Affine]:
        """What integer inputs and outputs stand for, as edgeconv stored it when it quantized the file.

        Raises:
            InvalidInputError: The file is damaged.
        """
        try:
            return parse_affines(self.read_metadata(path).get(IO_ENTRY, ""))
        except ValueError as error:
            raise _damaged(path, error) from error

    def stamp(self, path: Path, signature: Signature, metadata: Mapping[str, str]) -> None:
        """Rename inputs and outputs, in their order, and store metadata.

        Raises:
            InvalidInputError: The file is damaged, or has another number of inputs or outputs.
            OSError: It cannot be rewritten; it is as it was.
        """
        model, weights = _load(path)
        rename_values(model, signature)
        put_record(model, signature, metadata)
        aside = path.with_name(f".{path.name}.stamping")
        try:
            # Without its weights it grows by some names: what fitted into one file does so still.
            write_onnx(aside, model, weights, largest_inline_bytes=2**31 - 1)
            aside.replace(path)
        finally:
            aside.unlink(missing_ok=True)

    def open(self, path: Path, *, threads: int = 1) -> Session:
        """Open in ONNX Runtime on the CPU.

        Raises:
            InvalidInputError: ONNX Runtime refuses the file.
            MissingDependencyError: ONNX Runtime is not installed.
        """
        try:
            import onnxruntime
        except ImportError as error:
            raise _missing(error) from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        signature = self.read_signature(path)
        try:
            session = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:
            raise InvalidInputError(
                f"ONNX Runtime refuses '{path.name}'",
                why=str(error).partition("\n")[0],
                hint="it may need operators, or an opset, that this version does not have",
            ) from error
        return OnnxSession(signature, session)


def _missing(error: ImportError) -> MissingDependencyError:
    return MissingDependencyError(
        "ONNX needs its packages", why=str(error), hint="pip install 'edgeconv[onnx]'"
    )


def _load(path: Path) -> tuple[Any, list[Weight | None]]:
    """The model without the bytes of its large weights, and where these stand."""
    try:
        return read_onnx(path)
    except ImportError as error:
        raise _missing(error) from error
    except (OSError, ValueError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> InvalidInputError:
    return InvalidInputError(
        f"'{path}' is no intact ONNX file",
        why=str(error).partition("\n")[0] or type(error).__name__,
        hint="fetch or export it again",
    )


def rename_values(model: Any, signature: Signature) -> None:  # noqa: ANN401 - a protocol buffer
    """Give the graph's inputs and outputs the names of a signature, in their order.

    Raises:
        InvalidInputError: There are more or fewer of them.
    """
    graph = model.graph
    renamed: dict[str, str] = {}
    for what, values, specs in (
        ("inputs", graph.input, signature.inputs),
        ("outputs", graph.output, signature.outputs),
    ):
        if len(values) != len(specs):
            raise InvalidInputError(
                f"the ONNX model has {len(values)} {what}, not {len(specs)}",
                details=[value.name for value in values],
            )
        renamed |= {v.name: s.name for v, s in zip(values, specs, strict=True) if v.name != s.name}
    if renamed:
        _rename_all(graph, renamed)


def _rename_all(graph: Any, renamed: Mapping[str, str]) -> None:  # noqa: ANN401 - a protocol buffer
    """Rename values everywhere; an inner value that already has a wanted name makes room."""
    mapping = {**{new: f"{new}/inner" for new in renamed.values()}, **renamed}
    for part in _with_bodies(graph):
        for value in (*part.input, *part.output, *part.value_info, *part.initializer):
            value.name = mapping.get(value.name, value.name)
        for node in part.node:
            for names in (node.input, node.output):
                for index, name in enumerate(names):
                    names[index] = mapping.get(name, name)


def _with_bodies(graph: Any) -> Iterator[Any]:  # noqa: ANN401
    """A graph and the bodies of its branches and loops, which use its values by name."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for body in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from _with_bodies(body)


def put_record(model: Any, signature: Signature, metadata: Mapping[str, str]) -> None:  # noqa: ANN401 - a protocol buffer
    """Store the record and every entry of the metadata as metadata properties, and the dims' names in the shapes.

    The description is the model's documentation as well, which viewers show.
    """
    kept = [entry for entry in model.metadata_props if entry.key != RECORD_NAME]
    del model.metadata_props[:]
    model.metadata_props.extend(entry for entry in kept if entry.key not in metadata)
    for key, value in sorted({**metadata, RECORD_NAME: write_record(signature, metadata)}.items()):
        model.metadata_props.add(key=key, value=value)
    model.doc_string = metadata.get("description", model.doc_string)
    pairs: Sequence[tuple[Any, TensorSpec]] = [
        *zip(model.graph.input, signature.inputs, strict=True),
        *zip(model.graph.output, signature.outputs, strict=True),
    ]
    for value, spec in pairs:
        for entry, size in zip(value.type.tensor_type.shape.dim, spec.shape, strict=False):
            if isinstance(size, DimExpr) and not entry.HasField("dim_value"):
                entry.dim_param = str(size)


def _declared(model: Any) -> Signature:  # noqa: ANN401 - a protocol buffer
    if not model.graph.output:
        raise ValueError("its graph has no outputs")
    stored = {entry.key: entry.value for entry in model.metadata_props}.get(RECORD_NAME, "")
    known = read_record(stored)[0] if stored else Signature(inputs=(), outputs=())
    dims = {dim.name: dim for dim in known.dims}
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [_spec(v, dims) for v in model.graph.input if v.name not in weights]
    outputs = [_spec(v, dims) for v in model.graph.output]
    inputs, outputs = with_layouts(inputs, known.inputs), with_layouts(outputs, known.outputs)
    return Signature(inputs=tuple(inputs), outputs=tuple(outputs), dims=tuple(dims.values()))


def _spec(value: Any, dims: dict[str, Dim]) -> TensorSpec:  # noqa: ANN401 - a protocol buffer
    import onnx

    tensor = value.type.tensor_type
    name = onnx.TensorProto.DataType.Name(tensor.elem_type).lower()
    shape = tuple(
        _size(entry, new_dim_name(value.name, axis), dims)
        for axis, entry in enumerate(tensor.shape.dim)
    )
    try:
        dtype = DType(_DTYPES.get(name, name))
    except ValueError as error:
        raise ValueError(
            f"'{value.name}' is of type {name}, which is no tensor of numbers"
        ) from error
    return TensorSpec(name=value.name, dtype=dtype, shape=shape)


def _size(entry: Any, fallback: str, dims: dict[str, Dim]) -> Size:  # noqa: ANN401 - a protocol buffer
    """A fixed size, an expression of named dims, or a dim of its own where the file gives no readable name."""
    if entry.HasField("dim_value"):
        return int(entry.dim_value)
    try:
        size = parse_size(entry.dim_param)
    except ValueError:
        size = DimExpr.symbol(re.sub(r"\W", "_", entry.dim_param, flags=re.ASCII) or fallback)
    for name in symbols(size):
        dims.setdefault(name, Dim(name=name, example=1))
    return size


HANDLER = OnnxHandler()
