"""How an image becomes a model's input: always as it is declared, never by a guess.

A wrong mean or channel order shows up as lost accuracy and is mistaken for a fault of quantization; therefore nothing
here has a default that could be wrong.
"""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from edgeconv.errors import InvalidInputError, UsageError

__all__ = ["EXAMPLE", "METADATA_KEY", "Preprocess", "read_preprocess"]

METADATA_KEY = "preprocess"
"""Under this key of an artifact's metadata stands the model's own declaration, as JSON."""

EXAMPLE = """[preprocess]
size = [224, 224]
color = "RGB"
scale = 0.00392156862745098
mean = [0.485, 0.456, 0.406]
std = [0.229, 0.224, 0.225]
resize = 256"""


class Preprocess(BaseModel):
    """Decode, resize, crop, scale, normalize: `(pixel * scale - mean) / std`.

    Attributes:
        size: Height and width of the input.
        color: Order of the channels, or `L` for grey.
        scale: What pixels of 0 to 255 are multiplied with.
        mean: Subtracted, one number per channel.
        std: Divided by, one number per channel.
        resize: Length that the shorter side is resized to before `size` is cropped from the centre; without it
            the image is resized to `size`, whatever its shape.
        interpolation: Of the resizing.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    size: tuple[int, int]
    color: Literal["RGB", "BGR", "L"]
    scale: float = Field(gt=0)
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resize: int | None = Field(default=None, gt=0)
    interpolation: Literal["nearest", "bilinear", "bicubic"] = "bilinear"

    @model_validator(mode="after")
    def _check(self) -> Preprocess:
        channels = 1 if self.color == "L" else 3
        if min(self.size) <= 0:
            raise ValueError(f"size is {list(self.size)}")
        if len(self.mean) != channels or len(self.std) != channels:
            raise ValueError(f"mean and std must have {channels} numbers for color {self.color}")
        if not all(self.std):
            raise ValueError("std holds a 0")
        if self.resize is not None and self.resize < max(self.size):
            raise ValueError("resize must not be less than size, which is cropped from it")
        return self


def read_preprocess(config: Path | None, declared: str | None) -> Preprocess | None:
    """What the `[preprocess]` table of a file says, or else the model's own declaration; None without either.

    Args:
        config: An `edgeconv.toml`.
        declared: JSON from the artifact's metadata.

    Raises:
        InvalidInputError: The file is missing or no TOML, or the declaration no JSON.
        UsageError: The table does not say what is needed.
    """
    if config is not None:
        try:
            table = tomllib.loads(config.read_text("utf-8")).get("preprocess")
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise InvalidInputError(
                f"'{config}' cannot be read",
                why=str(error),
                hint=f"give a TOML file with a table such as\n{EXAMPLE}",
            ) from error
        if table is not None:
            return _parse(table, f"[preprocess] of '{config}'")
    if declared:
        try:
            return _parse(json.loads(declared), "the model's own declaration of its preprocessing")
        except json.JSONDecodeError as error:
            raise InvalidInputError(
                "the model's own declaration of its preprocessing is no JSON",
                why=str(error),
                hint=f"say it in edgeconv.toml instead:\n{EXAMPLE}",
            ) from error
    return None


def _parse(table: object, what: str) -> Preprocess:
    try:
        return Preprocess.model_validate(table)
    except ValidationError as error:
        details = [
            f"{'.'.join(str(part) for part in one['loc']) or 'preprocess'}: {one['msg']}"
            for one in error.errors()
        ]
        raise UsageError(
            f"{what} is not usable", hint=f"for example:\n{EXAMPLE}", details=details
        ) from error
