"""Model cards: what each sample model is, where it comes from, how good it is, and how to convert it.

A card is the one place for these facts: training, storage, tests and the table in the README follow it.
"""

from __future__ import annotations

import re
import tomllib
from enum import StrEnum
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from edgeconv.errors import InvalidInputError
from edgeconv.signature import Signature
from edgeconv.source import parse_input, parse_inputs

__all__ = [
    "CALIBRATION_FILE",
    "CARD_FILE",
    "ROOT",
    "TEST_FILE",
    "Card",
    "StorageWay",
    "folder_of",
    "model_names",
    "read_card",
    "record_measurements",
]

ROOT = Path(__file__).parent
CARD_FILE = "card.toml"
TEST_FILE = "test.npz"
CALIBRATION_FILE = "calibration.npz"


class StorageWay(StrEnum):
    """The kinds of file a trained PyTorch model is handed over in."""

    SAFETENSORS = "safetensors"
    STATE_DICT = "state-dict"
    TORCHSCRIPT = "torchscript"
    TORCH_EXPORT = "torch-export"

    @property
    def needs_factory(self) -> bool:
        """Whether the file holds weights alone, so that the architecture comes from `model.py`."""
        return self in {StorageWay.SAFETENSORS, StorageWay.STATE_DICT}


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Architecture(_Section):
    """The network and the paper that describes it."""

    name: str = Field(min_length=1)
    paper: str = Field(min_length=1)


class Data(_Section):
    """Where the samples come from, and how they were made or changed."""

    source: str = Field(min_length=1)
    preparation: str = Field(min_length=1)
    license: str = Field(min_length=1)


class Measurement(_Section):
    """The figure reached on the held-out samples; `value` is missing where none applies."""

    name: str = Field(min_length=1)
    value: float | None = None
    note: str = Field(min_length=1)


class Storage(_Section):
    """The file with the trained weights."""

    way: StorageWay
    file: str = Field(min_length=1)


class Card(_Section):
    """All that is known of one sample model, as its `card.toml` says."""

    name: str = Field(min_length=1)
    summary: str = Field(min_length=1)
    license: str = Field(min_length=1)
    seed: int
    parameters: int = Field(gt=0)
    limits: str = Field(min_length=1)
    inputs: tuple[str, ...] = Field(min_length=1)
    outputs: tuple[str, ...] = Field(min_length=1)
    architecture: Architecture
    data: Data
    metric: Measurement
    storage: Storage

    def signature(self) -> Signature:
        """Inputs, outputs and dynamic dims; an example size is what stands after `=` in an input.

        Raises:
            UsageError: An entry is not of the form `name:dtype[dims]`.
        """
        inputs, outputs = parse_inputs(self.inputs), map(parse_input, self.outputs)
        return Signature(
            inputs=tuple(item.tensor for item in inputs),
            outputs=tuple(item.tensor for item in outputs),
            dims=tuple(dict.fromkeys(dim for item in inputs for dim in item.dims)),
        )

    def input_names(self) -> tuple[str, ...]:
        """The parameter names of `forward`, in order."""
        return tuple(spec.name for spec in self.signature().inputs)

    def convert_command(self, formats: str = "onnx,tflite") -> str:
        """The command, from the root of the repository, that converts this model and verifies the result."""
        folder = f"{ROOT.name}/{self.name}"
        stored = f"{folder}/{self.storage.file}"
        words = ["edgeconv convert"]
        if self.storage.way.needs_factory:
            words += [f"{folder}/model.py:create --weights {stored}"]
        else:
            words += [stored]
        if self.storage.way is not StorageWay.TORCH_EXPORT:
            words += [f"--input '{text}'" for text in self.inputs]
        words += [f"--samples {folder}/{TEST_FILE} --to {formats} -o build/{self.name}"]
        return " ".join(words)


def model_names() -> tuple[str, ...]:
    """The names of all sample models, which are the names of their folders."""
    return tuple(sorted(path.parent.name for path in ROOT.glob(f"*/{CARD_FILE}")))


def folder_of(name: str) -> Path:
    """The folder of the sample model called `name`."""
    return ROOT / name


def read_card(name: str) -> Card:
    """The card of the sample model called `name`, checked for missing and unknown entries."""
    return Card.model_validate(tomllib.loads((folder_of(name) / CARD_FILE).read_text("utf-8")))


def record_measurements(name: str, *, parameters: int, value: float | None) -> None:
    """Write what a training run measured into the card, and leave all else in it as it is."""
    path = folder_of(name) / CARD_FILE
    text = _replace_entry(path.read_text("utf-8"), "parameters", str(parameters))
    if value is not None:
        text = _replace_entry(text, "value", f"{value:.4f}")
    path.write_text(text, "utf-8")


def _replace_entry(text: str, key: str, value: str) -> str:
    replaced, count = re.subn(rf"(?m)^{key} = .*$", f"{key} = {value}", text)
    if count != 1:
        raise InvalidInputError(f"a card must have one line '{key} = …'", why=f"{count} were found")
    return replaced
