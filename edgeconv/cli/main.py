"""The entry point: finds the command, lets Typer read its options, runs it, and turns failures into exit statuses.

Only the module of the command that was asked for is imported, and it imports what it needs when it runs: `--help`
must answer at once. Typer reads the command line and nothing more: commands run outside of it, where our own
rules for errors and signals hold.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial, wraps
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer
from typer.main import get_command

from edgeconv.cli.failure import tell_bug, tell_error, tell_interruption
from edgeconv.cli.screen import Screen
from edgeconv.errors import EdgeconvError, UsageError

if TYPE_CHECKING:
    from edgeconv.execute.interrupt import Interruption

__all__ = ["COMMANDS", "build_app", "main", "run"]

Action = Callable[[], int | None]

COMMANDS: Mapping[str, str] = {
    "convert": "edgeconv.cli.convert:convert",
    "quantize": "edgeconv.cli.quantize:quantize",
    "inspect": "edgeconv.cli.inspect:inspect",
    "validate": "edgeconv.cli.validate:validate",
    "plan": "edgeconv.cli.plan:plan",
    "plugins": "edgeconv.cli.plugins:plugins",
    "doctor": "edgeconv.cli.doctor:doctor",
    "cache info": "edgeconv.cli.cache:info",
    "cache list": "edgeconv.cli.cache:list_entries",
    "cache prune": "edgeconv.cli.cache:prune",
    "cache clear": "edgeconv.cli.cache:clear",
    "report show": "edgeconv.cli.report:show",
    "report html": "edgeconv.cli.report:html",
    "report schema": "edgeconv.cli.report:schema",
}
"""Commands in the order of the help, and the functions that do them."""

_GROUPS: Mapping[str, str] = {
    "cache": "Show, prune or clear what earlier runs left.",
    "report": "Read the report of a conversion or quantization: a summary, the page, the schema.",
}
_PROGRAM = "edgeconv"
_BROKEN_PIPE_STATUS = 141
_TYPER_INTERRUPTED = 130


def main() -> None:
    """Run the command line of this process and end it."""
    _open_streams()
    # A terminal that cannot show an arrow shows something else, and nothing fails over it.
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command line; returns the exit status."""
    from edgeconv.execute.interrupt import exit_status, interruptible

    screen = _read_screen(arguments)
    try:
        with interruptible() as interruption:
            return _run(arguments, screen, interruption)
    except KeyboardInterrupt as error:
        return tell_interruption(exit_status(error), screen)
    except BrokenPipeError:
        return _BROKEN_PIPE_STATUS
    finally:
        _flush_streams()


def build_app(wanted: Sequence[str]) -> typer.Typer:
    """The Typer app with some commands, each of which returns its work instead of doing it.

    Args:
        wanted: Keys of `COMMANDS`; their modules are imported.
    """
    app = typer.Typer(
        name=_PROGRAM,
        help="Convert PyTorch models for phones, browsers and boards, and prove that each artifact is right.",
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_global_options)
    groups: dict[str, typer.Typer] = {}
    for words in wanted:
        group, _, name = words.rpartition(" ")
        if group and group not in groups:
            groups[group] = typer.Typer(help=_GROUPS[group], rich_markup_mode=None)
            groups[group].callback()(_no_options)
            app.add_typer(groups[group], name=group)
        target = groups[group] if group else app
        target.command(name)(_deferred(_load(COMMANDS[words])))
    return app


def _run(arguments: Sequence[str], screen: Screen, interruption: Interruption) -> int:
    _set_up_logging(screen)
    try:
        action = _parse(arguments)
        if action == _TYPER_INTERRUPTED:
            interruption.resume()
        return action if isinstance(action, int) else action() or 0
    except EdgeconvError as error:
        return tell_error(error, screen)
    except BrokenPipeError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever else comes out is a bug, and is told as one
        return tell_bug(error, screen)


def _parse(arguments: Sequence[str]) -> Action | int:
    """What the command line asks for; a status where Typer has answered it already, as it does for `--help`.

    Raises:
        UsageError: It means nothing.
    """
    words = [word for word in arguments if not word.startswith("-")]
    wanted = [key for key in COMMANDS if words and key.split()[0] == words[0]] or list(COMMANDS)
    command = get_command(build_app(wanted))
    try:
        parsed = command.main(
            list(arguments) or ["--help"], prog_name=_PROGRAM, standalone_mode=False
        )
    except typer.TyperException as error:
        raise UsageError(
            _sentence(error.format_message()),
            hint=_suggest_path(arguments) or f"see: {_help_command(words)}",
        ) from error
    return cast("Action | int", parsed)


def _load(reference: str) -> Callable[..., int | None]:
    module, _, function = reference.partition(":")
    return cast("Callable[..., int | None]", getattr(import_module(module), function))


def _deferred(function: Callable[..., int | None]) -> Callable[..., Action]:
    @wraps(function)
    def keep(**options: object) -> Action:
        return partial(function, **options)

    return keep


def _show_version(asked: bool) -> None:  # noqa: FBT001 - Typer calls it so
    if asked:
        from edgeconv.version import edgeconv_version

        print(f"{_PROGRAM} {edgeconv_version()}")
        raise typer.Exit


def _global_options(
    *,
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version.", callback=_show_version, is_eager=True),
    ] = False,
) -> None:
    """Options before the command."""


def _no_options() -> None:
    """A group that has commands only."""


def _read_screen(arguments: Sequence[str]) -> Screen:
    """How to speak, known even where the command line is wrong."""
    return Screen(
        is_json="--json" in arguments,
        is_quiet=not {"--quiet", "-q"}.isdisjoint(arguments),
        is_verbose=not {"--verbose", "-v"}.isdisjoint(arguments),
    )


def _set_up_logging(screen: Screen) -> None:
    logger = logging.getLogger(_PROGRAM)
    if screen.is_verbose:
        logging.basicConfig(stream=sys.stderr, format="%(name)s: %(message)s")
        logger.setLevel(logging.DEBUG)
    else:  # warnings that concern the user are in the result
        logger.addHandler(logging.NullHandler())


def _sentence(text: str) -> str:
    return (text[:1].lower() + text[1:]).rstrip(".").replace("\n", " ").replace("\t", " ")


def _suggest_path(arguments: Sequence[str]) -> str:
    """What to write where the name of a file was taken for an option."""
    for word in arguments:
        if word.startswith("-") and Path(word.partition(":")[0]).exists():
            return f"a file whose name begins with '-' is written ./{word}"
    return ""


def _help_command(words: Sequence[str]) -> str:
    known = [key for key in COMMANDS if key.split() == list(words[: len(key.split())])]
    group = words[0] if words and words[0] in _GROUPS else ""
    return " ".join(filter(None, [_PROGRAM, known[0] if known else group, "--help"]))


def _open_streams() -> None:
    """Give the standard streams that the caller closed something to read and write: nothing.

    Otherwise the next file that is opened would get their number, and what is printed would land in it.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free: this one
    if sys.stdout is None:
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - a number, for as long as the process lives
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - likewise


def _flush_streams() -> None:
    """Write what is still buffered; what cannot be written must not fail again when the interpreter ends."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            nothing = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nothing, stream.fileno())
