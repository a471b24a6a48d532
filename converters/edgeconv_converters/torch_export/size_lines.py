"""Finds the lines of a model that fix the sizes of its dynamic dims: `torch.export` refuses them without saying where.

PyTorch tells its own log of traces of every symbol it makes for a size and of everything it assumes about one; a
handler that looks at the stack at that moment sees the line of the model that is running.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

from edgeconv_converters.torch_export.refusals import model_lines, stack_frames

__all__ = ["find_size_lines"]

_TRACE = "torch.__trace"
_MAX_LINES = 5
# What holds for all sizes of 2 or more PyTorch always assumes: it is nobody's fault.
_HARMLESS = re.compile(r"(Ne\(\w+, [01]\)|\w+ (>=|>) [012]|[012] (<=|<) \w+)\Z")


def find_size_lines(
    export: Callable[[], object], axes: Mapping[tuple[str, int], str], dims: Sequence[str]
) -> list[str]:
    """Export once more, this time listening; returns `file:line: code`, the first assumption first.

    Args:
        export: Exports the model; it may fail.
        axes: The dim that stands on an axis of an input, by input name and axis.
        dims: The dims that are asked about.
    """
    log = _SizeLog()
    with _listening(log), suppress(Exception):  # that it fails is known
        export()
    symbols = {symbol for symbol, place in log.places.items() if place and axes.get(place) in dims}
    lines = [line for expression, line in log.assumed if symbols & set(_words(expression))]
    return list(dict.fromkeys(lines))[:_MAX_LINES]


@contextmanager
def _listening(log: logging.Handler) -> Iterator[None]:
    logger = logging.getLogger(_TRACE)
    before = logger.level
    logger.addHandler(log)
    logger.setLevel(
        logging.DEBUG
    )  # other tools of this process may have silenced it: litert-torch does
    try:
        yield
    finally:
        logger.setLevel(before)
        logger.removeHandler(log)


class _SizeLog(logging.Handler):
    """Notes symbols, and assumptions with the line of the model that is running.

    Attributes:
        places: Input name and axis of each symbol.
        assumed: What was assumed, and where.
    """

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.places: dict[str, tuple[str, int] | None] = {}
        self.assumed: list[tuple[str, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Take one event of the trace."""
        events: Mapping[str, object] = getattr(record, "metadata", {})
        match events:
            case {"create_symbol": {"symbol": symbol, "source": source}}:
                self.places[str(symbol)] = _place(str(source))
            case {"symbolic_shape_specialization": {"symbol": symbol}}:
                self._note(str(symbol))
            case {"guard_added_fast": {"expr": expression}}:
                if not _HARMLESS.match(str(expression)):
                    self._note(str(expression))
            case _:
                pass

    def _note(self, expression: str) -> None:
        lines = model_lines(stack_frames())
        if lines:
            self.assumed.append((expression, lines[0]))


def _place(source: str) -> tuple[str, int] | None:
    """Input and axis from PyTorch's `L['image'].size()[0]`."""
    match = re.fullmatch(r"L\['(\w+)'\]\.size\(\)\[(\d+)\]", source)
    return (match[1], int(match[2])) if match else None


def _words(expression: str) -> list[str]:
    return re.findall(r"\w+", expression)
