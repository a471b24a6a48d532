"""Bessel functions of the first and second kind, modified ones of the second kind, and Airy's function.

Rational approximations on two ranges each. Source of all formulas and coefficients: Moshier, "Methods and Programs for
Mathematical Functions" (Cephes: j0, j1, k0, k1, airy), as PyTorch has them; polynomials have their highest power first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from edgeconv.graph import Tensor
from edgeconv.lowering.builder import LoweringBuilder
from edgeconv.lowering.registry import Lowering, lower

_PP0 = (
    0.000796936729, 0.0828352392, 1.23953372, 5.44725003, 8.747165, 5.30324038, 1,
)  # fmt: skip
_PQ0 = (
    0.000924408811, 0.0856288474, 1.25352744, 5.4709774, 8.76190883, 5.30605288, 1,
)  # fmt: skip
_QP0 = (
    -0.0113663839, -1.28252719, -19.5539544, -93.2060152, -177.681168, -147.077505, -51.4105327, -6.05014351,
)  # fmt: skip
_QQ0 = (
    64.3178256, 856.430026, 3882.40184, 7240.46774, 5930.72701, 2062.09332, 242.00574,
)  # fmt: skip
_JP0 = (
    -4.79443221e+09, 1.95617492e+12, -2.49248344e+14, 9.70862251e+15,
)  # fmt: skip
_JQ0 = (
    499.563147, 173785.402, 48440965.8, 1.11855537e+10, 2.1127752e+12, 3.1051823e+14, 3.18121956e+16, 1.71086294e+18,
)  # fmt: skip
_PP1 = (
    0.000762125616, 0.0731397057, 1.12719608, 5.11207951, 8.4240459, 5.21451599, 1,
)  # fmt: skip
_PQ1 = (
    0.000571323128, 0.0688455909, 1.10514233, 5.07386386, 8.39985554, 5.20982849, 1,
)  # fmt: skip
_QP1 = (
    0.0510862595, 4.98213873, 75.8238284, 366.779609, 710.856305, 597.489612, 211.688757, 25.2070206,
)  # fmt: skip
_QQ1 = (
    74.2373277, 1056.44886, 4986.41058, 9562.31892, 7997.0416, 2826.19279, 336.093608,
)  # fmt: skip
_JP1 = (
    -899971226, 4.52228298e+11, -7.27494245e+13, 3.68295733e+15,
)  # fmt: skip
_JQ1 = (
    620.836478, 256987.257, 83514679.1, 2.21511595e+10, 4.74914122e+12, 7.84369608e+14, 8.95222336e+16, 5.3227862e+18,
)  # fmt: skip
_YP0 = (
    15592.4368, -14663929.6, 5.43526477e+09, -9.82136066e+11, 8.75906394e+13, -3.46628303e+15, 4.42733269e+16,
    -1.849508e+16,
)  # fmt: skip
_YQ0 = (
    1041.28354, 626107.33, 268919633, 8.64002487e+10, 2.02979613e+13, 3.17157753e+15, 2.50596256e+17,
)  # fmt: skip
_YP1 = (
    1.26320475e+09, -6.47355876e+11, 1.14509512e+14, -8.12770256e+15, 2.02439476e+17, -7.78877196e+17,
)  # fmt: skip
_YQ1 = (
    594.301592, 235564.093, 73481194.4, 1.87601316e+10, 3.88231277e+12, 6.20557727e+14, 6.87141087e+16,
    3.97270608e+18,
)  # fmt: skip
_K_NEAR0 = (
    1.37446544e-16, 4.25981614e-14, 1.03496953e-11, 1.90451638e-09, 2.53479108e-07, 2.2862121e-05, 0.00126461541,
    0.0359799365, 0.3442899, -0.535327393,
)  # fmt: skip
_K_FAR0 = (
    5.30043377e-18, -1.64758043e-17, 5.21039151e-17, -1.6782311e-16, 5.51205598e-16, -1.84859338e-15, 6.34007648e-15,
    -2.22751333e-14, 8.03289078e-14, -2.98009692e-13, 1.14034059e-12, -4.51459788e-12, 1.85594911e-11,
    -7.95748924e-11, 3.57739728e-10, -1.69753451e-09, 8.57403402e-09, -4.6604899e-08, 2.76681364e-07, -1.83175552e-06,
    1.39498137e-05, -0.000128495496, 0.00156988389, -0.0314481013, 2.44030308,
)  # fmt: skip
_K_NEAR1 = (
    -7.02386348e-18, -2.42744985e-15, -6.66690169e-13, -1.41148839e-10, -2.21338763e-08, -2.43340614e-06,
    -0.000173028896, -0.00697572386, -0.122611181, -0.353155961, 1.52530023,
)  # fmt: skip
_K_FAR1 = (
    -5.75674448e-18, 1.79405087e-17, -5.68946256e-17, 1.83809354e-16, -6.05704725e-16, 2.03870317e-15,
    -7.01983709e-15, 2.47715442e-14, -8.97670518e-14, 3.34841967e-13, -1.28917396e-12, 5.13963967e-12,
    -2.12996784e-11, 9.21831519e-11, -4.19035476e-10, 2.01504976e-09, -1.03457625e-08, 5.74108413e-08, -3.5019606e-07,
    2.40648495e-06, -1.93619797e-05, 0.000195215518, -0.00285781686, 0.103923737, 2.72062619,
)  # fmt: skip
_AN = (
    0.346538102, 12.0075953, 76.2796054, 168.089225, 159.756391, 70.5360907, 14.0264691, 1,
)  # fmt: skip
_AD = (
    0.567594533, 14.7562563, 84.513897, 177.318088, 164.234693, 71.4778401, 14.0959136, 1,
)  # fmt: skip
_AFN = (
    -0.131696323, -0.626456544, -0.693158036, -0.279779982, -0.0491900133, -0.00406265924, -0.000159276496,
    -2.77649108e-06, -1.67787698e-08,
)  # fmt: skip
_AFD = (
    13.3560421, 32.6825033, 26.7367041, 9.18707403, 1.47529147, 0.115687174, 0.00440291642, 7.54720348e-05,
    4.51850093e-07,
)  # fmt: skip
_AGN = (
    0.0197339932, 0.39110303, 1.06579898, 0.93916923, 0.351465656, 0.063388892, 0.00585804113, 0.000282851601,
    6.9879367e-06, 8.1178924e-08, 3.41551785e-10,
)  # fmt: skip
_AGD = (
    9.30892908, 19.8352929, 15.5646629, 5.47686069, 0.954293612, 0.0864580826, 0.00412656524, 0.000101259085,
    1.17166733e-06, 4.9183457e-09,
)  # fmt: skip
_Tables = Sequence[Sequence[float]]
_FAR: tuple[_Tables, _Tables] = ((_PP0, _PQ0, _QP0, _QQ0), (_PP1, _PQ1, _QP1, _QQ1))
_NEAR_LIMIT = 5.0


def _number(b: LoweringBuilder, value: float) -> Tensor:
    return b.scalar(value, b.dtype)


def _ratio(b: LoweringBuilder, x: Tensor, over: Sequence[float], under: Sequence[float]) -> Tensor:
    return b.op("DIV", b.polynomial(x, over), b.polynomial(x, under))


def _far(b: LoweringBuilder, x: Tensor, order: int, *, second_kind: bool) -> Tensor:
    """Beyond 5: a wave whose size and phase are ratios of polynomials in 25 / x^2."""
    over, under, side_over, side_under = _FAR[order]
    inverse = b.op("DIV", _number(b, _NEAR_LIMIT), x)
    z = b.op("MUL", inverse, inverse)
    size = _ratio(b, z, over, under)
    side = b.op("MUL", inverse, _ratio(b, z, side_over, side_under))
    phase = b.op("SUB", x, _number(b, (0.25 + 0.5 * order) * math.pi))
    sine, cosine = b.op("SIN", phase), b.op("COS", phase)
    if second_kind:
        wave = b.op("ADD", b.op("MUL", size, sine), b.op("MUL", side, cosine))
    else:
        wave = b.op("SUB", b.op("MUL", size, cosine), b.op("MUL", side, sine))
    scaled = b.op("MUL", wave, _number(b, math.sqrt(2 / math.pi)))
    return b.op("DIV", scaled, b.op("SQRT", x))


def _near_first(b: LoweringBuilder, x: Tensor, order: int) -> Tensor:
    """Up to 5: its first two zeros are written as factors."""
    z = b.op("MUL", x, x)
    value = _ratio(b, z, (_JP0, _JP1)[order], (_JQ0, _JQ1)[order])
    for zero in _ZEROS[order]:
        value = b.op("MUL", value, b.op("SUB", z, _number(b, zero)))
    return b.op("MUL", value, x) if order else value


# The squares of the first two zeros, 0 left out.
_ZEROS = ((5.78318596294678452, 30.4712623436620864), (14.6819706421238933, 49.2184563216946037))


def _first_kind(order: int, name: str) -> Lowering:
    def function(b: LoweringBuilder, x: Tensor) -> Tensor:
        x = b.cast(x, b.dtype)
        size = b.op("ABS", x)
        is_near = b.op("LESS_EQUAL", size, _number(b, _NEAR_LIMIT))
        beyond = b.op("SELECT_V2", is_near, _number(b, _NEAR_LIMIT), size)
        far = _far(b, beyond, order, second_kind=False)
        value = b.op("SELECT_V2", is_near, _near_first(b, size, order), far)
        return b.op("MUL", value, b.op("SIGN", x)) if order else value

    return Lowering((name,), function)


bessel_j0 = _first_kind(0, "aten.special_bessel_j0")
bessel_j1 = _first_kind(1, "aten.special_bessel_j1")


def _near_second(b: LoweringBuilder, x: Tensor, order: int) -> Tensor:
    """Up to 5: the logarithm times the function of the first kind, and what is left."""
    z = b.op("MUL", x, x)
    rest = _ratio(b, z, (_YP0, _YP1)[order], (_YQ0, _YQ1)[order])
    main = b.op("MUL", b.op("LOG", x), _near_first(b, x, order))
    if order:
        rest = b.op("MUL", rest, x)
        main = b.op("SUB", main, b.op("DIV", _number(b, 1), x))
    return b.op("ADD", rest, b.op("MUL", main, _number(b, 2 / math.pi)))


def _second_kind(order: int, name: str) -> Lowering:
    """Infinite at 0, and nowhere defined below."""

    def function(b: LoweringBuilder, x: Tensor) -> Tensor:
        x = b.cast(x, b.dtype)
        is_near = b.op("LESS_EQUAL", x, _number(b, _NEAR_LIMIT))
        beyond = b.op("SELECT_V2", is_near, _number(b, _NEAR_LIMIT), x)
        far = _far(b, beyond, order, second_kind=True)
        value = b.op("SELECT_V2", is_near, _near_second(b, x, order), far)
        return _with_edges(b, x, value, -math.inf)

    return Lowering((name,), function)


def _with_edges(b: LoweringBuilder, x: Tensor, value: Tensor, at_zero: float) -> Tensor:
    value = b.op("SELECT_V2", b.op("EQUAL", x, _number(b, 0)), _number(b, at_zero), value)
    return b.op("SELECT_V2", b.op("LESS", x, _number(b, 0)), _number(b, math.nan), value)


bessel_y0 = _second_kind(0, "aten.special_bessel_y0")
bessel_y1 = _second_kind(1, "aten.special_bessel_y1")

_MODIFIED_LIMIT = 2.0
_TERMS = 9


def _chebyshev(b: LoweringBuilder, x: Tensor, coefficients: Sequence[float]) -> Tensor:
    """Clenshaw's summation of a series in Chebyshev's polynomials of x / 2, whose last coefficient counts half."""
    before = later = _number(b, 0)
    total: Tensor = _number(b, coefficients[0])
    for coefficient in coefficients[1:]:
        before, later = later, total
        step = b.op("SUB", b.op("MUL", x, later), before)
        total = b.op("ADD", step, _number(b, coefficient))
    return b.op("MUL", b.op("SUB", total, before), _number(b, 0.5))


def _first_modified(b: LoweringBuilder, x: Tensor, order: int) -> Tensor:
    """I0 or I1 up to 2, by their power series. Source: Abramowitz, Stegun, "Handbook", 9.6.10."""
    z = b.op("MUL", b.op("MUL", x, x), _number(b, 0.25))
    terms = [1 / (math.factorial(k) * math.factorial(k + order)) for k in range(_TERMS - 1, -1, -1)]
    total = b.polynomial(z, terms)
    return b.op("MUL", total, b.op("MUL", x, _number(b, 0.5))) if order else total


def _modified(order: int, name: str, *, is_scaled: bool) -> Lowering:
    """K0 or K1; scaled ones are multiplied by exp(x)."""
    near_series, far_series = ((_K_NEAR0, _K_FAR0), (_K_NEAR1, _K_FAR1))[order]

    def function(b: LoweringBuilder, x: Tensor) -> Tensor:
        x = b.cast(x, b.dtype)
        two = _number(b, _MODIFIED_LIMIT)
        is_near = b.op("LESS_EQUAL", x, two)
        close = b.op("SELECT_V2", is_near, x, two)
        series = _chebyshev(b, b.op("SUB", b.op("MUL", close, close), two), near_series)
        logarithm = b.op("LOG", b.op("MUL", close, _number(b, 0.5)))
        main = b.op("MUL", logarithm, _first_modified(b, close, order))
        over = b.op("DIV", series, close)
        near = b.op("ADD", main, over) if order else b.op("SUB", series, main)
        beyond = b.op("SELECT_V2", is_near, two, x)
        place = b.op("SUB", b.op("DIV", _number(b, 8), beyond), two)
        far = b.op("DIV", _chebyshev(b, place, far_series), b.op("SQRT", beyond))
        if is_scaled:
            near = b.op("MUL", near, b.op("EXP", close))
        else:
            far = b.op("MUL", far, b.op("EXP", b.op("NEG", beyond)))
        return _with_edges(b, x, b.op("SELECT_V2", is_near, near, far), math.inf)

    return Lowering((name,), function)


modified_k0 = _modified(0, "aten.special_modified_bessel_k0", is_scaled=False)
modified_k1 = _modified(1, "aten.special_modified_bessel_k1", is_scaled=False)
scaled_k0 = _modified(0, "aten.special_scaled_modified_bessel_k0", is_scaled=True)
scaled_k1 = _modified(1, "aten.special_scaled_modified_bessel_k1", is_scaled=True)


@lower("aten.special_spherical_bessel_j0")
def spherical_j0(b: LoweringBuilder, x: Tensor) -> Tensor:
    """sin(x) / x; near 0 its series."""
    x = b.cast(x, b.dtype)
    size = b.op("ABS", x)
    is_near = b.op("LESS", size, _number(b, 0.5))
    terms = [(-1) ** k / math.factorial(2 * k + 1) for k in range(5, -1, -1)]
    near = b.polynomial(b.op("MUL", x, x), terms)
    beyond = b.op("SELECT_V2", is_near, _number(b, 1), x)
    value = b.op("SELECT_V2", is_near, near, b.op("DIV", b.op("SIN", beyond), beyond))
    return b.op("SELECT_V2", b.op("EQUAL", size, _number(b, math.inf)), _number(b, 0), value)


_AIRY_LIMIT = 2.09
_AIRY_END = 103.892
_AIRY_TERMS = 11
_AIRY_AT_0 = (0.355028053887817239, 0.258819403792806798)


@lower("aten.special_airy_ai")
def airy_ai(b: LoweringBuilder, x: Tensor) -> Tensor:
    """A wave on the left, a power series in the middle, a decay on the right."""
    x = b.cast(x, b.dtype)
    limit = _number(b, _AIRY_LIMIT)
    is_left = b.op("LESS", x, b.op("NEG", limit))
    is_right = b.op("GREATER_EQUAL", x, limit)
    left = _airy_wave(b, b.op("SELECT_V2", is_left, b.op("NEG", x), limit))
    right = _airy_decay(b, b.op("SELECT_V2", is_right, x, limit))
    value = b.op("SELECT_V2", is_left, left, b.op("SELECT_V2", is_right, right, _airy_series(b, x)))
    value = b.op("SELECT_V2", b.op("GREATER", x, _number(b, _AIRY_END)), _number(b, 0), value)
    is_infinite = b.op("EQUAL", b.op("ABS", x), _number(b, math.inf))
    return b.op("SELECT_V2", is_infinite, _number(b, math.nan), value)


def _airy_argument(b: LoweringBuilder, x: Tensor) -> tuple[Tensor, Tensor]:
    """2/3 x^(3/2), and the fourth root of x."""
    root = b.op("SQRT", x)
    return b.op("MUL", b.op("MUL", x, root), _number(b, 2 / 3)), b.op("SQRT", root)


def _airy_wave(b: LoweringBuilder, x: Tensor) -> Tensor:
    argument, root = _airy_argument(b, x)
    inverse = b.op("DIV", _number(b, 1), argument)
    z = b.op("MUL", inverse, inverse)
    size = b.op("ADD", _number(b, 1), b.op("MUL", z, _ratio(b, z, _AFN, _AFD)))
    side = b.op("MUL", inverse, _ratio(b, z, _AGN, _AGD))
    phase = b.op("ADD", argument, _number(b, math.pi / 4))
    wave = b.op("SUB", b.op("MUL", b.op("SIN", phase), size), b.op("MUL", b.op("COS", phase), side))
    return b.op("DIV", b.op("MUL", wave, _number(b, 1 / math.sqrt(math.pi))), root)


def _airy_decay(b: LoweringBuilder, x: Tensor) -> Tensor:
    argument, root = _airy_argument(b, x)
    ratio = _ratio(b, b.op("DIV", _number(b, 1), argument), _AN, _AD)
    scaled = b.op("MUL", ratio, _number(b, 0.5 / math.sqrt(math.pi)))
    return b.op("DIV", b.op("MUL", scaled, b.op("EXP", b.op("NEG", argument))), root)


def _airy_series(b: LoweringBuilder, x: Tensor) -> Tensor:
    cube = b.op("MUL", b.op("MUL", x, x), x)
    even, odd = [1.0], [1.0]
    for k in range(1, _AIRY_TERMS):
        even.append(even[-1] / ((3 * k - 1) * 3 * k))
        odd.append(odd[-1] / (3 * k * (3 * k + 1)))
    first = b.op("MUL", b.polynomial(cube, even[::-1]), _number(b, _AIRY_AT_0[0]))
    second = b.op("MUL", b.op("MUL", b.polynomial(cube, odd[::-1]), x), _number(b, _AIRY_AT_0[1]))
    return b.op("SUB", first, second)
