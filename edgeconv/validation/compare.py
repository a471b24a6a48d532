"""Compares outputs with the reference, case by case, and adds up the metrics."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edgeconv.validation.tolerance import float_tolerance
from edgeconv.validation.verdict import OutputMetrics

if TYPE_CHECKING:
    from edgeconv.formats.handler import Array

__all__ = ["OutputComparison"]


@dataclass(slots=True, kw_only=True)
class OutputComparison:
    """Adds up one output over all cases; one case is in memory at a time.

    Attributes:
        name: The output's name.
        noise_floor: Of the model, for this output.
        limits: Smallest and largest finite value of the reference.
    """

    name: str
    noise_floor: float
    limits: tuple[float, float]
    _largest_error: float = 0.0
    _error_sum: float = 0.0
    _count: int = 0
    _is_compared: bool = False
    _cosine: float = 1.0
    _signal: float = 0.0
    _noise: float = 0.0
    _agreeing: int = 0
    _rows: int = 0
    _exact_mismatches: int = 0
    _reasons: list[str] = field(default_factory=list)

    def add(self, case: str, wanted: Array, got: Array) -> None:
        """Compare one case."""
        self._is_compared = True
        if got.shape != wanted.shape:
            self._reasons.append(f"has shape {list(got.shape)}, not {list(wanted.shape)} ({case})")
            return
        if wanted.dtype.kind in "biu":
            self._add_exact(wanted, got)
        else:
            self._add_float(case, wanted, got)
        self._add_agreement(wanted, got)

    def _add_exact(self, wanted: Array, got: Array) -> None:
        import numpy as np

        difference = np.abs(np.asarray(wanted, np.float64) - np.asarray(got, np.float64))
        self._exact_mismatches += int((difference != 0).sum())
        self._add_difference(difference)

    def _add_float(self, case: str, wanted: Array, got: Array) -> None:
        import numpy as np

        kind = np.complex128 if wanted.dtype.kind == "c" else np.float64
        a, b = np.asarray(wanted, kind), np.asarray(got, kind)
        finite = np.isfinite(a)
        if not np.array_equal(finite, np.isfinite(b)) or not _same_specials(a, b, finite):
            self._reasons.append(
                f"has NaN or Inf where the model has none, or the reverse ({case})"
            )
            return
        a, b = a[finite], b[finite]
        difference = np.abs(a - b)
        self._add_difference(difference)
        self._signal += float((np.abs(a) ** 2).sum())
        self._noise += float((difference**2).sum())
        length = float(np.linalg.norm(a) * np.linalg.norm(b))
        if length:
            self._cosine = min(self._cosine, float(np.vdot(a, b).real) / length)

    def _add_difference(self, difference: Array) -> None:
        if difference.size:
            self._largest_error = max(self._largest_error, float(difference.max()))
            self._error_sum += float(difference.sum())
            self._count += difference.size

    def _add_agreement(self, wanted: Array, got: Array) -> None:
        """Top-1 over the last axis, for outputs that look like scores: two or more of them in a row."""
        import numpy as np

        if wanted.dtype.kind != "f" or wanted.ndim < 2 or wanted.shape[-1] < 2 or not wanted.size:
            return
        same = np.argmax(wanted, axis=-1) == np.argmax(got, axis=-1)
        self._agreeing += int(same.sum())
        self._rows += same.size

    def metrics(self) -> OutputMetrics:
        """The metrics so far, and whether the output passes."""
        low, high = self.limits
        tolerance = float_tolerance(self.noise_floor, max(abs(low), abs(high)))
        reason = "; ".join(self._reasons) or self._judge(tolerance)
        spread = high - low
        return OutputMetrics(
            name=self.name,
            max_abs_error=self._largest_error,
            mean_abs_error=self._error_sum / self._count if self._count else 0.0,
            relative_error=self._largest_error / spread if spread > 0 else self._largest_error,
            cosine=self._cosine,
            snr_db=self._snr_db(),
            top1_agreement=self._agreeing / self._rows if self._rows else None,
            noise_floor=self.noise_floor,
            error_over_floor=self._largest_error / self.noise_floor if self.noise_floor else None,
            tolerance=tolerance,
            passed=not reason,
            reason=reason,
        )

    def _judge(self, tolerance: float) -> str:
        if not self._is_compared:
            return "was never compared"
        if self._exact_mismatches and self.noise_floor == 0:
            return f"differs in {self._exact_mismatches} integers"
        if not self._exact_mismatches and self._largest_error > tolerance:
            floor = (
                f", {self._largest_error / self.noise_floor:.0f} x floor"
                if self.noise_floor
                else ""
            )
            return f"is off by {self._largest_error:.2e}, more than {tolerance:.2e}{floor}"
        return ""

    def _snr_db(self) -> float | None:
        if self._noise == 0 or self._signal == 0:
            return None
        return 10 * math.log10(self._signal / self._noise)


def _same_specials(a: Array, b: Array, finite: Array) -> bool:
    import numpy as np

    special = np.logical_not(finite)
    return bool(np.array_equal(a[special], b[special], equal_nan=True))
