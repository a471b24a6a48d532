"""The version of the edgeconv that runs, found when asked for: reading package metadata takes time."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

__all__ = ["edgeconv_version"]


def edgeconv_version() -> str:
    """The installed version; `unknown` in a source tree that was not installed."""
    try:
        return version("edgeconv")
    except PackageNotFoundError:
        return "unknown"
