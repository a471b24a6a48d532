"""The one translation of PyTorch programs into edge graphs: small typed functions, one file per operator family."""

from __future__ import annotations

from edgeconv.lowering.program import lower_program
from edgeconv.lowering.registry import Lowering, LoweringRegistry, lower

__all__ = ["Lowering", "LoweringRegistry", "lower", "lower_program"]
