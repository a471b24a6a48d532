"""Runs whatever PyTorch itself runs: a callable on positional tensors, behind names and arrays."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Self

from edgeconv.errors import InvalidInputError, counted
from edgeconv.formats.handler import RunResult
from edgeconv.formats.inputs import TRY_OTHERS, check_inputs
from edgeconv.signature import Signature

if TYPE_CHECKING:
    import torch

    from edgeconv.formats.handler import Array

__all__ = ["TorchSession"]


class TorchSession:
    """A program or a script module with its signature.

    Args:
        signature: Names and order of inputs and outputs.
        call: Takes the input tensors in that order; returns a tensor or a sequence of them.
    """

    def __init__(self, signature: Signature, call: Callable[..., object]) -> None:
        self._signature = signature
        self._call = call

    def run(self, inputs: Mapping[str, Array], *, repeat: int = 1) -> RunResult:
        """Run on inputs by name, `repeat` times.

        Raises:
            InvalidInputError: A name, dtype or shape does not fit, or PyTorch refuses the inputs.
        """
        import torch

        check_inputs(self._signature, inputs)
        tensors = [torch.tensor(inputs[spec.name]) for spec in self._signature.inputs]
        latencies, result = [], None
        try:
            with torch.no_grad():
                for _ in range(repeat):
                    started = time.perf_counter()
                    result = self._call(*tensors)
                    latencies.append(time.perf_counter() - started)
        except (RuntimeError, ValueError, AssertionError) as error:
            raise InvalidInputError(
                "the model does not run on these inputs",
                why=str(error).strip(),
                hint=TRY_OTHERS,
            ) from error
        outputs = _flatten(result)
        names = [spec.name for spec in self._signature.outputs]
        if len(outputs) != len(names):
            raise InvalidInputError(
                f"the model gives {counted(len(outputs), 'output')}, not {names}"
            )
        arrays = {name: _to_array(t) for name, t in zip(names, outputs, strict=True)}
        return RunResult(outputs=arrays, latencies_seconds=tuple(latencies))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        """Nothing is held beyond the object."""


def _flatten(result: object) -> Sequence[torch.Tensor]:
    import torch

    if isinstance(result, torch.Tensor):
        return [result]
    if isinstance(result, Mapping):
        return [tensor for value in result.values() for tensor in _flatten(value)]
    if isinstance(result, tuple | list):
        return [tensor for value in result for tensor in _flatten(value)]
    raise InvalidInputError(f"the model gives a {type(result).__name__}, not tensors")


def _to_array(tensor: torch.Tensor) -> Array:
    import torch

    # NumPy has no bfloat16; float32 holds every value of it.
    plain = tensor.float() if tensor.dtype == torch.bfloat16 else tensor
    array: Array = plain.detach().cpu().resolve_conj().resolve_neg().numpy()
    return array
