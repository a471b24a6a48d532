"""`ec.quantize`: data in every form, and sample models with integer inputs and lengths of any size, in both formats."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from numpy.typing import NDArray

import edgeconv as ec
from tests.cli.quantizable import Shelf, stock

pytest.importorskip("ai_edge_quantizer")
pytestmark = [pytest.mark.integration, pytest.mark.xdist_group("api-quantize")]

Array = NDArray[np.generic]
FORMATS = ("tflite", "onnx")
SAMPLES = Path(__file__).parents[1] / "sample_models"


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    return stock(tmp_path_factory.mktemp("shelf"))


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGECONV_CACHE_DIR", str(tmp_path / "cache"))


def report_of(artifact: ec.Artifact) -> dict[str, object]:
    path = artifact.path.with_name(f"{artifact.path.name}.report.json")
    return cast("dict[str, object]", json.loads(path.read_text()))


def _batches(shelf: Shelf) -> Iterator[dict[str, Array]]:
    image = np.load(shelf.calibration)["image"]
    for at in range(0, len(image), 16):
        yield {"image": image[at : at + 16]}


def test_all_forms_of_data_calibrate_alike(shelf: Shelf, tmp_path: Path) -> None:
    forms: dict[str, object] = {
        "path": shelf.calibration,
        "text": str(shelf.calibration),
        "mapping": dict(np.load(shelf.calibration)),
        "batches": list(_batches(shelf)),
        "function": lambda: _batches(shelf),
    }
    made = {
        name: ec.quantize(shelf.tflite, calibration=data, out=tmp_path / name)  # type: ignore[arg-type]  # each is a form of data
        for name, data in forms.items()
    }
    assert {artifact.path.name for artifact in made.values()} == {"network.int8.tflite"}
    assert len({artifact.path.read_bytes() for artifact in made.values()}) == 1


def test_what_comes_back(shelf: Shelf, tmp_path: Path) -> None:
    source = ec.Artifact.read(shelf.onnx)
    image = np.load(shelf.test)["image"]
    labelled = [
        ({"image": image[at : at + 40]}, np.load(shelf.test)["label"][at : at + 40])
        for at in (0, 40, 80)
    ]
    small = ec.quantize(
        source,
        calibration=shelf.calibration,
        data=labelled,
        max_drop=0.05,
        name="tiny",
        out=tmp_path,
    )
    assert (small.name, small.precision, small.format) == ("tiny", "int8", "onnx")
    assert small.parents == (source.digest,)
    assert small.path == tmp_path / "tiny.int8.onnx"
    got = small.run({"image": image})
    assert list(got) == ["logits", "scores"]
    judged = cast("dict[str, object]", report_of(small)["evaluation"])
    assert (judged["metric"], judged["samples"], judged["before"]) == ("top1", 120, 1.0)
    assert isinstance(small, ec.QuantizedArtifact)
    assert small.reference_metrics == {"top1": 1.0}
    right = np.mean(got["logits"].argmax(1) == np.load(shelf.test)["label"])
    assert small.metrics == {"top1": pytest.approx(right)}
    assert small.drop == pytest.approx(1.0 - right)
    assert (small.size_bytes, small.float_size_bytes) == (
        small.path.stat().st_size,
        shelf.onnx.stat().st_size,
    )
    assert small.report == tmp_path / "tiny.int8.onnx.report.json"
    assert small.page == tmp_path / "tiny.int8.onnx.report.html"
    assert small.snr_db == report_of(small)["snr_db"]
    assert f"top1 {right:.4f} (float 1.0000)" in small.summary()


def test_beside_the_artifact_unless_told_otherwise(shelf: Shelf, tmp_path: Path) -> None:
    path = tmp_path / "network.tflite"
    path.write_bytes(shelf.tflite.read_bytes())
    small = ec.quantize(path, recipe="int8-dynamic")
    assert small.path == tmp_path / "network.int8-dynamic.tflite"
    assert small.path.stat().st_size < path.stat().st_size * 1.3
    assert (small.metrics, small.reference_metrics, small.drop) == ({}, {}, None)
    assert small.summary().startswith("int8-dynamic: ")


def test_a_saved_recipe_and_overrides(shelf: Shelf, tmp_path: Path) -> None:
    data = shelf.calibration
    first = ec.quantize(
        shelf.tflite, overrides={"scores": "float32"}, out=tmp_path / "a", calibration=data
    )
    layers = cast("list[dict[str, str]]", report_of(first)["layers"])
    assert {one["name"]: one["precision"] for one in layers}["scores"] == "float32"
    saved = first.path.with_name(f"{first.path.name}.recipe.json")
    again = ec.quantize(shelf.tflite, recipe=saved, out=tmp_path / "b", calibration=data)
    assert again.digest == first.digest


def test_errors_are_those_of_edgeconv(shelf: Shelf, tmp_path: Path) -> None:
    with pytest.raises(ec.UsageError, match="no recipe 'int7'"):
        ec.quantize(shelf.tflite, recipe="int7", out=tmp_path)
    with pytest.raises(ec.UsageError, match="needs real inputs"):
        ec.quantize(shelf.tflite, out=tmp_path)
    with pytest.raises(ec.InvalidInputError, match="no array for input 'image'"):
        ec.quantize(shelf.tflite, calibration={"picture": np.zeros((2, 8, 8, 3))}, out=tmp_path)
    with pytest.raises(ec.InvalidInputError, match="holds no samples"):
        ec.quantize(shelf.tflite, calibration=[], out=tmp_path)
    with pytest.raises(ec.InvalidInputError, match="does not exist"):
        ec.quantize(tmp_path / "none.tflite", out=tmp_path)
    assert [path.name for path in tmp_path.iterdir() if path.name != "cache"] == []


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Mapping[str, ec.Artifact]]:
    """Two sample models, each converted once."""
    pytest.importorskip("torch")
    from edgeconv.api import Silent
    from edgeconv.conversion import ConversionOptions, run_conversion

    found: dict[str, Mapping[str, ec.Artifact]] = {}
    inputs = {
        "gesture_lstm": ("motion:float32[N=1,T=64,3]",),
        "sentence_encoder": ("input_ids:int64[N=1,S=16]", "attention_mask:int64[N=1,S=16]"),
    }
    for name, specs in inputs.items():
        options = ConversionOptions(
            model=f"{SAMPLES / name}/model.py:create",
            weights=SAMPLES / name / "weights.safetensors",
            inputs=specs,
            goals=FORMATS,
            name=name,
            out=tmp_path_factory.mktemp(name),
        )
        outcome = run_conversion(options, Silent()).outcome
        found[name] = {goal.format: goal.artifact for goal in outcome.goals if goal.artifact}
    return found


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("format_id", FORMATS)
@pytest.mark.parametrize("recipe", ["int8", "int8-dynamic"])
def test_token_ids_and_sentences_of_any_length(
    converted: Mapping[str, Mapping[str, ec.Artifact]], tmp_path: Path, format_id: str, recipe: str
) -> None:
    source = converted["sentence_encoder"][format_id]
    test = SAMPLES / "sentence_encoder" / "test.npz"
    small = ec.quantize(source, recipe=recipe, calibration=test, out=tmp_path)
    assert [spec.dtype.value for spec in small.signature.inputs] == ["int64", "int64"]
    assert str(small.signature) == str(source.signature)
    ids = np.load(test)["input_ids"]
    for count, length in ((1, 5), (3, 16)):
        tokens = {
            "input_ids": ids[:count, :length],
            "attention_mask": np.ones((count, length), np.int64),
        }
        wanted, got = source.run(tokens), small.run(tokens)
        for name in wanted:
            a, b = (one[name].astype(np.float64).ravel() for one in (wanted, got))
            cosine = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
            assert cosine > 0.99, (name, length)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("format_id", FORMATS)
@pytest.mark.parametrize("recipe", ["int8", "int8-dynamic"])
def test_recordings_of_any_length(
    converted: Mapping[str, Mapping[str, ec.Artifact]], tmp_path: Path, format_id: str, recipe: str
) -> None:
    source = converted["gesture_lstm"][format_id]
    test = SAMPLES / "gesture_lstm" / "test.npz"
    held = np.load(test)
    np.savez(tmp_path / "c.npz", motion=held["motion"][:100])
    small = ec.quantize(source, recipe=recipe, calibration=tmp_path / "c.npz", out=tmp_path)
    motion = held["motion"][100:]
    got = next(iter(small.run({"motion": motion}).values()))
    wanted = next(iter(source.run({"motion": motion}).values()))
    assert np.mean(got.argmax(1) == wanted.argmax(1)) > 0.97
    assert next(iter(small.run({"motion": motion[:2, :17]}).values())).shape == (2, got.shape[1])


def test_a_module_of_this_program_is_the_reference(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 4))
    model = ec.capture(net, (torch.randn(2, 8),), dynamic={"input": {0: "N"}})
    values = np.random.default_rng(0).normal(size=(90, 8)).astype(np.float32)
    labels = net(torch.from_numpy(values)).argmax(1).numpy()
    labels[:9] = (labels[:9] + 1) % 4
    batches = [({"input": values[at : at + 30]}, labels[at : at + 30]) for at in (0, 30, 60)]
    lite = ec.convert(model, to="tflite", out=tmp_path)["tflite"]
    small = ec.quantize(lite, calibration={"input": values})
    assert not ec.validate(small, reference=model).passed
    assert ec.validate(small, reference=model, samples={"input": values}).passed
    verdict = ec.validate(small, reference=model, data=batches, metric="top1")
    assert verdict.passed, verdict.summary()
    assert verdict.reference_metrics == {"top1": 0.9}
    right = np.mean(small.run({"input": values})["output"].argmax(1) == labels)
    assert verdict.metrics == {"top1": pytest.approx(right)}
    with torch.no_grad():
        net[2].weight.mul_(-1)
    other = ec.capture(net, (torch.randn(2, 8),), dynamic={"input": {0: "N"}})
    verdict = ec.validate(small, reference=other, data=batches)
    assert not verdict.passed
    assert verdict.reference_metrics["top1"] < 0.5


def test_images_are_read_as_the_table_says(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    image = pytest.importorskip("PIL.Image")
    for name, brightness in (("bright", 250), ("dark", 5)):
        (tmp_path / "images" / name).mkdir(parents=True)
        for number in range(4):
            pixels = np.full((6, 6, 3), brightness + number, np.uint8)
            image.fromarray(pixels).save(tmp_path / "images" / name / f"{number}.png")

    class Brightness(torch.nn.Module):  # type: ignore[name-defined,misc]  # torch is imported late
        def forward(self, image: object) -> object:
            mean = image.mean((1, 2, 3))  # type: ignore[attr-defined]
            return torch.stack([mean - 0.5, 0.5 - mean], 1)

    config = tmp_path / "edgeconv.toml"
    table = (
        'size = [6, 6]\ncolor = "RGB"\nscale = {}\nmean = [0.0, 0.0, 0.0]\nstd = [1.0, 1.0, 1.0]'
    )
    model = ec.capture(Brightness(), {"image": torch.rand(1, 3, 6, 6)})
    path = ec.convert(model, to="onnx", out=tmp_path / "out")["onnx"]
    for scale, wanted in ((1 / 255, 1.0), (1 / 100000, 0.5)):
        config.write_text(f"[preprocess]\n{table.format(scale)}")
        verdict = ec.validate(path, reference=model, data=tmp_path / "images", config=config)
        assert verdict.passed, verdict.summary()
        assert verdict.metrics == verdict.reference_metrics == {"top1": wanted}
        assert verdict.notes == ()

    config.write_text(f"[preprocess]\n{table.format(1 / 255)}")
    quantized = partial(ec.quantize, path, data=tmp_path / "images", config=config)
    before = quantized(recipe="fp16", out=tmp_path / "out")
    (
        tmp_path / "images" / "a"
    ).mkdir()  # the others move on by one, and nothing of that is remembered
    verdict = ec.validate(
        path, reference=model, data=tmp_path / "images", config=config, metric="mse"
    )
    after = quantized(recipe="fp16", out=tmp_path / "out", metric="agreement")
    assert not any("of a class" in text for text in before.warnings)
    assert any("1 folder of a class has no images: 'a'" in text for text in after.warnings)
    assert any("1 folder of a class has no images: 'a'" in text for text in verdict.notes)
    with pytest.raises(ec.InvalidInputError, match="labels are out of range"):
        ec.validate(path, reference=model, data=tmp_path / "images", config=config)


def test_a_great_loss_is_logged(
    shelf: Shelf, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The file comes back all the same: nobody set a budget."""
    image = np.load(shelf.calibration)["image"]
    data, out = shelf.test, tmp_path
    ec.quantize(shelf.onnx, calibration={"image": image}, data=data, observer="min-max", out=out)
    assert caplog.messages == []
    image[3, 2, 2, 1] = 1000.0
    small = ec.quantize(
        shelf.onnx, calibration={"image": image}, data=data, observer="min-max", out=out
    )
    assert small.precision == "int8"
    (told,) = caplog.messages
    assert "top1 fell from 1 to 0." in told
    assert "--max-drop" in told
