"""Integer sums of ONNX Runtime are exact on every machine."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper, parser

from edgeconv.formats.onnx import HANDLER
from edgeconv.formats.onnx_options import EXACT_SUMS, session_options

TERMS = 64


@pytest.mark.parametrize("sign", [1, -1])
def test_sums_of_two_products_do_not_saturate(tmp_path: Path, sign: int) -> None:
    """Two products of 255 and 127 are more than 16 bits hold, which is what AVX2 adds them into."""
    model = parser.parse_model(
        f"""<ir_version: 8, opset_import: ["" : 13]>
        net (uint8[1, {TERMS}] x) => (int32[1, 16] y) {{ y = MatMulInteger(x, weights) }}"""
    )
    weights = np.full((TERMS, 16), 127 * sign, np.int8)
    model.graph.initializer.append(numpy_helper.from_array(weights, "weights"))
    onnx.save(model, tmp_path / "net.onnx")
    result = HANDLER.open(tmp_path / "net.onnx").run({"x": np.full((1, TERMS), 255, np.uint8)})
    assert result.outputs["y"].tolist() == [[255 * 127 * sign * TERMS] * 16]


def test_the_option_is_set_where_it_changes_nothing_too() -> None:
    options = session_options(threads=1, least_severity=3)
    assert options.get_session_config_entry(EXACT_SUMS) == "1"
