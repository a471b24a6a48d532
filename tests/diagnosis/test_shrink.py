from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeconv.diagnosis.shrink import OutOfTimeError, Part, Shrinker


@given(st.integers(1, 60), st.data())
def test_one_operator_that_fails_by_itself_is_found(count: int, data: st.DataObject) -> None:
    guilty = data.draw(st.integers(0, count - 1))
    kinds = data.draw(st.lists(st.integers(0, 4), min_size=count, max_size=count))
    shrinker = Shrinker(kinds, lambda part: guilty in part)
    assert shrinker.search() == (guilty,)


@given(st.integers(2, 40), st.data())
def test_operators_that_fail_together_only_are_found(count: int, data: st.DataObject) -> None:
    guilty = data.draw(st.sets(st.integers(0, count - 1), min_size=1, max_size=3))
    shrinker = Shrinker(["a"] * count, lambda part: guilty <= set(part))
    assert shrinker.search() == tuple(sorted(guilty))


@given(st.integers(1, 300), st.data())
def test_it_takes_few_trials(count: int, data: st.DataObject) -> None:
    guilty = data.draw(st.integers(0, count - 1))
    shrinker = Shrinker(range(count), lambda part: guilty in part)
    assert shrinker.search() == (guilty,)
    assert shrinker.trials <= 2 * count.bit_length() + 3


def test_who_is_named_is_tried_first() -> None:
    shrinker = Shrinker(range(1000), lambda part: 700 in part)
    assert shrinker.search([3, 700]) == (700,)
    assert shrinker.trials == 2


def test_one_of_each_kind_is_tried_before_anything_is_cut() -> None:
    kinds = ["conv", "relu"] * 500 + ["odd"]
    shrinker = Shrinker(kinds, lambda part: 1000 in part)
    assert shrinker.search() == (1000,)
    assert shrinker.trials <= 5


def test_nothing_is_found_where_not_even_the_whole_fails() -> None:
    shrinker = Shrinker(range(8), lambda part: False)
    assert shrinker.search([2]) is None


@pytest.mark.parametrize("most", [1, 3, 6])
def test_what_was_found_in_time_is_kept(most: int) -> None:
    asked: list[Part] = []

    def fails(part: Part) -> bool:
        if len(asked) == most:
            raise OutOfTimeError
        asked.append(part)
        return {10, 90} <= set(part)

    shrinker = Shrinker(["a"] * 128, fails)
    found = shrinker.search()
    failing = [part for part in asked if {10, 90} <= set(part)]
    assert found == min(failing, key=len, default=None)
    assert len(asked) == most
