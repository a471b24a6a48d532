"""Arguments and options that several commands share, so that they read the same everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgeconv.errors import UsageError

__all__ = [
    "AsJson",
    "Inputs",
    "Model",
    "NoCache",
    "Quiet",
    "Samples",
    "Seed",
    "Timeout",
    "Trust",
    "Verbose",
    "Weights",
    "read_path",
    "split_ids",
]


def read_path(text: str) -> Path:
    """A path as the user typed it.

    Raises:
        UsageError: The text is empty, as that of a variable is which was never set; `Path` would take it for
            the folder that edgeconv was called in.
    """
    if not text:
        raise UsageError("a path is an empty text", hint="name a file or folder; . is this folder")
    return Path(text)


Model = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="A model file, or a factory: package.module:function or path/to/file.py:function.",
        show_default=False,
    ),
]
Inputs = Annotated[
    list[str] | None,
    typer.Option(
        "--input",
        metavar="SPEC",
        help="One input, such as 'image:float32[N=1,3,224,224]'; repeat it for each.",
        show_default=False,
    ),
]
Weights = Annotated[
    Path | None,
    typer.Option(
        parser=read_path,
        metavar="FILE",
        help="Weights for a factory: .safetensors, or a PyTorch state dict.",
        show_default=False,
    ),
]
Samples = Annotated[
    Path | None,
    typer.Option(
        parser=read_path,
        metavar="FILE",
        help="Real inputs to verify with: a .npz, or a folder of .npy; the first 16 are used.",
        show_default=False,
    ),
]
Trust = Annotated[bool, typer.Option("--trust", help="Allow a pickle that runs code when read.")]
Seed = Annotated[int, typer.Option(metavar="N", help="What everything random is drawn from.")]
Timeout = Annotated[
    float | None,
    typer.Option(
        metavar="SECONDS",
        min=0.0,
        help="Most time that one step may take.",
        show_default=False,
    ),
]
NoCache = Annotated[
    bool, typer.Option("--no-cache", help="Compute everything, and keep nothing for later.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but the result.")]
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="Print what happens, and tracebacks of errors.")
]


def split_ids(values: list[str] | None) -> tuple[str, ...]:
    """Ids from an option that is repeated, or given once with commas; each id once.

    Raises:
        UsageError: The option was given without any.
    """
    parts = (part.strip() for value in values or () for part in value.split(","))
    ids = tuple(dict.fromkeys(part for part in parts if part))
    if values and not ids:
        raise UsageError("an option that takes ids has none", hint="name some, or leave it out")
    return ids
