"""How the operators of ONNX files are described."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from edgeconv.plugin.quantizer import Dependence, Weights
from tests.converters.onnxruntime_quantization.texts import NETWORK, open_text

pytestmark = [pytest.mark.integration]

_WEIGHTS = [
    (
        "c (float[1,6,8,8] x, float[4,6,3,3] w1, float[4] w2) => (float[1,4,6,6] y) { y = Conv (x, w1, w2) }",
        Weights(tensor="w1", output_axis=0, input_axis=1, bias="w2"),
    ),
    (
        "c (float[1,6,8,8] x, float[12,1,3,3] w1) => (float[1,12,6,6] y) { y = Conv <group = 6> (x, w1) }",
        Weights(tensor="w1", output_axis=0, input_axis=None, multiplier=2),
    ),
    (
        "c (float[1,6,8,8] x, float[4,3,3,3] w1) => (float[1,4,6,6] y) { y = Conv <group = 2> (x, w1) }",
        Weights(tensor="w1", output_axis=0, input_axis=1, is_grouped=True),
    ),
    (
        "c (float[1,1,8,8] x, float[4,1,3,3] w1) => (float[1,4,6,6] y) { y = Conv (x, w1) }",
        Weights(tensor="w1", output_axis=0, input_axis=1),
    ),
    (
        "t (float[1,6,8,8] x, float[6,4,3,3] w1, float[4] w2) => (float[1,4,10,10] y) { y = ConvTranspose (x, w1, w2) }",
        Weights(tensor="w1", output_axis=1, input_axis=0, bias="w2"),
    ),
    (
        "t (float[1,6,8,8] x, float[6,1,3,3] w1) => (float[1,6,10,10] y) { y = ConvTranspose <group = 6> (x, w1) }",
        Weights(tensor="w1", output_axis=0, input_axis=None),
    ),
    (
        "t (float[1,6,8,8] x, float[6,2,3,3] w1) => (float[1,4,10,10] y) { y = ConvTranspose <group = 2> (x, w1) }",
        None,
    ),
    (
        "g (float[N,4] x, float[4,5] w1, float[5] w2) => (float[N,5] y) { y = Gemm (x, w1, w2) }",
        Weights(tensor="w1", output_axis=1, input_axis=0, bias="w2"),
    ),
    (
        "g (float[N,4] x, float[5,4] w1, float[5] w2) => (float[N,5] y) { y = Gemm <transB = 1> (x, w1, w2) }",
        Weights(tensor="w1", output_axis=0, input_axis=1, bias="w2"),
    ),
    (
        "g (float[N,4] x, float[4,5] w1, float[5] w2) => (float[N,5] y) { y = Gemm <beta = 0.5> (x, w1, w2) }",
        Weights(tensor="w1", output_axis=1, input_axis=0, is_linear=False),
    ),
    (
        "g (float[4,N] x, float[4,5] w1) => (float[N,5] y) { y = Gemm <transA = 1> (x, w1) }",
        None,
    ),
    (
        "m (float[N,3,4] x, float[4,5] w1) => (float[N,3,5] y) { y = MatMul (x, w1) }",
        Weights(tensor="w1", output_axis=1, input_axis=0),
    ),
    ("m (float[4,3] x, float[5,4] w1) => (float[5,3] y) { y = MatMul (w1, x) }", None),
    ("m (float[2,3,4] x, float[2,4,5] w1) => (float[2,3,5] y) { y = MatMul (x, w1) }", None),
]


@pytest.mark.parametrize(("text", "wanted"), _WEIGHTS)
def test_weights(text: str, wanted: Weights | None, tmp_path: Path) -> None:
    (operator,) = open_text(text, tmp_path).operators
    assert operator.weights == wanted
    assert operator.channel_axis == (1 if operator.code.startswith("Conv") else -1)


_PRODUCT = "product = MatMul (x, w1)"


@pytest.mark.parametrize(
    ("body", "bias"),
    [
        (f"{_PRODUCT} y = Add (product, w2) z = Relu (y)", "w2"),
        (f"{_PRODUCT} y = Add (w2, product) z = Relu (y)", "w2"),
        (f"{_PRODUCT} y = Add (product, w2) z = Relu (product)", ""),
        (f"{_PRODUCT} y = Add (product, w2) z = Add (y, w2)", ""),
        (f"{_PRODUCT} y = Mul (product, w2) z = Relu (y)", ""),
    ],
)
def test_a_constant_added_to_a_product_is_its_bias(body: str, bias: str, tmp_path: Path) -> None:
    text = f"""
    m (float[N,3,4] x, float[4,5] w1, float[5] w2) => (float[N,3,5] y, float[N,3,5] z) {{ {body} }}
    """
    operators = {operator.name: operator for operator in open_text(text, tmp_path).operators}
    weights = operators["product"].weights
    assert weights is not None
    assert weights.bias == bias


_DEPENDENCES = [
    ("Relu (conv)", Dependence.HOMOGENEOUS, 1),
    ("LeakyRelu (conv)", Dependence.HOMOGENEOUS, 1),
    ("Sigmoid (conv)", Dependence.OTHER, 1),
    ("MaxPool <kernel_shape = [2, 2]> (conv)", Dependence.HOMOGENEOUS, 1),
    ("AveragePool <kernel_shape = [2, 2]> (conv)", Dependence.HOMOGENEOUS, 1),
    ("ReduceMean <axes = [3], keepdims = 0> (conv)", Dependence.HOMOGENEOUS, 1),
    ("ReduceMean <axes = [1], keepdims = 1> (conv)", Dependence.OTHER, 1),
    ("ReduceMean <axes = [0, 2]> (conv)", Dependence.OTHER, 1),
    ("Flatten (conv)", Dependence.SHAPE, -1),
    ("Transpose <perm = [0, 2, 3, 1]> (conv)", Dependence.SHAPE, 1),
    ("Concat <axis = 1> (conv, conv)", Dependence.CONCATENATION, 1),
    ("Add (conv, conv)", Dependence.OTHER, 1),
]


@pytest.mark.parametrize(("call", "dependence", "axis"), _DEPENDENCES)
def test_dependences(call: str, dependence: Dependence, axis: int, tmp_path: Path) -> None:
    text = f"""
    d (float[2,6,8,8] x, float[4,6,3,3] w1) => (float[] y) {{
        conv = Conv (x, w1)
        y = {call}
    }}
    """
    operator = open_text(text, tmp_path).operators[-1]
    assert (operator.dependence, operator.channel_axis) == (dependence, axis)


@pytest.mark.parametrize(
    ("pads", "value", "dependence"),
    [
        ("0,0,1,1,0,0,1,1", 0.0, Dependence.HOMOGENEOUS),
        ("0,0,1,1,0,0,1,1", 1.0, Dependence.OTHER),
        ("0,1,0,0,0,0,0,0", 0.0, Dependence.OTHER),
    ],
)
def test_padding(pads: str, value: float, dependence: Dependence, tmp_path: Path) -> None:
    text = f"""
    p (float[2,6,8,8] x, float[4,6,3,3] w1) => (float[] y) {{
        conv = Conv (x, w1)
        pads = Constant <value = int64[8] {{{pads}}}> ()
        value = Constant <value = float {{{value}}}> ()
        y = Pad (conv, pads, value)
    }}
    """
    assert open_text(text, tmp_path).operators[-1].dependence is dependence


def test_the_clamp_of_relu6_is_not_homogeneous(tmp_path: Path) -> None:
    by_name = {operator.name: operator for operator in open_text(NETWORK, tmp_path).operators}
    assert by_name["clip"].dependence is Dependence.OTHER
    assert by_name["clip"].weights is None


def test_channels_of_a_token_are_last(tmp_path: Path) -> None:
    text = """
    tokens (float[N,7,4] x, float[4,6] w1) => (float[N,6] y) {
        product = MatMul (x, w1)
        relu = Relu (product)
        y = ReduceMean <axes = [1], keepdims = 0> (relu)
    }
    """
    mean = open_text(text, tmp_path).operators[-1]
    assert (mean.dependence, mean.channel_axis) == (Dependence.HOMOGENEOUS, 1)
