"""Mean average precision of detectors.

Source: Everingham et al., "The PASCAL Visual Object Classes Challenge", IJCV 2010, section 4.2, with precision integrated over all
recalls; averaged over the thresholds 0.5, 0.55, ..., 0.95 of intersection over union as in COCO (Lin et al., ECCV 2014).
"""

from __future__ import annotations

import numpy as np

from edgeconv.errors import InvalidInputError
from edgeconv.formats.handler import Array
from edgeconv.quantization.metrics.spec import Evaluated, Metric

__all__ = ["MAP"]

_THRESHOLDS = np.arange(0.5, 1.0, 0.05)
_HINT = (
    "the model's outputs are `boxes` [samples, n, 4] as corners (x1, y1, x2, y2) and `scores` [samples, n, classes]; the data holds"
    " `boxes` [samples, m, 4] and `label` [samples, m], -1 where there is no further object"
)


def _mean_average_precision(evaluated: Evaluated) -> float:
    boxes, scores, wanted, labels = _parts(evaluated)
    classes = [index for index in range(scores.shape[-1]) if (labels == index).any()]
    if not classes:
        raise InvalidInputError("the data has no object of any class", hint=_HINT)
    return float(np.mean([_of_class(boxes, scores[..., c], wanted, labels == c) for c in classes]))


def _parts(evaluated: Evaluated) -> tuple[Array, Array, Array, Array]:
    outputs, extras = evaluated.outputs, evaluated.extras
    if not {"boxes", "scores"} <= outputs.keys() or not {"boxes", "label"} <= extras.keys():
        raise InvalidInputError("metric 'mAP' does not find boxes, scores and labels", hint=_HINT)
    scores = outputs["scores"]
    if scores.ndim == 2:
        scores = scores[..., None]
    return outputs["boxes"], scores, extras["boxes"], extras["label"]


def _of_class(boxes: Array, scores: Array, wanted: Array, is_wanted: Array) -> float:
    """Average precision of one class, over the thresholds."""
    overlaps = [
        _overlaps(found, there[mask])
        for found, there, mask in zip(boxes, wanted, is_wanted, strict=True)
    ]
    count = scores.shape[1]
    order = np.argsort(-scores.reshape(-1).astype(np.float64), kind="stable")
    places = [(int(place) // count, int(place) % count) for place in order]
    total = int(is_wanted.sum())
    return float(np.mean([_at(float(t), overlaps, places, total) for t in _THRESHOLDS]))


def _at(
    threshold: float, overlaps: list[Array], places: list[tuple[int, int]], total: int
) -> float:
    """Area under the precision-recall curve where a box counts from an overlap on; each object is found once."""
    taken = [np.zeros(overlap.shape[1], dtype=bool) for overlap in overlaps]
    hits = np.zeros(len(places))
    for rank, (sample, box) in enumerate(places):
        row = np.where(taken[sample], -1.0, overlaps[sample][box])
        if row.size and row.max() >= threshold:
            taken[sample][int(row.argmax())] = True
            hits[rank] = 1
    found = np.cumsum(hits)
    precision = found / np.arange(1, len(hits) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float((envelope * hits).sum() / total)


def _overlaps(found: Array, there: Array) -> Array:
    """Intersection over union of each pair of boxes."""
    left, right = found[:, None, :].astype(np.float64), there[None, :, :].astype(np.float64)
    sides = np.minimum(left[..., 2:], right[..., 2:]) - np.maximum(left[..., :2], right[..., :2])
    shared = np.clip(sides, 0, None).prod(axis=-1)
    areas = [np.clip(one[..., 2:] - one[..., :2], 0, None).prod(axis=-1) for one in (left, right)]
    overlap: Array = shared / np.maximum(areas[0] + areas[1] - shared, 1e-12)
    return overlap


MAP = Metric(name="mAP", measure=_mean_average_precision, unit="%")
