"""One quantization from the float file to the chosen candidate: prepared in several ways, measured, searched."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from edgeconv.errors import ConversionError, EdgeconvError, UsageError
from edgeconv.formats import find_format, load_handler
from edgeconv.plugin.quantizer import FLOAT32, FloatModel, Precision
from edgeconv.quantization.candidates import Candidate, Workbench
from edgeconv.quantization.latency import measure_latencies
from edgeconv.quantization.material import Material, open_material
from edgeconv.quantization.observers import find_observer
from edgeconv.quantization.plans import make_plan, resolve, with_source
from edgeconv.quantization.preparing import Prepared, Preparer, Step
from edgeconv.quantization.recipes import RECIPES, Recipe, find_recipe
from edgeconv.quantization.request import AUTO, QuantizationRequest
from edgeconv.quantization.search import Refuge, Search, Sensitivity
from edgeconv.quantization.usefulness import Usefulness
from edgeconv.signature import DType

__all__ = ["Attempt", "Result", "run"]

_LOG = logging.getLogger(__name__)
_OBSERVERS = ("min-max", "mse", "percentile")
_ONE_OBSERVER = "min-max"
_MOST_TIMED = 24
_REFUGES = (
    Refuge(name="int16x8", precision=RECIPES["int16x8"].precision),
    Refuge(name="float32", precision=FLOAT32),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One way to prepare a model and to choose its ranges, with the whole model in the recipe's precision.

    Attributes:
        recipe: The recipe.
        prepared: The model.
        observer: Name of what chose the ranges.
        candidate: What came of it.
    """

    recipe: Recipe
    prepared: Prepared
    observer: str
    candidate: Candidate


@dataclass(slots=True, kw_only=True)
class Result:
    """What a quantization came to.

    Attributes:
        material: The data.
        bench: All candidates.
        attempts: Ways that were tried before anything was searched.
        chosen: The one that was taken further, and the candidate that is best; within the budget if any is.
        ranking: Operators by sensitivity, if that was measured.
        float_seconds: Median latency of the float model; None where nothing could be run.
        is_met: Whether the budget is met; True where there is none.
        is_cut_short: Whether the search ended because its time was over.
        warnings: What the user should know.
    """

    material: Material
    bench: Workbench
    attempts: list[Attempt] = field(default_factory=list)
    chosen: tuple[Attempt, Candidate] | None = None
    ranking: list[Sensitivity] = field(default_factory=list)
    float_seconds: float | None = None
    is_met: bool = True
    is_cut_short: bool = False
    warnings: list[str] = field(default_factory=list)


def run(request: QuantizationRequest, open_model: Callable[[], FloatModel]) -> Result:
    """Quantize.

    Args:
        request: What is to be done.
        open_model: Opens the float artifact.

    Raises:
        UsageError: The recipe, an override or the data cannot be used.
        InvalidInputError: The artifact or the data is damaged or does not fit.
        ConversionError: The library cannot quantize the model in any way.
    """
    return _Engine(request, open_model).run()


