"""Writes the folder for a bug report: the part of the program, the script that shows the failure, and what it is about."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from string import Template

from edgeconv.errors import EdgeconvError, counted

__all__ = [
    "MARK_NAME",
    "PROGRAM_NAME",
    "SCRIPT_NAME",
    "TEMPLATES",
    "Reproduction",
    "source_of_script",
]

PROGRAM_NAME, SCRIPT_NAME, MARK_NAME = "subgraph.pt2", "reproduce.py", "failure.json"
_README_NAME = "README.md"
TEMPLATES = Path(__file__).with_name("templates")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reproduction:
    """What is known of a failure.

    Attributes:
        model: The model's name.
        format: Format id that was asked for.
        route: Converters of the route that failed.
        operators: The operators of the part: what they are, and the user's lines that they come from.
        of: How many operators the whole program has.
        origins: Who defines operators that are not PyTorch's own.
        versions: Versions of what took part, and of the platform.
    """

    model: str
    format: str
    route: tuple[str, ...]
    operators: tuple[str, ...]
    of: int
    origins: tuple[Mapping[str, str], ...]
    versions: Mapping[str, str]

    @property
    def size(self) -> str:
        """How much of the model the part is, for people."""
        return f"{len(self.operators)} of its {counted(self.of, 'operator')}"

    def write_script(self, folder: Path, error: EdgeconvError) -> None:
        """Write the script, and copies of the single files that define operators, beside the program in `folder`."""
        for origin in self.origins:
            file = Path(origin["folder"]) / f"{origin['module']}.py"
            if origin["folder"] and file.is_file():
                shutil.copyfile(file, folder / file.name)
        template = Template((TEMPLATES / "reproduce.py.txt").read_text("utf-8"))
        text = template.substitute(
            self.words(), format=self.format, route=repr(list(self.route)), code=error.code
        )
        (folder / SCRIPT_NAME).write_text(text, "utf-8")

    def words(self) -> dict[str, str]:
        """What every script says of the part: its model, and what must be imported for it."""
        return {
            "model": self.model.replace("\\", "").replace('"', ""),
            "modules": repr([o["module"] for o in self.origins if o["module"]]),
            "folders": repr([o["folder"] for o in self.origins if o["folder"]]),
        }

    def write_facts(self, folder: Path, error: EdgeconvError, *, tool: str, is_bare: bool) -> None:
        """Write what it is about, for people and for programs.

        Args:
            folder: Of the bug report.
            error: The failure of the part.
            tool: Somebody else's, which the last converter of the route calls; empty if there is none.
            is_bare: Whether the script calls that tool itself.
        """
        facts = {**asdict(self), "error": error.to_json(), "tool": tool, "is_bare_call": is_bare}
        (folder / MARK_NAME).write_text(json.dumps(facts, indent=1) + "\n", "utf-8")
        template = Template((TEMPLATES / "README.md.txt").read_text("utf-8"))
        text = template.substitute(
            model=self.model,
            format=self.format,
            route=" → ".join(self.route),
            size=self.size,
            error=_indent(str(error)),
            operators=_list(self.operators),
            versions=_list([f"{name} {version}" for name, version in self.versions.items()]),
            script=SCRIPT_NAME,
            call=_describe_call(tool, is_bare=is_bare),
            program=PROGRAM_NAME,
        )
        (folder / _README_NAME).write_text(text, "utf-8")


def source_of_script(folder: Path, origins: Sequence[Mapping[str, str]]) -> str:
    """The model in `folder` as MODEL is written: the program, or a factory where operators must be defined first."""
    return f"{folder / SCRIPT_NAME}:create" if origins else str(folder / PROGRAM_NAME)


def _describe_call(tool: str, *, is_bare: bool) -> str:
    if is_bare:
        return f"It calls {tool} itself: nothing of edgeconv is needed."
    if tool:
        return f"It calls edgeconv: a bare call of {tool} did not show the failure."
    return "It calls edgeconv, whose own converter fails."


def _indent(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())


def _list(lines: Sequence[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)
