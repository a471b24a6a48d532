"""`edgeconv quantize` on what it cannot use: the exit status, the words, and nothing left behind."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from edgeconv.graph import Builder, Graph
from edgeconv.plugin import Job
from edgeconv.signature import DType
from edgeconv_converters.edge_graph_onnx.worker import write_graph_as_onnx
from tests.cli.conftest import CommandLine, Refusals
from tests.cli.quantizable import Shelf, names_in
from tests.converters.ai_edge_quantizer.graphs import close, write

pytestmark = [pytest.mark.integration, pytest.mark.xdist_group("cli-quantize")]


@pytest.fixture(autouse=True)
def _here(warm: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands run in warm workers, in a folder of their own."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


class Quantizations:
    """Runs quantizations that must be refused; nothing is left of them."""

    def __init__(self, refused: Refusals, shelf: Shelf) -> None:
        self._refused = refused
        self._shelf = shelf

    def __call__(
        self,
        *words: str | Path,
        texts: list[str],
        code: str = "usage",
        status: int = 2,
        artifact: Path | None = None,
    ) -> None:
        out = self._refused.out
        artifact = artifact or self._shelf.tflite
        self._refused(
            "quantize", artifact, *words, "-o", out, code=code, status=status, texts=texts
        )
        assert not out.exists()
        runs = self._refused.edgeconv.cache / "runs"
        assert not runs.exists() or list(runs.iterdir()) == []


@pytest.fixture
def refuse(refused: Refusals, shelf: Shelf) -> Quantizations:
    return Quantizations(refused, shelf)


@pytest.mark.parametrize(
    ("words", "texts"),
    [
        (["--recipe", "int7"], ["there is no recipe 'int7'", "int8-dynamic"]),
        (["--io", "int4"], ["'int4' is no value of io"]),
        (["--observer", "median"], ["'median' is no value of observer", "percentile"]),
        (["--prepare", "polish"], ["'polish' is no value of prepare"]),
        (["--prepare", "none,clip"], ["'none' is no value of prepare"]),
        (["--optimize", "beauty"], ["'beauty' is no value of optimize"]),
        (["--max-drop", "0.5%"], ["needs data to measure the accuracy on", "--data"]),
        (["--max-drop", "a bit"], ["'a bit' is no budget", "0.5%"]),
        (["--max-drop", "-1%"], ["'-1%' is no budget"]),
        (["--max-drop", "5%%"], ["'5%%' is no budget"]),
        (["--max-drop", "nan"], ["'nan' is no budget"]),
        (["--recipe", "auto"], ["'auto' needs a budget"]),
        (["--metric", "top1"], ["metric 'top1' needs data"]),
        (["--override", "conv"], ["'conv' is no override", "PATTERN=RECIPE"]),
        (["--override", "=int8"], ["'=int8' is no override"]),
        (["--override", "conv=int7"], ["there is no recipe 'int7'"]),
        (["--seed", "-1"], ["-1 is no seed"]),
        (["--timeout", "0"], ["a timeout of 0 seconds"]),
        (["--name", "a/b"], ["'a/b' cannot name files"]),
        (["--name", ""], ["cannot name files"]),
    ],
    ids=lambda value: " ".join(value)[:30],
)
def test_options_that_mean_nothing(
    refuse: Quantizations, words: list[str], texts: list[str]
) -> None:
    refuse(*words, texts=texts)


def test_an_override_that_matches_nothing(refuse: Quantizations, shelf: Shelf) -> None:
    words = ("--calibration", shelf.calibration, "--override", "*banana*=float32")
    refuse(*words, texts=["'*banana*' matches no operator", "the operators are named"])


def test_integers_need_calibration(refuse: Quantizations) -> None:
    refuse(texts=["needs real inputs", "--calibration DATA", "--allow-random-calibration"])
    refuse("--recipe", "int8-weights", "--override", "*=int8", texts=["needs real inputs"])


def test_noise_will_do_where_that_is_said(
    edgeconv: CommandLine, shelf: Shelf, tmp_path: Path
) -> None:
    said = edgeconv("quantize", shelf.tflite, "--allow-random-calibration", "-o", tmp_path / "o")
    assert said.status == 0
    assert "warning: calibrated on noise" in said.err


@pytest.mark.parametrize(
    ("images", "texts"),
    [
        (np.zeros((0, 8, 8, 3), np.float32), ["holds no samples"]),
        (np.zeros((9, 8, 8, 4), np.float32), ["do not fit", "float32[N,8,8,3]"]),
        (np.zeros((9, 3), np.float32), ["do not fit"]),
        (np.zeros((9, 8, 8, 3), np.uint8), ["of another dtype"]),
        (np.full((9, 8, 8, 3), np.nan, np.float32), ["holds NaN for input 'image'", "sample 0"]),
        (np.full((9, 8, 8, 3), np.inf, np.float32), ["NaN"]),
        (np.full((9, 8, 8, 3), 0.5, np.float32), ["is constant", "0.5"]),
    ],
    ids=["empty", "channels", "rank", "dtype", "nan", "infinite", "constant"],
)
def test_calibration_data_that_says_nothing(
    refuse: Quantizations, tmp_path: Path, images: np.ndarray, texts: list[str]
) -> None:
    np.savez(tmp_path / "bad.npz", image=images)
    refuse("--calibration", tmp_path / "bad.npz", code="invalid-input", texts=texts)


def test_data_that_is_none(refuse: Quantizations, shelf: Shelf, tmp_path: Path) -> None:
    (tmp_path / "text.npz").write_text("hello")
    np.savez(tmp_path / "named.npz", images=np.load(shelf.calibration)["image"])
    for path, texts in (
        (tmp_path / "nowhere.npz", ["does not exist"]),
        (tmp_path / "text.npz", ["cannot be read"]),
        (tmp_path / "named.npz", ["no array for input 'image'", "did you mean 'images'?"]),
    ):
        refuse("--calibration", path, code="invalid-input", texts=texts)
        data = ("--calibration", shelf.calibration, "--data", path)
        refuse(*data, code="invalid-input", texts=texts)


def test_calibrating_with_what_is_evaluated(refuse: Quantizations, shelf: Shelf) -> None:
    words = ("--calibration", shelf.test, "--data", shelf.test)
    texts = ["has no samples left to calibrate with", "all of them are evaluation data as well"]
    refuse(*words, code="invalid-input", texts=texts)


OWN = """
def broken(outputs):
    raise KeyError("logit")
