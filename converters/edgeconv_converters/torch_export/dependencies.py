"""Finds out what a model was made from: the user's own files it read, and the packages it used."""

from __future__ import annotations

import sys
import sysconfig
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from functools import cache
from importlib.metadata import Distribution, distributions
from pathlib import Path

from edgeconv.artifact import digest_path
from edgeconv.plugin import Json

__all__ = ["Dependencies"]


class Dependencies:
    """Records every file opened for reading while it watches. An audit hook cannot be removed: it is only silenced."""

    def __init__(self) -> None:
        self._opened: set[str] = set()
        self._is_watching = False
        self._before: set[str] = set()

    @contextmanager
    def watch(self) -> Iterator[None]:
        """Record from here to the end of the block."""
        sys.addaudithook(self._hear)
        self._before = set(sys.modules)
        self._is_watching = True
        try:
            yield
        finally:
            self._is_watching = False

    def _hear(self, event: str, arguments: tuple[object, ...]) -> None:
        if self._is_watching and event == "open" and isinstance(arguments[0], str):
            mode = arguments[1]
            if not isinstance(mode, str) or not set(mode) & set("wax"):
                self._opened.add(arguments[0])

    def files(self, *more: Path | None) -> list[Path]:
        """The user's own files: not those of Python, of packages, or of the system."""
        found = {Path(name).absolute() for name in self._opened}
        for name in set(sys.modules) - self._before:
            file = getattr(sys.modules[name], "__file__", None)
            if file:
                found.add(Path(file).absolute())
        found = {path for path in found if _is_own(path)}
        found |= {path.absolute() for path in more if path is not None}
        return sorted(path for path in found if path.is_file())

    def to_json(self, *more: Path | None) -> list[Json]:
        """Each file with its digest."""
        return [{"path": str(path), "sha256": digest_path(path)} for path in self.files(*more)]

    def distributions(self) -> dict[str, Json]:
        """Versions of the packages that were imported meanwhile, and of PyTorch."""
        imported = {name.partition(".")[0] for name in set(sys.modules) - self._before}
        roots = (imported - sys.stdlib_module_names) | {"torch"}
        owners = [owner for owner in distributions() if _holds_one_of(owner, roots)]
        return {owner.name: owner.version for owner in sorted(owners, key=lambda one: one.name)}


def _holds_one_of(owner: Distribution, roots: AbstractSet[str]) -> bool:
    """Whether some top-level module is of this distribution.

    What `importlib.metadata.packages_distributions` says as well, but it parses every line of every distribution.
    """
    declared = owner.read_text("top_level.txt")
    if declared is not None:
        return not roots.isdisjoint(declared.split())
    listed = "\n" + (owner.read_text("RECORD") or "")
    return any(f"\n{root}/" in listed or f"\n{root}." in listed for root in roots)


@cache
def _package_folders() -> tuple[str, ...]:
    """Where Python and packages are installed, each with a slash behind it."""
    keys = ("stdlib", "platstdlib", "purelib", "platlib")
    return tuple(f"{folder}/" for key in keys if (folder := sysconfig.get_path(key)))


def _is_own(path: Path) -> bool:
    text = str(path)
    if path.suffix == ".pyc" or text.startswith(("/proc/", "/sys/", "/dev/", "/etc/", "/usr/")):
        return False
    return not text.startswith(_package_folders())
