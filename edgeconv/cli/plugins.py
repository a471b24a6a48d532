"""`edgeconv plugins`: which converters and quantizers there are, where they come from, whether they can be used here."""

from __future__ import annotations

from collections.abc import Sequence

from edgeconv.cli.options import AsJson, Quiet, Verbose
from edgeconv.cli.screen import Screen, as_table
from edgeconv.plugin.converter import ConverterSpec
from edgeconv.plugin.quantizer import QuantizerSpec
from edgeconv.plugin.quantizers import QuantizerRegistry, missing_modules_of
from edgeconv.plugin.registry import Registry, install_hint, missing_modules

__all__ = ["plugins", "why_quantizer_unusable", "why_unusable"]

_HEADER = ("converter", "edge", "what it does", "from", "usable")
_QUANTIZER_HEADER = ("quantizer", "format", "what it does", "from", "usable")


def plugins(*, as_json: AsJson = False, quiet: Quiet = False, verbose: Verbose = False) -> None:
    """List all converters and quantizers, and why some cannot be used."""
    from edgeconv.settings import load_settings

    allowed = load_settings().plugins
    registry, quantizers = Registry(allowed=allowed), QuantizerRegistry(allowed=allowed)
    problems = [
        {"plugin": item.plugin, "reason": item.reason}
        for item in (*registry.problems, *quantizers.problems)
    ]
    data: dict[str, object] = {
        "converters": [_describe(spec, registry) for spec in registry.converters],
        "quantizers": [_describe_quantizer(spec, quantizers) for spec in quantizers.quantizers],
        "extensions": [
            {"group": group, **item.to_json()}
            for group, items in registry.extensions.items()
            for item in items
        ],
        "problems": problems,
    }
    rows = [_cells(spec, registry) for spec in registry.converters]
    others = [_cells_of_quantizer(spec, quantizers) for spec in quantizers.quantizers]
    text = f"{as_table(_HEADER, rows)}\n\n{as_table(_QUANTIZER_HEADER, others)}"
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
    return _why_missing(missing_modules(spec), spec.extra)


def why_quantizer_unusable(spec: QuantizerSpec) -> str:
    """Why a quantizer cannot be used here; empty if it can."""
    return _why_missing(missing_modules_of(spec), spec.extra)


def _why_missing(modules: Sequence[str], extra: str) -> str:
    if not modules:
        return ""
    names = ", ".join(f"'{name}'" for name in modules)
    return f"{names} not installed: {install_hint([extra]) or f'install {names}'}"


def _describe_quantizer(spec: QuantizerSpec, registry: QuantizerRegistry) -> dict[str, object]:
    reason = why_quantizer_unusable(spec)
    return {
        "id": spec.id,
        "version": spec.version,
        "format": spec.format,
        "summary": spec.summary,
        "recipes": list(spec.recipes),
        "distribution": registry.distribution(spec.id),
        "is_usable": not reason,
        "reason": reason,
    }


def _cells_of_quantizer(spec: QuantizerSpec, registry: QuantizerRegistry) -> tuple[str, ...]:
    return (
        spec.id,
        spec.format,
        spec.summary,
        registry.distribution(spec.id) or "-",
        why_quantizer_unusable(spec) or "yes",
    )


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
