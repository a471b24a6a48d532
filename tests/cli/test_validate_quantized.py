"""`edgeconv validate` on quantized artifacts, and with a metric on labelled data."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
import pytest
from numpy.typing import NDArray

from edgeconv.artifact import Artifact
from edgeconv.formats import load_handler
from edgeconv.formats.affine import IO_ENTRY
from edgeconv.formats.stored_precision import find_stored_precision
from tests.cli.conftest import CommandLine, Said
from tests.cli.quantizable import Shelf

pytest.importorskip("ai_edge_quantizer")
pytestmark = [pytest.mark.integration, pytest.mark.xdist_group("cli-validate-quantized")]

both = pytest.mark.parametrize("format_id", ["tflite", "onnx"])


@pytest.fixture(autouse=True)
def _warm(warm: None) -> None:
    """Every command here runs in a worker that has imported its runtime."""


@pytest.fixture
def quantized(edgeconv: CommandLine, shelf: Shelf, tmp_path: Path, format_id: str) -> Path:
    """The network in 8-bit integers, its inputs and outputs too."""
    source, data = shelf.artifact(format_id), shelf.calibration
    words = ("--observer", "min-max", "--io", "int8", "--calibration", data, "-o", tmp_path, "-q")
    assert edgeconv("quantize", source, *words).status == 0
    return tmp_path / f"network.int8.{format_id}"


def figures(said: Said) -> tuple[dict[str, float], dict[str, float]]:
    found = (said.data[key] for key in ("metrics", "reference_metrics"))
    mine, model = (cast("dict[str, float]", each) for each in found)
    return mine, model


@both
def test_an_integer_file_against_its_float_model(
    edgeconv: CommandLine, shelf: Shelf, quantized: Path
) -> None:
    words = ("validate", quantized, "--reference", shelf.onnx, "--data", shelf.test)
    said = edgeconv(*words, "--json")
    assert said.status == 0, said.err
    assert (said.data["precision"], said.data["samples"]) == ("int8", 16)
    mine, model = figures(said)
    assert model == {"top1": 1.0}
    image, label = (np.load(shelf.test)[key] for key in ("image", "label"))
    assert 0.9 < mine["top1"] < 1.0
    assert mine["top1"] == pytest.approx(_top1(quantized, image, label))
    assert said.data["metric_samples"] == 120
    table = edgeconv(*words)
    assert f"top1 {mine['top1']:.4f} (model 1.0000), on 120 samples" in table.out
    assert "passed: outputs for 16 real inputs, against" in table.out


def _top1(path: Path, image: NDArray[np.float32], label: NDArray[np.int64]) -> float:
    """Of the integer file, run by hand."""
    from edgeconv.validation.integers import read_affines

    artifact = Artifact.read(path)
    affine = read_affines(load_handler(artifact.format), path)["image"]
    spec = artifact.signature.inputs[0]
    outputs = artifact.run({"image": affine.quantize(image, spec.dtype.value)})
    return float(np.mean(outputs["logits"].argmax(axis=1) == label))


@both
def test_noise_alone_is_not_enough(edgeconv: CommandLine, shelf: Shelf, quantized: Path) -> None:
    said = edgeconv("validate", quantized, "--reference", shelf.onnx)
    assert said.status == 6
    assert "cannot be judged" in said.err
    assert "--samples" in said.err
    words = ("--reference", shelf.onnx, "--samples", shelf.calibration)
    assert edgeconv("validate", quantized, *words).status == 0


@both
def test_a_damaged_file_is_noticed(edgeconv: CommandLine, shelf: Shelf, quantized: Path) -> None:
    content = bytearray(quantized.read_bytes())
    found = _largest_constant(quantized)
    at = bytes(content).index(found)
    for index in range(at, at + len(found), 2):
        content[index] ^= 0x7F
    quantized.write_bytes(content)
    said = edgeconv(
        "validate", quantized, "--reference", shelf.onnx, "--data", shelf.test, "--json"
    )
    assert said.status == 6
    assert figures(said)[0]["top1"] < 0.9
    assert "signal-to-noise ratio" in said.err


def _largest_constant(path: Path) -> bytes:
    """The bytes of the weights of the second convolution: [8, 3, 3, 8] in 8-bit integers."""
    if path.suffix == ".onnx":
        onnx = pytest.importorskip("onnx")
        tensors = onnx.load(path).graph.initializer
        return next(bytes(t.raw_data) for t in tensors if len(t.raw_data) == 576)
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path))
    tensors = interpreter.get_tensor_details()
    index = next(t["index"] for t in tensors if tuple(t["shape"]) == (8, 3, 3, 8))
    return bytes(interpreter.get_tensor(index).tobytes())


@pytest.mark.parametrize("format_id", ["onnx"])
def test_a_budget(edgeconv: CommandLine, shelf: Shelf, quantized: Path) -> None:
    words = ("validate", quantized, "--reference", shelf.tflite, "--data", shelf.test)
    assert edgeconv(*words, "--max-drop", "10%").status == 0
    said = edgeconv(*words, "--max-drop", "0.001")
    assert said.status == 6
    assert "is not as good as" in said.err
    assert "at most 0.001 is allowed" in said.err


def test_a_float_file_has_metrics_too(edgeconv: CommandLine, shelf: Shelf, tmp_path: Path) -> None:
    halved = tmp_path / "half.npz"
    labels = np.load(shelf.test)["label"].copy()
    labels[::2] = (labels[::2] + 1) % 5
    np.savez(halved, image=np.load(shelf.test)["image"], label=labels)
    words = ("--reference", shelf.onnx, "--data", halved, "--metric", "top1", "--json")
    said = edgeconv("validate", shelf.tflite, *words)
    assert said.status == 0, said.err
    assert figures(said) == ({"top1": 0.5}, {"top1": 0.5})


def test_a_float_file_is_judged_on_the_data_too(
    edgeconv: CommandLine, shelf: Shelf, tmp_path: Path
) -> None:
    """One that cuts off what only real inputs reach."""
    onnx = pytest.importorskip("onnx")
    model = onnx.load(shelf.onnx)
    last = next(node for node in model.graph.node if "logits" in node.output)
    last.output[list(last.output).index("logits")] = "whole"
    for value in (100.0, -100.0):
        bound = onnx.numpy_helper.from_array(np.float32(value), f"bound{value}")
        model.graph.initializer.append(bound)
    clip = ["whole", "bound-100.0", "bound100.0"]
    model.graph.node.append(onnx.helper.make_node("Clip", clip, ["logits"]))
    for node in model.graph.node:
        if "logits" in node.input and node.op_type != "Clip":
            node.input[list(node.input).index("logits")] = "whole"
    nodes = sorted(model.graph.node, key=lambda node: "whole" in node.input)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.save(model, tmp_path / "cut.onnx")
    image = np.load(shelf.test)["image"]
    np.savez(tmp_path / "bright.npz", image=image * 1000)

    words = ("validate", tmp_path / "cut.onnx", "--reference", shelf.tflite, "--json")
    without = edgeconv(*words)
    assert without.status == 0, without.err
    usual = edgeconv(*words, "--data", shelf.test)
    assert usual.status == 0, usual.err
    counts = [cast("int", said.data["samples"]) for said in (without, usual)]
    assert counts[1] == counts[0] + 16
    bright = edgeconv(*words, "--data", tmp_path / "bright.npz", "--metric", "agreement")
    assert bright.status == 6
    assert "'logits' is off by" in bright.err


RECIPES = ("fp16", "int8", "int8-dynamic", "int8-weights", "int16x8", "int4-weights")


@both
@pytest.mark.parametrize("recipe", RECIPES)
def test_what_a_file_was_quantized_with_is_found_in_it(
    edgeconv: CommandLine, shelf: Shelf, tmp_path: Path, format_id: str, recipe: str
) -> None:
    source = shelf.artifact(format_id)
    assert find_stored_precision(format_id, source) == "float32"
    words = ("--recipe", recipe, "--observer", "min-max", "--calibration", shelf.calibration, "-q")
    assert edgeconv("quantize", source, *words, "-o", tmp_path).status == 0
    found = find_stored_precision(format_id, tmp_path / f"network.{recipe}.{format_id}")
    assert found == recipe


def _forget_precision(path: Path, format_id: str) -> None:
    """Make a file one of another tool, which has no metadata of edgeconv's."""
    if format_id == "tflite":
        handler = load_handler(format_id)
        handler.stamp(path, handler.read_signature(path), {})
        return
    onnx = pytest.importorskip("onnx")
    model = onnx.load(path)
    kept = [entry for entry in model.metadata_props if entry.key == IO_ENTRY]
    assert len(kept) < len(model.metadata_props)
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    onnx.save(model, path)


