"""Every metric against another implementation, and damage that it must notice."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from edgeconv.errors import InvalidInputError, UsageError
from edgeconv.quantization.metrics import METRICS, Evaluated, find_metric

Array = NDArray[np.generic]
Boxes = NDArray[np.float64]


def evaluated(
    outputs: Mapping[str, Array],
    *,
    reference: Mapping[str, Array] | None = None,
    inputs: Mapping[str, Array] | None = None,
    **extras: Array,
) -> Evaluated:
    return Evaluated(
        outputs=outputs, reference=reference or outputs, inputs=inputs or {}, extras=extras
    )


def measure(name: str, outputs: Mapping[str, Array], **extras: Array) -> float:
    told = Evaluated(outputs=outputs, reference=outputs, inputs={}, extras=extras)
    return find_metric(name).measure(told)


def random(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize(("name", "most"), [("top1", 1), ("top5", 5)])
def test_accuracy_is_counted_one_by_one(name: str, most: int) -> None:
    scores = random().normal(size=(200, 12)).astype(np.float32)
    labels = random(1).integers(0, 12, 200)
    found = [
        label in sorted(range(12), key=lambda c, row=row: -row[c])[:most]  # type: ignore[misc]  # bound at once
        for row, label in zip(scores, labels, strict=True)
    ]
    assert measure(name, {"y": scores}, label=labels) == pytest.approx(np.mean(found))
    worse = scores.copy()
    worse[np.arange(100), labels[:100]] = -9
    assert measure(name, {"y": worse}, label=labels) < np.mean(found)


def test_accuracy_of_every_position_of_a_sequence() -> None:
    scores = random().normal(size=(4, 6, 3))
    labels = scores.argmax(axis=-1)
    labels[0, 0] = (labels[0, 0] + 1) % 3
    assert measure("top1", {"y": scores}, label=labels) == pytest.approx(23 / 24)


@pytest.mark.parametrize("low", [-1, 3])
def test_labels_that_are_no_classes(low: int) -> None:
    with pytest.raises(InvalidInputError, match="labels are out of range") as caught:
        measure("top1", {"y": np.zeros((2, 3))}, label=np.array([0, low]))
    assert "3 classes" in caught.value.why


@pytest.mark.parametrize("labels", [np.zeros(3, int), np.zeros(2), np.zeros((2, 3), int)])
def test_labels_of_another_shape_or_dtype(labels: Array) -> None:
    with pytest.raises(InvalidInputError, match="one class number per sample"):
        measure("top1", {"y": np.zeros((2, 3))}, label=labels)


def test_labels_that_are_missing() -> None:
    for name in ("top1", "top5", "auc"):
        with pytest.raises(InvalidInputError, match="needs labels"):
            measure(name, {"y": np.zeros((2, 3))})


def test_the_output_that_is_meant() -> None:
    scores, labels = np.eye(3), np.arange(3)
    assert measure("top1", {"boxes": np.zeros((3, 4)), "logits": scores}, label=labels) == 1
    with pytest.raises(InvalidInputError, match="the model has 2"):
        measure("top1", {"a": scores, "b": scores}, label=labels)


@pytest.mark.parametrize("ties", [False, True])
def test_auc_is_that_of_scikit_learn(ties: bool) -> None:
    labels = random().integers(0, 2, 300)
    scores = random(1).normal(size=300) + labels
    scores = np.round(scores) if ties else scores
    wanted = roc_auc_score(labels, scores)
    assert measure("auc", {"y": scores}, label=labels) == pytest.approx(wanted)
    pair = np.stack([np.zeros(300), scores], axis=1)
    assert measure("auc", {"y": pair}, label=labels) == pytest.approx(wanted)
    assert measure("auc", {"y": -scores}, label=labels) == pytest.approx(1 - wanted)


def test_auc_of_a_reconstruction_is_that_of_its_error() -> None:
    labels = np.repeat([0, 1], 50)
    wanted = random().normal(size=(100, 8))
    output = wanted + random(1).normal(size=(100, 8)) * (1 + labels[:, None])
    found = find_metric("auc").measure(evaluated({"y": output}, inputs={"x": wanted}, label=labels))
    errors = np.square(output - wanted).mean(axis=1)
    assert found == pytest.approx(roc_auc_score(labels, errors))
    assert METRICS["auc"].needs_inputs


@pytest.mark.parametrize("labels", [[0, 0, 0], [0, 1, 2], [0.5, 1.0, 0.0]])
def test_auc_needs_both_labels(labels: list[float]) -> None:
    with pytest.raises(InvalidInputError, match="labels 0 and 1"):
        measure("auc", {"y": np.arange(3.0)}, label=np.array(labels))


def test_auc_needs_a_score() -> None:
    with pytest.raises(InvalidInputError, match="one score per sample"):
        measure("auc", {"y": np.zeros((2, 5))}, label=np.array([0, 1]))


def test_fidelity() -> None:
    reference = {"y": random().normal(size=(50, 4)), "z": random(1).normal(size=(50, 2, 3))}
    outputs = {name: values + 0.1 for name, values in reference.items()}
    told = evaluated(outputs, reference=reference)
    assert find_metric("mse").measure(told) == pytest.approx(0.01)
    cosines = {
        name: np.mean(
            [
                float(a.ravel() @ b.ravel() / np.linalg.norm(a) / np.linalg.norm(b))
                for a, b in zip(outputs[name], reference[name], strict=True)
            ]
        )
        for name in outputs
    }
    assert find_metric("cosine").measure(told) == pytest.approx(min(cosines.values()))
    same = evaluated(reference)
    assert [find_metric(n).measure(same) for n in ("mse", "cosine", "agreement")] == [0, 1, 1]


def test_agreement_is_the_share_of_the_same_class() -> None:
    reference = {"y": random().normal(size=(50, 4))}
    outputs = {"y": reference["y"].copy()}
    outputs["y"][:10] = -outputs["y"][:10]
    found = find_metric("agreement").measure(evaluated(outputs, reference=reference))
    assert found == pytest.approx(np.mean(outputs["y"].argmax(1) == reference["y"].argmax(1)))
    assert found < 1


def test_what_is_worse() -> None:
    assert METRICS["top1"].drop(0.9, 0.8) == pytest.approx(0.1)
    assert METRICS["mse"].drop(0.1, 0.3) == pytest.approx(0.2)


def _average_precision(ranked: list[tuple[float, bool]], total: int) -> float:
    """The area under the envelope of precision over recall, by definition."""
    hits = np.array([hit for _, hit in sorted(ranked, key=lambda one: -one[0])])
    area, recall = 0.0, 0.0
    for rank in range(1, len(hits) + 1):
        now = hits[:rank].sum() / total
        best = max(hits[:end].sum() / end for end in range(rank, len(hits) + 1))
        area += (now - recall) * best
        recall = now
    return area


def _overlap(a: Boxes, b: Boxes) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    shared = max(width, 0) * max(height, 0)
    areas = [(one[2] - one[0]) * (one[3] - one[1]) for one in (a, b)]
    return float(shared / (areas[0] + areas[1] - shared))


def _brute_force(boxes: Boxes, scores: Boxes, wanted: Boxes, labels: Array) -> float:
    figures = []
    for c, threshold in itertools.product(range(scores.shape[-1]), np.arange(0.5, 1.0, 0.05)):
        there = labels == c
        if not there.any():
            continue
        order = sorted(np.ndindex(scores.shape[:2]), key=lambda at: -scores[(*at, c)])
        taken, ranked = set(), []
        for sample, box in order:
            free = {
                o: _overlap(boxes[sample, box], wanted[sample, o])
                for o in np.flatnonzero(there[sample])
                if (sample, o) not in taken
            }
            best = max(free, key=lambda o: free[o], default=None)
            is_hit = best is not None and free[best] >= threshold
            if is_hit:
                taken.add((sample, best))
            ranked.append((float(scores[sample, box, c]), is_hit))
        figures.append(_average_precision(ranked, int(there.sum())))
    return float(np.mean(figures))


def _scene() -> tuple[Boxes, Boxes, Boxes, Array]:
    corners = random().uniform(0, 8, (5, 4, 2))
    wanted = np.concatenate([corners, corners + random(1).uniform(1, 4, (5, 4, 2))], axis=-1)
    labels = random(2).integers(-1, 2, (5, 4))
    found = np.concatenate([wanted, wanted + random(3).normal(size=wanted.shape) * 0.3], axis=1)
    found[..., 2:] = np.maximum(found[..., 2:], found[..., :2] + 0.1)
    return found, random(4).uniform(size=(5, 8, 2)), wanted, labels


def test_map_is_that_of_brute_force() -> None:
    boxes, scores, wanted, labels = _scene()
    found = find_metric("mAP").measure(
        evaluated({"boxes": boxes, "scores": scores}, boxes=wanted, label=labels)
    )
    assert 0.05 < found < 0.95
    assert found == pytest.approx(_brute_force(boxes, scores, wanted, labels))


def test_map_of_a_perfect_detector_and_of_one_that_is_off() -> None:
    _, _, wanted, labels = _scene()
    scores = np.stack([(labels == c) * 1.0 for c in range(2)], axis=-1)

    def of(boxes: Boxes) -> float:
        return find_metric("mAP").measure(
            evaluated({"boxes": boxes, "scores": scores}, boxes=wanted, label=labels)
        )

    assert of(wanted) == pytest.approx(1.0)
    assert of(wanted + 0.2) < 0.95
    assert of(wanted + 50) == 0


def test_map_says_what_it_needs() -> None:
    with pytest.raises(InvalidInputError, match="does not find boxes") as caught:
        measure("mAP", {"y": np.zeros((1, 4))}, label=np.zeros((1, 1), int))
    assert "[samples, m, 4]" in caught.value.hint


OWN = """
def weighted(outputs, weight):
    return (outputs["y"] * weight).sum()
