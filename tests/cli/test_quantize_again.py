"""The same quantization once more: what comes from the cache, and what never does."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
import pytest

from tests.cli.conftest import CommandLine
from tests.cli.quantizable import Shelf, names_in, succeed

pytestmark = [pytest.mark.integration, pytest.mark.xdist_group("cli-quantize")]


@pytest.fixture(autouse=True)
def _warm(warm: None) -> None:
    """Every command here runs in a worker that has imported its runtime."""


def test_the_same_again_is_not_done_again(
    edgeconv: CommandLine, shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    test = tmp_path / "test.npz"
    test.write_bytes(shelf.test.read_bytes())
    words = ("--calibration", shelf.calibration, "--data", test, "--observer", "min-max")
    first = succeed(edgeconv, shelf.tflite, *words, "-o", tmp_path / "a")
    assert first["is_cached"] is False
    with monkeypatch.context() as patched:
        patched.delattr("edgeconv.quantizing._run")  # no worker is asked
        said = edgeconv("quantize", shelf.tflite, *words, "-o", tmp_path / "b")
        again = succeed(edgeconv, shelf.tflite, *words, "-o", tmp_path / "b")
    assert "cached" in said.err
    assert again["is_cached"] is True
    for figure in ("evaluation", "latency_seconds", "candidates", "sha256", "warnings"):
        assert again[figure] == first[figure]
    made = [tmp_path / folder / "network.int8.tflite" for folder in "ab"]
    assert made[0].read_bytes() == made[1].read_bytes()
    assert names_in(tmp_path / "a") == names_in(tmp_path / "b")

    for more in (("--no-cache",), ("--seed", "1"), ("--prepare", "none")):
        assert (
            succeed(edgeconv, shelf.tflite, *words, *more, "-o", tmp_path / "c")["is_cached"]
            is False
        )
    arrays = dict(np.load(test))
    np.savez(test, **{**arrays, "label": (arrays["label"] + 1) % 5})
    changed = succeed(edgeconv, shelf.tflite, *words, "-o", tmp_path / "c")
    assert changed["is_cached"] is False
    assert changed["evaluation"] != first["evaluation"]


def test_a_metric_of_the_users_own_is_measured_every_time(
    edgeconv: CommandLine, shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = "from pathlib import Path\ndef of(outputs):\n    return float(Path({!r}).read_text())\n"
    (tmp_path / "own_figure.py").write_text(text.format(str(tmp_path / "figure")))
    words = ("--recipe", "int8-weights", "--data", shelf.test, "--metric", "own_figure:of")
    for figure in (0.25, 0.75):
        (tmp_path / "figure").write_text(str(figure))
        report = succeed(edgeconv, shelf.tflite, *words, "-o", tmp_path / "out")
        assert cast("dict[str, object]", report["evaluation"])["after"] == figure
