"""Where the code is, for tests that look at the code itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = (
    ROOT / "edgeconv",
    ROOT / "converters" / "edgeconv_converters",
    ROOT / "targets" / "edgeconv_targets",
)


def package_files() -> Iterator[Path]:
    """All Python files that are shipped."""
    for package in PACKAGES:
        yield from sorted(package.rglob("*.py"))


def files_of_tests() -> Iterator[Path]:
    """All Python files of the tests."""
    yield from sorted((ROOT / "tests").rglob("*.py"))


def module_name(path: Path) -> str:
    """The name a file is imported by."""
    package = next(package for package in PACKAGES if package in path.parents)
    parts = path.relative_to(package.parent).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")
