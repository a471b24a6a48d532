"""Every sample model in all four formats, from the file it is stored in, as good on held-out samples as its card says."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from edgeconv.artifact import Artifact
from edgeconv.conversion import DEFAULT_GOALS, Conversion, ConversionOptions, run_conversion
from edgeconv.execute.records import Step, StepRecord
from edgeconv.validation.verdict import Verdict
from sample_models.cards import TEST_FILE, Card, folder_of, model_names, read_card
from sample_models.evaluation import METRICS
from sample_models.samples import Array, load_samples

# Brings Triton, which crashes the process when it is loaded after TensorFlow: training does that.
importlib.import_module("torch._dynamo")

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


class Deaf:
    def step_started(self, step: Step) -> None: ...

    def step_ended(self, record: StepRecord, verdict: Verdict | None) -> None: ...


def _convert(card: Card, out: Path) -> Conversion:
    folder, needs_factory = folder_of(card.name), card.storage.way.needs_factory
    stored = folder / card.storage.file
    options = ConversionOptions(
        model=f"{folder}/model.py:create" if needs_factory else str(stored),
        weights=stored if needs_factory else None,
        inputs=card.inputs,
        samples=folder / TEST_FILE,
        name=card.name,
        out=out,
    )
    return run_conversion(options, Deaf())


def _predict(artifact: Artifact, inputs: dict[str, Array]) -> dict[str, Array]:
    """All samples in batches of another size than the example's."""
    count = len(next(iter(inputs.values())))
    parts = [
        artifact.run({name: array[at : at + 100] for name, array in inputs.items()})
        for at in range(0, count, 100)
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _slack(card: Card) -> float:
    """Integer kernels round what PyTorch does not: a digit or two of 397 may be taken for another."""
    return 2 / 397 if card.name == "digits_qat" else 1e-4


@pytest.mark.parametrize("name", model_names())
def test_all_formats_are_delivered_and_keep_the_figure_of_the_card(
    name: str, tmp_path: Path
) -> None:
    card = read_card(name)
    outcome = _convert(card, tmp_path).outcome
    assert outcome.exit_status == 0, [goal.error for goal in outcome.goals]
    assert [goal.format for goal in outcome.goals if goal.artifact] == list(DEFAULT_GOALS)
    wanted = card.signature()
    samples = load_samples(folder_of(name) / TEST_FILE, card.input_names())
    for goal in outcome.goals:
        assert goal.artifact is not None
        got = goal.artifact.signature
        assert [str(spec) for spec in got.inputs] == [str(spec) for spec in wanted.inputs]
        assert [spec.name for spec in got.outputs] == [spec.name for spec in wanted.outputs]
        if card.metric.value is not None:
            outputs = _predict(goal.artifact, dict(samples.inputs))
            figure = METRICS[card.metric.name](outputs, samples.extras)
            assert figure == pytest.approx(card.metric.value, abs=_slack(card)), goal.format
