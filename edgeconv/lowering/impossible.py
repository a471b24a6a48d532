"""Operators that no lowering can express, and why: their users are told, and the conformance benchmark counts by these reasons."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import fx
from torch._ops import OpOverload

__all__ = ["REASONS", "why_impossible"]

REASONS: Mapping[str, str] = {
    "random": "drawn at random: no runtime draws what PyTorch draws",
    "eigenvalues": "eigenvalues of matrices that are not symmetric are complex, in an order that follows from LAPACK's own"
    " iteration (torch.linalg.eigh is for symmetric ones)",
    "pivots": "LAPACK's factorization of indefinite matrices chooses at every step between pivots of one and of two rows, so"
    " that the size of each step depends on values",
    "unsigned": "its result is of 64 bits without a sign, which TFLite has no kernels for",
    "training": "a kernel of torch.nn for training, no operator of ATen: it computes the gradients in the same pass",
}
"""Reasons by their keys in `benchmarks/opinfo/exceptions.toml`."""

_OPERATORS: Mapping[str, str] = {
    "aten._linalg_eigvals": "eigenvalues",
    "aten.hash_tensor": "unsigned",
    "aten.linalg_eig": "eigenvalues",
    "aten.linalg_eigvals": "eigenvalues",
    "aten.linalg_ldl_factor": "pivots",
    "aten.linalg_ldl_factor_ex": "pivots",
    "aten.linalg_ldl_solve": "pivots",
}
_TRAINING = "torch_nn._linear_cross_entropy"


def why_impossible(node: fx.Node) -> str:
    """Why no lowering can express an operator; empty if one could be written."""
    target = node.target
    if str(target).startswith(_TRAINING):
        return REASONS["training"]
    key = _OPERATORS.get(str(target).rpartition(".")[0], "")
    if isinstance(target, OpOverload) and torch.Tag.nondeterministic_seeded in target.tags:
        key = "random"
    return REASONS.get(key, "")
