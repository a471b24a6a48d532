"""SavedModel folders: the record that edgeconv keeps as an extra asset, and running them in TensorFlow."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from edgeconv.dims import DimExpr, Size
from edgeconv.errors import InvalidInputError, MissingDependencyError
from edgeconv.formats.declared import merge_signatures, new_dim_name
from edgeconv.formats.handler import Array, RunResult, Session
from edgeconv.formats.inputs import TRY_OTHERS, check_inputs
from edgeconv.formats.record import RECORD_NAME, read_record, write_record
from edgeconv.signature import Dim, DType, Signature, TensorSpec

__all__ = ["HANDLER", "SIGNATURE_KEY", "SavedModelHandler", "record_path"]

SIGNATURE_KEY = "serving_default"
# How the lines begin that say where in a graph a kernel failed; what failed stands in the others.
_PLACES = ("Graph execution error:", "Detected at node", "<stack traces", "[[", "File ")


def record_path(folder: Path) -> Path:
    """Where the record lies: TensorFlow keeps `assets.extra` as it is and never reads it."""
    return folder / "assets.extra" / RECORD_NAME


class SavedModelSession:
    """A loaded SavedModel.

    Args:
        signature: Names, dtypes and shapes, outputs in the model's order.
        function: Its serving function; takes tensors by name.
        owner: What keeps the variables alive.
    """

    def __init__(self, signature: Signature, function: Any, owner: object) -> None:  # noqa: ANN401 - TensorFlow has no types
        self._signature = signature
        self._function = function
        self._owner = owner

    def run(self, inputs: Mapping[str, Array], *, repeat: int = 1) -> RunResult:
        """Run on inputs by name, `repeat` times.

        Raises:
            InvalidInputError: A name, dtype or shape does not fit, or TensorFlow refuses the inputs.
        """
        import tensorflow as tf

        check_inputs(self._signature, inputs)
        tensors = {spec.name: tf.constant(inputs[spec.name]) for spec in self._signature.inputs}
        latencies, result = [], {}
        try:
            for _ in range(repeat):
                started = time.perf_counter()
                result = self._function(**tensors)
                latencies.append(time.perf_counter() - started)
            outputs = {spec.name: result[spec.name].numpy() for spec in self._signature.outputs}
        except (tf.errors.OpError, ValueError, TypeError, KeyError) as error:
            raise InvalidInputError(
                "the SavedModel does not run on these inputs",
                why=_reason(error),
                hint=TRY_OTHERS,
            ) from error
        return RunResult(outputs=outputs, latencies_seconds=tuple(latencies))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._function = self._owner = None


class SavedModelHandler:
    """Reads, labels and runs SavedModels."""

    def read_signature(self, path: Path) -> Signature:
        """Names, dtypes and shapes of `serving_default`; order and names of dims from edgeconv's record.

        Raises:
            InvalidInputError: The folder is damaged or has no such signature.
        """
        signature = _read_declared(path)
        stored = _read_stored(path)
        return signature if stored is None else merge_signatures(signature, stored[0])

    def read_metadata(self, path: Path) -> dict[str, str]:
        """What edgeconv stored; empty for a model of another tool.

        Raises:
            InvalidInputError: The record is damaged.
        """
        stored = _read_stored(path)
        return {} if stored is None else stored[1]

    def stamp(self, path: Path, signature: Signature, metadata: Mapping[str, str]) -> None:
        """Store the record. The names inside a SavedModel are part of its graph and cannot be changed here.

        Raises:
            InvalidInputError: The model's own names are others.
            OSError: It cannot be written; the model is as it was.
        """
        _check_names(path, _read_declared(path), signature)
        target = record_path(path)
        target.parent.mkdir(exist_ok=True)
        aside = target.with_name(f".{target.name}")
        aside.write_text(write_record(signature, metadata), encoding="utf-8")
        aside.replace(target)

    def open(self, path: Path, *, threads: int = 1) -> Session:  # noqa: ARG002 - TensorFlow's threads belong to the process
        """Load in TensorFlow, in this process.

        Raises:
            InvalidInputError: TensorFlow refuses the folder.
            MissingDependencyError: TensorFlow is not installed.
        """
        try:
            import tensorflow as tf
        except ImportError as error:
            raise _missing(error) from error
        signature = self.read_signature(path)
        try:
            loaded = tf.saved_model.load(str(path))
            function = loaded.signatures[SIGNATURE_KEY]
        except (OSError, ValueError, KeyError, tf.errors.OpError) as error:
            raise _damaged(path, error) from error
        return SavedModelSession(signature, function, loaded)


def _missing(error: ImportError) -> MissingDependencyError:
    return MissingDependencyError(
        "a SavedModel needs TensorFlow",
        why=str(error),
        hint="pip install 'edgeconv[tensorflow]'",
    )


def _reason(error: Exception) -> str:
    """What a kernel says, without the place in the graph that TensorFlow puts before and behind it."""
    lines = [line.strip() for line in str(error).splitlines()]
    said = [line for line in lines if line and not line.startswith(_PLACES)]
    return (said or lines or [type(error).__name__])[0]


def _damaged(path: Path, error: Exception) -> InvalidInputError:
    return InvalidInputError(
        f"'{path}' is no intact SavedModel",
        why=str(error).partition("\n")[0] or type(error).__name__,
        hint="export it again",
    )


def _read_declared(path: Path) -> Signature:
    """The signature as the graph itself declares it; names are in the order of the protocol buffer."""
    try:
        from tensorflow.core.protobuf import saved_model_pb2
    except ImportError as error:
        raise _missing(error) from error
    from google.protobuf.message import DecodeError

    model = saved_model_pb2.SavedModel()
    try:
        model.ParseFromString((path / "saved_model.pb").read_bytes())
        signatures = model.meta_graphs[0].signature_def
    except (OSError, DecodeError, IndexError) as error:
        raise _damaged(path, error) from error
    declared = signatures.get(SIGNATURE_KEY)
    if declared is None or not declared.outputs:
        raise InvalidInputError(
            f"'{path}' has no signature '{SIGNATURE_KEY}' with outputs",
            why=f"its signatures are {sorted(signatures)}",
            hint="save it with signatures={'serving_default': …}",
        )
    names: dict[str, Dim] = {}
    try:
        inputs = tuple(_spec(name, info, names) for name, info in sorted(declared.inputs.items()))
        outputs = tuple(_spec(name, info, names) for name, info in sorted(declared.outputs.items()))
    except (ValueError, TypeError) as error:
        raise _damaged(path, error) from error
    return Signature(inputs=inputs, outputs=outputs, dims=tuple(names.values()))


def _spec(name: str, info: Any, dims: dict[str, Dim]) -> TensorSpec:  # noqa: ANN401 - a protocol buffer
    import tensorflow as tf

    shape: list[Size] = []
    for axis, entry in enumerate(info.tensor_shape.dim):
        if entry.size >= 0:
            shape.append(int(entry.size))
        else:
            dim = Dim(name=new_dim_name(name, axis), example=1)
            dims[dim.name] = dim
            shape.append(DimExpr.symbol(dim.name))
    dtype = tf.as_dtype(info.dtype).name
    try:
        return TensorSpec(name=name, dtype=DType(dtype), shape=tuple(shape))
    except ValueError as error:
        raise ValueError(f"'{name}' is of type {dtype}, which is no tensor of numbers") from error


def _read_stored(path: Path) -> tuple[Signature, dict[str, str]] | None:
    stored = record_path(path)
    if not stored.is_file():
        return None
    try:
        return read_record(stored.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _damaged(path, error) from error


def _check_names(path: Path, declared: Signature, wanted: Signature) -> None:
    for what, found, specs in (
        ("inputs", declared.inputs, wanted.inputs),
        ("outputs", declared.outputs, wanted.outputs),
    ):
        names = sorted(spec.name for spec in found)
        if names != sorted(spec.name for spec in specs):
            raise InvalidInputError(
                f"'{path}' cannot be given its names",
                why=f"its {what} are {names}, which are part of its graph",
            )


HANDLER = SavedModelHandler()
