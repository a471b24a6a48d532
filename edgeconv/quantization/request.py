"""What a quantization is asked for, as it goes to the worker that does it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, cast

from edgeconv.plugin.job import Json
from edgeconv.quantization.overrides import Override, parse_override
from edgeconv.signature import DType

__all__ = ["AUTO", "OBSERVER_NAMES", "STEPS", "QuantizationRequest"]

AUTO = "auto"
"""The recipe or observer that is found by trying."""

STEPS = ("infinities", "equalize", "clip", "bias", "split")
"""Names of the steps of the preparation, in order; see `edgeconv.quantization.preparing.Step`."""

OBSERVER_NAMES = ("min-max", "percentile", "mse", "entropy")
"""Names of the observers; see `edgeconv.quantization.observers`."""

_PATHS = ("artifact", "output", "scratch", "calibration", "data", "preprocess")
_LISTS = ("steps", "python_path")


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizationRequest:
    """What is to be done.

    Attributes:
        artifact: The float artifact.
        format: Its format id.
        entry: Opens it as a `FloatModel`: `module:function`.
        output: Where the quantized artifact is to be written.
        scratch: A folder for what is tried.
        recipe: Name of the recipe; `auto` to choose within the budget.
        overrides: Operators with another precision.
        io: Dtype of the inputs and outputs that are float32 in the artifact.
        calibration: Real inputs; None for recipes that need none, or with `random_samples`.
        random_samples: Whether noise may take the place of real inputs.
        most_samples: How many samples are calibrated with at most; 0 for all.
        observer: Chooses the ranges of activations; `auto` to try several.
        steps: Of the preparation.
        data: Evaluation data.
        metric: Measured on it; empty for the one that fits.
        max_drop: By how much it may become worse; None to measure only.
        optimize: Which of several that meet the budget is best.
        search_seconds: How long is searched at most.
        preprocess: An edgeconv.toml that says how images become inputs.
        is_settled: Whether all of this comes from an earlier run: the steps are done, and not also left out to see what serves.
        sources: Lines of the user's program by names that operators begin with, as the artifact's report tells them.
        python_path: Where a metric of the user's own is found.
        seed: Of the selection of samples.
    """

    artifact: Path
    format: str
    entry: str
    output: Path
    scratch: Path
    recipe: str
    overrides: tuple[Override, ...] = ()
    io: DType = DType.FLOAT32
    calibration: Path | None = None
    random_samples: bool = False
    most_samples: int = 512
    observer: str = AUTO
    steps: tuple[str, ...] = ()
    data: Path | None = None
    metric: str = ""
    max_drop: float | None = None
    optimize: Literal["size", "latency"] = "size"
    search_seconds: float = 170.0
    preprocess: Path | None = None
    is_settled: bool = False
    sources: Mapping[str, str] = field(default_factory=dict)
    python_path: tuple[str, ...] = ()
    seed: int = 0

    def to_json(self) -> dict[str, Json]:
        """As JSON data."""
        data: dict[str, Json] = {}
        for name in self.__slots__:
            value = getattr(self, name)
            if name == "overrides":
                data[name] = [f"{one.pattern}={one.recipe}" for one in self.overrides]
            elif name == "sources":
                data[name] = dict(self.sources)
            elif isinstance(value, Path):
                data[name] = str(value)
            else:
                data[name] = list(value) if isinstance(value, tuple) else value
        return data

    @staticmethod
    def from_json(data: dict[str, Json]) -> QuantizationRequest:
        """What `to_json` wrote."""
        values: dict[str, object] = dict(data)
        for name in _PATHS:
            values[name] = None if data[name] is None else Path(str(data[name]))
        for name in _LISTS:
            values[name] = tuple(cast("list[str]", data[name]))
        values["overrides"] = tuple(
            parse_override(str(o)) for o in cast("list[Json]", data["overrides"])
        )
        values["io"] = DType(str(data["io"]))
        return QuantizationRequest(**values)  # type: ignore[arg-type]  # what to_json wrote
