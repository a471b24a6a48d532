"""SavedModel folders: the record that edgeconv keeps as an extra asset, and running them in TensorFlow."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from edgeconv.dims import DimExpr, Size
from edgeconv.errors import InvalidInputError, MissingDependencyError
from edgeconv.formats.handler import Array, RunResult, Session
from edgeconv.formats.inputs import TRY_OTHERS, check_inputs
from edgeconv.formats.record import RECORD_NAME, read_record, write_record
from edgeconv.signature import Dim, DType, Signature, TensorSpec

__all__ = ["HANDLER", "SIGNATURE_KEY", "SavedModelHandler", "record_path"]

SIGNATURE_KEY = "serving_default"


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
                why=str(error).partition("\n")[0],
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
        _, signature = _read_declared(path)
        stored = _read_stored(path)
        return signature if stored is None else _merge(signature, stored[0])

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
        _, declared = _read_declared(path)
        _merge(declared, signature)
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


def _damaged(path: Path, error: Exception) -> InvalidInputError:
    return InvalidInputError(
        f"'{path}' is no intact SavedModel",
        why=str(error).partition("\n")[0] or type(error).__name__,
        hint="export it again",
    )


def _read_declared(path: Path) -> tuple[Any, Signature]:
    """The signature as the graph itself declares it; names are in the order of the protocol buffer."""
    try:
        from tensorflow.core.protobuf import saved_model_pb2
    except ImportError as error:
        raise _missing(error) from error
    from google.protobuf.message import DecodeError

    model = saved_model_pb2.SavedModel()
    try:
        model.ParseFromString((path / "saved_model.pb").read_bytes())
        declared = model.meta_graphs[0].signature_def[SIGNATURE_KEY]
    except (OSError, DecodeError, IndexError) as error:
        raise _damaged(path, error) from error
    names: dict[str, Dim] = {}
    inputs = tuple(_spec(name, info, names) for name, info in sorted(declared.inputs.items()))
    outputs = tuple(_spec(name, info, names) for name, info in sorted(declared.outputs.items()))
    if not outputs:
        raise InvalidInputError(
            f"'{path}' has no signature '{SIGNATURE_KEY}'",
            why="nothing in it says what goes in and out",
            hint="save it with signatures={'serving_default': ...}",
        )
    return model, Signature(inputs=inputs, outputs=outputs, dims=tuple(names.values()))


def _spec(name: str, info: Any, dims: dict[str, Dim]) -> TensorSpec:  # noqa: ANN401 - a protocol buffer
    import tensorflow as tf

    shape: list[Size] = []
    for axis, entry in enumerate(info.tensor_shape.dim):
        if entry.size >= 0:
            shape.append(int(entry.size))
        else:
            dim = Dim(name=f"{name}_{axis}", example=1)
            dims[dim.name] = dim
            shape.append(DimExpr.symbol(dim.name))
    return TensorSpec(name=name, dtype=DType(tf.as_dtype(info.dtype).name), shape=tuple(shape))


def _read_stored(path: Path) -> tuple[Signature, dict[str, str]] | None:
    stored = record_path(path)
    if not stored.is_file():
        return None
    try:
        return read_record(stored.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _damaged(path, error) from error


def _merge(declared: Signature, stored: Signature) -> Signature:
    """Order and dims as stored, dtypes and fixed sizes as declared; other names show as they are declared."""
    sides = []
    for found, wanted in (
        (declared.inputs, stored.inputs),
        (declared.outputs, stored.outputs),
    ):
        by_name = {spec.name: spec for spec in found}
        if set(by_name) != {spec.name for spec in wanted}:
            return declared
        sides.append(tuple(_merge_spec(by_name[spec.name], spec) for spec in wanted))
    return Signature(inputs=sides[0], outputs=sides[1], dims=stored.dims)


def _merge_spec(declared: TensorSpec, stored: TensorSpec) -> TensorSpec:
    shape = stored.shape
    if len(declared.shape) == len(stored.shape):
        shape = tuple(
            real if isinstance(real, int) else named
            for real, named in zip(declared.shape, stored.shape, strict=True)
        )
    return TensorSpec(name=stored.name, dtype=declared.dtype, shape=shape, layout=stored.layout)


HANDLER = SavedModelHandler()
