"""How a failure is told: what failed, why, what to do; a traceback only for a bug, or when asked for."""

from __future__ import annotations

import json
import sys
import tempfile
import time
import traceback
from contextlib import suppress
from pathlib import Path

from edgeconv.cli.screen import Screen, print_message, print_result
from edgeconv.errors import EdgeconvError, InternalError, OutputError

__all__ = ["tell_bug", "tell_error", "tell_interruption"]


def tell_error(error: EdgeconvError, screen: Screen) -> int:
    """Print an error; returns the exit status."""
    if screen.is_json:
        with suppress(OutputError):  # stdout itself may be what failed
            print_result(json.dumps({"error": error.to_json()}, indent=2))
    print_message(_as_text(error))
    if screen.is_verbose:
        print_message("".join(traceback.format_exception(error)).rstrip())
    return error.exit_status


def tell_bug(error: Exception, screen: Screen) -> int:
    """Print that edgeconv itself failed, and keep the traceback in a file; returns the exit status."""
    bug = InternalError(
        "edgeconv has a bug",
        why=f"{type(error).__name__}: {error}",
        hint=f"please report it with this log: {_keep_log(error)}",
    )
    status = tell_error(bug, Screen(is_json=screen.is_json))
    if screen.is_verbose:
        print_message("".join(traceback.format_exception(error)).rstrip())
    return status


def tell_interruption(status: int, screen: Screen) -> int:
    """Print that the run was interrupted; returns the exit status."""
    if screen.is_json:
        document = {"error": {"code": "interrupted", "exit_status": status}}
        print_result(json.dumps(document, indent=2))
    screen.note("interrupted: what was delivered before is whole, nothing else was left")
    return status


def _as_text(error: EdgeconvError) -> str:
    lines = [f"error: {error.message}"]
    if error.why:
        lines.append(f"why: {error.why}")
    lines += [f"  - {line}" for line in error.details]
    if error.hint:
        lines.append(f"hint: {error.hint}")
    return "\n".join(lines)


def _keep_log(error: Exception) -> str:
    text = "".join(traceback.format_exception(error))
    try:
        folder = _log_folder()
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"bug-{time.strftime('%Y%m%d-%H%M%S')}.log"
        path.write_text(f"{' '.join(sys.argv)}\n\n{text}", encoding="utf-8")
    except OSError as problem:
        return f"(it could not be written: {problem.strerror}; --verbose prints it)"
    return str(path)


def _log_folder() -> Path:
    from edgeconv.settings import load_settings

    try:
        return load_settings().log_dir
    except EdgeconvError:
        return Path(tempfile.gettempdir())
