"""`edgeconv cache`: what earlier runs left, and how to get rid of it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated

import typer

from edgeconv.cli.options import AsJson, Quiet, Verbose
from edgeconv.cli.screen import Screen, as_table
from edgeconv.errors import UsageError
from edgeconv.report.figures import format_size
from edgeconv.settings import load_settings, parse_size

if TYPE_CHECKING:
    from edgeconv.store import Store

__all__ = ["clear", "info", "list_entries", "prune"]

_SECONDS = {"": 86400.0, "h": 3600.0, "d": 86400.0, "w": 7 * 86400.0}

MaxSize = Annotated[
    str | None,
    typer.Option(
        metavar="SIZE", help="Most that may stay, such as 500M or 2G.", show_default=False
    ),
]
MaxAge = Annotated[
    str | None,
    typer.Option(
        metavar="AGE",
        help="Remove what was not used for so long: 12h, 30d, 4w.",
        show_default=False,
    ),
]


def info(*, as_json: AsJson = False, quiet: Quiet = False, verbose: Verbose = False) -> None:
    """Show where the cache is and how much it holds."""
    found = _open_store().info()
    data = {"path": str(found.path), "entries": found.entries, "bytes": found.size_bytes}
    lines = [f"path     {found.path}", f"entries  {found.entries}"]
    lines.append(f"size     {format_size(found.size_bytes)}")
    Screen(is_json=as_json, is_quiet=quiet, is_verbose=verbose).show(data, "\n".join(lines))


def list_entries(
    *, as_json: AsJson = False, quiet: Quiet = False, verbose: Verbose = False
) -> None:
    """List what the cache holds, the last used first."""
    from datetime import UTC, datetime

    entries = _open_store().entries()
    used = [datetime.fromtimestamp(entry.used, UTC) for entry in entries]
    data: dict[str, object] = {
        "entries": [
            {
                "key": entry.key,
                "label": entry.label,
                "bytes": entry.size_bytes,
                "used": when.isoformat(timespec="seconds"),
            }
            for entry, when in zip(entries, used, strict=True)
        ]
    }
    rows = [
        (entry.label, format_size(entry.size_bytes), f"{when.astimezone():%Y-%m-%d %H:%M}")
        for entry, when in zip(entries, used, strict=True)
    ]
    text = as_table(("step", "size", "last used"), rows, right=(1,)) if rows else "nothing"
    Screen(is_json=as_json, is_quiet=quiet, is_verbose=verbose).show(data, text)


def prune(
    *,
    max_size: MaxSize = None,
    max_age: MaxAge = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Remove what was not used for long, and the least used until the rest fits."""
    if max_size is None and max_age is None:
        raise UsageError("nothing says what to remove", hint="give --max-size, --max-age or both")
    freed = _open_store().prune(
        max_bytes=None if max_size is None else parse_size(max_size),
        max_age_seconds=None if max_age is None else parse_age(max_age),
    )
    _show_freed(freed, Screen(is_json=as_json, is_quiet=quiet, is_verbose=verbose))


def clear(*, as_json: AsJson = False, quiet: Quiet = False, verbose: Verbose = False) -> None:
    """Remove everything from the cache: results, logs, and what killed runs left behind."""
    from edgeconv.artifact import measure_size
    from edgeconv.execute.workspace import remove_abandoned
    from edgeconv.store.files import remove

    settings = load_settings()
    freed = _open_store().clear() + remove_abandoned(settings.scratch_dir)
    if settings.log_dir.is_dir():
        freed += measure_size(settings.log_dir)
        remove(settings.log_dir)
    _show_freed(freed, Screen(is_json=as_json, is_quiet=quiet, is_verbose=verbose))


def parse_age(text: str) -> float:
    """Seconds from a text such as `30d`; days where no unit is given.

    Raises:
        UsageError: It is no age.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([hdw]?)", text.strip().lower())
    if not match:
        raise UsageError(f"'{text}' is no age", hint="write it as 12h, 30d or 4w")
    return float(match[1]) * _SECONDS[match[2]]


def _show_freed(freed: int, screen: Screen) -> None:
    screen.show({"freed_bytes": freed}, f"freed {format_size(freed)}")


def _open_store() -> Store:
    from edgeconv.store import Store

    return Store(load_settings().store_dir)
