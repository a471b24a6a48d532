"""What building a model gives: the module, and what its source knows of its inputs and outputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

from edgeconv.signature import InputSpec
from edgeconv_converters.torch_export.examples import InputShapes

__all__ = ["Built"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """A module, and what its source knows of its inputs and outputs.

    Attributes:
        module: The module.
        args: Positional example inputs.
        kwargs: Keyword example inputs.
        specs: The inputs, where a file describes them and has no examples.
        shapes: Shapes of the example inputs, in their order, with the dims that a file leaves open.
        output_names: Names that a file has for the outputs, in their order; empty if it has none.
    """

    module: nn.Module
    args: tuple[object, ...] = ()
    kwargs: Mapping[str, object] | None = None
    specs: tuple[InputSpec, ...] = ()
    shapes: InputShapes | None = None
    output_names: tuple[str, ...] = ()

    @property
    def has_examples(self) -> bool:
        """Whether the source brought example inputs."""
        return bool(self.args or self.kwargs)
