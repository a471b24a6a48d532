from __future__ import annotations

import pytest

from edgeconv.report.figures import (
    format_count,
    format_error,
    format_execution,
    format_floor,
    format_seconds,
    format_size,
)
from edgeconv.report.model import ExecutionReport
from edgeconv.report.strict_json import strict


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 KiB"), (14 << 20, "14.0 MiB"), (900 << 30, "900 GiB")],
)
def test_sizes(size: int, text: str) -> None:
    assert format_size(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0 ms"),
        (0.9994, "999 ms"),
        (0.9999, "1.0 s"),
        (59.96, "1 min 0 s"),
        (75.4, "1 min 15 s"),
    ],
)
def test_times(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text


def test_counts_have_their_thousands_apart() -> None:
    assert format_count(1234567) == "1\xa0234\xa0567"


def test_errors() -> None:
    assert format_error(1.23e-6) == "1.2e-06"
    assert format_error(0.0) == "0"
    assert format_error(None) == "not finite"
    assert format_error(float("nan")) == "not finite"


def test_errors_over_the_floor() -> None:
    assert format_floor(1.44) == "1.4 x floor"
    assert format_floor(23000.4) == "23000 x floor"
    assert format_floor(float("inf")) == ""
    assert format_floor(None) == ""


def test_an_execution_names_what_is_left() -> None:
    execution = ExecutionReport(
        operators=1000, delegate="XNNPACK", delegated_share=0.9996, partitions=3,
        undelegated={"GATHER": 2}, border_transposes=1, inner_transposes=0,
    )  # fmt: skip
    assert format_execution(execution) == (
        "XNNPACK runs 99.9 % of 1000 operators in 3 parts (not 2 GATHER); "
        "transposes: 0 inside, 1 at the border"
    )
    whole = execution.model_copy(
        update={"delegated_share": 1.0, "partitions": 1, "undelegated": {}}
    )
    assert format_execution(whole).startswith("XNNPACK runs 100 % of 1000 operators; ")
    one = whole.model_copy(update={"operators": 1})
    assert format_execution(one).startswith("XNNPACK runs 100 % of 1 operator; ")


def test_strict_json_has_no_infinity() -> None:
    assert strict({"a": [1.5, float("inf")], "b": {"c": float("nan")}, "d": True}) == {
        "a": [1.5, None],
        "b": {"c": None},
        "d": True,
    }
    with pytest.raises(TypeError, match="set is not JSON"):
        strict({1, 2})
