"""What is told of a quantization: of the file that is delivered, and of that only."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("ai_edge_quantizer")
pytest.importorskip("onnxruntime")

from edgeconv.errors import ConversionError, UsageError
from edgeconv.formats import load_handler
from edgeconv.plugin.quantizer import FloatModel, QuantizationPlan, QuantizedFile
from edgeconv.quantization.account import Account, give_account
from edgeconv.quantization.candidates import Workbench
from edgeconv.quantization.engine import run
from edgeconv.quantization.evaluation import Evaluation
from edgeconv.quantization.latency import measure_latencies
from edgeconv.quantization.overrides import parse_override
from edgeconv.quantization.request import QuantizationRequest
from edgeconv.signature import DType
from edgeconv.validation.integers import IntegerEnds
from tests.quantization.nets import BOTH, SCALES, images, opener, rescaled

pytestmark = [pytest.mark.integration]

Array = NDArray[np.generic]
both = pytest.mark.parametrize("format_id", BOTH)


class Desk:
    """Quantizes a small network, with data of its own."""

    def __init__(self, folder: Path, format_id: str) -> None:
        self.format = format_id
        self.folder = folder
        self.open: Callable[[], FloatModel] = opener(rescaled(SCALES**0), folder, format_id)
        self.artifact = folder / f"rescaled.{format_id}"
        np.savez(folder / "data.npz", image=images(40, seed=1))

    def calibrate(self, values: Array) -> Path:
        path = self.folder / "calibration.npz"
        np.savez(path, image=values)
        return path

    def quantize(self, **choices: object) -> Account:
        request = QuantizationRequest(
            artifact=self.artifact,
            format=self.format,
            entry="",
            output=self.folder / "out",
            scratch=self.folder,
            metric="cosine",
            **{"search_seconds": 2.0, **choices},  # type: ignore[arg-type]  # the fields of a request by name
        )
        return give_account(request, run(request, self.open))

    def outputs(self, path: Path) -> Array:
        """What a file makes of the data, by its own scales where it has integers."""
        handler = load_handler(self.format)
        ends = IntegerEnds.between(handler.read_signature(self.artifact), handler, path)
        data = np.load(self.folder / "data.npz")["image"]
        with ends.open(handler.open(path)) as session:
            found = [session.run({"image": one[None]}).outputs["y"] for one in data]
            return np.concatenate(found)

    def cosine(self, path: Path) -> float:
        wanted, got = (
            self.outputs(p).reshape(40, -1).astype(np.float64) for p in (self.artifact, path)
        )
        lengths = np.linalg.norm(wanted, axis=1) * np.linalg.norm(got, axis=1)
        return float(np.mean((wanted * got).sum(axis=1) / lengths))


@pytest.fixture
def desk(tmp_path: Path, format_id: str) -> Desk:
    return Desk(tmp_path, format_id)


def with_outlier() -> Array:
    """Inputs of which one value lies so far out that integers keep little of the rest."""
    values = images(40)
    values[3, 2, 2, 1] = 500.0
    return values


@both
@pytest.mark.parametrize("io", [DType.INT8, DType.UINT8])
def test_the_accuracy_is_that_of_the_file_with_integer_ends(desk: Desk, io: DType) -> None:
    account = desk.quantize(
        recipe="int8-weights",
        io=io,
        calibration=desk.calibrate(with_outlier()),
        data=desk.folder / "data.npz",
    )
    judged = cast("dict[str, float]", account.facts["evaluation"])
    real = desk.cosine(account.chosen)
    assert real < 0.97  # with float inputs it is more than 0.999
    assert judged["after"] == pytest.approx(real, abs=1e-5)
    (candidate, *_) = cast("list[dict[str, object]]", account.facts["candidates"])
    assert candidate["size_bytes"] == account.chosen.stat().st_size == account.facts["size_bytes"]
    (output,) = cast("list[dict[str, float]]", account.facts["outputs"])
    assert output["snr_db"] == pytest.approx(cast("float", account.facts["snr_db"]))


@both
def test_a_budget_is_judged_by_the_file_with_integer_ends(desk: Desk) -> None:
    words = {
        "recipe": "int8-weights",
        "calibration": desk.calibrate(with_outlier()),
        "data": desk.folder / "data.npz",
        "max_drop": 0.01,
    }
    assert desk.quantize(**words).facts["is_met"]
    missed = desk.quantize(**words, io=DType.INT8)
    assert not missed.facts["is_met"]
    assert cast("dict[str, float]", missed.facts["evaluation"])["drop"] > 0.01


@both
def test_latency_is_measured_of_integer_inputs(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[str]] = []

    def listen(sessions: list[IntegerEnds], *rest: object, **named: object) -> tuple[float, ...]:
        seen.append([type(one).__name__ for one in sessions])
        return measure_latencies(sessions, *rest, **named)  # type: ignore[arg-type]  # as it is called

    monkeypatch.setattr("edgeconv.quantization.engine.measure_latencies", listen)
    account = desk.quantize(recipe="int8", io=DType.INT8, calibration=desk.calibrate(images()))
    assert cast("float", account.facts["latency_seconds"]) > 0
    assert not account.facts["is_cut_short"]
    ((original, *others),) = seen
    assert original != "RealSession"
    assert others
    assert set(others) == {"RealSession"}


def test_integer_ends_need_data_whatever_the_recipe(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="int8 inputs and outputs need real inputs") as caught:
        Desk(tmp_path, "onnx").quantize(recipe="int8-weights", io=DType.INT8)
    assert "--calibration" in caught.value.hint


@both
@pytest.mark.parametrize("io", [DType.FLOAT32, DType.INT8])
def test_outputs_of_the_chosen_file_are_run_once(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, io: DType
) -> None:
    ran: list[Path] = []
    whole = Workbench.run

    def counted(bench: Workbench, path: Path, evaluation: Evaluation) -> dict[str, Array]:
        ran.append(path)
        return whole(bench, path, evaluation)

    monkeypatch.setattr(Workbench, "run", counted)
    account = desk.quantize(recipe="int8", io=io, calibration=desk.calibrate(images()))
    assert ran.count(account.chosen) == 1
    assert len(ran) == len(cast("list[object]", account.facts["candidates"]))


def test_auto_leaves_out_what_the_library_fails_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgeconv_converters.onnxruntime_quantization.float_model import OnnxFloatModel

    whole = OnnxFloatModel.quantize

    def fail(model: OnnxFloatModel, plan: QuantizationPlan, path: Path) -> QuantizedFile:
        if plan.default.activations == "int16":
            raise ConversionError("the library fails")
        return whole(model, plan, path)

    monkeypatch.setattr(OnnxFloatModel, "quantize", fail)
    desk = Desk(tmp_path, "onnx")
    words = {"calibration": desk.calibrate(images()), "data": tmp_path / "data.npz"}
    facts = desk.quantize(recipe="auto", max_drop=0.5, **words).facts
    assert facts["is_met"]
    told = [text for text in cast("list[str]", facts["warnings"]) if "left out" in text]
    assert told == ["left out: no int16x8 model was made that runs: the library fails"]
    with pytest.raises(ConversionError, match="no int16x8 model"):
        desk.quantize(recipe="int16x8", **words)


def test_a_recipe_that_keeps_everything_for_the_budget_says_so_and_makes_it_again(
    tmp_path: Path,
) -> None:
    desk = Desk(tmp_path, "onnx")
    words = {"calibration": desk.calibrate(images()), "data": tmp_path / "data.npz"}
    facts = desk.quantize(recipe="int8", max_drop=0.0, search_seconds=120.0, **words).facts
    assert facts["precisions"] == {"float32": len(cast("list[object]", facts["layers"]))}
    assert any("every operator stays in float32" in w for w in cast("list[str]", facts["warnings"]))
    overrides = cast("dict[str, dict[str, str]]", facts["reproduce"])["overrides"]
    parsed = tuple(parse_override(f"{key}={value}") for key, value in overrides.items())
    again = desk.quantize(recipe="int8", overrides=parsed, is_settled=True, **words).facts
    assert again["precisions"] == facts["precisions"]


@both
def test_operators_that_the_search_kept_are_listed_with_the_reason(desk: Desk) -> None:
    words = {"calibration": desk.calibrate(images()), "data": desk.folder / "data.npz"}
    plain = desk.quantize(recipe="int4-weights", **words).facts
    drop = cast("dict[str, float]", plain["evaluation"])["drop"]
    facts = desk.quantize(
        recipe="int4-weights", max_drop=drop * 0.9, search_seconds=120.0, **words
    ).facts
    assert facts["is_met"]
    kept = cast("list[dict[str, str]]", facts["operators_kept"])
    whole = {one["name"] for one in cast("list[dict[str, str]]", plain["operators_kept"])}
    reasons = {one["name"]: one["reason"] for one in kept}
    added = reasons.keys() - whole
    assert added
    assert all("within the budget" in reasons[name] for name in added)


@both
def test_activations_that_entropy_saw_too_little_of_are_told(desk: Desk) -> None:
    words = {"recipe": "int8", "calibration": desk.calibrate(images(40))}
    told = [
        cast("list[str]", desk.quantize(observer=name, **words).facts["warnings"])
        for name in ("entropy", "min-max")
    ]
    few = [[text for text in texts if "too few values for 'entropy'" in text] for texts in told]
    assert [len(texts) for texts in few] == [1, 0]
    assert "give more calibration samples" in few[0][0]
