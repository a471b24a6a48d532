"""Reads an edge graph and saves it as a SavedModel."""

from __future__ import annotations

import hashlib
from collections.abc import MutableMapping, Sequence
from pathlib import Path

import tensorflow as tf
from tensorflow.core.protobuf.fingerprint_pb2 import FingerprintDef

from edgeconv.formats.record import write_record
from edgeconv.formats.savedmodel import SIGNATURE_KEY, record_path
from edgeconv.graph import Graph
from edgeconv.graph.file import read_graph
from edgeconv.passes.legalize import legalize
from edgeconv.plugin import Job, JobResult, Json
from edgeconv_converters.edge_graph_savedmodel.kernels import SAVEDMODEL
from edgeconv_converters.edge_graph_savedmodel.program import Program
from edgeconv_converters.edge_graph_savedmodel.sizes import Sizes
from edgeconv_converters.edge_graph_savedmodel.table import TRANSLATIONS
from edgeconv_converters.edge_graph_savedmodel.weights import Weights

__all__ = ["convert", "write_graph_as_savedmodel"]


def convert(request: dict[str, Json], context: MutableMapping[str, object]) -> dict[str, Json]:  # noqa: ARG001 - the worker's interface
    """Write `inputs["source"]`, an edge graph, as the SavedModel folder `output`.

    Raises:
        InvalidInputError: The source is no intact edge graph.
        UnsupportedOperatorsError: Operators have no translation; all are listed.
    """
    job = Job.from_json(request)
    return write_graph_as_savedmodel(read_graph(job.inputs["source"]), job).to_json()


def write_graph_as_savedmodel(graph: Graph, job: Job) -> JobResult:
    """Save a graph, which is rewritten on the way.

    Raises:
        UnsupportedOperatorsError: Operators have no translation; all are listed.
    """
    warnings = legalize(graph, SAVEDMODEL)
    module = tf.Module(name=None)
    weights = Weights(graph, TRANSLATIONS)
    module.weights = list(weights.variables.values())
    function = _trace(graph, weights)
    tf.saved_model.save(module, str(job.output), signatures={SIGNATURE_KEY: function})
    _settle_fingerprint(job.output / "fingerprint.pb")
    record = record_path(job.output)
    record.parent.mkdir(exist_ok=True)
    record.write_text(write_record(job.signature or graph.signature(), job.metadata))
    return JobResult(
        output=job.output, warnings=tuple(warnings), versions={"tensorflow": tf.__version__}
    )


def _trace(graph: Graph, weights: Weights) -> tf.types.experimental.ConcreteFunction:
    """One function whose keyword arguments and results have the graph's names."""
    specs = {
        tensor.name: tf.TensorSpec(
            [size if isinstance(size, int) else None for size in tensor.shape],
            tf.as_dtype(tensor.dtype.value),
            name=tensor.name,
        )
        for tensor in graph.inputs
    }
    names = [tensor.name for tensor in graph.outputs]

    @tf.function(autograph=False)  # type: ignore[untyped-decorator]  # TensorFlow has no types
    def serve(**inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        values = [inputs[tensor.name] for tensor in graph.inputs]
        program = Program(weights, Sizes(graph.inputs, values), TRANSLATIONS)
        return dict(zip(names, _name(program.run(graph, values), names), strict=True))

    return serve.get_concrete_function(**specs)


def _settle_fingerprint(path: Path) -> None:
    """Draw the model's id from the hashes beside it: TensorFlow's is random, and all else is the same every time."""
    fingerprint = FingerprintDef.FromString(path.read_bytes())
    fingerprint.uuid = ""
    digest = hashlib.sha256(fingerprint.SerializeToString(deterministic=True)).digest()
    fingerprint.uuid = str(int.from_bytes(digest[:16], "big"))
    path.write_bytes(fingerprint.SerializeToString(deterministic=True))


def _name(values: Sequence[tf.Tensor], names: Sequence[str]) -> list[tf.Tensor]:
    return [tf.identity(value) for value, _ in zip(values, names, strict=True)]
