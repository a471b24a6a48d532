"""Integers that stand for real numbers keep doing so when axes move, and come back from a file as they were."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgeconv.graph import Builder, GraphError
from edgeconv.graph.file import read_graph, write_graph
from edgeconv.graph.quantization import Quantization
from edgeconv.passes.fold import fold_affine
from edgeconv.passes.integer_offsets import store_integers_as
from edgeconv.signature import DType

SCALES = (0.5, 0.25, 0.1)


def _by_channel(axis: int | None) -> Quantization:
    scales = SCALES if axis is not None else SCALES[:1]
    return Quantization(dtype=DType.INT8, scales=scales, zero_points=(3,) * len(scales), axis=axis)


@pytest.mark.parametrize("axis", [0, 2, None])
def test_real_values_become_the_integers_they_were_made_of(axis: int | None) -> None:
    stored = np.random.default_rng(0).integers(-128, 128, (3, 4, 3))
    shape = [-1 if place == axis else 1 for place in range(3)]
    scales = np.asarray(_by_channel(axis).scales, np.float32).reshape(
        shape if axis is not None else ()
    )
    values = (scales * (stored - 3)).astype(np.float32)
    assert np.array_equal(_by_channel(axis).integers(values), stored)
    assert not np.array_equal(_by_channel(axis).integers(values * 1.1), stored)


def test_what_lies_outside_is_clipped() -> None:
    known = Quantization(dtype=DType.UINT8, scales=(1.0,), zero_points=(10,))
    assert known.integers(np.array([-50.0, 0.0, 1000.0])).tolist() == [0, 10, 255]


def test_the_axis_follows_a_transpose() -> None:
    assert _by_channel(0).transposed((2, 1, 0)).axis == 2
    assert _by_channel(2).transposed((2, 0, 1)).axis == 0
    assert _by_channel(None).transposed((1, 0)).axis is None


def test_the_axis_follows_a_reshape_that_keeps_it_whole() -> None:
    kept = _by_channel(1).reshaped((2, 3, 4), (1, 2, 3, 4))
    assert kept is not None
    assert kept.axis == 2
    assert _by_channel(1).reshaped((2, 3, 4), (6, 4)) is None
    assert _by_channel(1).reshaped((2, 3, 4), (3, 2, 4)) is None
    assert _by_channel(None).reshaped((2, 3), (6,)) == _by_channel(None)


def test_a_file_keeps_which_integers_a_constant_stands_for(tmp_path: Path) -> None:
    b = Builder("net")
    x = b.input("x", DType.FLOAT32, (2, 4))
    weight = b.constant(np.ones((3, 4), np.float32))
    weight.quantization = _by_channel(0)
    b.graph.outputs.append(b.op("FULLY_CONNECTED", x, weight, None))
    write_graph(b.graph, tmp_path / "net.safetensors")
    (read,) = read_graph(tmp_path / "net.safetensors").constants()
    assert read.quantization == weight.quantization


def test_nothing_is_folded_into_trained_integers() -> None:
    folded = []
    for known in (None, _by_channel(0)):
        b = Builder("net")
        weight = b.constant(np.ones((3, 4), np.float32))
        weight.quantization = known
        made = b.op("FULLY_CONNECTED", b.input("x", DType.FLOAT32, (2, 4)), weight, None)
        b.graph.outputs.append(b.op("MUL", made, b.scalar(2, DType.FLOAT32)))
        folded.append(fold_affine(b.graph))
    assert folded == [1, 0]


def _rounding(*, is_returned: bool) -> Builder:
    b = Builder("net")
    x = b.input("x", DType.FLOAT32, (2, 4))
    stored = b.op("QUANTIZE", x, scale=0.5, zero_point=3, dtype="int8")
    back = b.op("DEQUANTIZE", stored, scale=0.5, zero_point=3)
    b.graph.outputs += [back, stored] if is_returned else [back]
    return b


def test_a_sign_goes_where_only_real_values_are_read() -> None:
    graph = _rounding(is_returned=False).graph
    assert store_integers_as(graph, DType.UINT8) == 1
    assert graph.nodes[0].output.dtype == DType.UINT8
    assert [node.attributes["zero_point"] for node in graph.nodes] == [131, 131]
    assert store_integers_as(graph, DType.UINT8) == 0
    assert store_integers_as(_rounding(is_returned=True).graph, DType.UINT8) == 0


@pytest.mark.parametrize(
    "attributes",
    [
        {"scale": 0.0, "zero_point": 0, "dtype": "int8"},
        {"scale": 0.1, "zero_point": 0, "dtype": "int64"},
        {"scale": 0.1, "zero_point": 0},
    ],
)
def test_rounding_to_nothing_is_refused(attributes: dict[str, float | int | str]) -> None:
    b = Builder("net")
    with pytest.raises(GraphError):
        b.op("QUANTIZE", b.input("x", DType.FLOAT32, (2,)), **attributes)
