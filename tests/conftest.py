"""Artifacts that several test modules look at: each model is converted once in a session."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.formats.models import MODELS

if TYPE_CHECKING:
    from edgeconv.artifact import Artifact
    from edgeconv.model import Model
    from tests.formats.models import Example

__all__ = ["FORMATS", "Delivered"]

FORMATS = ("torch-export", "torchscript", "onnx", "savedmodel", "tflite")


@dataclass(frozen=True)
class Delivered:
    """What a conversion delivered, and what it was made from."""

    example: Example
    model: Model
    artifacts: Mapping[str, Artifact]
    metadata: Mapping[str, str]

    @property
    def reference(self) -> Path:
        """The capture's cases and outputs."""
        assert self.model.captured is not None
        return self.model.captured.output / "reference"


class Workshop:
    """Converts each model when it is first asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._done: dict[str, Delivered] = {}

    def __call__(self, name: str) -> Delivered:
        if name not in self._done:
            self._done[name] = self.convert(name, self._folder / name)
        return self._done[name]

    def convert(self, name: str, out: Path) -> Delivered:
        """A new conversion, with nothing from the cache."""
        import edgeconv as ec

        example = MODELS[name]()
        metadata = {
            "author": "Ann Example",
            "description": f"a model for tests: {name}",
            "labels": "cat\ndog\nBär",
            "license": "Apache-2.0",
        }
        with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # fixtures are not under a test's own filters
            patch.setenv("EDGECONV_CACHE_DIR", str(self._folder / "cache"))
            model = ec.capture(
                example.module, dict(example.inputs), name=name, dynamic=example.dynamic
            )
            result = ec.convert(model, to=FORMATS, out=out, metadata=metadata, use_cache=False)
        return Delivered(example=example, model=model, artifacts=dict(result), metadata=metadata)


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """Converts models, with a cache folder of its own."""
    return Workshop(tmp_path_factory.mktemp("delivered"))


@pytest.fixture(scope="session")
def pair(workshop: Workshop) -> Delivered:
    """Two inputs, int64 and float32; two outputs, float32 and int64; a dynamic batch."""
    return workshop("pair")


@pytest.fixture(scope="session")
def masked(workshop: Workshop) -> Delivered:
    """A bool input and a bool output."""
    return workshop("masked")


@pytest.fixture(scope="session")
def twins(workshop: Workshop) -> Delivered:
    """Two outputs of the same dtype and shape."""
    return workshop("twins")
