"""The search within an accuracy budget: which operators must keep more bits, and no more of them than needed.

Each operator is first quantized alone: what the outputs lose by that is its sensitivity. The most sensitive ones are given back
their accuracy until the budget holds, first twice as many each time, then halving; at last each is tried to be taken back.

Source of the ranking: Dong et al., "HAWQ: Hessian AWare Quantization of Neural Networks with Mixed-Precision", ICCV 2019, for the
idea to rank by sensitivity; measured on outputs here instead of estimated from second derivatives.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from edgeconv.errors import EdgeconvError, counted
from edgeconv.plugin.quantizer import (
    FLOAT32,
    Dependence,
    Operator,
    Precision,
)
from edgeconv.quantization.candidates import Candidate, Workbench
from edgeconv.quantization.observers import Observer
from edgeconv.quantization.plans import make_plan
from edgeconv.quantization.preparing import Prepared

__all__ = ["Refuge", "Search", "Sensitivity"]

_LOG = logging.getLogger(__name__)
_MOST_RANKED = 96


@dataclass(frozen=True, slots=True, kw_only=True)
class Refuge:
    """A more accurate precision that operators may be returned to.

    Attributes:
        name: For people.
        precision: What it is.
    """

    name: str
    precision: Precision


@dataclass(frozen=True, slots=True, kw_only=True)
class Sensitivity:
    """What the outputs lose when one operator alone is quantized.

    Attributes:
        operator: Its name.
        snr_db: Of the outputs then; less is worse.
    """

    operator: str
    snr_db: float


@dataclass(slots=True, kw_only=True)
class Search:
    """Searches among the plans for one prepared model.

    Attributes:
        prepared: The model.
        precision: Of the recipe.
        observer: Chooses ranges.
        bench: Makes and measures candidates.
        deadline: Of `time.monotonic`, after which nothing new is tried.
        name: Of the recipe, for the names of candidates.
        overrides: Operators whose precision the user settled.
    """

    prepared: Prepared
    precision: Precision
    observer: Observer
    bench: Workbench
    deadline: float
    name: str
    overrides: Mapping[str, Precision]

    def rank(self, base: Candidate) -> list[Sensitivity]:
        """Operators that are not in float any more, the most sensitive first."""
        model = self.prepared.model
        names = [
            one.name
            for one in model.operators
            if base.file.precisions.get(one.name, FLOAT32) != FLOAT32
            and _has_own_error(one)
            and one.name not in self.overrides
        ]
        found: list[Sensitivity] = []
        for name in names[:_MOST_RANKED]:
            if time.monotonic() > self.deadline:
                break
            snr = self._snr_alone(name)
            if snr is not None:
                found.append(Sensitivity(operator=name, snr_db=snr))
        return sorted(found, key=lambda one: one.snr_db)

    def meet(self, ranking: Sequence[Sensitivity], refuge: Refuge) -> Candidate | None:
        """The candidate with the fewest operators in a refuge that meets the budget; None if there is none."""
        names = [one.operator for one in ranking]
        fewest = self._fewest(names, refuge)
        if fewest is None:
            return None
        best, kept = fewest
        for name in reversed(kept):
            if len(kept) == 1 or time.monotonic() > self.deadline:
                break
            fewer = [other for other in kept if other != name]
            tried = self._try(fewer, refuge, without=name)
            if tried is not None and tried.is_within:
                best, kept = tried, fewer
        return best

    def _fewest(self, names: Sequence[str], refuge: Refuge) -> tuple[Candidate, list[str]] | None:
        """How many of the most sensitive operators it takes."""
        low, high, best = 0, 1, None
        while best is None:
            if time.monotonic() > self.deadline:
                return None
            high = min(high, len(names))
            tried = self._try(names[:high], refuge)
            if tried is not None and tried.is_within:
                best = tried
            elif high >= len(names):
                return None
            else:
                low, high = high, 2 * high
        while high - low > 1 and time.monotonic() < self.deadline:
            middle = (low + high) // 2
            tried = self._try(names[:middle], refuge)
            if tried is not None and tried.is_within:
                best, high = tried, middle
            else:
                low = middle
        return best, list(names[:high])

    def _try(self, names: Sequence[str], refuge: Refuge, *, without: str = "") -> Candidate | None:
        """A candidate with some operators in a refuge, measured; None where the library cannot make it.

        The one that was taken back is in its name: otherwise several candidates would have the same.
        """
        model = self.prepared.model
        chosen = spread(model.operators, names)
        operators = {
            **dict.fromkeys(chosen, refuge.precision),
            **self.prepared.operators,
            **self.overrides,
        }
        plan = make_plan(
            self.precision,
            operators,
            statistics=self.prepared.statistics,
            observer=self.observer,
            model=model,
        )
        label = f"{self.name}, {counted(len(names), 'operator')} in {refuge.name}"
        if without:
            label += f", '{without}' taken back"
        try:
            return self.bench.evaluate(self.bench.make(model, plan, label))
        except EdgeconvError as error:
            _LOG.info("candidate '%s' cannot be made: %s", label, error)
            return None

    def _snr_alone(self, name: str) -> float | None:
        model = self.prepared.model
        operators = {one.name: FLOAT32 for one in model.operators if one.name != name}
        plan = make_plan(
            self.precision,
            operators,
            statistics=self.prepared.statistics,
            observer=self.observer,
            model=model,
        )
        try:
            return self.bench.probe(model, plan)
        except EdgeconvError as error:
            _LOG.info("'%s' cannot be quantized alone: %s", name, error)
            return None


def _has_own_error(operator: Operator) -> bool:
    return operator.dependence is not Dependence.SHAPE


def spread(operators: Sequence[Operator], names: Iterable[str]) -> set[str]:
    """The named operators, with changes of shape that stand between them: in the old precision these would round again."""
    chosen = set(names)
    made = {tensor: one.name for one in operators for tensor in one.outputs}
    for one in operators:
        before = {made[tensor] for tensor in one.inputs if tensor in made}
        if one.dependence is Dependence.SHAPE and before and before <= chosen:
            chosen.add(one.name)
    return chosen
