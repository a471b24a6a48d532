"""What an artifact tells of the inputs of the model that it is compared with, so that nobody has to say it again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import cast

from edgeconv.dims import symbols
from edgeconv.plugin.job import Json
from edgeconv.signature import InputSpec, Layout, Signature, TensorSpec

__all__ = ["complete_options"]


def complete_options(
    options: Mapping[str, Json], signature: Signature
) -> Iterator[Mapping[str, Json]]:
    """Options of a capture in which inputs that the user said nothing of are those of the artifact: first the likeliest.

    An artifact that takes images with their channels last was most probably made with `--layout nhwc` from a model that
    takes them first.

    Args:
        options: As the user gave them.
        signature: Of the artifact.
    """
    # Last, since the example size of a dim counts that is told last.
    given = cast("list[dict[str, Json]]", options.get("inputs") or [])
    names = {InputSpec.from_json(item).tensor.name for item in given}
    told = [spec for spec in signature.inputs if spec.name not in names]
    is_turned = any(spec.layout == Layout.NHWC for spec in signature.inputs)
    if is_turned and "layout" not in options:
        turned = _as_json([_turn(spec) for spec in told], signature)
        yield {**options, "inputs": [*turned, *given], "layout": Layout.NHWC.value}
    if told:
        yield {**options, "inputs": [*_as_json(told, signature), *given]}


def _as_json(specs: Sequence[TensorSpec], signature: Signature) -> list[Json]:
    """As `--input` would give them, so that a capture for a conversion serves again."""
    return [cast("Json", _as_given(spec, signature).to_json()) for spec in specs]


def _as_given(spec: TensorSpec, signature: Signature) -> InputSpec:
    used = frozenset().union(*map(symbols, spec.shape))
    dims = tuple(dim for dim in signature.dims if dim.name in used)
    return InputSpec(tensor=replace(spec, layout=Layout.NONE), dims=dims)


def _turn(spec: TensorSpec) -> TensorSpec:
    order = spec.layout.permutation_to(Layout.NCHW, len(spec.shape))
    return spec if order is None else replace(spec, shape=tuple(spec.shape[a] for a in order))
