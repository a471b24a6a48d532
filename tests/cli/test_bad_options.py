"""Options that mean nothing, or contradict each other; nothing is started for them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import CommandLine, Refusals


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    path = tmp_path / "net.py"
    path.write_text("raise SystemExit('the model was run')\n")
    monkeypatch.chdir(tmp_path)
    return "net.py:build"


@pytest.mark.parametrize(
    ("words", "texts"),
    [
        (["--to", "tflit"], ["unknown format 'tflit'", "did you mean 'tflite'?"]),
        (["--to", "ONNX"], ["did you mean 'onnx'?"]),
        (["--to", "coreml"], ["formats: torch-export, torchscript, onnx, savedmodel, tflite"]),
        (["--to", "torch"], ["'torch' cannot be asked for"]),
        (["--to", "edge-graph"], ["'edge-graph' cannot be asked for"]),
        (["--to", ""], ["has none"]),
        (["--to", ","], ["has none"]),
        (["--via", "edge-lowerin"], ["did you mean 'edge-lowering'?", "converters: "]),
        (["--avoid", "nothing-like-it"], ["unknown converter or format", "formats: "]),
        (
            ["--via", "litert-torch", "--avoid", "litert-torch"],
            ["both to be passed and to be avoided"],
        ),
        (["--to", "tflite", "--avoid", "tflite"], ["both asked for and to be avoided"]),
        (["--to", "onnx", "--via", "tflite"], ["no route passes 'tflite'"]),
        (["--jobs", "0"], ["--jobs"]),
        (["--jobs", "-3"], ["--jobs"]),
        (["--timeout", "0"], ["a timeout of 0 seconds"]),
        (["--timeout", "-1"], ["--timeout"]),
        (["--timeout", "inf"], ["a timeout of inf seconds"]),
        (["--timeout", "soon"], ["--timeout"]),
        (["--seed", "-1"], ["-1 is no seed"]),
        (["--seed", "99999999999999999999999"], ["is no seed"]),
        (["--name", ""], ["the name is an empty text"]),
        (["--name", "a b"], ["'a b' cannot name files"]),
        (["--name", "a/b"], ["cannot name files"]),
        (["--name", ".."], ["cannot name files"]),
        (["--name", "-x"], ["cannot name files"]),
        (["--name", "ü"], ["cannot name files"]),
        (["--name", "x" * 129], ["it has 129 characters"]),
        (["--weights", ""], ["a path is an empty text"]),
        (["--samples", ""], ["a path is an empty text"]),
        (["--labels", ""], ["a path is an empty text"]),
    ],
    ids=lambda value: " ".join(value)[:40],
)
def test_options_that_mean_nothing(
    refused: Refusals, model: str, words: list[str], texts: list[str]
) -> None:
    to = [] if "--to" in words else ["--to", "tflite"]
    refused.convert(model, *words, *to, code="usage", status=2, texts=texts)


def test_an_empty_folder_is_not_this_folder(
    edgeconv: CommandLine, model: str, tmp_path: Path
) -> None:
    before = sorted(tmp_path.iterdir())
    said = edgeconv("convert", model, "-o", "")
    assert said.status == 2
    assert "a path is an empty text" in said.err
    assert sorted(path for path in tmp_path.iterdir() if path != edgeconv.cache) == before


def test_a_file_whose_name_begins_with_a_dash(
    edgeconv: CommandLine, model: str, tmp_path: Path
) -> None:
    (tmp_path / "-net.py").touch()
    said = edgeconv("plan", "-net.py:build")
    assert said.status == 2
    assert "is written ./-net.py:build" in said.err
    assert edgeconv("plan", "./-net.py:build", "--to", "torchscript").status == 0
    assert edgeconv("plan", "--to", "torchscript", "--", "-net.py:build").status == 0


@pytest.mark.parametrize("name", ["my net.py", "nüt.py", "a:b.py", "net,.py"])
def test_odd_names_of_files(edgeconv: CommandLine, tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    assert edgeconv("plan", f"{tmp_path / name}:build", "--to", "torchscript").status == 0


def test_a_variable_that_means_nothing(
    edgeconv: CommandLine, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("EDGECONV_OFFLINE", "perhaps"), ("EDGECONV_MEMORY_LIMIT", "much")):
        with monkeypatch.context() as patch:
            patch.setenv(name, value)
            said = edgeconv("doctor")
            assert said.status == 2
            assert value in said.err


def test_labels_without_an_end_are_not_read(refused: Refusals, model: str) -> None:
    texts = ["labels '/dev/zero' cannot be read", "no regular file of at most 16 MiB"]
    words = ("--labels", "/dev/zero")
    refused.convert(model, *words, code="invalid-input", status=2, texts=texts)
