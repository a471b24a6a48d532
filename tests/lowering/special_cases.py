"""Special functions over the whole of their ranges, and the orthogonal polynomials."""

from __future__ import annotations

import math

import torch
from torch.special import (
    airy_ai,
    bessel_j0,
    bessel_j1,
    bessel_y0,
    bessel_y1,
    chebyshev_polynomial_t,
    chebyshev_polynomial_u,
    chebyshev_polynomial_v,
    chebyshev_polynomial_w,
    gammainc,
    gammaincc,
    hermite_polynomial_h,
    hermite_polynomial_he,
    laguerre_polynomial_l,
    legendre_polynomial_p,
    modified_bessel_k0,
    modified_bessel_k1,
    polygamma,
    scaled_modified_bessel_k0,
    scaled_modified_bessel_k1,
    shifted_chebyshev_polynomial_t,
    shifted_chebyshev_polynomial_w,
    spherical_bessel_j0,
    zeta,
)

from tests.lowering.case import case, integers

__all__ = ["CASES"]

LINE = torch.linspace(-30, 30, 241)
RIGHT = torch.linspace(0.05, 30, 200)
INSIDE = torch.linspace(-1, 1, 21)
DEGREES = integers(21, low=-1, high=8)
PLACES = torch.tensor([0.3, 1.0, 2.5, 7.0, 12.0, 50.0, 0.0, math.inf])
SHAPES = torch.tensor([0.5, 2.0, 2.5, 9.0, 4.0, 60.0, 0.0, 1.0])

CASES = [
    case("Bessel functions of the first kind", lambda x: (bessel_j0(x), bessel_j1(x), spherical_bessel_j0(x)), LINE),
    case("Bessel functions of the second kind", lambda x: (bessel_y0(x), bessel_y1(x)), RIGHT),
    case("Bessel functions of the second kind at their edges", lambda x: (bessel_y0(x), bessel_y1(x)),
         torch.tensor([0.0, -1.0, 5.0])),
    case("modified Bessel functions of the second kind", lambda x: (
        modified_bessel_k0(x), modified_bessel_k1(x), scaled_modified_bessel_k0(x), scaled_modified_bessel_k1(x)),
        RIGHT),
    case("modified Bessel functions at their edges", lambda x: (modified_bessel_k0(x), scaled_modified_bessel_k1(x)),
         torch.tensor([0.0, -1.0, 2.0])),
    case("Airy's function", airy_ai, torch.linspace(-15, 15, 121)),
    case("Airy's function of whole numbers", airy_ai, integers(20)),
    case("Chebyshev's polynomials", lambda x, n: (
        chebyshev_polynomial_t(x, n), chebyshev_polynomial_u(x, n), chebyshev_polynomial_v(x, n),
        chebyshev_polynomial_w(x, n)), INSIDE, DEGREES),
    case("Chebyshev's polynomials, shifted", lambda x, n: (
        shifted_chebyshev_polynomial_t(x, n), shifted_chebyshev_polynomial_w(x, n)), INSIDE.abs(), DEGREES),
    case("polynomials of one degree", lambda x: (
        legendre_polynomial_p(x, 3), laguerre_polynomial_l(x, 9), hermite_polynomial_he(x, 0)), INSIDE),
    case("polynomials of many degrees", lambda x, n: (legendre_polynomial_p(x, n), laguerre_polynomial_l(x, n)),
         INSIDE, DEGREES),
    case("Hermite's polynomials", lambda x, n: (hermite_polynomial_h(x, n), hermite_polynomial_he(x, n)), INSIDE, DEGREES),
    case("zeta", zeta, torch.tensor([2.0, 3.5, 1.0, 9.0, 0.5, 2.0]), torch.tensor([1.0, 0.25, 2.0, 3.0, 1.0, -2.0])),
    case("zeta of a number", lambda x: (zeta(x, 2.0), zeta(3.0, x)), torch.linspace(1.5, 20, 30)),
    case("derivatives of digamma", lambda x: [polygamma(n, x) for n in range(4)], torch.linspace(0.3, 20, 30)),
    case("derivatives of digamma on the left", lambda x: (polygamma(1, x), polygamma(2, x)),
         torch.linspace(-6.75, -0.25, 14)),
    case("incomplete gamma", lambda a, x: (gammainc(a, x), gammaincc(a, x)), SHAPES, PLACES),
    case("mantissas and exponents", torch.frexp,
         torch.tensor([0.0, 1.0, -3.5, 1e30, 2e-30, math.inf, -math.inf])),
    case("neighbours", lambda x, y: (torch.nextafter(x, y), torch.nextafter(x, y) == x, torch.nextafter(x, y) > x),
         torch.tensor([1.0, -1.0, 1.0, 5.0, 1e-37, -3.7]), torch.tensor([2.0, 0.0, -math.inf, 5.0, 0.0, -9.0])),
    case("neighbours of 0", torch.nextafter, torch.zeros(3), torch.tensor([1.0, -1.0, 0.0])),
    case("neighbours of the largest numbers", torch.nextafter, torch.tensor([3.4028234663852886e38, math.inf, 2e38]),
         torch.tensor([math.inf, 0.0, -1.0])),
]  # fmt: skip
