"""How quantized artifacts are judged: by what is left of the signal, on real samples, through their own scales."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from edgeconv.artifact import Artifact
from edgeconv.formats.affine import IO_ENTRY, Affine
from edgeconv.formats.record import read_precision
from edgeconv.quantization.recipes import RECIPES
from edgeconv.signature import DType, Signature, TensorSpec
from edgeconv.validation.compare import OutputComparison
from edgeconv.validation.reference import Case, CaseKind, Reference, write_case
from edgeconv.validation.tolerance import QUANTIZED, signal_tolerance
from edgeconv.validation.verdict import NO_SAMPLES, Verdict
from edgeconv.validation.worker import verify_artifact

pytestmark = [pytest.mark.integration]

Array = NDArray[np.generic]
FLOATS = """
<ir_version: 8, opset_import: ["": 17]>
net (float[4] x) => (float[4] y) <float low = {{-1}}, float high = {{1}}, float k = {{{factor}}}>
{{ c = Clip (x, low, high) y = Mul (c, k) }}
"""
INTEGERS = """
<ir_version: 8, opset_import: ["": 17]>
net (int8[4] x) => (int8[4] y) { y = Neg (x) }
"""


@dataclass(frozen=True)
class Bench:
    """A model that negates its inputs, and artifacts of it that saturate outside of -1 to 1."""

    folder: Path
    cases: list[Case] = field(default_factory=list)

    def add(self, kind: CaseKind, values: list[float], outputs: list[float] | None = None) -> None:
        x = np.array(values, np.float32)
        y = -x if outputs is None else np.array(outputs, np.float32)
        name = f"{kind}_{len(self.cases)}"
        case = write_case(self.folder, name, kind, {}, inputs={"x": x}, outputs={"y": y})
        self.cases.append(case)

    def write(self, text: str, metadata: Mapping[str, str]) -> Path:
        model = onnx.parser.parse_model(text)
        for key, value in metadata.items():
            model.metadata_props.add(key=key, value=value)
        path = self.folder / "net.onnx"
        onnx.save(model, path)
        return path

    def judge(self, path: Path, precision: str = "int8") -> Verdict:
        specs = {name: TensorSpec(name=name, dtype=DType.FLOAT32, shape=(4,)) for name in "xy"}
        reference = Reference(
            signature=Signature(inputs=(specs["x"],), outputs=(specs["y"],)),
            cases=tuple(self.cases),
            noise_floor={"y": 1e-7},
            noise_source="float64",
            ranges={"y": (-1.0, 1.0)},
            seed=0,
        )
        return verify_artifact(path, "onnx", reference, precision=precision)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    bench = Bench(tmp_path)
    bench.add("noise", [9.0, -9.0, 5.0, 7.0])
    bench.add("sample", [0.5, -0.5, 0.9, 0.1])
    bench.add("sample", [0.3, 0.2, -0.9, 0.8])
    return bench


def test_noise_is_run_and_not_judged(bench: Bench) -> None:
    verdict = bench.judge(bench.write(FLOATS.format(factor="-1.02"), {}))
    assert verdict.passed, verdict.summary()
    assert (verdict.precision, verdict.samples) == ("int8", 2)
    assert verdict.outputs[0].snr_db == pytest.approx(34, abs=0.1)
    assert "SNR 34.0 dB" in verdict.summary()
    assert verdict == Verdict.from_json(json.loads(json.dumps(verdict.to_json())))


def test_the_same_file_is_no_float_artifact(bench: Bench) -> None:
    verdict = bench.judge(bench.write(FLOATS.format(factor="-1.02"), {}), "float32")
    assert not verdict.passed


@pytest.mark.parametrize(
    ("factor", "precision"), [("-1.5", "int8"), ("1", "int8"), ("-1.02", "fp16")]
)
def test_what_has_lost_too_much_fails(bench: Bench, factor: str, precision: str) -> None:
    verdict = bench.judge(bench.write(FLOATS.format(factor=factor), {}), precision)
    assert not verdict.passed
    assert "has a signal-to-noise ratio of" in verdict.summary()


def test_one_wrong_sample_among_many_fails(bench: Bench) -> None:
    for _ in range(12):
        bench.add("sample", [1.0, 1.0, -1.0, 1.0])
    path = bench.write(FLOATS.format(factor="-1"), {})
    assert bench.judge(path).passed
    bench.add("sample", [0.15, 0.1, 0.1, 0.1], [0.15, -0.1, -0.1, -0.1])
    assert "has a sample of cosine" in bench.judge(path).summary()


def test_a_sample_that_is_all_but_silent_has_no_direction(bench: Bench) -> None:
    bench.add("sample", [0.01, 0.01, 0.0, 0.0], [0.01, 0.01, 0.0, 0.0])
    assert bench.judge(bench.write(FLOATS.format(factor="-1"), {})).passed


def test_without_samples_nothing_is_said(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.add("noise", [0.5, -0.5, 0.9, 0.1])
    verdict = bench.judge(bench.write(FLOATS.format(factor="-1"), {}))
    assert not verdict.passed
    assert verdict.problems == (NO_SAMPLES,)
    assert verdict.samples == 0


def test_nan_on_noise_fails(bench: Bench) -> None:
    text = FLOATS.format(factor="-1").replace("Mul (c, k)", "Mul (d, k)")
    path = bench.write(
        text.replace("y = Mul", "o = Relu (x) s = Add (o, high) d = Log (c) y = Mul"), {}
    )
    verdict = bench.judge(path)
    assert "has NaN" in verdict.outputs[0].reason


SCALES = json.dumps({name: {"scale": 1 / 127, "zero_point": 0} for name in "xy"})


def test_integers_are_read_by_the_scales_of_the_file(bench: Bench) -> None:
    verdict = bench.judge(bench.write(INTEGERS, {IO_ENTRY: SCALES}))
    assert verdict.passed, verdict.summary()
    wrong = SCALES.replace(str(1 / 127), str(1 / 50), 1)
    assert not bench.judge(bench.write(INTEGERS, {IO_ENTRY: wrong})).passed


def test_integers_without_scales_are_another_dtype(bench: Bench) -> None:
    verdict = bench.judge(bench.write(INTEGERS, {}))
    assert "'x' is int8, not float32" in verdict.problems


def test_an_affine_there_and_back() -> None:
    affine = Affine(scale=0.5, zero_point=-3)
    numbers = np.array([-1000.0, -1.0, 0.0, 0.24, 1000.0], np.float32)
    integers = affine.quantize(numbers, "int8")
    assert integers.tolist() == [-128, -5, -3, -3, 127]
    assert affine.real(integers).tolist() == [-62.5, -1.0, 0.0, 0.0, 65.0]


@pytest.mark.parametrize(("wrong", "passed"), [(1, True), (3, False)])
def test_some_integers_that_follow_from_rounded_numbers_may_differ(
    wrong: int, passed: bool
) -> None:
    comparison = OutputComparison(
        name="y",
        dtype=DType.INT64,
        noise_floor=0.0,
        limits=(0.0, 9.0),
        signal=signal_tolerance("int8"),
    )
    wanted = np.arange(8)
    comparison.add("sample", wanted, np.where(wanted < wrong, 9, wanted))
    assert comparison.metrics().passed is passed


def test_every_recipe_has_a_tolerance_and_fewer_bits_a_looser_one() -> None:
    assert all(name.partition("-b")[0] in QUANTIZED for name in RECIPES)
    least = [
        signal_tolerance(name).min_snr_db
        for name in ("fp16", "int8-weights", "int8", "int4-weights-b32")
    ]
    assert least == sorted(least, reverse=True)


@pytest.mark.parametrize(
    ("stored", "precision"),
    [
        ({}, "float32"),
        ({"precision": "int8"}, "int8"),
        ({"precision": "int4-weights-b32"}, "int4-weights-b32"),
        ({"precision": "FP32, mixed"}, "float32"),
    ],
)
def test_a_file_tells_its_precision(bench: Bench, stored: dict[str, str], precision: str) -> None:
    assert read_precision(stored) == precision
    assert Artifact.read(bench.write(FLOATS.format(factor="-1"), stored)).precision == precision
