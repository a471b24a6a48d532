"""JSON has no word for infinity or not-a-number: what edgeconv prints and writes says `null` there."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from edgeconv.plugin.job import Json

__all__ = ["strict"]


def strict(value: object) -> Json:
    """A value as JSON data without numbers that are not finite.

    >>> strict({"error": float("inf"), "names": ("a", "b")})
    {'error': None, 'names': ['a', 'b']}

    Raises:
        TypeError: It is, or holds, something that JSON does not know.
    """
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): strict(item) for key, item in value.items()}
    if isinstance(value, Sequence):
        return [strict(item) for item in value]
    raise TypeError(f"{type(value).__name__} is not JSON")
