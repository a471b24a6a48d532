"""How far an output may be off: a multiple of the model's own noise, not a constant.

Two correct float32 implementations of a model differ in the order of their sums, so each is about one noise floor
(the distance between the model in float32 and in float64) from the truth and up to two from one another. Kernels that
reassociate more (Winograd convolutions, blocked matrix products, vectorized approximations of exp and tanh with an
error of a few units in the last place) reach several floors, and the floor itself is a maximum over a few samples
only; ten leaves room for that. A model that is exact in float32 has a floor near 0: there the smallest tolerance is
5e-6 of the output's magnitude, about 40 units in the last place, which approximations of transcendental functions keep.

However much a model's own noise, nothing passes that is off by more than a tenth of the output's magnitude: where float32 and
float64 are so far apart (a model that draws random numbers under a fixed seed, or takes another way for another dtype),
their distance says nothing about rounding.

Integers and truth values do not round: they are the same, or they are wrong. Only where they follow from rounded numbers
(an argmax over two scores that are nearly the same) may some flip; their noise floor is the share that flips between
float32 and float64, and the same multiple of it may differ, but never more than half.
"""

from __future__ import annotations

__all__ = [
    "FLOOR_MULTIPLE",
    "LARGEST_FRACTION",
    "LARGEST_SHARE",
    "RANGE_FRACTION",
    "float_tolerance",
    "share_tolerance",
]

FLOOR_MULTIPLE = 10.0
RANGE_FRACTION = 5e-6
LARGEST_FRACTION = 0.1
LARGEST_SHARE = 0.5


def float_tolerance(noise_floor: float, largest: float) -> float:
    """The largest absolute error that a float32 output may have.

    Args:
        noise_floor: Largest distance of the output in float32 and in float64.
        largest: Largest magnitude of the output over all samples.
    """
    noise = min(FLOOR_MULTIPLE * noise_floor, LARGEST_FRACTION * largest)
    return max(noise, RANGE_FRACTION * largest)


def share_tolerance(noise_floor: float) -> float:
    """The largest share of an output's integers or truth values that may differ.

    Args:
        noise_floor: The share that flips between float32 and float64.
    """
    return min(FLOOR_MULTIPLE * noise_floor, LARGEST_SHARE)
