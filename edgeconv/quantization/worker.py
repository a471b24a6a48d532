"""The quantization step: runs in a worker process, where the format's library and runtime are."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, MutableMapping
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import cast

from edgeconv.errors import InternalError
from edgeconv.plugin.job import Json
from edgeconv.plugin.quantizer import FloatModel
from edgeconv.quantization.account import give_account
from edgeconv.quantization.engine import run
from edgeconv.quantization.request import QuantizationRequest

__all__ = ["quantize"]


def quantize(request: dict[str, Json], context: MutableMapping[str, object]) -> dict[str, Json]:  # noqa: ARG001 - the worker's interface
    """Quantize an artifact.

    Args:
        request: The JSON of a `QuantizationRequest`.
        context: Of the worker; not used.

    Returns:
        What was done, tried and measured: see `edgeconv.quantization.account`. The chosen file is the request's output,
        whether it meets the budget or not.

    Raises:
        UsageError: The recipe, an override or the data cannot be used.
        InvalidInputError: The artifact or the data is damaged or does not fit.
        ConversionError: The library cannot quantize the model in any way.
    """
    wanted = QuantizationRequest.from_json(request)
    with tempfile.TemporaryDirectory(dir=wanted.scratch) as folder:
        wanted = replace(wanted, scratch=Path(folder))
        open_model = _find_entry(wanted.entry)
        result = run(wanted, lambda: open_model(wanted.artifact))
        account = give_account(wanted, result)
        shutil.copyfile(account.chosen, wanted.output)
    return account.facts


def _find_entry(entry: str) -> Callable[[Path], FloatModel]:
    module, _, function = entry.partition(":")
    found = getattr(import_module(module), function, None)
    if not callable(found):
        raise InternalError(f"quantizer entry '{entry}' is no function")
    return cast("Callable[[Path], FloatModel]", found)
