"""Signatures: the JSON form, and what they refuse."""

from __future__ import annotations

import pytest

from edgeconv.dims import parse_size
from edgeconv.signature import Dim, DType, Layout, Signature, TensorSpec


def _spec(name: str, *shape: int | str, dtype: DType = DType.FLOAT32) -> TensorSpec:
    sizes = tuple(s if isinstance(s, int) else parse_size(s) for s in shape)
    return TensorSpec(name=name, dtype=dtype, shape=sizes, layout=Layout.NONE)


def test_json_round_trip() -> None:
    signature = Signature(
        inputs=(_spec("image", "N", 3, 8, 8), _spec("mask", "N", "S", dtype=DType.BOOL)),
        outputs=(_spec("tokens", "N", "S*2 + 1"),),
        dims=(Dim(name="N", example=1, max=8), Dim(name="S", example=16, min=2)),
    )
    assert Signature.from_json(signature.to_json()) == signature


def test_concrete_shape_takes_sizes_by_name() -> None:
    assert _spec("x", "N", "N*4 + 1", 2).concrete_shape({"N": 3}) == (3, 13, 2)


def test_doubled_names_are_refused() -> None:
    with pytest.raises(ValueError, match="twice"):
        Signature(inputs=(_spec("x", 1), _spec("x", 1)), outputs=())


def test_unknown_dims_are_refused() -> None:
    with pytest.raises(ValueError, match="unknown dims"):
        Signature(inputs=(_spec("x", "N"),), outputs=())


@pytest.mark.parametrize(
    ("dtype", "floating", "integer", "size"),
    [
        (DType.BFLOAT16, True, False, 2),
        (DType.INT64, False, True, 8),
        (DType.UINT8, False, True, 1),
        (DType.BOOL, False, False, 1),
        (DType.COMPLEX64, False, False, 8),
    ],
)
def test_dtype_facts(dtype: DType, floating: bool, integer: bool, size: int) -> None:
    assert (dtype.is_floating, dtype.is_integer, dtype.size_bytes) == (floating, integer, size)
