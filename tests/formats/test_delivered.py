"""What a user's own tools find in the artifacts: names, order, dtypes, dynamic sizes and metadata.

Everything here is read with the library of the format, and nothing with edgeconv's handlers.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import Tensor

from tests.conftest import Delivered, Workshop
from tests.formats.models import MODELS, Port

pytestmark = [
    pytest.mark.integration,
    pytest.mark.slow,
    pytest.mark.xdist_group("artifacts"),
    pytest.mark.filterwarnings("ignore"),
]


@pytest.fixture(params=sorted(MODELS))
def delivered(request: pytest.FixtureRequest, workshop: Workshop) -> Delivered:
    return workshop(str(request.param))


Ports = tuple[list[Port], list[Port]]


def _wanted(delivered: Delivered) -> Ports:
    return list(delivered.example.takes), list(delivered.example.gives)


def test_onnx_has_the_models_inputs_and_outputs(delivered: Delivered) -> None:
    import onnx

    graph = onnx.load(delivered.artifacts["onnx"].path).graph

    def ports(values: Iterable[Any]) -> Iterator[Port]:
        for value in values:
            tensor = value.type.tensor_type
            dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)
            sizes = [d.dim_value if d.HasField("dim_value") else None for d in tensor.shape.dim]
            assert all(d.dim_param for d in tensor.shape.dim if not d.HasField("dim_value"))
            yield Port(value.name, dtype.name, tuple(sizes))

    assert (list(ports(graph.input)), list(ports(graph.output))) == _wanted(delivered)


def test_onnx_runtime_takes_them_by_name(delivered: Delivered) -> None:
    runtime = pytest.importorskip("onnxruntime")
    session = runtime.InferenceSession(str(delivered.artifacts["onnx"].path))
    feeds = {name: tensor.numpy() for name, tensor in delivered.example.inputs.items()}
    assert [i.name for i in session.get_inputs()] == list(feeds)
    assert [i.name for i in session.get_outputs()] == [p.name for p in delivered.example.gives]
    assert len(session.run(None, feeds)) == len(delivered.example.gives)


def _tflite_ports(interpreter: object, side: str) -> list[Port]:
    details = getattr(interpreter, f"get_{side}_details")()
    return [
        Port(
            d["name"],
            np.dtype(d["dtype"]).name,
            tuple(None if size < 0 else int(size) for size in d["shape_signature"]),
        )
        for d in details
    ]


def test_tflite_tensors_have_the_models_names_in_order(delivered: Delivered) -> None:
    litert = pytest.importorskip("ai_edge_litert.interpreter")
    interpreter = litert.Interpreter(str(delivered.artifacts["tflite"].path))
    found = _tflite_ports(interpreter, "input"), _tflite_ports(interpreter, "output")
    assert found == _wanted(delivered)


def test_a_tflite_signature_runner_takes_and_gives_them_by_name(delivered: Delivered) -> None:
    litert = pytest.importorskip("ai_edge_litert.interpreter")
    interpreter = litert.Interpreter(str(delivered.artifacts["tflite"].path))
    assert list(interpreter.get_signature_list()) == ["serving_default"]
    runner = interpreter.get_signature_runner("serving_default")
    takes, gives = _wanted(delivered)
    for ports, details in (
        (takes, runner.get_input_details()),
        (gives, runner.get_output_details()),
    ):
        assert details.keys() == {port.name for port in ports}
        for port in ports:
            assert np.dtype(details[port.name]["dtype"]).name == port.dtype
            assert details[port.name]["name"] == port.name
    feeds = {name: tensor.numpy() for name, tensor in delivered.example.inputs.items()}
    assert runner(**feeds).keys() == {port.name for port in gives}


def test_a_savedmodel_has_them_in_its_signature(delivered: Delivered) -> None:
    tf = pytest.importorskip("tensorflow")
    loaded = tf.saved_model.load(str(delivered.artifacts["savedmodel"].path))
    assert list(loaded.signatures) == ["serving_default"]
    function = loaded.signatures["serving_default"]
    _, inputs = function.structured_input_signature

    def ports(specs: dict[str, object]) -> set[Port]:
        return {
            Port(name, spec.dtype.name, tuple(spec.shape))  # type: ignore[attr-defined]
            for name, spec in specs.items()
        }

    takes, gives = _wanted(delivered)
    # A SavedModel keeps them by name, without an order.
    assert ports(inputs) == set(takes)
    assert ports(function.structured_outputs) == set(gives)
    assert [
        argument.name.partition(":")[0]
        for argument in function.inputs
        if "resource" not in str(argument.dtype)
    ]


def test_torchscript_takes_them_by_name_and_returns_them_in_order(delivered: Delivered) -> None:
    module = torch.jit.load(str(delivered.artifacts["torchscript"].path))
    names = [argument.name for argument in module.forward.schema.arguments[1:]]
    assert names == [port.name for port in delivered.example.takes]
    _check_torch_outputs(module(**delivered.example.inputs), delivered)
    _check_torch_outputs(module(*_tripled(delivered)), delivered, times=3)


def test_a_program_takes_them_by_name_and_returns_them_in_order(delivered: Delivered) -> None:
    program = torch.export.load(delivered.artifacts["torch-export"].path)
    assert list(program.graph_signature.user_inputs) == [p.name for p in delivered.example.takes]
    module = program.module()
    _check_torch_outputs(module(*delivered.example.inputs.values()), delivered)
    _check_torch_outputs(module(*_tripled(delivered)), delivered, times=3)


def _tripled(delivered: Delivered) -> list[Tensor]:
    return [torch.cat([tensor] * 3) for tensor in delivered.example.inputs.values()]


def _check_torch_outputs(
    outputs: Sequence[Tensor], delivered: Delivered, *, times: int = 1
) -> None:
    batch = 2 * times
    found = [
        Port(port.name, str(t.dtype).removeprefix("torch."), (None, *t.shape[1:]))
        for port, t in zip(delivered.example.gives, outputs, strict=True)
    ]
    assert found == list(delivered.example.gives)
    assert all(tensor.shape[0] == batch for tensor in outputs)


def test_every_format_computes_what_the_module_computes(delivered: Delivered) -> None:
    """At a batch size that is in no example, against the module itself."""
    pytest.importorskip("tensorflow")
    inputs = dict(zip(delivered.example.inputs, _tripled(delivered), strict=True))
    with torch.no_grad():
        wanted = delivered.example.module.eval()(**inputs)
    named = wanted if isinstance(wanted, dict) else {f"output_{i}": t for i, t in enumerate(wanted)}
    arrays = {name: tensor.numpy() for name, tensor in inputs.items()}
    for artifact in delivered.artifacts.values():
        outputs = artifact.run(arrays)
        assert list(outputs) == list(named)
        for name, tensor in named.items():
            distance = outputs[name].astype(np.float64) - tensor.numpy().astype(np.float64)
            assert np.abs(distance).max() < 2e-5


def _facts(delivered: Delivered) -> dict[str, str]:
    from edgeconv.version import edgeconv_version

    assert delivered.model.captured is not None
    digest = str(delivered.model.captured.details["source_digest"])
    return {
        **delivered.metadata,
        "edgeconv_version": edgeconv_version(),
        "source_digest": digest,
    }


def test_onnx_keeps_metadata_as_properties(pair: Delivered) -> None:
    onnx = pytest.importorskip("onnx")
    model = onnx.load(pair.artifacts["onnx"].path)
    properties = {entry.key: entry.value for entry in model.metadata_props}
    assert properties.items() >= _facts(pair).items()
    assert model.doc_string == pair.metadata["description"]
    assert model.graph.name == "pair"


def test_onnx_runtime_shows_the_metadata(pair: Delivered) -> None:
    runtime = pytest.importorskip("onnxruntime")
    session = runtime.InferenceSession(str(pair.artifacts["onnx"].path))
    meta = session.get_modelmeta()
    assert meta.custom_metadata_map.items() >= _facts(pair).items()
    assert meta.description == pair.metadata["description"]
    assert meta.graph_name == "pair"


def test_torchscript_keeps_metadata_in_an_extra_file(pair: Delivered) -> None:
    extra = {"edgeconv.json": ""}
    torch.jit.load(str(pair.artifacts["torchscript"].path), _extra_files=extra)
    assert json.loads(extra["edgeconv.json"])["metadata"] == _facts(pair)


def test_a_program_keeps_metadata_in_an_extra_file(pair: Delivered) -> None:
    extra = {"edgeconv.json": ""}
    torch.export.load(pair.artifacts["torch-export"].path, extra_files=extra)
    assert json.loads(extra["edgeconv.json"])["metadata"] == _facts(pair)


def test_a_savedmodel_keeps_metadata_in_an_extra_asset(pair: Delivered) -> None:
    path = pair.artifacts["savedmodel"].path / "assets.extra" / "edgeconv.json"
    assert json.loads(path.read_text())["metadata"] == _facts(pair)


def test_tflite_keeps_metadata_in_a_buffer(pair: Delivered) -> None:
    schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
    model = schema.ModelT.InitFromPackedBuf(pair.artifacts["tflite"].path.read_bytes())
    buffers = {entry.name.decode(): model.buffers[entry.buffer].data for entry in model.metadata}
    assert json.loads(bytes(buffers["edgeconv"]))["metadata"] == _facts(pair)


def test_no_archive_of_ours_is_damaged(delivered: Delivered) -> None:
    for format_id in ("torch-export", "torchscript"):
        with zipfile.ZipFile(delivered.artifacts[format_id].path) as archive:
            assert archive.testzip() is None


def test_an_artifact_is_read_back_as_it_was_delivered(delivered: Delivered) -> None:
    from edgeconv.artifact import Artifact

    for artifact in delivered.artifacts.values():
        found = Artifact.read(artifact.path)
        assert (found.name, found.format, found.digest) == (
            artifact.name,
            artifact.format,
            artifact.digest,
        )
        assert found.signature == artifact.signature
        assert found.metadata.items() >= artifact.metadata.items()
        assert artifact.metadata == _facts(delivered)


def test_the_same_model_gives_the_same_bytes(
    twins: Delivered, workshop: Workshop, tmp_path: Path
) -> None:
    """All but TorchScript, whose classes PyTorch numbers by how many the process has seen."""
    again = workshop.convert("twins", tmp_path)
    for format_id in ("torch-export", "onnx", "savedmodel", "tflite"):
        first, second = twins.artifacts[format_id].path, again.artifacts[format_id].path
        assert _contents(first) == _contents(second)


def test_another_model_gives_other_bytes(twins: Delivered, pair: Delivered) -> None:
    for format_id, artifact in twins.artifacts.items():
        assert _contents(artifact.path) != _contents(pair.artifacts[format_id].path)


def test_the_fingerprint_of_a_savedmodel_is_one(twins: Delivered) -> None:
    tf = pytest.importorskip("tensorflow")
    path = str(twins.artifacts["savedmodel"].path)
    fingerprint = tf.saved_model.experimental.read_fingerprint(path)
    assert len(fingerprint.singleprint()) > 20


def _contents(path: Path) -> dict[str, str]:
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    return {
        f.relative_to(path).as_posix(): hashlib.sha256(f.read_bytes()).hexdigest() for f in files
    }
