"""Rewrites of the edge graph: layout, folding, fusing, and what a writer needs made of its operators."""

from __future__ import annotations

from edgeconv.passes.pipeline import OPTIMIZATIONS, Pass, run_passes

__all__ = ["OPTIMIZATIONS", "Pass", "run_passes"]
