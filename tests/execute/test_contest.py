from __future__ import annotations

import pytest

from edgeconv.execute.contest import choose_best
from edgeconv.execute.records import Candidate, Criterion


def _candidates(*latencies: float | None) -> list[Candidate]:
    return [
        Candidate(
            route=(f"route-{index}",), size_bytes=100 - index, latency_seconds=seconds, error=0.1
        )
        for index, seconds in enumerate(latencies)
    ]


@pytest.mark.parametrize(
    ("latencies", "chosen", "reason"),
    [
        (
            (0.01013, 0.0100, 0.0200),
            0,
            "1.3% above the shortest: within 2% the first route is kept",
        ),
        ((0.0103, 0.0100, 0.0200), 1, ""),
        ((0.0100, 0.0200), 0, ""),
        ((None, None), 0, ""),
        ((None, 0.0100), 1, ""),
    ],
)
def test_the_first_route_is_kept_where_latencies_are_the_same_and_says_so(
    latencies: tuple[float | None, ...], chosen: int, reason: str
) -> None:
    found = choose_best(_candidates(*latencies), "latency")
    assert [each.is_chosen for each in found].index(True) == chosen
    assert sum(each.is_chosen for each in found) == 1
    assert [each.reason for each in found if each.reason] == ([reason] if reason else [])


@pytest.mark.parametrize(("best", "chosen"), [("size", 2), ("accuracy", 0)])
def test_sizes_and_errors_are_told_apart_whatever_they_are(best: Criterion, chosen: int) -> None:
    found = choose_best(_candidates(0.01, 0.01, 0.01), best)
    assert found[chosen].is_chosen
    assert not any(each.reason for each in found)
