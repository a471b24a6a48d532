"""Captures a module as the first step of a run does, and hands the capture to one converter."""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

import edgeconv as ec
from edgeconv.plugin import Job, JobResult, Json
from edgeconv.plugin.live import LiveCapture, find_live
from edgeconv.signature import Dim
from edgeconv.validation.reference import Reference, read_reference
from edgeconv.validation.verdict import Verdict
from edgeconv.validation.worker import verify_artifact
from edgeconv_converters.torch_export.core import CaptureSettings, capture_module

__all__ = ["Classifier", "Entry", "Model", "capture", "capture_classifier", "draw"]

Entry = Callable[[dict[str, Json], MutableMapping[str, object]], dict[str, Json]]


@dataclass(frozen=True, kw_only=True)
class Model:
    """A captured module, still in memory."""

    folder: Path
    context: dict[str, object]

    @property
    def live(self) -> LiveCapture:
        live = find_live(self.context, self.folder / "model.pt2")
        assert live is not None
        return live

    @property
    def reference(self) -> Reference:
        return read_reference(self.folder / "reference")

    def convert(self, entry: Entry, output: Path, *, source: Path | None = None) -> JobResult:
        """Run a converter; the source is the capture folder unless given."""
        job = Job(
            name="model",
            inputs={"source": source or self.folder, "reference": self.folder / "reference"},
            output=output,
            signature=self.live.signature,
            metadata={"author": "Ada"},
        )
        return JobResult.from_json(entry(job.to_json(), self.context))

    def verify(self, path: Path, format_id: str) -> Verdict:
        return verify_artifact(path, format_id, self.reference)


def capture(
    module: nn.Module,
    examples: Sequence[object] | Mapping[str, object],
    folder: Path,
    *,
    dynamic: Mapping[str, Mapping[int, str | Dim]] | None = None,
) -> Model:
    """Capture a module with positional or with keyword examples."""
    context: dict[str, object] = {}
    is_named = isinstance(examples, Mapping)
    capture_module(
        module.eval(),
        () if is_named else cast("Sequence[object]", examples),
        cast("Mapping[str, object]", examples) if is_named else {},
        dynamic=dynamic,
        settings=CaptureSettings(name="model", output=folder, is_owned=True),
        context=context,
    )
    return Model(folder=folder, context=context)


class Classifier(nn.Module):
    """A small one of images [N, 3, 8, 8]."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.classify = nn.Linear(4, 5)

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.classify(torch.relu(self.conv(image)).mean((2, 3)))
        return logits


def capture_classifier() -> ec.Model:
    """A `Classifier` by the API, with any number of images."""
    torch.manual_seed(0)
    images = (draw(2, 3, 8, 8),)
    return ec.capture(Classifier(), images, name="net", dynamic={"image": {0: "N"}})


def draw(*shape: int) -> Tensor:
    """Normal noise, the same at every call."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))
