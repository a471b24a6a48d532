"""A seeded share of PyTorch's own samples passes through both writers, and every exception is still one."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("expecttest")

from benchmarks.opinfo.__main__ import choose_units
from benchmarks.opinfo.compare import find_difference
from benchmarks.opinfo.exceptions import Exemption, Witness, find_exemption, read_exemptions
from benchmarks.opinfo.formats import FORMATS
from benchmarks.opinfo.judge import judge_sample
from benchmarks.opinfo.rows import Result, Row
from benchmarks.opinfo.samples import Unit, draw_samples, find_units
from benchmarks.opinfo.tally import write_results

pytestmark = [pytest.mark.integration, pytest.mark.filterwarnings("ignore")]

_SEED = 20
_UNITS = 60
_FIRST_SAMPLES = 8
_WITNESSES = 40


def _judge(unit: Unit, index: int) -> Row:
    (sample,) = islice(draw_samples(unit), index, index + 1)
    return judge_sample(sample, announce=lambda _: None, needs_class=False)


def _chosen() -> Iterator[tuple[Unit, int]]:
    """One of the first samples of some operators."""
    generator = random.Random(_SEED)
    for unit in generator.sample(find_units(), _UNITS):
        count = sum(1 for _ in islice(draw_samples(unit), _FIRST_SAMPLES))
        if count:
            yield unit, generator.randrange(count)


def test_samples_pass_or_fail_for_a_named_reason() -> None:
    exemptions = read_exemptions()
    passed, unnamed = 0, []
    for unit, index in _chosen():
        row = _judge(unit, index)
        for format_id, failure in row.failures.items():
            passed += not failure
            if failure and find_exemption(exemptions, unit[0], format_id, failure) is None:
                unnamed.append((unit, index, format_id, failure))
    assert unnamed == []
    assert passed > _UNITS  # in two formats each


def _witnesses() -> list[tuple[Exemption, Witness]]:
    every = [(e, witness) for e in read_exemptions() for witness in e.witnesses.values()]
    return random.Random(_SEED).sample(every, min(_WITNESSES, len(every)))


def test_exceptions_still_fail_as_they_say() -> None:
    stale = []
    for exemption, witness in _witnesses():
        row = _judge(witness.unit, witness.index)
        stale += [
            (witness, format_id, row.failures.get(format_id, row.uncaptured))
            for format_id in exemption.formats
            if not row.failures.get(format_id) or exemption.says not in row.failures[format_id]
        ]
    assert stale == []


def test_exceptions_name_operators_that_there_are() -> None:
    units = set(find_units())
    assert {w.unit for e in read_exemptions() for w in e.witnesses.values()} <= units


def test_a_sample_that_fails_without_a_reason_is_told(tmp_path: Path) -> None:
    failed = Row(
        index=3, core="exported", failures={"onnx": "", "savedmodel": "", "tflite": "wrong"}
    )
    passed = Row(index=4, core="exported", failures=dict.fromkeys(FORMATS, ""))
    result = Result(count=9, rows=[failed, passed])
    text = write_results({("add", "float32"): result}, tmp_path / "opinfo", samples=2)
    assert "- add float32 3, tflite: wrong" in text
    assert (
        "| Core ATen, as exported | 2 | 2 (100.00 %) | 2 (100.00 %) | 1 (50.00 %) "
        "| 1 | 1 (100.00 %) | 1 (100.00 %) | 0 (0.00 %) |" in text
    )


def test_an_exception_that_nothing_needs_is_told(tmp_path: Path) -> None:
    exemption = read_exemptions()[0]
    operator = next(iter(exemption.witnesses))
    passed = Row(index=0, failures=dict.fromkeys(FORMATS, ""))
    results = {(operator, "float32"): Result(count=1, rows=[passed])}
    text = write_results(results, tmp_path / "opinfo", samples=1)
    assert f"- the exception of {operator} is not needed" in text


def test_a_name_that_no_operator_has_is_an_error() -> None:
    units: list[Unit] = [("add", "float32"), ("addmm", "float32"), ("cdist", "float32")]
    assert choose_units(units, []) == units
    assert choose_units(units, ["add"]) == units[:2]
    with pytest.raises(ValueError, match=r"no operator of OpInfo begins with 'cdst'.*cdist"):
        choose_units(units, ["add", "cdst"])


def test_the_comparison_has_teeth() -> None:
    right = np.linspace(1, 2, 5, dtype=np.float32)
    assert find_difference([right], [right], [0.0]) == ""
    assert find_difference([right * np.float32(1.0001)], [right], [0.0]).startswith(
        "output 0: 5 of"
    )
    assert "float64" in find_difference([right.astype(np.float64)], [right], [0.0])
    assert "shape" in find_difference([right[None]], [right], [0.0])
    assert find_difference([np.asarray([1, 2])], [np.asarray([1, 3])], [0.0])
    assert find_difference([np.asarray([np.nan], np.float32)], [right[:1]], [0.0])
