"""Opens a float model and prepares it: the steps in their order, each switchable, and the proof that nothing changed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np

from edgeconv.plugin.quantizer import FLOAT32, FloatModel, Precision, QuantizationPlan
from edgeconv.quantization.calibration import Statistics, calibrate
from edgeconv.quantization.dataset import Dataset
from edgeconv.quantization.evaluation import mean_snr_db
from edgeconv.quantization.observers import observe_min_max
from edgeconv.quantization.preparation.bias import correct_biases
from edgeconv.quantization.preparation.clipping import clip_outliers
from edgeconv.quantization.preparation.concatenations import find_mixed_outputs
from edgeconv.quantization.preparation.equalization import equalize_channels
from edgeconv.quantization.preparation.infinities import bound_infinities

__all__ = ["ALL_STEPS", "Prepared", "Preparer", "Step"]

_SAME_FUNCTION_DB = 60.0
_PROVEN_ON = 4
_DYNAMIC = Precision(weights="int8", is_dynamic=True)


class Step(StrEnum):
    """A step of the preparation.

    `INFINITIES`: constants that stand for minus infinity become finite. `EQUALIZE`: channels get ranges of one size.
    `CLIP`: outliers of weights. `BIAS`: what rounded weights add on average is taken back. `SPLIT`: concatenations before an
    output whose parts have ranges far apart stay float.
    """

    INFINITIES = "infinities"
    EQUALIZE = "equalize"
    CLIP = "clip"
    BIAS = "bias"
    SPLIT = "split"


ALL_STEPS = frozenset(Step)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A float model that is ready to be quantized.

    Attributes:
        model: With the weights that preparation gave it.
        statistics: Of its activations as they are now; None where nothing was calibrated.
        operators: Precision of operators that preparation settled.
        changes: How many places each step changed.
        notes: What the user should know.
    """

    model: FloatModel
    statistics: Statistics | None
    operators: dict[str, Precision] = field(default_factory=dict)
    changes: dict[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(slots=True, kw_only=True)
class Preparer:
    """Prepares a model in several ways, each from the file anew.

    Attributes:
        open_model: Opens the float artifact.
        dataset: What it is calibrated with; None where the recipe needs none and there is none.
        indices: Which samples.
        precision: What the model is prepared for.
    """

    open_model: Callable[[], FloatModel]
    dataset: Dataset | None
    indices: Sequence[int]
    precision: Precision
    _untouched: Statistics | None = None

    def prepare(self, steps: frozenset[Step]) -> Prepared:
        """Open the model and do these steps.

        Raises:
            InvalidInputError: The data does not fit the model, or says nothing.
        """
        model = self.open_model()
        changes: dict[str, int] = {}
        if self.dataset is None:
            changes = self._round(model, None, steps, QuantizationPlan(default=self.precision))
            return Prepared(model=model, statistics=None, changes=changes)
        statistics = self._calibrate_untouched(model)
        notes: list[str] = []
        if steps & {Step.INFINITIES, Step.EQUALIZE}:
            changes = self._rescale(model, statistics, steps)
            if any(changes.values()) and not self._is_same(model):
                notes.append(
                    "the model computes something else with its channels equalized: left as they were"
                )
                model, changes = self.open_model(), {}
                statistics = self._calibrate_untouched(model)
            if any(changes.values()):
                statistics = calibrate(model, self.dataset, self.indices)
        split = self._split(model, statistics) if Step.SPLIT in steps else {}
        operators = {**self._while_running(model), **split}
        plan = QuantizationPlan(default=self.precision, operators=operators)
        changes |= self._round(model, statistics, steps, plan)
        return Prepared(
            model=model,
            statistics=statistics,
            operators=operators,
            changes=changes | ({Step.SPLIT.value: len(split)} if split else {}),
            notes=tuple(notes),
        )

    def _calibrate_untouched(self, model: FloatModel) -> Statistics:
        """What is seen of the model as it is in the file: once for all ways to prepare it."""
        assert self.dataset is not None
        if self._untouched is None:
            self._untouched = calibrate(model, self.dataset, self.indices)
        return deepcopy(self._untouched)

    def _rescale(
        self, model: FloatModel, statistics: Statistics, steps: frozenset[Step]
    ) -> dict[str, int]:
        """The steps that leave the function as it is."""
        changes = {}
        if Step.INFINITIES in steps:
            changes[Step.INFINITIES.value] = bound_infinities(model, statistics)
        if Step.EQUALIZE in steps and (self.precision.is_static or self.precision.is_dynamic):
            changes[Step.EQUALIZE.value] = equalize_channels(model, statistics)
        return changes

    def _round(
        self,
        model: FloatModel,
        statistics: Statistics | None,
        steps: frozenset[Step],
        plan: QuantizationPlan,
    ) -> dict[str, int]:
        """The steps that foresee how weights are rounded."""
        changes = {}
        originals = {
            one.weights.tensor: model.constant(one.weights.tensor)
            for one in model.operators
            if one.weights is not None
        }
        if Step.CLIP in steps:
            changes[Step.CLIP.value] = clip_outliers(model, plan)
        if Step.BIAS in steps and statistics is not None:
            changes[Step.BIAS.value] = correct_biases(model, statistics, plan, originals)
        return changes

    def _split(self, model: FloatModel, statistics: Statistics) -> dict[str, Precision]:
        if not self.precision.is_static:
            return {}
        ranges = statistics.ranges(observe_min_max, {})
        return {one.name: FLOAT32 for one in find_mixed_outputs(model, ranges)}

    def _while_running(self, model: FloatModel) -> dict[str, Precision]:
        """Operators with weights that no static kernel takes, such as LSTM, where one quantizes while it runs."""
        if not self.precision.is_static:
            return {}
        return {
            one.name: _DYNAMIC
            for one in model.operators
            if model.refusal(one, self.precision) and not model.refusal(one, _DYNAMIC)
        }

    def _is_same(self, model: FloatModel) -> bool:
        """Whether a model still computes what the file does."""
        assert self.dataset is not None
        original = self.open_model()
        names = [spec.name for spec in original.signature.outputs]
        worst = np.inf
        for batch in self.dataset.read(self.indices[:_PROVEN_ON]):
            wanted = {n: v.copy() for n, v in original.observe(batch.inputs).items() if n in names}
            worst = min(worst, mean_snr_db(wanted, model.observe(batch.inputs)))
        return bool(worst >= _SAME_FUNCTION_DB)
