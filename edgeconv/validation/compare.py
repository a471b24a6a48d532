"""Compares outputs with the reference, case by case, and adds up the metrics.

All sums are in float64, and complex ones in complex128, whatever the output's own dtype is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from edgeconv.errors import counted
from edgeconv.signature import DType
from edgeconv.validation.tolerance import (
    QUIET_FRACTION,
    SignalTolerance,
    float_tolerance,
    share_tolerance,
)
from edgeconv.validation.verdict import OutputMetrics

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from edgeconv.formats.handler import Array

    Numbers: TypeAlias = NDArray[np.inexact[Any]]

__all__ = ["OutputComparison"]

_MAX_SCORE_AXES = 3
_NUMBERS = {False: "biufV", True: "c"}  # V: bfloat16, which is no type of NumPy's own


@dataclass(slots=True, kw_only=True)
class OutputComparison:
    """Adds up one output over all cases; one case is in memory at a time.

    Attributes:
        name: The output's name.
        dtype: The dtype it must have.
        noise_floor: Of the model, for this output.
        limits: Smallest and largest finite value of the reference.
        signal: What must be left of the output where it was quantized; None where it was not.
    """

    name: str
    dtype: DType
    noise_floor: float
    limits: tuple[float, float]
    signal: SignalTolerance | None = None
    _largest_error: float = 0.0
    _error_sum: float = 0.0
    _count: int = 0
    _cosine: float = 1.0
    _signal: float = 0.0
    _noise: float = 0.0
    _agreeing: int = 0
    _rows: int = 0
    _mismatches: int = 0
    _is_compared: bool = False
    _is_judged: bool = False
    _reasons: list[str] = field(default_factory=list)

    def add(self, case: str, wanted: Array, got: Array, *, is_judged: bool = True) -> None:
        """Compare one case.

        Args:
            case: Its name, for messages.
            wanted: What the model gave.
            got: What the artifact gave.
            is_judged: Whether the values count; if not, only dtypes, shapes, and where there is NaN.
        """
        self._is_compared = True
        self._is_judged |= is_judged
        if not self._has_dtype(got):
            self._blame(f"is {got.dtype.name}, not {self.dtype}")
        if got.shape != wanted.shape:
            self._blame(f"has shape {list(got.shape)}, not {list(wanted.shape)} ({case})")
        if got.shape != wanted.shape or got.dtype.kind not in _NUMBERS[self.dtype.is_complex]:
            return  # there is nothing to subtract
        if not is_judged:
            self._check_nan(case, wanted, got)
        elif self._is_exact:
            self._add_exact(wanted, got)
        else:
            self._add_float(case, wanted, got)

    @property
    def _is_exact(self) -> bool:
        return not (self.dtype.is_floating or self.dtype.is_complex)

    def _has_dtype(self, got: Array) -> bool:
        # NumPy has no bfloat16 of its own: some runtimes give float32, which holds every value of it.
        is_wider = self.dtype == DType.BFLOAT16 and got.dtype.name == "float32"
        return got.dtype.name == self.dtype.value or is_wider

    def _blame(self, reason: str) -> None:
        if reason not in self._reasons:
            self._reasons.append(reason)

    def _check_nan(self, case: str, wanted: Array, got: Array) -> None:
        import numpy as np

        if not self._is_exact and np.isnan(got).any() and not np.isnan(wanted).any():
            self._blame(f"has NaN where the model has none ({case})")

    def _add_exact(self, wanted: Array, got: Array) -> None:
        import numpy as np

        # Compared before anything is rounded: float64 does not tell all integers of 64 bits apart.
        self._mismatches += int(np.count_nonzero(wanted != got))
        self._add_difference(np.abs(wanted.astype(np.float64) - got.astype(np.float64)))

    def _add_float(self, case: str, wanted: Array, got: Array) -> None:
        import numpy as np

        kind = np.complex128 if self.dtype.is_complex else np.float64
        a, b = wanted.astype(kind), got.astype(kind)
        finite = np.isfinite(a)
        if not np.array_equal(finite, np.isfinite(b)) or not _same_specials(a, b, finite):
            self._blame(f"has NaN or Inf where the model has none, or the reverse ({case})")
            return
        self._add_agreement(a, b)
        a, b = a[finite], b[finite]
        with np.errstate(over="ignore"):
            difference = np.abs(a - b)
            self._signal += float(np.square(np.abs(a)).sum())
            self._noise += float(np.square(difference).sum())
            self._add_difference(difference)
        if self.signal is None or self._is_loud(a):
            self._cosine = min(self._cosine, _cosine(a, b))

    def _is_loud(self, wanted: Numbers) -> bool:
        """Whether the output of a sample is large enough to have a direction after quantization."""
        import numpy as np

        loudest = float(np.abs(wanted).max()) if wanted.size else 0.0
        return loudest > QUIET_FRACTION * max(abs(limit) for limit in self.limits)

    def _add_difference(self, difference: Array) -> None:
        if difference.size:
            self._largest_error = max(self._largest_error, float(difference.max()))
            self._error_sum += float(difference.sum())
            self._count += difference.size

    def _add_agreement(self, wanted: Array, got: Array) -> None:
        """Top-1 over the last axis, for outputs that look like scores: `[batch, classes]`, or a row of them."""
        import numpy as np

        is_scores = 2 <= wanted.ndim <= _MAX_SCORE_AXES and wanted.shape[-1] > 1
        if self.dtype.is_complex or not is_scores or not wanted.size:
            return
        same = np.argmax(wanted, axis=-1) == np.argmax(got, axis=-1)
        self._agreeing += int(same.sum())
        self._rows += same.size

    @property
    def is_compared(self) -> bool:
        """Whether there was any case."""
        return self._is_compared

    def metrics(self) -> OutputMetrics:
        """The metrics so far, and whether the output passes."""
        largest = max(abs(limit) for limit in self.limits)
        tolerance = 0.0 if self._is_exact else float_tolerance(self.noise_floor, largest)
        reason = "; ".join(self._reasons) if self._is_compared else "was never compared"
        reason = reason or self._reason(tolerance)
        over_floor = None
        if self.noise_floor and not self._is_exact:
            over_floor = self._largest_error / self.noise_floor
        return OutputMetrics(
            name=self.name,
            max_abs_error=self._largest_error,
            mean_abs_error=self._error_sum / self._count if self._count else 0.0,
            relative_error=self._relative(largest),
            cosine=self._cosine,
            snr_db=self._snr_db(),
            top1_agreement=self._agreeing / self._rows if self._rows else None,
            noise_floor=self.noise_floor,
            error_over_floor=over_floor,
            tolerance=tolerance,
            passed=not reason,
            reason=reason,
            min_snr_db=None if self.signal is None or self._is_exact else self.signal.min_snr_db,
            min_cosine=None if self.signal is None or self._is_exact else self.signal.min_cosine,
        )

    def _relative(self, largest: float) -> float:
        """Over the range; over the magnitude where all values are the same, and as it is where they are 0."""
        low, high = self.limits
        return self._largest_error / (high - low or largest or 1.0)

    def _reason(self, tolerance: float) -> str:
        """Why the values do not pass; empty if they do."""
        if not self._is_judged:
            return "was not judged"
        if self._is_exact:
            return self._judge_exact()
        return self._judge(tolerance) if self.signal is None else self._judge_signal(self.signal)

    def _judge_signal(self, signal: SignalTolerance) -> str:
        snr_db = self._snr_db()
        if snr_db is None and self._noise:
            return f"is off by {self._largest_error:.2e} where the model gives 0"
        if snr_db is not None and snr_db < signal.min_snr_db:
            return f"has a signal-to-noise ratio of {snr_db:.1f} dB, less than {signal.min_snr_db:g} dB"
        if self._cosine < signal.min_cosine:
            return f"has a sample of cosine {self._cosine:.3f}, less than {signal.min_cosine:g}"
        return ""

    def _judge(self, tolerance: float) -> str:
        if self._largest_error <= tolerance:
            return ""
        floor = (
            f", {self._largest_error / self.noise_floor:.0f} x floor" if self.noise_floor else ""
        )
        return f"is off by {self._largest_error:.2e}, more than {tolerance:.2e}{floor}"

    def _judge_exact(self) -> str:
        share = share_tolerance(self.noise_floor) if self.signal is None else self.signal.max_share
        if self._mismatches <= share * self._count:
            return ""
        return f"differs in {self._mismatches} of {counted(self._count, 'value')}"

    def _snr_db(self) -> float | None:
        if not (0 < self._noise < math.inf and 0 < self._signal < math.inf):
            return None
        return 10 * math.log10(self._signal / self._noise)


def _same_specials(a: Array, b: Array, finite: Array) -> bool:
    import numpy as np

    special = np.logical_not(finite)
    return bool(np.array_equal(a[special], b[special], equal_nan=True))


def _cosine(a: Numbers, b: Numbers) -> float:
    """Cosine similarity; 1 where both are zero or empty, 0 where one of them is zero."""
    import numpy as np

    # Each is brought to a largest value of 1 first, so that no square overflows or vanishes.
    sizes = [float(np.abs(x).max()) if x.size else 0.0 for x in (a, b)]
    if not all(sizes):
        return 1.0 if not any(sizes) else 0.0
    a, b = a / sizes[0], b / sizes[1]
    cosine = float(np.vdot(a, b).real) / float(np.linalg.norm(a) * np.linalg.norm(b))
    return max(-1.0, min(1.0, cosine))
