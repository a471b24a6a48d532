"""`edgeconv doctor`: what is installed, what is missing, and the command that installs it. Imports none of it."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from edgeconv.cli.options import AsJson, Quiet, Verbose
from edgeconv.cli.plugins import why_quantizer_unusable, why_unusable
from edgeconv.cli.screen import Screen, as_table
from edgeconv.plugin.quantizers import QuantizerRegistry
from edgeconv.plugin.registry import Registry, install_hint
from edgeconv.report.figures import format_size
from edgeconv.settings import Settings, load_settings
from edgeconv.version import edgeconv_version

__all__ = ["doctor"]

_PROGRAM = "edgeconv"
_EVERYTHING = "all"  # the extra that is all others
_BAD_STATUS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """A package that edgeconv, or an extra of it, needs."""

    name: str
    wanted: str
    extra: str
    installed: str | None
    is_right: bool

    @property
    def remark(self) -> str:
        """What is to be done about it; empty if nothing."""
        if self.is_right:
            return ""
        problem = "not installed" if self.installed is None else f"needs {self.wanted}"
        return f"{problem}: {install_hint([self.extra]) or 'pip install --upgrade edgeconv'}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cache:
    """The cache folder."""

    path: str
    free_bytes: int
    is_writable: bool


def doctor(*, as_json: AsJson = False, quiet: Quiet = False, verbose: Verbose = False) -> int:
    """Check the installation: versions, converters, what is missing and how to get it."""
    settings = load_settings()
    packages = list(_packages())
    registry = Registry(allowed=settings.plugins)
    quantizers = QuantizerRegistry(allowed=settings.plugins)
    unusable = {spec.id: why_unusable(spec) for spec in registry.converters}
    unusable_quantizers = {spec.id: why_quantizer_unusable(spec) for spec in quantizers.quantizers}
    problems = (*registry.problems, *quantizers.problems)
    cache = _inspect_cache(settings)
    is_base_good = cache.is_writable and all(p.is_right for p in packages if not p.extra)
    data: dict[str, object] = {
        "python": platform.python_version(),
        "edgeconv": edgeconv_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cores": settings.cores,
        "is_offline": settings.is_offline,
        "packages": [asdict(package) for package in packages],
        "converters": _list_usable(unusable),
        "quantizers": _list_usable(unusable_quantizers),
        "problems": [{"plugin": p.plugin, "reason": p.reason} for p in problems],
        "cache": asdict(cache),
        "is_base_good": is_base_good,
    }
    states = {"converters": unusable, "quantizers": unusable_quantizers}
    text = "\n\n".join(_sections(data, packages, states, cache))
    Screen(is_json=as_json, is_quiet=quiet, is_verbose=verbose).show(data, text)
    return 0 if is_base_good else _BAD_STATUS


def _packages() -> Iterable[Package]:
    """What the installed edgeconv declares: its own requirements first, then those of each extra."""
    from packaging.requirements import Requirement

    try:
        declared = [Requirement(line) for line in requires(_PROGRAM) or ()]
    except PackageNotFoundError:  # run from a source tree that was not installed
        return
    for requirement in declared:
        extra = str(requirement.marker or "").rpartition("extra == ")[2].strip("\"'")
        if extra == _EVERYTHING:
            continue
        installed = _installed(requirement.name)
        wanted = requirement.specifier
        yield Package(
            name=requirement.name,
            wanted=str(wanted),
            extra=extra,
            installed=installed,
            is_right=installed is not None and wanted.contains(installed, prereleases=True),
        )


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _inspect_cache(settings: Settings) -> Cache:
    existing = next(p for p in (settings.cache_dir, *settings.cache_dir.parents) if p.exists())
    return Cache(
        path=str(settings.cache_dir),
        free_bytes=shutil.disk_usage(existing).free,
        is_writable=existing.is_dir() and os.access(existing, os.W_OK | os.X_OK),
    )


def _list_usable(reasons: dict[str, str]) -> list[dict[str, object]]:
    return [
        {"id": key, "is_usable": not reason, "reason": reason} for key, reason in reasons.items()
    ]


def _sections(
    data: dict[str, object],
    packages: list[Package],
    states: dict[str, dict[str, str]],
    cache: Cache,
) -> Iterable[str]:
    yield f"edgeconv {data['edgeconv']}, Python {data['python']}, {data['system']}"
    yield as_table(
        ("package", "extra", "installed", ""),
        [(p.name, p.extra or "-", p.installed or "-", p.remark) for p in packages],
    )
    for kind, reasons in states.items():
        usable = [key for key, reason in reasons.items() if not reason]
        out = [f"  {key}: {reason}" for key, reason in reasons.items() if reason]
        yield "\n".join([f"{kind} that can be used: {', '.join(usable) or 'none'}", *out])
    extras = [package.extra for package in packages if package.extra and not package.is_right]
    if extras:
        yield f"to get all of them: {install_hint(extras)}"
    state = "" if cache.is_writable else ", which cannot be written: set EDGECONV_CACHE_DIR"
    yield f"cache: {Path(cache.path)}{state}, {format_size(cache.free_bytes)} free"
    verdict = "edgeconv can work" if data["is_base_good"] else "edgeconv cannot work like this"
    yield verdict
