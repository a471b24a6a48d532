"""Writes the folder for a bug report: the part of the program, the script that shows the failure, and what it is about."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from string import Template

from edgeconv.errors import EdgeconvError, counted

__all__ = ["MARK_NAME", "PROGRAM_NAME", "SCRIPT_NAME", "Reproduction", "source_of_script"]

PROGRAM_NAME, SCRIPT_NAME, MARK_NAME = "subgraph.pt2", "reproduce.py", "failure.json"
_README_NAME = "README.md"
_TEMPLATES = Path(__file__).with_name("templates")


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
        template = Template((_TEMPLATES / "reproduce.py.txt").read_text("utf-8"))
        text = template.substitute(
            model=self.model.replace("\\", "").replace('"', ""),
            format=self.format,
            route=repr(list(self.route)),
            code=error.code,
            modules=repr([o["module"] for o in self.origins if o["module"]]),
            folders=repr([o["folder"] for o in self.origins if o["folder"]]),
        )
        (folder / SCRIPT_NAME).write_text(text, "utf-8")

    def write_facts(self, folder: Path, error: EdgeconvError) -> None:
        """Write what it is about, for people and for programs."""
        facts = {**asdict(self), "error": error.to_json()}
        (folder / MARK_NAME).write_text(json.dumps(facts, indent=1) + "\n", "utf-8")
        template = Template((_TEMPLATES / "README.md.txt").read_text("utf-8"))
        text = template.substitute(
            model=self.model,
            format=self.format,
            route=" → ".join(self.route),
            size=self.size,
            error=_indent(str(error)),
            operators=_list(self.operators),
            versions=_list([f"{name} {version}" for name, version in self.versions.items()]),
            script=SCRIPT_NAME,
            program=PROGRAM_NAME,
        )
        (folder / _README_NAME).write_text(text, "utf-8")


def source_of_script(folder: Path, origins: Sequence[Mapping[str, str]]) -> str:
    """The model in `folder` as MODEL is written: the program, or a factory where operators must be defined first."""
    return f"{folder / SCRIPT_NAME}:create" if origins else str(folder / PROGRAM_NAME)


def _indent(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())


def _list(lines: Sequence[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)