def greedy(outputs, **everything):
    return len(everything)
def broken(outputs):
    raise ZeroDivisionError("half of nothing")
def wordy(outputs):
    return "very good"
figure = 3
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_metric.py").write_text(OWN)
    (tmp_path / "own_broken.py").write_text("1 +")
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("own_metric", "own_broken"):
        monkeypatch.delitem(sys.modules, name, raising=False)


@pytest.mark.usefixtures("own")
def test_a_metric_of_ones_own_receives_what_it_names() -> None:
    told = evaluated({"y": np.arange(3.0)}, weight=np.full(3, 2.0), label=np.zeros(3))
    assert find_metric("own_metric:weighted").measure(told) == 6
    assert find_metric("own_metric:greedy").measure(told) == 2


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("own_metric:broken", "ZeroDivisionError: half of nothing"),
        ("own_metric:wordy", "returned no number"),
        ("own_metric:weighted", "missing 1 required positional argument: 'weight'"),
    ],
)
def test_a_metric_that_fails(name: str, message: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        find_metric(name).measure(evaluated({"y": np.arange(3.0)}))
    assert message in str(caught.value)
    assert caught.value.hint


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("top2", "there is no metric 'top2'"),
        ("own_metric:none", "AttributeError"),
        ("own_metric:figure", "is no function"),
        ("own_broken:any", "SyntaxError"),
        ("nowhere_at_all:any", "ModuleNotFoundError"),
        (":any", "cannot be loaded"),
    ],
)
def test_a_metric_that_is_none(name: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        find_metric(name)
    assert message in str(caught.value)
    assert caught.value.hint
