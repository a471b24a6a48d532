"""The search within a budget, on a model whose sensitivities are known."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgeconv.plugin.quantizer import FLOAT32, Precision
from edgeconv.quantization.account import mark_pareto
from edgeconv.quantization.candidates import Budget, Candidate
from edgeconv.quantization.metrics import Metric
from edgeconv.quantization.observers import observe_min_max
from edgeconv.quantization.plans import make_plan
from edgeconv.quantization.preparing import Prepared
from edgeconv.quantization.recipes import RECIPES
from edgeconv.quantization.search import Refuge, Search, spread
from tests.quantization.fake import Bench, FakeModel, kept, reference

INT8, INT16 = RECIPES["int8"].precision, RECIPES["int16x8"].precision
FLOAT = Refuge(name="float32", precision=FLOAT32)
WIDE = Refuge(name="int16x8", precision=INT16)
ERROR = Metric(
    name="error",
    measure=lambda found: float(
        np.subtract(found.outputs["y"], found.reference["y"], dtype=np.float32).mean()
    ),
    is_higher_better=False,
)


class Trial:
    """A search on a model, its whole in int8 to begin with."""

    def __init__(
        self,
        model: FakeModel,
        folder: Path,
        max_drop: float,
        *,
        seconds: float = 60.0,
        overrides: dict[str, Precision] | None = None,
        precision: Precision = INT8,
    ) -> None:
        samples = reference(model)
        self.model = model
        self.bench = Bench(
            format="fake",
            suffix=".fake",
            scratch=folder,
            fidelity=samples,
            budget=Budget(metric=ERROR, max_drop=max_drop, before=0.0, evaluation=samples),
        )
        self.search = Search(
            prepared=Prepared(model=model, statistics=None),
            precision=precision,
            observer=observe_min_max,
            bench=self.bench,
            deadline=time.monotonic() + seconds,
            name="int8",
            overrides=overrides or {},
        )
        plan = make_plan(
            precision, overrides or {}, statistics=None, observer=observe_min_max, model=model
        )
        self.base = Candidate(
            name="int8",
            path=folder / "base",
            plan=plan,
            file=model.quantize(plan, folder / "base"),
            size_bytes=1,
            snr_db=0.0,
        )

    def ranking(self) -> list[str]:
        return [one.operator for one in self.search.rank(self.base)]

    def best(self, refuge: Refuge) -> Candidate | None:
        return self.search.meet(self.search.rank(self.base), refuge)


def model(*noise: float, shapes: Sequence[str] = (), impossible: Sequence[str] = ()) -> FakeModel:
    return FakeModel(
        noise=[one / 1000 for one in noise],
        shapes=frozenset(shapes),
        impossible=frozenset(impossible),
    )


def test_the_most_sensitive_come_first(tmp_path: Path) -> None:
    trial = Trial(model(3, 90, 1, 40, 7), tmp_path, 0.01)
    assert trial.ranking() == ["op1", "op3", "op4", "op0", "op2"]
    assert len(trial.model.made) == 6  # each alone, and the base


def test_operators_whose_weights_alone_are_integers_are_ranked_as_well(tmp_path: Path) -> None:
    weights = RECIPES["int4-weights"].precision
    trial = Trial(model(3, 90, 1), tmp_path, 0.01, precision=weights)
    assert trial.ranking() == ["op1", "op0", "op2"]
    found = trial.best(FLOAT)
    assert found is not None
    assert kept(found) == {"op1"}


def test_what_the_user_settled_and_what_only_changes_shapes_is_not_ranked(tmp_path: Path) -> None:
    trial = Trial(model(3, 90, 1, 40, shapes=["op3"]), tmp_path, 0.01, overrides={"op1": FLOAT32})
    assert trial.ranking() == ["op0", "op2"]


def test_what_cannot_be_quantized_alone_is_left_out(tmp_path: Path) -> None:
    trial = Trial(model(3, 90, 1), tmp_path, 0.01)
    trial.model.impossible = frozenset({"op1"})
    assert trial.ranking() == ["op0", "op2"]


@pytest.mark.parametrize(
    ("max_drop", "wanted"),
    [
        (0.201, {"op1"}),
        (0.100, {"op1", "op5"}),
        (0.030, {"op1", "op5", "op3"}),
        (0.012, {"op1", "op5", "op3", "op7"}),
        (0.0, {f"op{n}" for n in range(8)}),
    ],
)
def test_the_fewest_that_meet_the_budget(tmp_path: Path, max_drop: float, wanted: set[str]) -> None:
    trial = Trial(model(2, 300, 1, 50, 3, 120, 4, 20), tmp_path, max_drop)
    found = trial.best(FLOAT)
    assert found is not None
    assert found.is_within
    assert kept(found) == wanted
    assert found.drop is not None
    assert found.drop <= max_drop + 1e-9


def test_sixteen_bits_where_these_are_enough(tmp_path: Path) -> None:
    trial = Trial(model(2, 300, 1, 50), tmp_path, 0.08)
    found = trial.best(WIDE)
    assert found is not None
    assert kept(found, INT16) == {"op1"}
    assert trial.best(replace(WIDE, precision=INT8, name="none")) is None


def test_no_candidate_where_nothing_meets_the_budget(tmp_path: Path) -> None:
    assert Trial(model(900, 900), tmp_path, 0.01).best(WIDE) is None


def test_what_is_not_needed_is_taken_back(tmp_path: Path) -> None:
    """Doubling and halving may keep one too many: each is tried without, the least sensitive first."""
    trial = Trial(model(2, 300, 1, 50, 3, 120, 4, 20), tmp_path, 0.1)
    ranking = trial.search.rank(trial.base)
    misled = [ranking[-1], *ranking[:-1]]  # the one that matters least is thought to matter most
    found = trial.search.meet(misled, FLOAT)
    assert found is not None
    assert kept(found) == {"op1", "op5"}


def test_nothing_new_is_tried_once_time_is_up(tmp_path: Path) -> None:
    trial = Trial(model(2, 300, 1, 50), tmp_path, 0.01, seconds=-1)
    made = len(trial.model.made)
    assert trial.ranking() == []
    ranking = Trial(model(2, 300, 1, 50), tmp_path, 0.01).search.rank(trial.base)
    assert trial.search.meet(ranking, FLOAT) is None
    assert len(trial.model.made) == made


def test_changes_of_shape_go_with_what_stands_around_them() -> None:
    operators = model(1, 1, 1, 1, shapes=["op1", "op3"]).operators
    assert spread(operators, ["op0"]) == {"op0", "op1"}
    assert spread(operators, ["op2"]) == {"op2", "op3"}


def test_candidates_in_which_an_operator_was_taken_back_can_be_told_apart(tmp_path: Path) -> None:
    trial = Trial(model(20, 30, 1), tmp_path, 0.005)
    assert trial.best(FLOAT) is not None
    names = [one.name for one in trial.bench.made]
    assert "int8, 1 operator in float32, 'op0' taken back" in names
    assert len(set(names)) == len(names)


def test_nan_is_the_worst_and_stops_nothing(tmp_path: Path) -> None:
    trial = Trial(model(float("nan"), 1), tmp_path, 0.01)
    worst = trial.bench.evaluate(trial.bench.make(trial.model, trial.base.plan, "all"))
    assert not worst.is_within
    assert worst.drop == float("inf")
    found = trial.best(FLOAT)
    assert found is not None
    assert kept(found) == {"op0"}


def test_the_front_of_size_and_loss() -> None:
    def candidate(name: str, size: int, drop: float | None) -> Candidate:
        plan = make_plan(
            INT8, {}, statistics=None, observer=observe_min_max, model=FakeModel(noise=[])
        )
        file = FakeModel(noise=[]).quantize(plan, Path("/dev/null"))
        return Candidate(
            name=name, path=Path(name), plan=plan, file=file, size_bytes=size, snr_db=0.0, drop=drop
        )

    made = [
        candidate("small", 10, 0.5),
        candidate("middle", 20, 0.1),
        candidate("worse", 25, 0.2),
        candidate("twin", 20, 0.1),
        candidate("large", 40, -0.1),
        candidate("unknown", 5, None),
    ]
    assert mark_pareto(made) == {Path("small"), Path("middle"), Path("twin"), Path("large")}
