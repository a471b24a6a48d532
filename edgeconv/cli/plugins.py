"""`edgeconv plugins`: which converters there are, where they come from, and whether they can be used here."""

from __future__ import annotations

from edgeconv.cli.options import AsJson, Quiet, Verbose
from edgeconv.cli.screen import Screen, as_table
from edgeconv.plugin.converter import ConverterSpec
from edgeconv.plugin.registry import Registry, install_hint, missing_modules

__all__ = ["plugins", "why_unusable"]

_HEADER = ("converter", "edge", "what it does", "from", "usable")


def plugins(*, as_json: AsJson = False, quiet: Quiet = False, verbose: Verbose = False) -> None:
    """List all converters, and why some cannot be used."""
    from edgeconv.settings import load_settings

    registry = Registry(allowed=load_settings().plugins)
    problems = [{"plugin": item.plugin, "reason": item.reason} for item in registry.problems]
    data: dict[str, object] = {
        "converters": [_describe(spec, registry) for spec in registry.converters],
        "extensions": [
            {"group": group, **item.to_json()}
            for group, items in registry.extensions.items()
            for item in items
        ],
        "problems": problems,
    }
    rows = [_cells(spec, registry) for spec in registry.converters]
    text = as_table(_HEADER, rows)
    added = [
        f"  {item.title} {item.version}: {group}"
        for group, items in registry.extensions.items()
        for item in items
    ]
    if added:
        text = "\n".join([text, "", "added to converters:", *added])
    if problems:
        lines = [f"  {item['plugin']}: {item['reason']}" for item in problems]
        text = "\n".join([text, "", "not loaded:", *lines])
    Screen(is_json=as_json, is_quiet=quiet, is_verbose=verbose).show(data, text)


def why_unusable(spec: ConverterSpec) -> str:
    """Why a converter cannot be used here; empty if it can."""
    if spec.environment is not None:
        return f"environment '{spec.environment.id}' does not exist"
    missing = missing_modules(spec)
    if not missing:
        return ""
    names = ", ".join(f"'{name}'" for name in missing)
    return f"{names} not installed: {install_hint([spec.extra]) or f'install {names}'}"


def _describe(spec: ConverterSpec, registry: Registry) -> dict[str, object]:
    reason = why_unusable(spec)
    return {
        "id": spec.id,
        "version": spec.version,
        "kind": spec.kind,
        "source": spec.source,
        "target": spec.target,
        "summary": spec.summary,
        "origin": registry.origin(spec.id),
        "distribution": registry.distribution(spec.id),
        "cost": {
            "fidelity": spec.cost.fidelity,
            "install_bytes": spec.cost.install_bytes,
            "seconds": spec.cost.seconds,
        },
        "is_usable": not reason,
        "reason": reason,
    }


def _cells(spec: ConverterSpec, registry: Registry) -> tuple[str, ...]:
    return (
        spec.id,
        f"{spec.source} → {spec.target}",
        spec.summary,
        registry.distribution(spec.id) or "-",
        why_unusable(spec) or "yes",
    )
