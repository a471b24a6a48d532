"""The policy says the truth: every operator runs in every precision that it lists, and computes what float32 does.

Each is run alone, with the XNNPACK delegate and with LiteRT's own kernels.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("ai_edge_quantizer")

from ai_edge_litert.interpreter import OpResolverType

from edgeconv.plugin.quantizer import Operator, Precision, QuantizationPlan
from edgeconv_converters.ai_edge_quantizer import policy, recipe, statistics, surrogates
from edgeconv_converters.ai_edge_quantizer.policy import Policy, installed_policy, kind_of
from edgeconv_converters.ai_edge_quantizer.worker import open_model
from tests.converters.ai_edge_quantizer.graphs import Array, measure_ranges, snr_db
from tests.converters.ai_edge_quantizer.single import SINGLES, Single, run_file, write_single

pytestmark = [pytest.mark.integration]

_PRECISIONS = {
    kind_of(precision): precision
    for precision in (
        Precision(weights="int8", activations="int8"),
        Precision(weights="int8", activations="int16"),
        Precision(weights="int4", activations="int8"),
        Precision(weights="int4", activations="int16"),
        Precision(weights="int8", is_dynamic=True),
        Precision(weights="int4", is_dynamic=True),
        Precision(weights="int4", is_dynamic=True, block=32),
        Precision(weights="int8"),
        Precision(weights="int4"),
        Precision(weights="int4", block=32),
        Precision(weights="float16", activations="float16"),
    )
}
# What is lost by rounding normally distributed numbers to so many bits.
_LEAST_SNR_DB = {"int4": 15, "int8": 34, "int16": 38, "fp16": 60}
_RESOLVERS = (OpResolverType.AUTO, OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES)


def _least_snr_db(kind: str) -> int:
    name = "int4" if "4" in kind else kind.partition("x")[0].partition("-")[0]
    return _LEAST_SNR_DB[name]


def _outputs(
    single: Single, path: Path, precision: Precision, folder: Path
) -> list[tuple[Array, Array]]:
    """Each output as float32 makes it, and as each kernel does in a precision."""
    model = open_model(path)
    inputs = dict(zip([s.name for s in model.signature.inputs], single.data, strict=True))
    plan = QuantizationPlan(default=precision, ranges=measure_ranges(model, [inputs]))
    result = model.quantize(plan, folder / "quantized.tflite")
    assert set(result.reasons.values()) <= {"its table has a scale for each row and gives float32"}
    wanted = run_file(path, single.data, _RESOLVERS[1])
    return [
        pair
        for resolver in _RESOLVERS
        for pair in zip(
            wanted, run_file(folder / "quantized.tflite", single.data, resolver), strict=True
        )
    ]


def _listed(kind: str) -> list[str]:
    codes = installed_policy().kernels.get(kind, frozenset())
    return [name for name in SINGLES if name.split()[0] in codes]


@pytest.mark.parametrize("kind", [kind for kind in _PRECISIONS if kind != "fp16"])
def test_every_kernel_computes_what_float32_does(kind: str, tmp_path: Path) -> None:
    for name in _listed(kind):
        single = SINGLES[name]
        if "-" in kind and not any(v.dtype == np.float32 for v in single.constants.values()):
            continue
        path = write_single(name, single, tmp_path / "single.tflite")
        for wanted, got in _outputs(single, path, _PRECISIONS[kind], tmp_path):
            if wanted.dtype == np.float32:
                assert snr_db(wanted, got) >= _least_snr_db(kind), name
            else:
                assert np.mean(wanted == got) >= 0.9, name


def test_half_precision_is_stored_for_every_operator_with_weights(tmp_path: Path) -> None:
    for name in ("CONV_2D", "CONV_3D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV"):
        path = write_single(name, SINGLES[name], tmp_path / "single.tflite")
        for wanted, got in _outputs(SINGLES[name], path, _PRECISIONS["fp16"], tmp_path):
            assert snr_db(wanted, got) >= _least_snr_db("fp16"), name


@pytest.mark.parametrize("kind", [kind for kind in _PRECISIONS if kind != "fp16"])
def test_every_kernel_that_is_listed_is_run(kind: str) -> None:
    assert installed_policy().kernels[kind] <= {name.split()[0] for name in SINGLES}


@pytest.mark.parametrize(
    ("code", "kind"),
    [("NEG", "int8"), ("PRELU", "int16x8"), ("SQUARE", "int8"), ("ELU", "int16x8")],
)
def test_what_the_policy_leaves_out_fails(
    code: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the policy out of the way, the kernel is missing or wrong."""
    assert code not in installed_policy().kernels[kind]
    monkeypatch.setattr(Policy, "refusal", lambda *_: "")
    single = SINGLES.get(code, SINGLES["RELU"])
    path = write_single(code, single, tmp_path / "single.tflite")
    shown = {**surrogates.SURROGATES, "NEG": "RELU", "SQUARE": "RELU"}
    for module in (surrogates, recipe, statistics):
        monkeypatch.setattr(module, "SURROGATES", shown)
    try:
        pairs = _outputs(single, path, _PRECISIONS[kind], tmp_path)
    except RuntimeError:
        return
    assert min(snr_db(wanted, got) for wanted, got in pairs) < 20


def test_a_division_by_what_rounds_to_zero_is_refused() -> None:
    operator = Operator(name="y", code="DIV", inputs=("a", "b"), outputs=("y",))
    refusal = installed_policy().refusal(operator, _PRECISIONS["int8"])
    assert "no int8 kernel for DIV" in refusal


def test_a_runtime_takes_the_newest_table_that_is_not_newer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tables = '["2.3"]\nint8 = ["ADD"]\n["2.10"]\nint8 = ["ADD", "CUMSUM"]\n'
    monkeypatch.setattr(policy, "_read", lambda: tables)
    codes = [
        policy._policy_of.__wrapped__(release).kernels["int8"]
        for release in ("2.1.0", "2.4.1", "2.11.0")
    ]
    assert codes == [{"ADD"}, {"ADD"}, {"ADD", "CUMSUM"}]
