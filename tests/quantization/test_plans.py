"""From recipes and overrides to the precision of every operator, and back to what is saved."""

from __future__ import annotations

from glob import escape

import pytest

from edgeconv.errors import UsageError
from edgeconv.plugin.quantizer import FLOAT32, Operator, QuantizationPlan
from edgeconv.quantization.calibration import Statistics
from edgeconv.quantization.histogram import Histogram
from edgeconv.quantization.observers import observe_min_max
from edgeconv.quantization.overrides import Override, parse_override
from edgeconv.quantization.plans import bits_by_tensor, make_plan, resolve
from edgeconv.quantization.recipes import RECIPES, find_recipe, name_precision
from edgeconv.quantization.request import QuantizationRequest
from edgeconv.signature import DType
from tests.quantization.fake import FakeModel

INT8, INT16 = RECIPES["int8"].precision, RECIPES["int16x8"].precision


def operator(name: str, source: str = "") -> Operator:
    return Operator(name=name, code="CONV_2D", inputs=("x",), outputs=(name,), source=source)


OPERATORS = (
    operator("linear", "net.py:7 linear_1"),
    operator("stem/conv", "net.py:3 conv"),
    operator("head[0]/conv", "net.py:12 linear"),
)


def resolved(*texts: str) -> dict[str, str]:
    found = resolve(OPERATORS, [parse_override(text) for text in texts])
    return {name: name_precision(precision) for name, precision in found.items()}


@pytest.mark.parametrize(
    ("texts", "wanted"),
    [
        (["*conv=float32"], {"stem/conv": "float32", "head[0]/conv": "float32"}),
        (["net.py:3=int16x8"], {"stem/conv": "int16x8"}),
        (["*:12*=fp16"], {"head[0]/conv": "fp16"}),
        # The name of an operator means it alone, though another's source holds the word.
        (["linear=float32"], {"linear": "float32"}),
        (["head[[]0]/conv=float32"], {"head[0]/conv": "float32"}),
        (["*=int8-dynamic", "stem*=float32"], None),
    ],
    ids=str,
)
def test_patterns(texts: list[str], wanted: dict[str, str] | None) -> None:
    wanted = wanted or {
        "linear": "int8-dynamic",
        "stem/conv": "float32",
        "head[0]/conv": "int8-dynamic",
    }
    assert resolved(*texts) == wanted


def test_a_pattern_that_matches_nothing_lists_the_names() -> None:
    with pytest.raises(UsageError, match=r"'banana\*' matches no operator") as caught:
        resolved("*conv=float32", "banana*=float32")
    assert "'stem/conv'" in caught.value.why


@pytest.mark.parametrize("text", ["", "conv", "=float32", "conv=", "conv=int7"])
def test_what_is_no_override(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_override(text)
    assert caught.value.hint


def test_a_pattern_may_hold_an_equals_sign() -> None:
    assert parse_override("a=b=int8") == Override(pattern="a=b", recipe="int8")


@pytest.mark.parametrize("name", RECIPES)
def test_a_precision_is_known_by_its_recipe(name: str) -> None:
    assert name_precision(find_recipe(name).precision) == name
    assert name_precision(FLOAT32) == "float32"
    found = resolve(OPERATORS, [Override(pattern=escape("head[0]/conv"), recipe=name)])
    assert found == {"head[0]/conv": find_recipe(name).precision}


def test_ranges_are_chosen_for_the_bits_that_each_tensor_has() -> None:
    model = FakeModel(noise=[1, 1])
    asked: dict[str, int] = {}
    statistics = Statistics(histograms={"op0": Histogram(), "op1": Histogram(), "x": Histogram()})
    names = {id(one): name for name, one in statistics.histograms.items()}

    def observe(histogram: Histogram, bits: int) -> object:
        asked[names[id(histogram)]] = bits
        return observe_min_max(histogram, bits)

    plan = make_plan(INT8, {"op1": INT16}, statistics=statistics, observer=observe, model=model)  # type: ignore[arg-type]  # an observer that listens
    assert plan.ranges.keys() == {"op0", "op1", "x"}
    assert asked == {"op0": 8, "op1": 16, "x": 8}
    assert bits_by_tensor(model, QuantizationPlan(default=INT16)) == {"op0": 16, "op1": 16}


def test_a_request_crosses_to_the_worker_as_it_is() -> None:
    from pathlib import Path

    request = QuantizationRequest(
        artifact=Path("a.tflite"),
        format="tflite",
        entry="m:f",
        output=Path("o"),
        scratch=Path("s"),
        recipe="int8",
        overrides=(parse_override("a=b=int8"),),
        io=DType.UINT8,
        calibration=Path("c.npz"),
        steps=("clip", "bias"),
        max_drop=0.25,
        is_settled=True,
        sources={"conv": "net.py:3"},
        python_path=("here",),
    )
    assert QuantizationRequest.from_json(request.to_json()) == request
