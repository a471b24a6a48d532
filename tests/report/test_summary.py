"""The table that ends a conversion: its figures are those of the progress lines and of the page."""

from __future__ import annotations

import re
from dataclasses import replace

from edgeconv.cli.summary import summarize
from edgeconv.execute.records import Attempt, Candidate, Outcome
from edgeconv.report.build import RunFacts, build_report
from edgeconv.report.page import render_page
from tests.report.conftest import make_verdict


def test_the_table_shows_the_error_that_the_progress_line_shows(
    outcome: Outcome, facts: RunFacts
) -> None:
    verdict = make_verdict("onnx", 3.1e-6)
    assert verdict.summary() == "passed: max abs error 3.1e-06, 1.5 x floor"
    header, _, row, *_ = summarize(build_report(outcome, facts)).splitlines()
    assert "max abs error / floor" in header
    assert re.search(r"^onnx .*\b3\.1e-06 / 1\.5 x floor\b", row)


def test_why_the_first_route_is_kept_is_in_the_table_and_on_the_page(
    outcome: Outcome, facts: RunFacts
) -> None:
    goal = outcome.goals[0]
    other = Attempt(route=("other",), result="verified", verdict=make_verdict("onnx", 4e-6))
    kept = Candidate(
        route=goal.attempts[0].route,
        size_bytes=10,
        latency_seconds=0.0101,
        error=0.1,
        is_chosen=True,
        reason="1.0% above the shortest",
    )
    faster = Candidate(route=other.route, size_bytes=10, latency_seconds=0.01, error=0.1)
    goal = replace(goal, attempts=(other, *goal.attempts), candidates=(kept, faster))
    report = build_report(replace(outcome, goals=(goal,)), replace(facts, best="latency"))
    table = summarize(report).partition("best by latency:")[2]
    assert "delivered, 1.0% above the shortest" in table
    assert "1.0% above the shortest" in render_page(report)
    assert report.goals[0].candidates[0].reason
