"""What edgeconv writes into every format it makes: the signature with its dims, and the metadata, as one JSON text."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from edgeconv.signature import Signature

__all__ = ["FLOAT", "PRECISION_KEY", "RECORD_NAME", "read_precision", "read_record", "write_record"]

RECORD_NAME = "edgeconv.json"
"""Name of the entry, in the formats that hold files inside a file."""

PRECISION_KEY = "precision"
"""Metadata: the recipe that a file was quantized with."""

FLOAT = "float32"
"""The precision of a file that was not quantized."""

_RECIPE = re.compile(r"fp16|int\d+(x\d+|-dynamic|-weights(-b\d+)?)?")


def write_record(signature: Signature, metadata: Mapping[str, str]) -> str:
    """The record as text; equal contents give equal text."""
    content = {"signature": signature.to_json(), "metadata": dict(metadata)}
    return json.dumps(content, sort_keys=True, separators=(",", ":"))


def read_record(text: str) -> tuple[Signature, dict[str, str]]:
    """The signature and the metadata that `write_record` wrote.

    Raises:
        ValueError: The text is no such record.
    """
    try:
        data = json.loads(text)
        metadata = {str(key): str(value) for key, value in data["metadata"].items()}
        return Signature.from_json(data["signature"]), metadata
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"no record of edgeconv: {error}") from error


def read_precision(metadata: Mapping[str, str]) -> str:
    """The recipe that a file was quantized with; `float32` where its metadata names none.

    Other tools may store anything under the key: what is no name of a recipe is none.
    """
    named = metadata.get(PRECISION_KEY, FLOAT)
    return named if _RECIPE.fullmatch(named) else FLOAT
