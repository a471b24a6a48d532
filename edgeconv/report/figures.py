"""How sizes, times and errors are written for people, the same on the page and on the command line."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from edgeconv.errors import counted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgeconv.report.model import ExecutionReport

__all__ = [
    "format_count",
    "format_error",
    "format_execution",
    "format_floor",
    "format_integers",
    "format_latency",
    "format_precisions",
    "format_seconds",
    "format_size",
]

_PRECISIONS = {
    "int8": "in 8-bit integers",
    "int16x8": "with 16-bit activations and 8-bit weights",
    "int8 dynamic": "in 8-bit integers that are made while it runs",
    "int8 weights": "in float32 with weights stored in 8 bits",
    "int4 weights": "in float32 with weights stored in 4 bits",
    "float16": "in float16",
    "float16 weights": "in float32 with weights stored as float16",
    "float32": "in float32",
}

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def format_size(size_bytes: int) -> str:
    """Bytes in the unit that leaves one to four digits.

    >>> format_size(14_000_000)
    '13.4 MiB'
    """
    size, unit = float(size_bytes), 0
    while size >= 1000 and unit < len(_UNITS) - 1:
        size, unit = size / 1024, unit + 1
    return f"{size:.0f} B" if unit == 0 else f"{size:.{1 if size < 100 else 0}f} {_UNITS[unit]}"


def format_seconds(seconds: float) -> str:
    """A time with two or three digits.

    >>> format_seconds(0.0417), format_seconds(3.14), format_seconds(75.4)
    ('42 ms', '3.1 s', '1 min 15 s')
    """
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s"


def format_latency(seconds: float) -> str:
    """The time of one run with three digits.

    >>> format_latency(0.00774), format_latency(0.1234), format_latency(0.0000213)
    ('7.74 ms', '123 ms', '0.0213 ms')
    """
    return f"{seconds * 1000:.3g} ms"


def format_count(count: int) -> str:
    r"""A count with its thousands apart.

    >>> format_count(3504872)
    '3\xa0504\xa0872'
    """
    return f"{count:,}".replace(",", "\N{NO-BREAK SPACE}")


def format_error(error: float | None) -> str:
    """An error with two digits; what is not finite has no value to show.

    >>> format_error(0.00000123), format_error(0.0)
    ('1.2e-06', '0')
    """
    if error is None or not math.isfinite(error):
        return "not finite"
    return "0" if error == 0 else f"{error:.1e}"


def format_floor(error_over_floor: float | None) -> str:
    """An error relative to the noise floor; empty where there is no floor.

    >>> format_floor(1.44), format_floor(23_000.0), format_floor(None)
    ('1.4 x floor', '23000 x floor', '')
    """
    if error_over_floor is None or not math.isfinite(error_over_floor):
        return ""
    digits = 1 if error_over_floor < 100 else 0
    return f"{error_over_floor:.{digits}f} x floor"


def format_execution(execution: ExecutionReport) -> str:
    """How a runtime carries out a model, in one line."""
    share = math.floor(execution.delegated_share * 1000) / 10  # 100 % is said of all alone
    left = ", ".join(f"{count} {op}" for op, count in execution.undelegated.items())
    texts = [
        f"{execution.delegate} runs {share:g} % of {counted(execution.operators, 'operator')}",
        f"in {execution.partitions} parts" if execution.partitions > 1 else "",
        f"(not {left})" if left else "",
    ]
    transposes = f"transposes: {execution.inner_transposes} inside, {execution.border_transposes} at the border"
    return f"{' '.join(filter(None, texts))}; {transposes}"


def format_precisions(precisions: Mapping[str, int]) -> str:
    """What the operators of a quantized model compute in, the plain ones last.

    >>> format_precisions({"float32": 2, "int8": 12})
    'of 14 operators, 12 in 8-bit integers, 2 in float32'
    >>> format_precisions({"int8 weights": 3})
    '3 operators, all in float32 with weights stored in 8 bits'
    """
    ordered = sorted(precisions.items(), key=lambda one: (one[0] == "float32", -one[1], one[0]))
    total = counted(sum(precisions.values()), "operator")
    told = [(count, _PRECISIONS.get(name, f"in {name}")) for name, count in ordered]
    if len(told) == 1:
        return f"{total}, all {told[0][1]}"
    return f"of {total}, " + ", ".join(f"{count} {how}" for count, how in told)


def format_integers(details: Mapping[str, object]) -> str:
    """How many operators of a model with trained scales compute with integers; empty for any other model.

    >>> format_integers({"integer_operators": 9, "float_operators": {"SOFTMAX": 1}})
    '9 of 10 operators compute with the integers they were trained with (not 1 SOFTMAX)'
    """
    count, left = details.get("integer_operators"), details.get("float_operators")
    if not isinstance(count, int) or not isinstance(left, dict):
        return ""
    named = ", ".join(f"{number} {op}" for op, number in left.items())
    total = count + sum(left.values())
    text = f"{count} of {total} operators compute with the integers they were trained with"
    return f"{text} (not {named})" if named else text