@both
def test_a_file_of_another_tool_is_judged_by_what_is_in_it(
    edgeconv: CommandLine, shelf: Shelf, quantized: Path, format_id: str
) -> None:
    _forget_precision(quantized, format_id)
    assert Artifact.read(quantized).precision == "float32"
    words = ("validate", quantized, "--reference", shelf.tflite, "--data", shelf.test)
    said = edgeconv(*words, "--json")
    assert said.status == 0, said.err
    assert said.data["precision"] == "int8"
    (note,) = cast("list[str]", said.data["notes"])
    assert "does not say how it was quantized" in note
    assert f"note: {note}" in edgeconv(*words).out


_OWN_METRIC = """
from pathlib import Path

def of(outputs, label):
    return float(Path(__file__).with_name("figure").read_text()) * (len(label) == 120)
"""


def test_a_metric_of_the_users_own_is_never_remembered(
    edgeconv: CommandLine, shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ("validate", shelf.tflite, "--reference", shelf.onnx, "--data", shelf.test)
    (tmp_path / "own_metric.py").write_text(_OWN_METRIC)
    for figure in (0.25, 0.75):
        (tmp_path / "figure").write_text(str(figure))
        said = edgeconv(*words, "--metric", "own_metric:of", "--json")
        assert said.status == 0, said.err
        assert figures(said) == ({"own_metric:of": figure}, {"own_metric:of": figure})


@pytest.fixture
def _files(shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    image, label = (np.load(shelf.test)[key] for key in ("image", "label"))
    np.savez("test.npz", image=image, label=label)
    np.savez("plain.npz", image=image)
    np.savez("far.npz", image=image, label=label + 50)
    np.savez("short.npz", image=image[:, :4], label=label)


@pytest.mark.usefixtures("_files")
@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--metric", "top1"), "needs data"),
        (("--max-drop", "1%"), "needs data"),
        (("--metric", "top7", "--data", "test.npz"), "there is no metric 'top7'"),
        (("--data", "nowhere.npz"), "nowhere.npz' cannot be read"),
        (("--metric", "top1", "--data", "plain.npz"), "needs labels"),
        (("--metric", "top1", "--data", "far.npz"), "labels are out of range"),
        (("--data", "short.npz"), "do not fit"),
        (("--data", "test.npz", "--max-drop", "-1"), "no budget"),
    ],
)
def test_what_cannot_be_measured_is_told(
    edgeconv: CommandLine, shelf: Shelf, words: tuple[str, ...], told: str
) -> None:
    said = edgeconv("validate", shelf.tflite, "--reference", shelf.onnx, *words)
    assert said.status == 2
    assert told in said.err