def wordy(outputs):
    return "good"
def nothing(outputs):
    return float("nan")
"""


@pytest.mark.parametrize(
    ("metric", "code", "texts"),
    [
        ("top9", "usage", ["there is no metric 'top9'", "top5"]),
        ("nowhere:at_all", "usage", ["cannot be loaded", "ModuleNotFoundError"]),
        ("own:missing", "usage", ["cannot be loaded", "missing"]),
        ("own:broken", "invalid-input", ["metric 'own:broken' failed", "KeyError"]),
        ("own:wordy", "invalid-input", ["returned no number", "a str"]),
        ("own:nothing", "invalid-input", ["of the float model is nan"]),
        ("mAP", "invalid-input", ["does not find boxes"]),
        ("auc", "invalid-input", ["one score per sample", "[120, 5]"]),
    ],
)
def test_metrics_that_measure_nothing(
    refuse: Quantizations, shelf: Shelf, metric: str, code: str, texts: list[str]
) -> None:
    Path("own.py").write_text(OWN)
    data = ("--calibration", shelf.calibration, "--data", shelf.test)
    refuse(*data, "--metric", metric, code=code, texts=texts)


def test_labels_that_do_not_fit(refuse: Quantizations, shelf: Shelf, tmp_path: Path) -> None:
    image = np.load(shelf.test)["image"]
    wrong: list[tuple[dict[str, np.ndarray], list[str]]] = [
        ({"label": np.arange(120)}, ["labels are out of range", "5 classes"]),
        ({"label": np.zeros(120)}, ["one class number per sample"]),
        ({"label": np.zeros(7, int)}, ["other numbers of labels and samples"]),
        ({}, ["needs labels, and the data has none"]),
    ]
    for number, (labels, texts) in enumerate(wrong):
        path = tmp_path / f"{number}.npz"
        np.savez(path, image=image, **labels)  # type: ignore[arg-type]  # the stub takes the keys for options
        data = ("--calibration", shelf.calibration, "--data", path, "--metric", "top1")
        refuse(*data, code="invalid-input", texts=texts)


def test_artifacts_that_are_quantized_already(
    edgeconv: CommandLine, refuse: Quantizations, shelf: Shelf, tmp_path: Path
) -> None:
    for format_id in ("tflite", "onnx"):
        words = ("--calibration", shelf.calibration, "-o", tmp_path / "first")
        assert edgeconv("quantize", shelf.artifact(format_id), *words).status == 0
        refuse(
            "--calibration",
            shelf.calibration,
            artifact=tmp_path / "first" / f"network.int8.{format_id}",
            code="invalid-input",
            texts=["quantized already"],
        )


def test_artifacts_of_other_formats(refuse: Quantizations, shelf: Shelf, tmp_path: Path) -> None:
    saved = tmp_path / "net.savedmodel"
    saved.mkdir()
    (saved / "saved_model.pb").write_bytes(b"\x08\x01")
    texts = ["'savedmodel' artifacts cannot be quantized", "onnx or tflite"]
    refuse("--calibration", shelf.calibration, artifact=saved, texts=texts)


@pytest.mark.parametrize(
    ("content", "texts"),
    [
        (b"", ["is empty"]),
        (b"\x1c\x00\x00\x00TFL3 and then nothing that makes sense", ["net.tflite"]),
        (b"neither this nor that", ["net.tflite"]),
    ],
    ids=["empty", "damaged", "foreign"],
)
def test_artifacts_that_are_none(
    refuse: Quantizations, shelf: Shelf, tmp_path: Path, content: bytes, texts: list[str]
) -> None:
    path = tmp_path / "net.tflite"
    path.write_bytes(content)
    words = ("--calibration", shelf.calibration)
    refuse(*words, artifact=path, code="invalid-input", texts=texts)
    refuse(*words, artifact=tmp_path / "none", code="invalid-input", texts=["does not exist"])


def test_images_without_a_word_on_preprocessing(
    refuse: Quantizations, tmp_path: Path, edgeconv: CommandLine, shelf: Shelf
) -> None:
    image = pytest.importorskip("PIL.Image")
    (tmp_path / "photos").mkdir()
    for number, pixels in enumerate(np.random.default_rng(0).integers(0, 255, (40, 9, 9, 3))):
        image.fromarray(pixels.astype("uint8")).save(tmp_path / "photos" / f"{number}.png")
    words = ("--calibration", tmp_path / "photos")
    refuse(*words, texts=["not said how they become inputs", "[preprocess]"])
    table = '[preprocess]\nsize = [8, 8]\ncolor = "RGB"\nscale = 0.02\nmean = [2, 2, 2]\nstd = [1, 1, 1]\n'
    Path("edgeconv.toml").write_text(table)
    said = edgeconv("quantize", shelf.tflite, *words, "-o", tmp_path / "good")
    assert said.status == 0, said.err


def test_a_recipe_that_is_none(refuse: Quantizations, shelf: Shelf, tmp_path: Path) -> None:
    path = tmp_path / "x.recipe.json"
    for content in ("", "{", "[]", "{}", '{"recipe": "int8", "overrides": 3}'):
        path.write_text(content)
        texts = ["is no recipe that edgeconv saved"]
        refuse("--recipe", path, code="invalid-input", texts=texts)
    refuse("--recipe", tmp_path / "none.json", code="invalid-input", texts=["is no recipe"])


@pytest.mark.parametrize(
    "name",
    ["", ".report.json", ".report.html", ".recipe.json"],
    ids=lambda name: name or "artifact",
)
def test_files_of_somebody_else_stay(
    refused: Refusals, shelf: Shelf, tmp_path: Path, name: str
) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / f"network.int8.tflite{name}").write_text("mine")
    words = ("quantize", shelf.tflite, "--calibration", shelf.calibration, "-o", theirs)
    refused(*words, code="output", status=2, texts=["edgeconv did not make"])
    assert names_in(theirs) == [f"network.int8.tflite{name}"]


def test_a_folder_that_cannot_be_written(refused: Refusals, shelf: Shelf, tmp_path: Path) -> None:
    words = ("quantize", shelf.tflite, "--calibration", shelf.calibration, "-o")
    (tmp_path / "file").write_text("no folder")
    refused(*words, tmp_path / "file", code="output", status=2, texts=["cannot be written"])
    if os.geteuid() == 0:
        refused(*words, "/proc/here", code="output", status=2, texts=["cannot be written"])


def test_the_source_is_never_replaced(refused: Refusals, shelf: Shelf, tmp_path: Path) -> None:
    source = tmp_path / "net.int8.tflite"
    source.write_bytes(shelf.tflite.read_bytes())
    words = ("--calibration", shelf.calibration, "--name", "net", "-o", tmp_path)
    refused("quantize", source, *words, code="output", status=2, texts=["would be replaced"])
    assert source.read_bytes() == shelf.tflite.read_bytes()


def test_nothing_is_written_where_time_is_up(
    refused: Refusals, shelf: Shelf, tmp_path: Path
) -> None:
    words = ("--calibration", shelf.calibration, "--timeout", "0.01", "-o", tmp_path / "out")
    said = refused.edgeconv("quantize", shelf.tflite, *words)
    assert said.status == 5, said.err
    assert "hint: " in said.err
    assert not (tmp_path / "out").exists()


def _graph(name: str, dtype: DType) -> Graph:
    """A model that there is nothing to quantize in: it changes a shape, of whole numbers after an addition."""
    b = Builder(name)
    x = b.input("x", dtype, (2, 6))
    if dtype != DType.FLOAT32:
        x = b.op("ADD", x, b.constant(np.arange(6, dtype=dtype.value)))
    return close(b, {"y": b.op("RESHAPE", x, shape=(3, 4))})


@pytest.mark.parametrize("format_id", ["tflite", "onnx"])
@pytest.mark.parametrize("dtype", [DType.FLOAT32, DType.INT32])
def test_models_that_there_is_nothing_to_quantize_in(
    refuse: Quantizations, tmp_path: Path, format_id: str, dtype: DType
) -> None:
    path = tmp_path / f"flat.{format_id}"
    if format_id == "tflite":
        write(_graph("flat", dtype), tmp_path)
    else:
        write_graph_as_onnx(_graph("flat", dtype), Job(inputs={}, output=path, name="flat"))
    values = np.random.default_rng(0).normal(size=(80, 6)) * 9
    np.savez(tmp_path / "x.npz", x=values.astype(dtype.value).reshape(40, 2, 6))
    np.savez(tmp_path / "t.npz", x=1 + values.astype(dtype.value).reshape(40, 2, 6))
    words = ("--calibration", tmp_path / "x.npz", "--data", tmp_path / "t.npz")
    for recipe in ("int8", "int8-weights"):
        texts = [f"recipe '{recipe}' does nothing for this model", "use the float file as it is"]
        refuse(*words, "--recipe", recipe, artifact=path, texts=texts)
    texts = ["no recipe does anything for this model", "use the float file as it is"]
    auto = ("--recipe", "auto", "--max-drop", "1%")
    refuse(*words, *auto, artifact=path, texts=texts)


def test_overrides_that_leave_nothing_to_do(refuse: Quantizations, shelf: Shelf) -> None:
    words = ("--calibration", shelf.calibration, "--override", "*=float32")
    refuse(*words, texts=["recipe 'int8' does nothing", "overrides keep its operators"])
