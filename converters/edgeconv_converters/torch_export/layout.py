"""Exports a module with its images in the layout that was asked for.

The images are found in the program of the module as it is; where they are to have another layout, the module is wrapped
in permutations and exported once more, so that every format is made from, and compared with, the same thing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from torch import nn
from torch.export import ExportedProgram

from edgeconv.data import Data
from edgeconv.errors import CaptureError, InvalidInputError
from edgeconv.signature import Layout, Signature
from edgeconv.validation.samples import Sample, Samples, read_samples
from edgeconv_converters.torch_export.examples import InputShapes
from edgeconv_converters.torch_export.export import Exported, ExportRequest, export_program
from edgeconv_converters.torch_export.flatten import (
    Bound,
    FlatModule,
    OutputPlan,
    Turn,
    Turns,
    make_flat_module,
)
from edgeconv_converters.torch_export.images import find_layouts, user_outputs
from edgeconv_converters.torch_export.loaded import Signed

__all__ = ["Subject", "export_in_layout", "read_turned"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What is captured: a module, and how it is called.

    Attributes:
        module: The user's.
        bound: Its inputs, with the examples that the flat module takes.
        plan: Its outputs.
        shapes: Of the flat module's inputs, over the named dims.
        turns: How images are turned between the flat module and the user's.
    """

    module: nn.Module
    bound: Bound
    plan: OutputPlan
    shapes: InputShapes
    turns: Turns = field(default_factory=Turns)

    def flat(self) -> FlatModule:
        """The module with flat inputs and outputs, images turned."""
        return make_flat_module(self.module, self.bound, self.plan, self.turns)

    def request(self) -> ExportRequest:
        """What is to be exported."""
        script = self.module if isinstance(self.module, Signed) and self.module.is_script else None
        seen = self if script is None else replace(self, module=script.hidden())
        return ExportRequest(
            module=seen.flat(),
            is_script=script is not None,
            examples=self.bound.tensors,
            names=self.bound.names,
            shapes=self.shapes.shapes,
            dims=self.shapes.dims,
            bounded=self.shapes.bounded,
        )

    def turned(self, turns: Turns) -> Subject:
        """The same with its images turned: `turns` lead from the new layout to the module's own."""
        pairs = list(zip(self.bound.tensors, turns.inputs, strict=True))
        tensors = tuple(t if p is None else t.permute(_inverse(p)).contiguous() for t, p in pairs)
        shapes = tuple(
            shape if turn is None else tuple(shape[axis] for axis in _inverse(turn))
            for shape, turn in zip(self.shapes.shapes, turns.inputs, strict=True)
        )
        return replace(
            self,
            bound=self.bound.with_tensors(tensors),
            shapes=replace(self.shapes, shapes=shapes),
            turns=turns,
        )


def export_in_layout(subject: Subject, layout: Layout | None) -> tuple[Subject, Exported]:
    """Export, and once more with turned images where these have another layout than the one asked for.

    Args:
        subject: The module as it is.
        layout: What images are to have; None for their own.

    Raises:
        InvalidInputError: No input is an image.
        CaptureError: A dynamic dim is not possible, or nobody can tell what the images are.
    """
    exported = export_program(subject.request())
    if layout is None:
        return subject, exported
    if exported.program is None:
        raise CaptureError(
            f"the images cannot be given the layout {layout}",
            why="they are found in the exported program, and PyTorch cannot export the model",
            hint="leave the layout out, or change the model so that it can be exported",
        ) from exported.error
    inputs, outputs = find_layouts(exported.program)
    if not any(found != Layout.NONE for found in inputs):
        raise _no_image(subject, layout)
    turns = _plan(subject, exported.program, (inputs, outputs), layout)
    if not any(turns.inputs + turns.outputs):
        return subject, exported
    turned = subject.turned(turns)
    return turned, export_program(turned.request())


def read_turned(data: Data, signature: Signature, turns: Sequence[Turn]) -> Samples:
    """Samples in the layout that the user's module takes, as the flat module takes them.

    Args:
        data: As the user has them.
        signature: Of the flat module.
        turns: How its inputs are turned.

    Raises:
        InvalidInputError: They cannot be read, or do not fit.
    """
    if not any(turns):
        return read_samples(data, signature)
    pairs = [(s, t) for s, t in zip(signature.inputs, turns, strict=True) if t is not None]
    own = {spec.name: tuple(spec.shape[axis] for axis in turn) for spec, turn in pairs}
    inputs = tuple(replace(s, shape=own.get(s.name, s.shape)) for s in signature.inputs)
    samples = read_samples(data, replace(signature, inputs=inputs))
    back = {spec.name: _inverse(turn) for spec, turn in pairs}
    return replace(samples, items=tuple(_turn_sample(item, back) for item in samples.items))


def _turn_sample(sample: Sample, turns: Mapping[str, tuple[int, ...]]) -> Sample:
    inputs = {
        name: np.ascontiguousarray(array.transpose(turns[name])) if name in turns else array
        for name, array in sample.inputs.items()
    }
    return replace(sample, inputs=inputs)


def _plan(
    subject: Subject,
    program: ExportedProgram,
    found: tuple[Sequence[Layout], Sequence[Layout]],
    layout: Layout,
) -> Turns:
    """Inputs are turned from the new layout to their own, outputs from their own to the new one."""
    inputs, outputs = found
    results = [node.meta["val"] for node in user_outputs(program)]
    return Turns(
        inputs=tuple(
            layout.permutation_to(own, tensor.dim())
            for own, tensor in zip(inputs, subject.bound.tensors, strict=True)
        ),
        outputs=tuple(
            own.permutation_to(layout, len(value.shape))
            for own, value in zip(outputs, results, strict=True)
        ),
    )


def _inverse(perm: Sequence[int]) -> tuple[int, ...]:
    return tuple(perm.index(axis) for axis in range(len(perm)))


def _no_image(subject: Subject, layout: Layout) -> InvalidInputError:
    shapes = zip(subject.bound.names, subject.bound.tensors, strict=True)
    return InvalidInputError(
        f"the model has no image that could be given the layout {layout}",
        why="an image has 4 axes, or 5 of a clip or volume, and reaches a convolution, pooling or resizing with its "
        "axes in place",
        hint="leave the layout out; permute the axes in forward if an input is an image all the same",
        details=[f"'{name}' {list(tensor.shape)}" for name, tensor in shapes],
    )
