"""Our own converters and quantizers keep the contract that everyone's must keep; broken ones are found out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from edgeconv.execute.pool import WorkerPool
from edgeconv.formats import find_format
from edgeconv.plugin.converter import ConverterSpec
from edgeconv.plugin.quantizer import QuantizerSpec
from edgeconv.plugin.quantizers import QuantizerRegistry, missing_modules_of
from edgeconv.plugin.registry import Registry, missing_modules
from edgeconv.settings import load_settings
from edgeconv.testing.contract import (
    check_quantizer,
    check_quantizer_refusal,
    check_refusal,
    check_spec,
)

OURS = Registry().converters
FROM_FILES = [spec for spec in OURS if find_format(spec.source).handler]
GOOD = OURS[0]

BROKEN = {
    "is not lower-case": replace(GOOD, id="My Converter"),
    "version is empty": replace(GOOD, version=""),
    "unknown format": replace(GOOD, target="mp3"),
    "does not go with": replace(GOOD, target=GOOD.source),
    "summary": replace(GOOD, summary="two\nlines"),
    "lane is empty": replace(GOOD, lane=""),
    "is not written": replace(GOOD, entry="somewhere"),
    "names no module": replace(GOOD, entry="edgeconv_nowhere.worker:convert"),
    "names no function": replace(GOOD, entry="edgeconv.testing.plain:fly"),
    "names no extra": replace(GOOD, requires=("torch",), extra=""),
    "none of edgeconv's": replace(GOOD, extra="gold"),
}


QUANTIZERS = QuantizerRegistry().quantizers
GOOD_QUANTIZER = QUANTIZERS[0]
BROKEN_QUANTIZERS = {
    "is not lower-case": replace(GOOD_QUANTIZER, id="My Quantizer"),
    "version is empty": replace(GOOD_QUANTIZER, version=""),
    "unknown format": replace(GOOD_QUANTIZER, format="mp3"),
    "summary": replace(GOOD_QUANTIZER, summary=""),
    "is not written": replace(GOOD_QUANTIZER, entry="somewhere"),
    "names no module": replace(GOOD_QUANTIZER, entry="edgeconv_nowhere.worker:open_model"),
    "names no function": replace(GOOD_QUANTIZER, entry="edgeconv.testing.plain:fly"),
    "names no extra": replace(GOOD_QUANTIZER, extra=""),
    "none of edgeconv's": replace(GOOD_QUANTIZER, extra="gold"),
    "recipes are none": replace(GOOD_QUANTIZER, recipes=()),
    "no recipe 'int7'": replace(GOOD_QUANTIZER, recipes=("int8", "int7")),
    "named twice": replace(GOOD_QUANTIZER, recipes=("int8", "int8")),
}


def test_there_is_a_quantizer_for_each_of_our_formats() -> None:
    assert {spec.format for spec in QUANTIZERS} == {"onnx", "tflite"}


@pytest.mark.parametrize("spec", QUANTIZERS, ids=lambda spec: spec.id)
def test_our_quantizers_keep_the_contract(spec: QuantizerSpec) -> None:
    assert check_quantizer(spec) == []


@pytest.mark.parametrize("problem", BROKEN_QUANTIZERS)
def test_a_broken_quantizer_is_found_out(problem: str) -> None:
    assert any(problem in text for text in check_quantizer(BROKEN_QUANTIZERS[problem]))


@pytest.mark.parametrize("spec", OURS, ids=lambda spec: spec.id)
def test_our_declarations_keep_the_contract(spec: ConverterSpec) -> None:
    assert check_spec(spec) == []


@pytest.mark.parametrize("problem", BROKEN)
def test_a_broken_declaration_is_found_out(problem: str) -> None:
    assert any(problem in text for text in check_spec(BROKEN[problem]))


@pytest.fixture(scope="module")
def pool() -> Iterator[WorkerPool]:
    with WorkerPool(load_settings().worker_environment) as pool:
        yield pool


@pytest.mark.integration
@pytest.mark.slow
@pytest.mark.xdist_group("contract")
@pytest.mark.parametrize("spec", FROM_FILES, ids=lambda spec: spec.id)
def test_our_converters_refuse_garbage(
    spec: ConverterSpec, pool: WorkerPool, tmp_path: Path
) -> None:
    if missing_modules(spec):
        pytest.skip(f"'{spec.extra}' is not installed")
    assert check_refusal(spec, pool, tmp_path) == []


@pytest.mark.integration
@pytest.mark.xdist_group("contract")
@pytest.mark.parametrize("spec", QUANTIZERS, ids=lambda spec: spec.id)
def test_our_quantizers_refuse_garbage(
    spec: QuantizerSpec, pool: WorkerPool, tmp_path: Path
) -> None:
    if missing_modules_of(spec):
        pytest.skip(f"'{spec.extra}' is not installed")
    assert check_quantizer_refusal(spec, pool, tmp_path) == []


@pytest.mark.xdist_group("contract")
def test_a_quantizer_that_lets_errors_through_is_found_out(
    pool: WorkerPool, tmp_path: Path
) -> None:
    careless = replace(GOOD_QUANTIZER, entry="json:loads")
    (problem, *_) = check_quantizer_refusal(careless, pool, tmp_path)
    assert "it let an error of its tool through: TypeError" in problem


@pytest.mark.xdist_group("contract")
def test_a_converter_that_takes_garbage_is_found_out(pool: WorkerPool, tmp_path: Path) -> None:
    takes = replace(GOOD, entry="edgeconv.testing.hostile:leave_no_output", lane="takes")
    assert check_refusal(takes, pool, tmp_path) == ["it took garbage for a model"]


@pytest.mark.xdist_group("contract")
def test_a_converter_that_crashes_is_found_out(pool: WorkerPool, tmp_path: Path) -> None:
    crashes = replace(GOOD, entry="edgeconv.testing.hostile:crash", lane="crashes")
    assert any("it crashed" in problem for problem in check_refusal(crashes, pool, tmp_path))
