"""Verification finds what is wrong with an artifact, in every format, and says what it is."""

from __future__ import annotations

from pathlib import Path

import pytest

# TensorFlow must not be imported before PyTorch's compiler: the two bring LLVM, and the second one crashes.
pytest.importorskip("torch")

import edgeconv as ec
from edgeconv.validation.reference import read_reference
from edgeconv.validation.verdict import Verdict
from edgeconv.validation.worker import verify_artifact
from tests.conftest import FORMATS, Delivered
from tests.validation.damage import CHANGES, change_one, change_weights, copy_of
from tests.validation.rebuild import rebuild

pytestmark = [
    pytest.mark.integration,
    pytest.mark.slow,
    pytest.mark.xdist_group("artifacts"),
    pytest.mark.filterwarnings("ignore"),
]

# The weights of `second`, the last layer of the twins, and of `mix`, that of the pair.
SECOND, MIX = 32, 30


def _verify(path: Path, format_id: str, delivered: Delivered) -> Verdict:
    return verify_artifact(path, format_id, read_reference(delivered.reference))


@pytest.mark.parametrize("format_id", FORMATS)
def test_what_was_delivered_passes(twins: Delivered, pair: Delivered, format_id: str) -> None:
    for delivered in (twins, pair):
        verdict = _verify(delivered.artifacts[format_id].path, format_id, delivered)
        assert verdict.passed, verdict.summary()
        assert len({sizes["N"] for sizes in verdict.sizes}) > 2


@pytest.mark.parametrize("format_id", FORMATS)
@pytest.mark.parametrize("change", CHANGES)
def test_changed_weights_are_found(
    twins: Delivered, tmp_path: Path, format_id: str, change: str
) -> None:
    path = copy_of(twins, format_id, tmp_path)
    change_weights(path, format_id, SECOND, CHANGES[change])
    verdict = _verify(path, format_id, twins)
    assert not verdict.passed
    assert verdict.problems == ()
    assert "off by" in verdict.summary()
    worst = verdict.worst
    assert worst is not None
    assert worst.max_abs_error > worst.tolerance


@pytest.mark.parametrize("format_id", FORMATS)
def test_changing_nothing_the_same_way_passes(
    twins: Delivered, tmp_path: Path, format_id: str
) -> None:
    """What is found above is the change itself, not what rewriting the file does."""
    path = copy_of(twins, format_id, tmp_path)
    change_weights(path, format_id, SECOND, lambda weights: None)
    verdict = _verify(path, format_id, twins)
    assert verdict.passed, verdict.summary()


@pytest.mark.parametrize("format_id", FORMATS)
def test_the_public_function_finds_a_changed_weight(
    pair: Delivered, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format_id: str
) -> None:
    monkeypatch.setenv("EDGECONV_CACHE_DIR", str(tmp_path / "cache"))
    path = copy_of(pair, format_id, tmp_path)
    change_weights(path, format_id, MIX, change_one)
    verdict = ec.validate(path, reference=pair.model)
    assert not verdict.passed
    assert "'scores' is off by" in verdict.summary()


@pytest.mark.parametrize("format_id", FORMATS)
def test_exchanged_outputs_are_found(twins: Delivered, tmp_path: Path, format_id: str) -> None:
    path = rebuild(twins, format_id, "exchanged outputs", _named(twins, format_id, tmp_path))
    verdict = _verify(path, format_id, twins)
    assert not verdict.passed
    assert "output 'left' holds what 'right' should hold" in verdict.problems
    assert "output 'right' holds what 'left' should hold" in verdict.problems


@pytest.mark.parametrize("format_id", FORMATS)
def test_a_narrowed_output_is_found(pair: Delivered, tmp_path: Path, format_id: str) -> None:
    path = rebuild(pair, format_id, "narrowed output", _named(pair, format_id, tmp_path))
    verdict = _verify(path, format_id, pair)
    assert not verdict.passed
    assert "'best' is int32, not int64" in verdict.summary()


@pytest.mark.parametrize("format_id", [f for f in FORMATS if f != "torchscript"])
def test_a_narrowed_input_is_found(pair: Delivered, tmp_path: Path, format_id: str) -> None:
    """TorchScript has no dtypes for its inputs."""
    path = rebuild(pair, format_id, "narrowed input", _named(pair, format_id, tmp_path))
    verdict = _verify(path, format_id, pair)
    assert not verdict.passed
    assert "'tokens' is int32, not int64" in verdict.summary()


@pytest.mark.parametrize("format_id", FORMATS)
def test_a_fixed_batch_is_found(pair: Delivered, tmp_path: Path, format_id: str) -> None:
    path = rebuild(pair, format_id, "fixed batch", _named(pair, format_id, tmp_path))
    verdict = _verify(path, format_id, pair)
    assert not verdict.passed
    if format_id == "torchscript":
        assert "does not run" in verdict.summary()
    else:
        assert "'tokens' is fixed to 2 on axis 0, not N" in verdict.problems


@pytest.mark.parametrize("format_id", FORMATS)
def test_a_renamed_input_is_found(pair: Delivered, tmp_path: Path, format_id: str) -> None:
    path = rebuild(pair, format_id, "renamed input", _named(pair, format_id, tmp_path))
    if format_id == "torchscript":
        with pytest.raises(ec.EdgeconvError) as caught:
            _verify(path, format_id, pair)
        assert "it takes ['renamed', 'image'], not ['tokens', 'image']" in str(caught.value)
        return
    verdict = _verify(path, format_id, pair)
    assert not verdict.passed
    assert "renamed" in verdict.problems[0]
    assert "tokens" in verdict.problems[0]


def _named(delivered: Delivered, format_id: str, folder: Path) -> Path:
    return folder / delivered.artifacts[format_id].path.name
