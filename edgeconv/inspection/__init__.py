"""Reads a model file without converting it: what goes in and out, and what it is made of."""

from __future__ import annotations

from edgeconv.inspection.facts import ModelFacts

__all__ = ["ModelFacts"]
