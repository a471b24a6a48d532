"""Factorizations of matrices, and what is computed from them: small ones that are written out, larger ones in loops."""

from __future__ import annotations

import torch
from torch import Tensor

from tests.lowering.case import case, randn

__all__ = ["CASES"]

X = randn(2, 5, 5)
SMALL = randn(3, 3)
TALL = randn(2, 7, 4)
WIDE = randn(4, 6)


def _definite(x: Tensor) -> Tensor:
    return x @ x.mT + torch.eye(x.shape[-1])


def _rebuilt(x: Tensor, *, full_matrices: bool) -> tuple[Tensor, ...]:
    """What of singular vectors does not depend on their sign."""
    u, s, vh = torch.linalg.svd(x, full_matrices=full_matrices)
    count = s.shape[-1]
    product = u[..., :count] * s[..., None, :] @ vh[..., :count, :]
    return product, s, u @ u.mT, u.mT @ u, vh @ vh.mT


def _spectrum(x: Tensor) -> tuple[Tensor, ...]:
    values, vectors = torch.linalg.eigh(x)
    return values, vectors * values[..., None, :] @ vectors.mT, vectors.abs()


CASES = [
    case("equations", torch.linalg.solve, X, randn(2, 5, 3)),
    case("equations for one vector and many matrices", torch.linalg.solve, X, randn(2, 5)),
    case("equations from the right", lambda x, y: torch.linalg.solve(x, y, left=False), X, randn(3, 5)),
    case("equations of a dynamic batch", torch.linalg.solve, X, randn(2, 5, 3), dynamic=({0: "N"}, {0: "N"})),
    case("inverse", lambda x: (torch.linalg.inv(x), torch.linalg.inv_ex(x).info), X),
    case("inverse of a small matrix", torch.linalg.inv, SMALL),
    case("inverse whose rows are exchanged", torch.linalg.inv, torch.tensor([[0.0, 2.0, 1.0], [3, 0, 0], [0, 0, 4]])),
    case("determinants", lambda x: (torch.linalg.det(x), *torch.linalg.slogdet(x)), X),
    case("determinant of a singular matrix", torch.linalg.det, torch.ones(5, 5)),
    case("LU", lambda x, y, z: [*torch.linalg.lu(x), *torch.linalg.lu(y), *torch.linalg.lu(z)], X, TALL, WIDE),
    case("LU in one", torch.linalg.lu_factor_ex, TALL),
    case("LU of a singular matrix", torch.linalg.lu_factor_ex, torch.zeros(3, 3)),
    case("LU used again", lambda x, y: torch.linalg.lu_solve(*torch.linalg.lu_factor(x), y), X, randn(2, 5, 3)),
    case("LU used for the transpose, from the right",
         lambda x, y: torch.linalg.lu_solve(*torch.linalg.lu_factor(x), y, left=False, adjoint=True), X, randn(2, 3, 5)),
    case("LU unpacked", lambda x: torch.lu_unpack(*torch.linalg.lu_factor(x)), WIDE),
    case("triangular equations", lambda x, y: (
        torch.linalg.solve_triangular(x, y, upper=True),
        torch.linalg.solve_triangular(x, y, upper=False, unitriangular=True),
        torch.linalg.solve_triangular(x, y.mT, upper=True, left=False)), X + 4 * torch.eye(5), randn(5, 3)),
    case("triangular equations of old", lambda x, y: torch.triangular_solve(y, x, transpose=True)[0],
         SMALL + 3 * torch.eye(3), randn(3, 2)),
    case("Cholesky", lambda x: (torch.linalg.cholesky(_definite(x)), torch.linalg.cholesky(_definite(x), upper=True)), X),
    case("Cholesky of a matrix that has none", lambda x: torch.linalg.cholesky_ex(x).info,
         torch.diag(torch.tensor([1.0, 2.0, -1.0, 3.0, -4.0]))),
    case("Cholesky used again", lambda x, y: (
        torch.cholesky_solve(y, x.tril()), torch.cholesky_inverse(x.triu(), upper=True)),
        SMALL + 3 * torch.eye(3), randn(3, 2)),
    case("QR", lambda x, y: [*torch.linalg.qr(x), *torch.linalg.qr(y)], TALL, WIDE),
    case("QR complete", lambda x: (*torch.linalg.qr(x, "complete"), torch.linalg.qr(x, "r").R), TALL),
    case("QR of what is triangular already", torch.linalg.qr, SMALL.triu()),
    case("reflections", lambda x, y: (
        *torch.geqrf(x), torch.linalg.householder_product(*torch.geqrf(x)), torch.ormqr(*torch.geqrf(x), y),
        torch.ormqr(*torch.geqrf(x), y.mT, left=False, transpose=True)), TALL, randn(2, 7, 3)),
    case("eigenvalues", lambda x: _spectrum(x + x.mT + torch.diag(torch.arange(5.0) * 10)), X),
    case("eigenvalues of one triangle", lambda x: torch.linalg.eigvalsh(x, UPLO="U"), randn(6, 6)),
    case("eigenvalues that are equal", torch.linalg.eigvalsh, torch.ones(4, 4)),
    case("eigenvalues of a dynamic batch", torch.linalg.eigvalsh, _definite(X), dynamic=({0: "N"},)),
    case("singular values", lambda x, y: (torch.linalg.svdvals(x), torch.linalg.svdvals(y)), TALL, WIDE),
    case("singular vectors", lambda x: _rebuilt(x, full_matrices=False), TALL),
    case("singular vectors, completed", lambda x: _rebuilt(x, full_matrices=True), WIDE),
    case("singular vectors of a matrix of rank 1", lambda x: _rebuilt(x, full_matrices=True)[2:], torch.ones(5, 3)),
    case("pseudoinverses", lambda x, y: (torch.linalg.pinv(x), torch.linalg.pinv(y, rtol=0.5)), TALL, WIDE),
    case("pseudoinverse of a matrix of rank 1", torch.linalg.pinv, torch.ones(4, 3)),
    case("norms of matrices", lambda x: (
        torch.linalg.matrix_norm(x, ord=2), torch.linalg.matrix_norm(x, ord="nuc"), torch.linalg.cond(x[:, :4])), TALL),
    case("ranks", lambda x, y: (torch.linalg.matrix_rank(x), torch.linalg.matrix_rank(y)), TALL, torch.ones(4, 4)),
    case("powers of matrices", lambda x: (torch.linalg.matrix_power(x, 5), torch.linalg.matrix_power(x, -2)), SMALL),
    case("exponentials of matrices", lambda x: (torch.linalg.matrix_exp(x), torch.linalg.matrix_exp(0.1 * x)), X),
]  # fmt: skip
