"""What is said of a quantized file, against figures computed by hand."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edgeconv.plugin.quantizer import FLOAT32, QuantizedFile
from edgeconv.quantization.evidence import (
    compare_layers,
    compare_outputs,
    describe_precision,
    tell_lost_infinities,
)
from edgeconv.quantization.recipes import RECIPES
from tests.quantization.fake import FakeModel, reference

Array = NDArray[np.generic]


@pytest.mark.parametrize(
    ("recipe", "told"),
    [
        ("int8", "int8"),
        ("int16x8", "int16x8"),
        ("int8-dynamic", "int8 dynamic"),
        ("int8-weights", "int8 weights"),
        ("int4-weights", "int4 weights"),
        ("fp16", "float16"),
    ],
)
def test_a_precision_in_a_word(recipe: str, told: str) -> None:
    file = QuantizedFile(precisions={"conv": RECIPES[recipe].precision, "kept": FLOAT32})
    assert describe_precision(file, "conv") == told
    assert describe_precision(file, "kept") == describe_precision(file, "gone") == "float32"


def _told(wanted: Array, got: Array) -> dict[str, object]:
    (told,) = compare_outputs({"y": wanted}, {"y": got})
    return told.to_json()


def test_figures_of_an_output() -> None:
    wanted = np.array([[3.0, 0.0], [0.0, 4.0]], np.float32)
    got = np.array([[3.0, 0.0], [5.0, 4.0]], np.float32)
    told = _told(wanted, got)
    assert told["cosine"] == pytest.approx(25 / (5 * np.sqrt(50)))
    assert told["max_abs_error"] == 5
    assert told["top1_agreement"] == 0.5
    assert told["snr_db"] == pytest.approx(0)
    assert told["is_finite"]
    assert _told(wanted.ravel(), got.ravel())["top1_agreement"] is None


def test_an_output_that_is_nan_is_told_in_numbers_that_json_has() -> None:
    told = _told(np.ones((1, 3)), np.array([[1.0, np.nan, np.inf]]))
    assert not told["is_finite"]
    assert told["max_abs_error"] is None
    assert told["snr_db"] == -200
    json.dumps(told, allow_nan=False)


def test_what_is_infinite_in_the_float_model_may_be() -> None:
    wanted = np.array([[1.0, -np.inf]])
    told = _told(wanted, np.array([[1.0, -1e9]]))
    assert told["is_finite"]
    assert (told["snr_db"], told["cosine"], told["max_abs_error"]) == (200, 1, 0)
    json.dumps(told, allow_nan=False)


class Watched(FakeModel):
    """The second operator is off by a tenth, and the third is fused away."""

    def observe_quantized(self, path: Path, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        del path
        x = inputs["x"].astype(np.float32)
        return {"op0": x, "op1": x * np.float32(1.1)}


def test_layers_in_order_with_their_errors_and_lines() -> None:
    model = Watched(noise=[1, 1, 1])
    file = QuantizedFile(
        precisions={"op0": RECIPES["int8"].precision}, reasons={"op2": "no kernel for it"}
    )
    layers = compare_layers(
        model, Path("q"), file, reference(model), sources={"op1": "net.py:7 conv"}
    )
    assert [one.name for one in layers] == ["op0", "op1", "op2"]
    assert [one.precision for one in layers] == ["int8", "float32", "float32"]
    assert layers[0].snr_db == 200
    assert layers[1].snr_db == pytest.approx(20, abs=0.01)
    assert layers[2].snr_db is None
    assert (layers[1].source, layers[2].reason) == ("net.py:7 conv", "no kernel for it")
    assert all(
        one.snr_db is None for one in compare_layers(model, Path("q"), file, None, sources={})
    )


def test_infinities_that_are_gone_are_told() -> None:
    """Whoever looks for them, as for masked scores, finds none."""
    wanted = {"masked": np.array([1.0, -np.inf]), "plain": np.ones(2)}
    got = {"masked": np.array([1.0, -30.0]), "plain": np.ones(2)}
    (told,) = tell_lost_infinities(compare_outputs(wanted, got))
    assert "'masked' is infinite" in told
    assert tell_lost_infinities(compare_outputs(wanted, wanted)) == []