class _Engine:
    def __init__(self, request: QuantizationRequest, open_model: Callable[[], FloatModel]) -> None:
        self._request = request
        self._open = open_model
        model = open_model()
        self._usefulness = Usefulness(model=model, has_integer_ends=request.io != DType.FLOAT32)
        if request.recipe == AUTO:
            recipes = self._usefulness.find_recipes()
        else:
            recipes = [find_recipe(request.recipe)]
            self._usefulness.check_recipe(recipes[0])
        self._recipes = recipes
        operators = [with_source(one, request.sources) for one in model.operators]
        self._overrides = resolve(operators, request.overrides)
        needs = (
            request.io != DType.FLOAT32
            or any(recipe.needs_calibration for recipe in recipes)
            or any(precision.is_static for precision in self._overrides.values())
        )
        material = open_material(request, model, needs_calibration=needs)
        bench = Workbench(
            format=request.format,
            suffix=find_format(request.format).suffix,
            scratch=request.scratch,
            fidelity=material.fidelity,
            budget=material.budget,
            signature=model.signature,
            io=request.io,
        )
        self._result = Result(material=material, bench=bench, warnings=list(material.warnings))
        self._deadline = time.monotonic() + request.search_seconds

    def run(self) -> Result:
        """All recipes; the best candidate of them."""
        owners = self._try_recipes()
        budget = self._result.material.budget
        self._time(owners)
        made = [one for one in self._result.bench.made if one.path in owners]
        known = [one for one in made if budget is None or one.score is not None]
        chosen = min(known, key=self._rank)
        self._result.chosen = (owners[chosen.path], chosen)
        self._result.is_met = budget is None or budget.max_drop is None or chosen.is_within
        return self._result

    def _try_recipes(self) -> dict[Path, Attempt]:
        """All recipes; of several, those that the library fails on are left out.

        Returns:
            What each candidate came from.

        Raises:
            EdgeconvError: None of them can be carried out.
        """
        owners: dict[Path, Attempt] = {}
        problems: list[EdgeconvError] = []
        for recipe in self._recipes:
            try:
                owners |= self._try_recipe(recipe)
            except (ConversionError, UsageError) as error:
                problems.append(error)
                told = ": ".join(part for part in (error.message, error.why) if part)
                self._result.warnings.append(f"left out: {told}")
        if not owners:
            raise problems[0]
        return owners

    def _try_recipe(self, recipe: Recipe) -> dict[Path, Attempt]:
        """Every way to carry out a recipe, and the search from the best of them, if the budget asks for one.

        Returns:
            What each candidate came from.
        """
        attempts = self._attempt(recipe)
        owners = {one.candidate.path: one for one in attempts}
        best = max(attempts, key=lambda one: _nearness(one.candidate))
        candidate = self._result.bench.evaluate(best.candidate)
        self._result.attempts += attempts
        budget = self._result.material.budget
        if budget is None or budget.max_drop is None or candidate.is_within:
            return owners
        owners |= self._search(best, candidate, recipe.name)
        others = [one for one in attempts if one.prepared is not best.prepared]
        if others and not any(
            one.is_within and one.path in owners for one in self._result.bench.made
        ):
            # Clipped weights stay clipped in float: what they cost, no operator that keeps its bits brings back.
            other = max(others, key=lambda one: _nearness(one.candidate))
            way = other.candidate.name.partition(", ")[2].partition(", ")[0]
            base = self._result.bench.evaluate(other.candidate)
            owners |= self._search(other, base, f"{recipe.name}, {way}")
        return owners

    def _rank(self, candidate: Candidate) -> tuple[float, float, float]:
        """Within the budget first; then by what is to be optimized; of those outside the one that loses least.

        Where nothing is evaluated there is nothing but the nearness to the float model.
        """
        if candidate.score is None:
            return (0.0, -_nearness(candidate), candidate.size_bytes)
        if not candidate.is_within:
            return (1.0, candidate.drop or 0.0, candidate.size_bytes)
        if self._request.optimize == "latency":
            return (0.0, candidate.latency_seconds or float("inf"), candidate.size_bytes)
        return (0.0, candidate.size_bytes, candidate.drop or 0.0)

    def _time(self, owners: Mapping[Path, Attempt]) -> None:
        """Latency of the candidates that may be chosen, and of the float model."""
        bench, fidelity = self._result.bench, self._result.material.fidelity
        known = [one for one in bench.made if one.path in owners and one.score is not None]
        known = known or [max((a.candidate for a in owners.values()), key=_nearness)]
        timed = sorted(known, key=lambda one: (not one.is_within, one.size_bytes))[:_MOST_TIMED]
        if fidelity is None:
            return
        inputs = next(fidelity.dataset.read(fidelity.indices[:1])).inputs
        handler = load_handler(self._request.format)
        with ExitStack() as stack:
            sessions = [stack.enter_context(handler.open(self._request.artifact, threads=1))]
            sessions += [stack.enter_context(bench.open(one.path, threads=1)) for one in timed]
            seconds = measure_latencies(sessions, inputs)
        self._result.float_seconds = seconds[0]
        for one, taken in zip(timed, seconds[1:], strict=True):
            bench.with_latency(one, taken)

    def _attempt(self, recipe: Recipe) -> list[Attempt]:
        """Every way to prepare the model and every observer, as far as the request leaves them open."""
        attempts: list[Attempt] = []
        problems: list[EdgeconvError] = []
        preparer = Preparer(
            open_model=self._open,
            dataset=self._result.material.calibration,
            indices=self._result.material.indices,
            precision=recipe.precision,
        )
        for steps in self._ways(recipe):
            prepared = preparer.prepare(steps)
            for observer in self._observers(recipe):
                try:
                    attempts.append(self._make(recipe, prepared, observer, bool(steps)))
                except EdgeconvError as error:
                    _LOG.info("'%s' cannot be made: %s", recipe.name, error)
                    problems.append(error)
        if not attempts:
            raise _no_attempt(recipe, problems[0]) from problems[0]
        if not self._request.is_settled:
            best = max(attempts, key=lambda one: _nearness(one.candidate))
            self._usefulness.check_file(recipe, best.candidate.file)
        return attempts

    def _ways(self, recipe: Recipe) -> list[frozenset[Step]]:
        """As the file is, and prepared."""
        wanted = frozenset(Step(name) for name in self._request.steps)
        if recipe.precision.weights == "float16" or not wanted:
            return [frozenset()]
        if self._request.is_settled or self._result.material.fidelity is None:
            return [wanted]
        return [frozenset(), wanted]

    def _observers(self, recipe: Recipe) -> tuple[str, ...]:
        if self._request.observer != AUTO:
            return (self._request.observer,)
        return _OBSERVERS if recipe.needs_calibration else (_ONE_OBSERVER,)

    def _make(
        self,
        recipe: Recipe,
        prepared: Prepared,
        observer: str,
        is_prepared: bool,  # noqa: FBT001 - private
    ) -> Attempt:
        plan = make_plan(
            recipe.precision,
            {**prepared.operators, **self._overrides},
            statistics=prepared.statistics,
            observer=find_observer(observer),
            model=prepared.model,
        )
        way = "prepared" if is_prepared else "as it is"
        name = (
            f"{recipe.name}, {way}, {observer}"
            if recipe.needs_calibration
            else f"{recipe.name}, {way}"
        )
        candidate = self._result.bench.make(prepared.model, plan, name)
        return Attempt(recipe=recipe, prepared=prepared, observer=observer, candidate=candidate)

    def _search(self, attempt: Attempt, base: Candidate, name: str) -> dict[Path, Attempt]:
        """Candidates with the most sensitive operators in a more accurate precision, and what they came from."""
        first = len(self._result.bench.made)
        search = Search(
            prepared=attempt.prepared,
            precision=attempt.recipe.precision,
            observer=find_observer(attempt.observer),
            bench=self._result.bench,
            deadline=self._deadline,
            name=name,
            overrides=self._overrides,
        )
        ranking = search.rank(base)
        self._result.ranking = ranking
        refuges = [one for one in _REFUGES if self._helps(one, attempt.recipe.precision)]
        for refuge in refuges if ranking else []:
            search.meet(ranking, refuge)
        self._result.is_cut_short |= time.monotonic() > self._deadline
        return {one.path: attempt for one in self._result.bench.made[first:]}

    def _helps(self, refuge: Refuge, precision: Precision) -> bool:
        if not refuge.precision.is_static:
            return True
        return precision.is_static and precision.activations != refuge.precision.activations


def _nearness(candidate: Candidate) -> float:
    """How near a candidate is to the float model, in dB."""
    return candidate.snr_db or 0.0


def _no_attempt(recipe: Recipe, error: EdgeconvError) -> ConversionError:
    return ConversionError(
        f"no {recipe.name} model was made that runs",
        why="; ".join(part for part in (error.message, error.why) if part),
        hint="try another recipe, or keep operators in float with --override 'PATTERN=float32'",
    )
