"""Which operators the installed LiteRT computes in which precision, read from `kernels.toml`."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from importlib.resources import files

from packaging.version import Version

from edgeconv.plugin.quantizer import Operator, Precision

__all__ = ["Policy", "installed_policy", "kind_of"]

_PACKAGE = "edgeconv_converters.ai_edge_quantizer"
_RUNTIME = "ai-edge-litert"


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What a release of the runtime has kernels for.

    Attributes:
        runtime: The release.
        kernels: Operators by kind of precision; see `kind_of`.
    """

    runtime: str
    kernels: Mapping[str, frozenset[str]]

    def refusal(self, operator: Operator, precision: Precision) -> str:
        """Why there is no kernel; empty if there is one."""
        kind = kind_of(precision)
        if kind in ("float32", "fp16"):
            return ""
        if kind not in self.kernels:
            return f"LiteRT {self.runtime} has no kernels for {_words(precision)}"
        if operator.code not in self.kernels[kind]:
            return f"LiteRT {self.runtime} has no {kind} kernel for {operator.code}"
        return ""


def installed_policy() -> Policy:
    """The policy of the runtime that is installed."""
    return _policy_of(version(_RUNTIME))


def _read() -> str:
    return files(_PACKAGE).joinpath("kernels.toml").read_text()


@cache
def _policy_of(runtime: str) -> Policy:
    tables = tomllib.loads(_read())
    releases = sorted(tables, key=Version)
    known = [release for release in releases if Version(release) <= Version(runtime)]
    table = tables[known[-1] if known else releases[0]]
    return Policy(
        runtime=runtime, kernels={kind: frozenset(codes) for kind, codes in table.items()}
    )


def kind_of(precision: Precision) -> str:
    """The name that `kernels.toml` has for a precision: that of its recipe, blocks of all sizes under one."""
    return precision.name.replace(f"-b{precision.block}", "-block")


def _words(precision: Precision) -> str:
    return f"{precision.weights} weights with {precision.activations} activations"
