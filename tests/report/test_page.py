from __future__ import annotations

import math
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from edgeconv.errors import CaptureError
from edgeconv.execute.records import GoalOutcome, Outcome
from edgeconv.report.build import RunFacts, build_report
from edgeconv.report.page import render_page
from edgeconv.report.reading import all_warnings, format_rows
from tests.report.conftest import HOSTILE, make_metrics, make_verdict

VOID = {"meta", "br", "link", "img", "input", "hr"}


class Reader(HTMLParser):
    """Elements, attributes and text of a page; fails on elements that are not closed in order."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def places(self, class_name: str) -> list[dict[str, float]]:
        """The percentages in the style of elements of a class."""
        found = []
        for _, attributes in self.elements:
            if class_name in (attributes.get("class") or "").split():
                parts = (attributes.get("style") or "").split(";")
                pairs = (part.split(":") for part in parts if "%" in part)
                found.append({key: float(value.rstrip("%")) for key, value in pairs})
        return found


def _read(outcome: Outcome, facts: RunFacts) -> Reader:
    return Reader(render_page(build_report(outcome, facts)))


def test_strings_of_strangers_stay_text(outcome: Outcome, facts: RunFacts) -> None:
    page = _read(outcome, facts)
    assert "script" not in {tag for tag, _ in page.elements}
    # in the source, an output, an attempt's reason, an error's details, the command, a rejected converter
    assert page.text.count(HOSTILE) >= 6


def test_the_page_needs_nothing_from_elsewhere(outcome: Outcome, facts: RunFacts) -> None:
    page = _read(outcome, facts)
    tags = {tag for tag, _ in page.elements}
    assert tags.isdisjoint({"link", "img", "iframe", "script", "object"})
    assert not [a for _, a in page.elements if "src" in a or "href" in a]
    assert "url(" not in page.text
    assert "@import" not in page.text
    policy = [a.get("content") for _, a in page.elements if "http-equiv" in a]
    assert policy == ["default-src 'none'; style-src 'unsafe-inline'"]


def test_the_page_says_what_was_delivered_and_what_was_not(
    outcome: Outcome, facts: RunFacts
) -> None:
    text = _read(outcome, facts).text
    assert "3 of 4 formats delivered, status 6" in text
    assert "rejected/mobilenet.savedmodel" in text
    assert "its process ended with signal SIGSEGV" in text
    assert "1.5 \N{MULTIPLICATION SIGN} noise floor" in text
    assert "4*N + 2" in text


def test_steps_that_ran_side_by_side_overlap(outcome: Outcome, facts: RunFacts) -> None:
    bars = _read(outcome, facts).places("bar")
    assert len(bars) == len(outcome.steps)
    for bar in bars:
        assert 0 <= bar["left"] <= 100
        assert bar["left"] + bar["width"] <= 100.1
    spans = [(bar["left"], bar["left"] + bar["width"]) for bar in bars]
    assert any(a[0] < b[0] < a[1] for a in spans for b in spans)


def test_a_rejected_error_lies_beyond_its_tolerance(outcome: Outcome, facts: RunFacts) -> None:
    page = _read(outcome, facts)
    dots = [place["left"] for place in page.places("mark")]
    limits = [place["left"] for place in page.places("tolerance")]
    assert [dot > limit for dot, limit in zip(dots, limits, strict=True)] == [
        False,
        False,
        True,
        False,
    ]


def test_a_capture_that_failed_gives_a_page(outcome: Outcome, facts: RunFacts) -> None:
    error = CaptureError("the model cannot be captured", details=["net.py:7: if x.sum() > 0:"])
    goal = GoalOutcome(format="onnx", attempts=(), error=error)
    failed = replace(outcome, goals=(goal,), signature=None, steps=(), warnings=())
    text = _read(failed, facts).text
    assert "0 of 1 format delivered, status 5" in text
    assert "net.py:7: if x.sum() > 0:" in text
    assert "No route was tried" in text


def test_an_exact_artifact_has_no_floor_and_no_error(outcome: Outcome, facts: RunFacts) -> None:
    exact = replace(
        make_metrics("ids", 0.0),
        noise_floor=0.0,
        error_over_floor=None,
        tolerance=0.0,
        snr_db=None,
        top1_agreement=None,
    )
    verdict = replace(make_verdict("onnx", 0.0), outputs=(exact,))
    goal = replace(outcome.goals[0], verdict=verdict)
    page = _read(replace(outcome, goals=(goal,)), facts)
    assert "1 of 1 format delivered and verified" in page.text


@pytest.mark.parametrize("seconds", [0.0, 0.004, 0.9, 7.0, 63.0, 4000.0])
def test_the_axis_of_time_is_round(outcome: Outcome, facts: RunFacts, seconds: float) -> None:
    report = build_report(replace(outcome, steps=outcome.steps[:1], seconds=seconds), facts)
    step = report.steps[0].model_copy(update={"started_seconds": 0.0, "seconds": seconds})
    page = Reader(render_page(report.model_copy(update={"steps": [step]})))
    after = page.elements[[a.get("class") for _, a in page.elements].index("axis") + 1 :]
    ticks = [a["style"] for tag, a in after if tag == "span" and a.keys() == {"style"}]
    lefts = [float(str(style).split(":")[1].rstrip("%")) for style in ticks if "left" in str(style)]
    assert 2 <= len(lefts) <= 7
    assert lefts == sorted(lefts)
    assert lefts[-1] <= 100


def test_the_worst_output_is_the_one_nearest_to_its_tolerance(
    outcome: Outcome, facts: RunFacts
) -> None:
    row = format_rows(build_report(outcome, facts))[0]
    assert row.worst is not None
    assert row.worst.name == "logits"
    assert row.seconds == pytest.approx(2.2)
    assert row.state == "verified"


def test_warnings_of_steps_and_of_the_run_are_told_once(outcome: Outcome, facts: RunFacts) -> None:
    twice = replace(outcome, steps=(*outcome.steps, *outcome.steps))
    assert all_warnings(build_report(twice, facts)) == [
        "the cache is on another filesystem",
        "torch-onnx: the constant folder left 3 nodes",
    ]


def test_the_scale_of_errors_says_what_it_is(outcome: Outcome, facts: RunFacts) -> None:
    """A mark at a third of a scale of three decades is one decade above its left end."""
    page = _read(outcome, facts)
    (low, high) = re.findall(
        r"from left to right (1e[-+]\d+) to (1e[-+]\d+), logarithmic", page.text
    )[0]
    rows = format_rows(build_report(outcome, facts))
    tolerances = [row.worst.tolerance for row in rows if row.worst and row.worst.tolerance]
    places = [place["left"] / 100 for place in page.places("tolerance")]
    decades = math.log10(float(high)) - math.log10(float(low))
    read_off = [float(low) * 10 ** (place * decades) for place in places]
    assert read_off == pytest.approx(tolerances, rel=1e-2)
    assert all(0 <= place["left"] <= 100 for place in page.places("mark"))
