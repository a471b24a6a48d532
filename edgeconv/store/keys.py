"""What an action's result depends on, made into a key: the same key means the same result."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import platform
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from pathlib import Path

from edgeconv.plugin.job import Json
from edgeconv.store.digests import DigestMemo

__all__ = ["CodeDigests", "action_key", "module_versions"]

# Parts of edgeconv that workers do not run, or that only pass files on: changes there change no result.
_HOST_ONLY = ("cli", "diagnosis", "execute", "plan", "report", "store", "testing")


def action_key(facts: Mapping[str, Json]) -> str:
    """SHA-256 over facts, in a canonical form, and over the interpreter they hold on."""
    host: dict[str, Json] = {
        "python": platform.python_version(),
        "implementation": sys.implementation.name,
        "platform": sys.platform,
        "machine": platform.machine(),
    }
    text = json.dumps({"facts": dict(facts), "host": host}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


class CodeDigests:
    """Digests of the code behind entries; each folder is looked at once.

    Args:
        memo: Digests of single files.
    """

    def __init__(self, memo: DigestMemo) -> None:
        self._memo = memo
        self._own = Path(__file__).parent.parent
        self._of_folder = cache(self._digest_folder)

    def digest(self, entry: str) -> str:
        """Digest of an entry's own package, and of what workers use of edgeconv."""
        both = (self._of_folder(self._own), self._of_folder(_package_folder(entry)))
        return hashlib.sha256(" ".join(both).encode()).hexdigest()

    def _digest_folder(self, root: Path | None) -> str:
        total = hashlib.sha256()
        for path in _code_files(root, self._own):
            digest = self._memo.digest(path)
            total.update(f"{path.name}\0{path.parent.name}\0{digest}\n".encode())
        return total.hexdigest()


def module_versions(modules: Iterable[str]) -> dict[str, Json]:
    """Version of the distribution behind each import name, found without importing; `?` if unknown."""
    return {name: _version(name) for name in sorted(set(modules))}


def _version(module: str) -> str:
    try:
        return version(module)  # most distributions are named like what they hold
    except PackageNotFoundError:
        owners = packages_distributions().get(module.partition(".")[0], [])
    return version(owners[0]) if owners else "?"


def _package_folder(entry: str) -> Path | None:
    module = entry.partition(":")[0]
    parent = module.rpartition(".")[0] or module
    try:
        found = importlib.util.find_spec(parent)
    except ImportError:
        return None
    if found is None or found.origin is None:
        return None
    origin = Path(found.origin)
    return origin.parent if found.submodule_search_locations else origin


def _code_files(root: Path | None, own: Path) -> list[Path]:
    if root is None or root.is_file():
        return [root] if root else []
    return [
        path
        for path in sorted(root.rglob("*.py"))
        if root != own or path.relative_to(own).parts[0] not in _HOST_ONLY
    ]
