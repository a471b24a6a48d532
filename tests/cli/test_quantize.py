"""`edgeconv quantize` from end to end, in both formats."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from jsonschema import Draft202012Validator

from edgeconv.api_quantization import quantize
from edgeconv.artifact import Artifact
from edgeconv.errors import OutputError
from edgeconv.report import quantization
from edgeconv.report.quantization_files import QUANTIZATION_SCHEMA_PATH, quantization_schema
from tests.cli.conftest import CommandLine, Said
from tests.cli.quantizable import Shelf, names_in, succeed
from tests.disks import mounted
from tests.execute.test_pool import wait_until_gone

pytestmark = [pytest.mark.integration, pytest.mark.xdist_group("cli-quantize")]

FORMATS = ("tflite", "onnx")
both = pytest.mark.parametrize("format_id", FORMATS)


@pytest.fixture(autouse=True)
def _warm(warm: None) -> None:
    """Every command here runs in a worker that has imported its runtime."""


@both
def test_the_default(edgeconv: CommandLine, shelf: Shelf, tmp_path: Path, format_id: str) -> None:
    out = tmp_path / "out"
    source = shelf.artifact(format_id)
    before = source.read_bytes()
    report = succeed(edgeconv, source, "--calibration", shelf.calibration, "-o", out)
    file = f"network.int8.{format_id}"
    told = [f"{file}{suffix}" for suffix in ("", ".recipe.json", ".report.html", ".report.json")]
    assert names_in(out) == told
    assert source.read_bytes() == before
    assert report == json.loads((out / f"{file}.report.json").read_text())
    validator = Draft202012Validator(json.loads(QUANTIZATION_SCHEMA_PATH.read_text()))
    assert [error.message for error in validator.iter_errors(report)] == []
    assert cast("float", report["integer_share"]) > 0.7
    assert report["compared_samples"] == 48
    image = np.load(shelf.test)["image"]
    wanted, got = (Artifact.read(p).run({"image": image})["scores"] for p in (source, out / file))
    assert np.mean(wanted.argmax(1) == got.argmax(1)) > 0.93
    assert not np.array_equal(wanted, got)


def test_the_published_schema_is_that_of_the_models(edgeconv: CommandLine) -> None:
    assert QUANTIZATION_SCHEMA_PATH.read_text() == quantization_schema(), (
        "run: python -m edgeconv report schema quantization > edgeconv/report/quantization.schema.json"
    )
    assert edgeconv("report", "schema", "quantization", "--json").data == json.loads(
        QUANTIZATION_SCHEMA_PATH.read_text()
    )
    said = edgeconv("report", "schema", "birds")
    assert said.status == 2
    assert "no report of a 'birds'" in said.err


def test_the_schema_notices_damage(edgeconv: CommandLine, shelf: Shelf, tmp_path: Path) -> None:
    words = ("--recipe", "int8-dynamic", "-o", tmp_path)
    report = succeed(edgeconv, shelf.tflite, *words)
    validator = Draft202012Validator(json.loads(QUANTIZATION_SCHEMA_PATH.read_text()))
    assert not list(validator.iter_errors(report))
    report["recipe"] = 3
    del report["layers"]
    assert len(list(validator.iter_errors(report))) == 2


@both
@pytest.mark.parametrize("recipe", ["fp16", "int8-dynamic", "int8-weights", "int16x8"])
def test_recipes(
    edgeconv: CommandLine, shelf: Shelf, tmp_path: Path, format_id: str, recipe: str
) -> None:
    words = ("--recipe", recipe, "--calibration", shelf.calibration, "-o", tmp_path)
    report = succeed(edgeconv, shelf.artifact(format_id), *words)
    assert report["recipe"] == recipe
    (output, *_) = cast("list[dict[str, float]]", report["outputs"])
    assert output["snr_db"] > 20
    assert (tmp_path / f"network.{recipe}.{format_id}").exists()


@both
def test_without_data_outputs_are_compared_on_noise(
    edgeconv: CommandLine, shelf: Shelf, tmp_path: Path, format_id: str
) -> None:
    words = ("--recipe", "int8-weights", "-o", tmp_path)
    report = succeed(edgeconv, shelf.artifact(format_id), *words)
    assert any("on noise" in text for text in cast("list[str]", report["warnings"]))
    assert len(cast("list[object]", report["outputs"])) == 2
    assert report["calibration"] is None


@both
def test_within_a_budget(
    edgeconv: CommandLine, shelf: Shelf, tmp_path: Path, format_id: str
) -> None:
    data = ("--calibration", shelf.calibration, "--data", shelf.test)
    words = ("--max-drop", "5%", "-o", tmp_path)
    report = succeed(edgeconv, shelf.artifact(format_id), *data, *words)
    judged = cast("dict[str, object]", report["evaluation"])
    assert (judged["metric"], judged["before"], judged["samples"]) == ("top1", 1.0, 120)
    assert cast("float", judged["drop"]) <= 0.05
    image = np.load(shelf.test)
    path = tmp_path / f"network.int8.{format_id}"
    got = Artifact.read(path).run({"image": image["image"]})["logits"]
    assert np.mean(got.argmax(1) == image["label"]) == pytest.approx(judged["after"])


def test_auto_takes_the_smallest_within_the_budget(
    edgeconv: CommandLine, shelf: Shelf, tmp_path: Path
) -> None:
    data = ("--calibration", shelf.calibration, "--data", shelf.test, "--search-seconds", "5")
    words = ("--recipe", "auto", "--max-drop", "0.1", "-o", tmp_path)
    report = succeed(edgeconv, shelf.onnx, *data, *words)
    within = [
        cast("int", one["size_bytes"])
        for one in cast("list[dict[str, object]]", report["candidates"])
        if one["is_within"]
    ]
    assert report["size_bytes"] == min(within)
    assert (tmp_path / f"network.{report['recipe']}.onnx").exists()


def reject(edgeconv: CommandLine, shelf: Shelf, out: Path, module: str = "exact") -> Said:
    """A budget that nothing can meet: a metric that counts what is not exactly as it was.

    A worker imports the module of that name once.
    """
    (out.parent / f"{module}.py").write_text(
        "import pathlib\n"
        "def same(outputs):\n"
        "    seen = pathlib.Path(__file__).with_name('seen')\n"
        "    is_first = not seen.exists()\n"
        "    seen.touch()\n"
        "    return 1.0 if is_first else 0.25\n"
    )
    data = ("--calibration", shelf.calibration, "--data", shelf.test, "--metric", f"{module}:same")
    words = ("--max-drop", "0.5", "--search-seconds", "2", "-o", out, "--json")
    return edgeconv("quantize", shelf.tflite, *data, *words)


def test_a_budget_that_cannot_be_met(
    edgeconv: CommandLine, shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    out = tmp_path / "out"
    said = reject(edgeconv, shelf, out)
    assert said.status == 6
    assert "loses 0.75 of exact:same; at most 0.5 was allowed" in said.err
    assert "hint: " in said.err
    error = cast("dict[str, object]", said.data["error"])
    assert error["exit_status"] == 6
    assert said.data["artifact"] is None
    names = [
        f"rejected/network.int8.tflite{s}" for s in ("", ".json", ".report.html", ".report.json")
    ]
    assert names_in(out) == ["rejected", *names]
    succeed(edgeconv, shelf.tflite, "--calibration", shelf.calibration, "-o", out)
    assert not (out / "rejected").exists()  # what is good takes the place of what was not


@pytest.mark.parametrize(
    "name", ["", ".report.json", ".report.html"], ids=lambda n: n or "artifact"
)
def test_what_cannot_be_kept_leaves_what_was_delivered_before_as_it_is(
    edgeconv: CommandLine,
    shelf: Shelf,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    out = tmp_path / "out"
    succeed(edgeconv, shelf.tflite, "--calibration", shelf.calibration, "-o", out)
    theirs = out / "rejected" / f"network.int8.tflite{name}"
    theirs.parent.mkdir()
    theirs.write_text("mine")
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    said = reject(edgeconv, shelf, out, f"exact_{len(name)}_{name[-1:]}")
    assert said.status == 6
    assert "nor is it kept" in said.err
    assert "report: " not in said.err
    assert said.data["artifact"] is None
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


@both
def test_a_saved_recipe_makes_the_same_bytes(
    edgeconv: CommandLine, shelf: Shelf, tmp_path: Path, format_id: str
) -> None:
    source = shelf.artifact(format_id)
    succeed(edgeconv, source, "--calibration", shelf.calibration, "-o", tmp_path / "a")
    file = f"network.int8.{format_id}"
    saved = tmp_path / "a" / f"{file}.recipe.json"
    words = ("--recipe", saved, "--calibration", shelf.calibration, "-o", tmp_path / "b")
    report = succeed(edgeconv, source, *words)
    assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    assert len(cast("list[object]", report["candidates"])) == 1
    assert saved.read_bytes() == (tmp_path / "b" / f"{file}.recipe.json").read_bytes()


@both
def test_overrides_keep_operators_and_a_recipe_remembers_them(
    edgeconv: CommandLine, shelf: Shelf, tmp_path: Path, format_id: str
) -> None:
    source = shelf.artifact(format_id)
    data = ("--calibration", shelf.calibration)
    plain = succeed(edgeconv, source, *data, "-o", tmp_path / "a")
    layers = cast("list[dict[str, str]]", plain["layers"])
    kept = next(one["name"] for one in layers if one["code"] in {"CONV_2D", "Conv"})
    report = succeed(edgeconv, source, *data, "--override", f"{kept}=float32", "-o", tmp_path / "b")
    now = {one["name"]: one for one in cast("list[dict[str, str]]", report["layers"])}
    assert now[kept]["precision"] == "float32"
    assert now[kept]["reason"] == "an override asks for it"
    assert sum(one["precision"] != "float32" for one in now.values()) > len(now) // 2
    file = f"network.int8.{format_id}"
    saved = tmp_path / "b" / f"{file}.recipe.json"
    succeed(edgeconv, source, *data, "--recipe", saved, "-o", tmp_path / "c")
    assert (tmp_path / "b" / file).read_bytes() == (tmp_path / "c" / file).read_bytes()


@both
@pytest.mark.parametrize("io", ["int8", "uint8"])
def test_integer_inputs_and_outputs(
    edgeconv: CommandLine, shelf: Shelf, tmp_path: Path, format_id: str, io: str
) -> None:
    words = ("--calibration", shelf.calibration, "--io", io, "-o", tmp_path)
    report = succeed(edgeconv, shelf.artifact(format_id), *words)
    signature = Artifact.read(tmp_path / f"network.int8.{format_id}").signature
    assert [spec.name for spec in signature.inputs] == ["image"]
    assert {spec.dtype.value for spec in (*signature.inputs, *signature.outputs)} == {io}
    for output in cast("list[dict[str, float]]", report["outputs"]):
        assert output["snr_db"] > 20


@both
def test_a_budget_holds_for_the_file_with_integer_ends(
    edgeconv: CommandLine, shelf: Shelf, tmp_path: Path, format_id: str
) -> None:
    image = np.load(shelf.calibration)["image"]
    image[3, 2, 2, 1] = 1000.0  # integers of that range keep nothing of the other inputs
    np.savez(tmp_path / "outlier.npz", image=image)
    data = ("--calibration", tmp_path / "outlier.npz", "--data", shelf.test, "--max-drop", "5%")
    words = (shelf.artifact(format_id), "--recipe", "int8-weights", *data)
    succeed(edgeconv, *words, "-o", tmp_path / "float")
    said = edgeconv("quantize", *words, "--io", "int8", "--search-seconds", "2", "-o", tmp_path)
    assert said.status == 6
    assert "--io float32" in said.err
    assert not (tmp_path / f"network.int8-weights.{format_id}").exists()


def test_the_report_of_the_conversion_stays(
    edgeconv: CommandLine, shelf: Shelf, tmp_path: Path
) -> None:
    (tmp_path / "network.tflite").write_bytes(shelf.tflite.read_bytes())
    (tmp_path / "report.json").write_text('{"schema": "edgeconv.report/1"}')
    (tmp_path / "report.html").write_text("the page")
    words = ("--calibration", shelf.calibration, "-o", tmp_path)
    succeed(edgeconv, tmp_path / "network.tflite", *words)
    assert (tmp_path / "report.json").read_text() == '{"schema": "edgeconv.report/1"}'
    assert (tmp_path / "report.html").read_text() == "the page"


def test_what_was_made_of_a_foreign_file_is_replaced_and_nothing_else_is(
    edgeconv: CommandLine, shelf: Shelf, tmp_path: Path
) -> None:
    words = (shelf.onnx, "--recipe", "int8-weights", "-o", tmp_path)
    made = tmp_path / "network.int8-weights.onnx"
    succeed(edgeconv, *words)
    assert b'"edgeconv_version"' not in made.read_bytes()
    succeed(edgeconv, *words)
    made.write_bytes(shelf.onnx.read_bytes())
    said = edgeconv("quantize", *words)
    assert said.status == 2
    assert "edgeconv did not make" in said.err
    assert made.read_bytes() == shelf.onnx.read_bytes()


def test_a_name(edgeconv: CommandLine, shelf: Shelf, tmp_path: Path) -> None:
    words = ("--calibration", shelf.calibration, "--name", "tiny", "-o", tmp_path)
    assert succeed(edgeconv, shelf.tflite, *words)["name"] == "tiny"
    assert (tmp_path / "tiny.int8.tflite").exists()


def test_an_artifact_whose_report_cannot_be_written_is_not_delivered(
    shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(report: object) -> str:
        raise OutputError("the page cannot be written", why="No space left on device")

    monkeypatch.setattr(quantization, "render_quantization_page", fail)
    with pytest.raises(OutputError, match="the page"):
        quantize(shelf.tflite, recipe="int8-weights", out=tmp_path)
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("kilobytes", [8, 28])
def test_a_full_disk_leaves_what_was_delivered_before(
    edgeconv: CommandLine, shelf: Shelf, tmp_path: Path, kilobytes: int
) -> None:
    """Whether the artifact or its evidence is what there is no room for."""
    words = ("quantize", shelf.tflite, "--recipe", "int8-weights")
    with mounted(tmp_path / "disk", "size=192k") as disk:
        assert edgeconv(*words, "-o", disk).status == 0
        before = {path.name: path.read_bytes() for path in disk.iterdir()}
        filling = disk / "filling"
        with suppress(OSError), filling.open("wb", buffering=0) as stream:
            while stream.write(bytes(4096)):
                pass
        os.truncate(filling, filling.stat().st_size - kilobytes * 1024)
        said = edgeconv(*words, "-o", disk, "--seed", "1")
        filling.unlink()
        assert said.status == 2
        assert "No space left on device" in said.err
        assert {path.name: path.read_bytes() for path in disk.iterdir()} == before


def test_a_metric_that_is_no_number_is_told(
    edgeconv: CommandLine, shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a budget nothing is refused for it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "late.py").write_text(
        "seen = []\ndef nan(outputs):\n    seen.append(1)\n    return 1.0 if len(seen) == 1 else float('nan')\n"
    )
    data = ("--recipe", "int8-weights", "--data", shelf.test, "--metric", "late:nan")
    report = succeed(edgeconv, shelf.tflite, *data, "-o", tmp_path / "out")
    assert any("no finite number" in text for text in cast("list[str]", report["warnings"]))
    assert cast("dict[str, object]", report["evaluation"])["after"] is None


@both
def test_a_great_loss_is_told_last_and_everywhere(
    edgeconv: CommandLine, shelf: Shelf, tmp_path: Path, format_id: str
) -> None:
    """Without a budget nothing is refused for it."""
    image = np.load(shelf.calibration)["image"]
    image[3, 2, 2, 1] = 1000.0
    np.savez(tmp_path / "outlier.npz", image=image)
    data = ("--calibration", tmp_path / "outlier.npz", "--data", shelf.test)
    words = (shelf.artifact(format_id), *data, "--observer", "min-max", "-o", tmp_path)
    report = succeed(edgeconv, *words)
    alarm = cast("str", report["alarm"])
    assert alarm.startswith("top1 fell from 1 to 0.")
    assert cast("list[str]", report["warnings"])[0] == alarm
    assert all(word in alarm for word in ("--max-drop", "--recipe int16x8", "--calibration"))
    page = (tmp_path / f"network.int8.{format_id}.report.html").read_text()
    assert "Before you use it" in page
    assert page.count("top1 fell from 1") == 1
    for quiet in ((), ("-q",)):
        said = edgeconv("quantize", *words, *quiet)
        assert said.status == 0
        assert said.err.splitlines()[-1] == f"warning: {alarm}"
        assert said.err.count("top1 fell") == 1


def test_a_search_that_has_no_time_says_so(
    edgeconv: CommandLine, shelf: Shelf, tmp_path: Path
) -> None:
    data = ("--calibration", shelf.calibration, "--data", shelf.test, "--metric", "mse")
    words = ("--max-drop", "0", "--search-seconds", "0", "-o", tmp_path)
    said = edgeconv("quantize", shelf.onnx, *data, *words)
    assert said.status == 6
    assert "the search ended when its 0 seconds were over" in said.err
    assert "search longer with --search-seconds" in said.err


def test_figures_that_are_no_shares_have_the_places_they_need(
    edgeconv: CommandLine, shelf: Shelf, tmp_path: Path
) -> None:
    data = ("--recipe", "int8-weights", "--data", shelf.test, "--metric", "mse", "-o", tmp_path)
    said = edgeconv("quantize", shelf.tflite, *data)
    lost = cast(
        "dict[str, float]",
        json.loads((tmp_path / "network.int8-weights.tflite.report.json").read_text())[
            "evaluation"
        ],
    )["drop"]
    assert lost > 0
    assert f"{lost:+.4g}" in said.out


def test_no_alarm_where_little_is_lost(edgeconv: CommandLine, shelf: Shelf, tmp_path: Path) -> None:
    words = ("--calibration", shelf.calibration, "--data", shelf.test, "-o", tmp_path)
    assert succeed(edgeconv, shelf.tflite, *words)["alarm"] is None
    assert "Before you use it" not in (tmp_path / "network.int8.tflite.report.html").read_text()


@pytest.mark.parametrize(
    ("recipe", "told"),
    [
        (
            "int8-weights",
            "of 7 operators, 3 in float32 with weights stored in 8 bits, 4 in float32",
        ),
        ("int8-dynamic", "3 in 8-bit integers that are made while it runs, 4 in float32"),
        ("fp16", "3 in float32 with weights stored as float16, 4 in float32"),
        ("int16x8", "7 operators, all with 16-bit activations and 8-bit weights"),
    ],
)
def test_what_operators_compute_in_is_told_as_it_is(
    edgeconv: CommandLine, shelf: Shelf, tmp_path: Path, recipe: str, told: str
) -> None:
    words = ("--recipe", recipe, "--calibration", shelf.calibration, "-o", tmp_path)
    said = edgeconv("quantize", shelf.tflite, *words)
    assert said.status == 0, said.err
    assert told in said.out
    assert told in (tmp_path / f"network.{recipe}.tflite.report.html").read_text()


def test_the_table_and_the_page_of_the_run(
    edgeconv: CommandLine, shelf: Shelf, tmp_path: Path
) -> None:
    data = ("--calibration", shelf.calibration, "--data", shelf.test)
    said = edgeconv("quantize", shelf.tflite, *data, "-o", tmp_path)
    assert said.status == 0
    assert "(chosen)" in said.out
    assert "top1" in said.out
    assert "7 operators, all in 8-bit integers" in said.out
    page = (tmp_path / "network.int8.tflite.report.html").read_text()
    assert "network" in page
    assert "http" not in page.replace("http-equiv", "")


def test_few_samples_are_warned_of(edgeconv: CommandLine, shelf: Shelf, tmp_path: Path) -> None:
    np.savez(tmp_path / "few.npz", image=np.load(shelf.calibration)["image"][:5])
    report = succeed(edgeconv, shelf.tflite, "--calibration", tmp_path / "few.npz", "-o", tmp_path)
    assert any("5 samples only" in text for text in cast("list[str]", report["warnings"]))


def test_what_is_evaluated_is_not_calibrated_with(
    edgeconv: CommandLine, shelf: Shelf, tmp_path: Path
) -> None:
    test = np.load(shelf.test)["image"]
    mixed = np.concatenate([np.load(shelf.calibration)["image"], test[:3]])
    np.savez(tmp_path / "mixed.npz", image=mixed)
    data = ("--calibration", tmp_path / "mixed.npz", "--data", shelf.test)
    report = succeed(edgeconv, shelf.tflite, *data, "-o", tmp_path)
    assert cast("dict[str, int]", report["calibration"])["samples"] == 48
    assert any("3 samples" in text for text in cast("list[str]", report["warnings"]))


def test_an_interrupted_run_leaves_nothing(shelf: Shelf, tmp_path: Path) -> None:
    import psutil

    cache, out = tmp_path / "cache", tmp_path / "out"
    data = ("--calibration", str(shelf.calibration), "--data", str(shelf.test))
    words = ("quantize", str(shelf.tflite), *data, "--recipe", "auto", "--max-drop", "0", "-o", out)
    with subprocess.Popen(
        [sys.executable, "-m", "edgeconv", *words],
        env={**os.environ, "EDGECONV_CACHE_DIR": str(cache)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        while not list((cache / "runs").glob("run-*/01-quantize/*")):
            assert process.poll() is None
        workers = [child.pid for child in psutil.Process(process.pid).children(recursive=True)]
        process.send_signal(signal.SIGINT)
        assert process.stderr
        said = process.stderr.read()
        assert process.wait(timeout=60) == 130
    assert wait_until_gone(workers)
    assert "nothing else was left" in said
    assert "Traceback" not in said
    assert list((cache / "runs").iterdir()) == []
    assert not out.exists()
