"""Delta debugging: the smallest part of a sequence of operators that still fails.

After Zeller and Hildebrandt, "Simplifying and isolating failure-inducing input" (IEEE TSE 28, 2002). A program is no
text: an operator by itself, on the tensors it really gets, is a whole program already, and most failures are those of a
single operator. So before the sequence is cut, one operator of each kind is tried, all of them at once.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from contextlib import suppress
from itertools import pairwise

__all__ = ["OutOfTimeError", "Shrinker"]

Part = tuple[int, ...]


class OutOfTimeError(Exception):
    """There is no time for another trial. Never reaches users."""


class Shrinker:
    """Searches with a test that may be slow, and remembers the smallest part that failed.

    Args:
        kinds: For each operator what it has in common with those that are likely to fail as it does.
        fails: Whether a part, indices of operators in order, still fails as the whole does.

    Attributes:
        smallest: The smallest part that was seen to fail; None so far.
        trials: How often `fails` was asked.
    """

    def __init__(self, kinds: Sequence[Hashable], fails: Callable[[Part], bool]) -> None:
        self._kinds = tuple(kinds)
        self._fails = fails
        self._known: dict[Part, bool] = {}
        self.smallest: Part | None = None
        self.trials = 0

    def search(self, suspects: Iterable[int] = ()) -> Part | None:
        """The smallest part that could be found; None where not even the whole fails.

        Args:
            suspects: Operators that are named by the failure: each is tried by itself first.
        """
        with suppress(OutOfTimeError):
            self._search(suspects)
        return self.smallest

    def _search(self, suspects: Iterable[int]) -> None:
        if any(self._test((suspect,)) for suspect in suspects):
            return
        first = {kind: index for index, kind in reversed(list(enumerate(self._kinds)))}
        one_of_each = tuple(sorted(first.values()))
        if len(one_of_each) < len(self._kinds) and self._test(one_of_each):
            self._reduce(one_of_each)
            return
        whole = tuple(range(len(self._kinds)))
        if self._test(whole):
            self._reduce(self._trim(whole))

    def _test(self, part: Part) -> bool:
        if part not in self._known:
            self._known[part] = self._fails(part)
            self.trials += 1
            if self._known[part] and (self.smallest is None or len(part) < len(self.smallest)):
                self.smallest = part
        return self._known[part]

    def _trim(self, part: Part) -> Part:
        """Cut the end off, then the beginning, each by bisection: what follows a failure is no part of it."""
        enough = _bisect(len(part), lambda count: self._test(part[:count]))
        part = part[:enough]
        needed = _bisect(len(part), lambda count: self._test(part[len(part) - count :]))
        return part[len(part) - needed :]

    def _reduce(self, part: Part) -> Part:
        """Leave out ever smaller pieces, until no single operator can be left out (the algorithm ddmin)."""
        pieces = 2
        while len(part) >= 2:
            chunks = _split(part, pieces)
            kept = next((chunk for chunk in chunks if self._test(chunk)), None)
            if kept is not None:
                part, pieces = kept, 2
                continue
            rest = (tuple(i for i in part if i not in chunk) for chunk in chunks)
            kept = next((other for other in rest if pieces > 2 and self._test(other)), None)
            if kept is not None:
                part, pieces = kept, max(pieces - 1, 2)
            elif pieces < len(part):
                pieces = min(2 * pieces, len(part))
            else:
                break
        return part


def _bisect(most: int, is_enough: Callable[[int], bool]) -> int:
    """The smallest count that is enough, where the most is known to be."""
    low, high = 0, most
    while low + 1 < high:
        middle = (low + high) // 2
        if is_enough(middle):
            high = middle
        else:
            low = middle
    return high


def _split(part: Part, pieces: int) -> list[Part]:
    bounds = [len(part) * i // pieces for i in range(pieces + 1)]
    return [part[a:b] for a, b in pairwise(bounds) if a < b]
