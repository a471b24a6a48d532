"""What a metric is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from edgeconv.errors import InvalidInputError
from edgeconv.formats.handler import Array

__all__ = ["Evaluated", "Metric", "only_output"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluated:
    """What a model made of all samples of an evaluation set; the first axis of each array counts the samples.

    Attributes:
        outputs: By name.
        reference: The same of the float model.
        inputs: By name, of the samples whose outputs are compared with them; empty unless the metric asks for them.
        extras: What else the data holds, such as `label`.
    """

    outputs: Mapping[str, Array]
    reference: Mapping[str, Array]
    inputs: Mapping[str, Array]
    extras: Mapping[str, Array]

    def label(self, metric: str) -> Array:
        """The labels.

        Raises:
            InvalidInputError: There are none.
        """
        if "label" not in self.extras:
            raise InvalidInputError(
                f"metric '{metric}' needs labels, and the data has none",
                why="it holds " + ", ".join([*self.inputs, *self.extras]),
                hint="add an array 'label' with one label per sample, or leave --metric out",
            )
        return self.extras["label"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A figure of how good the answers of a model are.

    Attributes:
        name: As users write it.
        measure: From everything that was evaluated to the figure.
        is_higher_better: Whether a larger figure is better.
        needs_inputs: Whether it compares outputs with inputs, as for a model that reconstructs them.
        unit: `%` where a figure of 0 to 1 is a share.
    """

    name: str
    measure: Callable[[Evaluated], float]
    is_higher_better: bool = True
    needs_inputs: bool = False
    unit: str = ""

    def drop(self, before: float, after: float) -> float:
        """By how much a figure became worse; negative if it became better."""
        return before - after if self.is_higher_better else after - before


def only_output(evaluated: Evaluated, metric: str) -> Array:
    """The output of a model that has one; of several, the one named `output`, else `logits`, else `scores`.

    Raises:
        InvalidInputError: It is not clear which is meant.
    """
    outputs = evaluated.outputs
    if len(outputs) == 1:
        return next(iter(outputs.values()))
    for name in ("output", "logits", "scores"):
        if name in outputs:
            return outputs[name]
    raise InvalidInputError(
        f"metric '{metric}' is about one output, and the model has {len(outputs)}",
        why="they are " + ", ".join(outputs),
        hint="write a metric of your own: --metric package.module:function",
    )
