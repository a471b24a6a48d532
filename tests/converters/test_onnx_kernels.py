"""The table of ONNX Runtime's kernels says the truth: every operator runs with every dtype that it lists."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnxruntime")

import onnxruntime

from edgeconv.formats.onnx_file import write_onnx
from edgeconv.signature import DType
from edgeconv_converters.edge_graph_onnx.kernels import KERNELS
from edgeconv_converters.edge_graph_onnx.table import TRANSLATIONS
from edgeconv_converters.edge_graph_onnx.writer import build_model
from tests.converters.kernel_probes import PROBES, Array, assert_alike, list_settings, make_trial

pytestmark = [pytest.mark.integration]

_PROBED = sorted(set(PROBES) & set(KERNELS))


def _run(op: str, dtype: DType, rank: int, folder: Path) -> tuple[Array, Array]:
    """What the kernel and what NumPy make."""
    trial = make_trial(op, dtype, rank)
    (output,) = trial.graph.outputs
    model = build_model(trial.graph)
    path = folder / "probe.onnx"
    write_onnx(path, model.proto, model.weights)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    (got,) = session.run([output.name], dict(trial.inputs))
    return got, trial.wanted


@pytest.mark.parametrize("op", _PROBED)
def test_a_kernel_takes_what_the_table_says(op: str, tmp_path: Path) -> None:
    for dtype, rank in list_settings(op, KERNELS[op]):
        assert_alike(*_run(op, dtype, rank, tmp_path))


@pytest.mark.parametrize(
    ("op", "dtype"),
    [
        ("MAXIMUM", DType.INT16),
        ("CUMSUM", DType.INT8),
        ("ELU", DType.FLOAT64),
        ("NEG", DType.UINT8),
        ("BATCH_MATMUL", DType.INT8),
    ],
)
def test_what_the_table_leaves_out_fails(op: str, dtype: DType, tmp_path: Path) -> None:
    assert dtype not in KERNELS[op].dtypes
    with pytest.raises(Exception, match=r"NOT_IMPLEMENTED|Type Error"):
        _run(op, dtype, 2, tmp_path)


def test_the_comparison_has_teeth(tmp_path: Path) -> None:
    got, wanted = _run("ADD", DType.FLOAT32, 2, tmp_path)
    with pytest.raises(AssertionError):
        assert_alike(got + np.float32(0.01), wanted)


def test_every_translation_has_a_kernel() -> None:
    assert set(TRANSLATIONS) == set(KERNELS)
