"""What several tests of quantization look at."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edgeconv.dims import DimExpr
from edgeconv.quantization.dataset import Dataset, open_dataset
from edgeconv.quantization.preprocess import Preprocess
from edgeconv.signature import Dim, DType, Signature, TensorSpec

__all__ = ["Opener", "image_signature", "vectors"]

Array = NDArray[np.generic]


def vectors(*, batch: int | None = None, most: int | None = None) -> Signature:
    """Three numbers in, two out; any batch unless one is given."""
    first = DimExpr.symbol("N") if batch is None else batch
    return Signature(
        inputs=(TensorSpec(name="x", dtype=DType.FLOAT32, shape=(first, 3)),),
        outputs=(TensorSpec(name="y", dtype=DType.FLOAT32, shape=(first, 2)),),
        dims=(Dim(name="N", example=1, max=most),) if batch is None else (),
    )


def image_signature(*shape: int, dtype: DType = DType.FLOAT32) -> Signature:
    """One image in."""
    return Signature(
        inputs=(TensorSpec(name="image", dtype=dtype, shape=shape),),
        outputs=(TensorSpec(name="y", dtype=DType.FLOAT32, shape=(1, 2)),),
        dims=(),
    )


class Opener:
    """Opens data as a run does."""

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch

    def __call__(
        self,
        path: Path,
        signature: Signature | None = None,
        preprocess: Preprocess | None = None,
    ) -> Dataset:
        return open_dataset(
            path,
            signature or vectors(),
            scratch=self._scratch,
            preprocess=preprocess,
            what="the data",
        )


@pytest.fixture
def opened(tmp_path: Path) -> Opener:
    return Opener(tmp_path / "scratch")
