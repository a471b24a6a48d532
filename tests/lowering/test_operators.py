"""Every operator and mode, lowered, written, run in the format's own runtime, and compared with PyTorch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from tests.lowering import (
    cases,
    conformance_cases,
    counting_cases,
    elementary_cases,
    extreme_cases,
    indexing_cases,
    integer_cases,
    matrix_cases,
    program_cases,
    spatial_cases,
    special_cases,
)
from tests.lowering.case import Case
from tests.lowering.runtimes import assert_case, lower_case

pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore"),  # PyTorch's and TensorFlow's own advice
]

_FAMILIES = (
    cases,
    conformance_cases,
    counting_cases,
    elementary_cases,
    extreme_cases,
    indexing_cases,
    integer_cases,
    matrix_cases,
    program_cases,
    spatial_cases,
    special_cases,
)
CASES = [case for family in _FAMILIES for case in family.CASES]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_tflite_computes_what_pytorch_computes(case: Case, tmp_path: Path) -> None:
    assert_case("tflite", lower_case(case), tmp_path)


# TensorFlow takes a tenth of a second to save a model: one of each operator is enough there, and what is at its own ends.
_SAVED = [
    case
    for index, case in enumerate(CASES)
    if index % 4 == 0 or any(case is extreme for extreme in extreme_cases.CASES)
]


@pytest.mark.parametrize("case", _SAVED, ids=lambda case: case.name)
def test_savedmodel_computes_what_pytorch_computes(case: Case, tmp_path: Path) -> None:
    assert_case("savedmodel", lower_case(case), tmp_path)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_onnx_computes_what_pytorch_computes(case: Case, tmp_path: Path) -> None:
    assert_case("onnx", lower_case(case, "onnx"), tmp_path)


@pytest.mark.parametrize("format_id", ["onnx", "tflite", "savedmodel"])
def test_a_damaged_weight_is_seen(format_id: str, tmp_path: Path) -> None:
    (case,) = [case for case in CASES if case.name == "linear"]
    lowered = lower_case(case, format_id)
    constants = lowered.graph.constants()
    weight = max(constants, key=lambda t: 0 if t.constant is None else t.constant.size)
    assert weight.constant is not None
    weight.constant = np.asarray(weight.constant, np.float32) + np.float32(0.01)
    with pytest.raises(AssertionError):
        assert_case(format_id, lowered, tmp_path)


def test_case_names_are_unique() -> None:
    names = [case.name for case in CASES]
    assert len(set(names)) == len(names)
