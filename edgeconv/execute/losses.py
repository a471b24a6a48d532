"""Which converters failed for this model: no goal tries them again."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

from edgeconv.errors import EdgeconvError
from edgeconv.plan.plan import Rejected

__all__ = ["Losses", "Once"]

T = TypeVar("T")


class Losses:
    """Converters that are out, with the first reason of each; used by several threads."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._lost: dict[str, Rejected] = {}
        self._errors: dict[str, EdgeconvError] = {}

    def add(self, converter: str, reason: str, error: EdgeconvError | None = None) -> None:
        """Take a converter out, with the error that its step ended in, if it came so far."""
        with self._guard:
            self._lost.setdefault(converter, Rejected(converter=converter, reason=reason))
            if error is not None:
                self._errors.setdefault(converter, error)

    def error(self, converter: str) -> EdgeconvError | None:
        """What a converter that is out failed with; None if nothing of it was tried."""
        with self._guard:
            return self._errors.get(converter)

    def all(self) -> tuple[Rejected, ...]:
        """All that are out now."""
        with self._guard:
            return tuple(self._lost.values())


class Once(Generic[T]):
    """Computes something once for all threads that want it; its failure is everyone's as well."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._futures: dict[tuple[str, ...], Future[T]] = {}

    def get(
        self, key: tuple[str, ...], compute: Callable[[], T], *, on_wait: Callable[[], None]
    ) -> T:
        """What `compute` gives for this key.

        Args:
            key: What is wanted.
            compute: Called by the first thread that wants it.
            on_wait: Called by all others before they wait.
        """
        with self._guard:
            future = self._futures.get(key)
            is_first = future is None
            if future is None:
                future = self._futures[key] = Future()
        if not is_first:
            on_wait()
            return future.result()
        try:
            result = compute()
        except BaseException as error:
            future.set_exception(error)
            raise
        future.set_result(result)
        return result
