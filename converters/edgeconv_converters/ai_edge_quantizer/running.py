"""Runs a TFLite file and keeps every activation.

With `experimental_preserve_all_tensors` LiteRT (2.3) hands every operator to the XNNPACK delegate by itself, so that the
activations between them are there, as the kernels that users run make them. It warns that this takes memory.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ai_edge_litert.interpreter import Interpreter

from edgeconv.errors import InvalidInputError
from edgeconv.formats.inputs import TRY_OTHERS
from edgeconv_converters.ai_edge_quantizer.tables import Array

__all__ = ["Runner"]


class Runner:
    """A file in LiteRT's interpreter.

    Args:
        path: The file.
        inputs: Name and tensor index of each input.
        kept: Index of every tensor that is wanted.

    Raises:
        InvalidInputError: The runtime refuses the file.
    """

    def __init__(self, path: Path, inputs: Sequence[tuple[str, int]], kept: Sequence[int]) -> None:
        self._inputs = tuple(inputs)
        self._kept = tuple(kept)
        self._shapes: tuple[tuple[int, ...], ...] = ()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)
                self._interpreter: Any = Interpreter(
                    model_path=str(path), experimental_preserve_all_tensors=True
                )
        except (ValueError, RuntimeError) as error:
            raise InvalidInputError(f"LiteRT refuses '{path}'", why=str(error)) from error

    def run(self, inputs: Mapping[str, Array]) -> dict[int, Array]:
        """The value of every tensor that is wanted, by its index; dynamic dims take their size from the arrays.

        Raises:
            InvalidInputError: The runtime fails on these inputs.
        """
        arrays = [inputs[name] for name, _ in self._inputs]
        try:
            self._allocate(arrays)
            for (_, index), array in zip(self._inputs, arrays, strict=True):
                self._interpreter.set_tensor(index, array)
            self._interpreter.invoke()
            return {index: self._interpreter.get_tensor(index) for index in self._kept}
        except (RuntimeError, ValueError) as error:
            self._shapes = ()
            raise InvalidInputError(
                "the TFLite model does not run on these inputs",
                why=str(error),
                hint=TRY_OTHERS,
                details=[f"'{name}' {list(array.shape)}" for name, array in inputs.items()],
            ) from error

    def _allocate(self, arrays: Sequence[Array]) -> None:
        shapes = tuple(array.shape for array in arrays)
        if shapes == self._shapes:
            return
        self._shapes = ()
        for (_, index), shape in zip(self._inputs, shapes, strict=True):
            self._interpreter.resize_tensor_input(index, list(shape))
        self._interpreter.allocate_tensors()
        self._shapes = shapes
