"""The table of TFLite's kernels says the truth: every operator runs with every dtype and rank that it lists.

Each is run alone in LiteRT, with the XNNPACK delegate and without, and compared with NumPy.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("ai_edge_litert")

from ai_edge_litert.interpreter import Interpreter, OpResolverType

from edgeconv.signature import DType
from edgeconv_converters.edge_graph_tflite.assemble import assemble
from edgeconv_converters.edge_graph_tflite.kernels import KERNELS
from edgeconv_converters.edge_graph_tflite.writer import Model, write_model
from tests.converters.kernel_probes import PROBES, Array, assert_alike, list_settings, make_trial

pytestmark = [pytest.mark.integration]

_RESOLVERS = (OpResolverType.AUTO, OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES)


def _run(
    op: str, dtype: DType, rank: int, folder: Path, resolver: OpResolverType
) -> tuple[Array, Array]:
    """What the kernel and what NumPy make."""
    trial = make_trial(op, dtype, rank)
    programs = assemble(trial.graph, list(trial.inputs), ["out"])
    path = folder / "probe.tflite"
    write_model(Model(programs=programs, example_sizes={}, metadata={}), path)
    interpreter = Interpreter(str(path), experimental_op_resolver_type=resolver)
    interpreter.allocate_tensors()
    indices = {detail["name"]: detail["index"] for detail in interpreter.get_input_details()}
    for name, array in trial.inputs.items():
        if name in indices:
            interpreter.set_tensor(indices[name], array)
    interpreter.invoke()
    got = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    return got, trial.wanted


def _run_everywhere(op: str, dtype: DType, rank: int, folder: Path) -> None:
    for resolver in _RESOLVERS:
        assert_alike(*_run(op, dtype, rank, folder, resolver))


@pytest.mark.parametrize("resolver", _RESOLVERS, ids=["xnnpack", "kernels"])
@pytest.mark.parametrize("op", sorted(PROBES))
def test_a_kernel_takes_what_the_table_says(
    op: str, resolver: OpResolverType, tmp_path: Path
) -> None:
    for dtype, rank in list_settings(op, KERNELS[op]):
        assert_alike(*_run(op, dtype, rank, tmp_path, resolver))


@pytest.mark.parametrize(
    ("op", "dtype", "rank"),
    [
        ("ABS", DType.INT64, 2),
        ("FLOOR_DIV", DType.INT64, 2),
        ("EXP", DType.FLOAT64, 2),
        ("PACK", DType.BOOL, 2),
        ("SUM", DType.FLOAT32, 7),
        ("PAD", DType.FLOAT32, 6),
        ("BATCH_MATMUL", DType.INT32, 2),
    ],
)
def test_what_the_table_leaves_out_fails(op: str, dtype: DType, rank: int, tmp_path: Path) -> None:
    kernel = KERNELS[op]
    assert dtype not in kernel.dtypes or rank > kernel.max_rank
    with pytest.raises((RuntimeError, ValueError, AssertionError)):
        _run_everywhere(op, dtype, rank, tmp_path)


def test_the_comparison_has_teeth(tmp_path: Path) -> None:
    got, wanted = _run("ADD", DType.FLOAT32, 2, tmp_path, _RESOLVERS[0])
    with pytest.raises(AssertionError):
        assert_alike(got + np.float32(0.01), wanted)


# What the operator tests run, or the writer takes away before.
_ELSEWHERE = {
    "AVERAGE_POOL_2D", "CAST", "CONV_2D", "CONV_3D", "CONV_3D_TRANSPOSE", "DEPTHWISE_CONV_2D", "DEPTH_TO_SPACE",
    "FULLY_CONNECTED", "GELU", "IF", "MAX_POOL_2D", "ONE_HOT", "RANGE", "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR",
    "BITCAST", "DEQUANTIZE", "QUANTIZE", "SCATTER_ND", "SELECT_V2", "SIZE_VALUE", "SPACE_TO_DEPTH", "TRANSPOSE_CONV", "WHILE",
}  # fmt: skip


def test_every_kernel_is_probed_or_run_elsewhere() -> None:
    assert set(KERNELS) == set(PROBES) | _ELSEWHERE
