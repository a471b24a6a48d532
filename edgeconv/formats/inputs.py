"""Checks arrays against a signature before a runtime sees them, so that every format refuses them in the same words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

from edgeconv.dims import DimExpr, Size, evaluate, symbols
from edgeconv.errors import InvalidInputError
from edgeconv.signature import Signature, TensorSpec

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array: TypeAlias = NDArray[np.generic]

__all__ = ["TRY_OTHERS", "check_inputs"]

TRY_OTHERS = "names, dtypes and sizes fit: look at the values, or try the sizes it was made with"
"""What to do when a runtime fails on inputs that fit the signature."""


def check_inputs(signature: Signature, inputs: Mapping[str, Array]) -> dict[str, int]:
    """Check names, dtypes and shapes.

    Returns:
        The size of every dynamic dim that an input gives by itself.

    Raises:
        InvalidInputError: Something does not fit; the error lists everything that does not.
    """
    _check_mapping(signature, inputs)
    expected = [spec.name for spec in signature.inputs]
    problems = [f"input '{name}' is missing" for name in expected if name not in inputs]
    problems += [f"there is no input '{name}'" for name in inputs if name not in expected]
    given = [(spec, inputs[spec.name]) for spec in signature.inputs if spec.name in inputs]
    sizes = _read_sizes(given)
    for spec, array in given:
        problems += _check_array(spec, array, sizes)
    problems += [
        f"dim '{dim.name}' is {sizes[dim.name]}, outside of {dim.min}..{dim.max or ''}"
        for dim in signature.dims
        if dim.name in sizes and not dim.min <= sizes[dim.name] <= (dim.max or sizes[dim.name])
    ]
    if problems:
        takes = ", ".join(str(spec) for spec in signature.inputs)
        raise InvalidInputError(
            "the inputs do not fit the model",
            why=f"it takes {takes}",
            hint="give one NumPy array for each input name, with its dtype and shape",
            details=problems,
        )
    return sizes


def _check_mapping(signature: Signature, inputs: object) -> None:
    """Refuse what is no mapping of arrays before anything is asked of it."""
    import numpy as np

    takes = ", ".join(str(spec) for spec in signature.inputs)
    if not isinstance(inputs, Mapping):
        raise InvalidInputError(
            f"the inputs are a {type(inputs).__name__}",
            why=f"the model takes {takes}",
            hint='give a mapping from input name to array, such as {"image": array}',
        )
    strange = [
        f"'{name}' is a {type(value).__name__}, not an array"
        for name, value in inputs.items()
        if not isinstance(value, np.ndarray | np.generic)
    ]
    if strange:
        raise InvalidInputError(
            "the inputs are no NumPy arrays",
            why=f"the model takes {takes}",
            hint="give NumPy arrays: tensor.numpy(), or numpy.asarray(value, dtype)",
            details=strange,
        )


def _read_sizes(given: Sequence[tuple[TensorSpec, Array]]) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for spec, array in given:
        for size, actual in zip(spec.shape, array.shape, strict=False):
            if isinstance(size, DimExpr) and size == DimExpr.symbol(str(size)):
                sizes.setdefault(str(size), actual)
    return sizes


def _check_array(spec: TensorSpec, array: Array, sizes: Mapping[str, int]) -> list[str]:
    problems = []
    if array.dtype.name != spec.dtype.value:
        problems.append(f"'{spec.name}' is {array.dtype.name}, not {spec.dtype.value}")
    elif not array.dtype.isnative:
        problems.append(f"'{spec.name}' has its bytes in the order of another kind of machine")
    fits = len(array.shape) == len(spec.shape) and all(
        _fits(size, actual, sizes) for size, actual in zip(spec.shape, array.shape, strict=True)
    )
    if not fits:
        problems.append(f"'{spec.name}' has shape {list(array.shape)}, which is not {spec}")
    return problems


def _fits(size: Size, actual: int, sizes: Mapping[str, int]) -> bool:
    """Whether a size is what it must be; one that cannot be told is left to the runtime."""
    return not symbols(size) <= sizes.keys() or evaluate(size, sizes) == actual
