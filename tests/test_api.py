"""The Python interface: lazy names, and a conversion of a module that this process holds."""

from __future__ import annotations

import gc
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import edgeconv as ec
from edgeconv.errors import UsageError, error_classes


def test_every_public_name_resolves() -> None:
    assert all(getattr(ec, name) is not None for name in ec.__all__)
    assert sorted(ec.__all__) == ec.__all__


def test_type_checkers_see_every_public_name() -> None:
    text = Path(ec.__file__).read_text()
    seen = re.findall(r"^    from edgeconv\S* import (\w+) as \1$", text, re.MULTILINE)
    assert sorted(seen) == sorted(set(ec.__all__) - {"__version__"})


def test_every_error_is_public() -> None:
    assert {cls.__name__ for cls in error_classes()} < set(ec.__all__)


def test_no_public_signature_says_any() -> None:
    import inspect
    import typing

    said = []
    for name in ec.__all__:
        item = getattr(ec, name)
        members = vars(item).items() if inspect.isclass(item) else [(name, item)]
        for key, member in members:
            function = member.fget if isinstance(member, property) else member
            if inspect.isfunction(function) and not key.startswith("_"):
                hints = function.__annotations__
                assert "return" in hints, f"{name}.{key}"
                said += [f"{name}.{key}" for hint in hints.values() if "Any" in str(hint)]
                typing.get_overloads(function)
    assert said == []


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'quantum'"):
        _ = ec.quantum


def test_importing_edgeconv_imports_no_framework() -> None:
    script = (
        "import sys, edgeconv; print([m for m in ('numpy', 'torch', 'typer') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.integration
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_module_becomes_four_verified_artifacts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch = pytest.importorskip("torch")
    monkeypatch.setenv("EDGECONV_CACHE_DIR", str(tmp_path / "cache"))
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3, padding=1), torch.nn.ReLU())
    net.train()
    image = torch.randn(2, 3, 8, 8)
    model = ec.capture(net, (image,), name="net", dynamic={"input": {0: "N"}})
    assert net.training
    result = ec.convert(model, out=tmp_path / "out")
    assert sorted(result) == ["onnx", "savedmodel", "tflite", "torchscript"]
    with torch.no_grad():
        wanted = net.eval()(image).numpy()
    for artifact in result.values():
        got = artifact.run({"input": image.numpy()})["output"]
        assert abs(got - wanted).max() < 1e-5
    assert ec.validate(result["tflite"], reference=model).passed


@pytest.mark.integration
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_bidirectional_gru_takes_any_number_of_steps_in_every_format(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch = pytest.importorskip("torch")
    monkeypatch.setenv("EDGECONV_CACHE_DIR", str(tmp_path / "cache"))
    net = torch.nn.GRU(3, 5, num_layers=2, bidirectional=True, batch_first=True)
    model = ec.capture(net, (torch.randn(2, 9, 3),), dynamic={"input": {0: "N", 1: "T"}})
    result = ec.convert(model, out=tmp_path / "out")
    assert sorted(result) == ["onnx", "savedmodel", "tflite", "torchscript"]
    for batch, steps in ((1, 1), (3, 20)):
        x = torch.randn(batch, steps, 3)
        with torch.no_grad():
            wanted = [tensor.numpy() for tensor in net.eval()(x)]
        for artifact in result.values():
            got = artifact.run({"input": x.numpy()})
            for name, right in zip(("output_0", "output_1"), wanted, strict=True):
                assert got[name].shape == right.shape
                assert abs(got[name] - right).max() < 1e-5


@pytest.mark.integration
@pytest.mark.slow
def test_tensorflow_may_be_imported_before(tmp_path: Path) -> None:
    pytest.importorskip("tensorflow")
    script = """
import tensorflow, torch
import edgeconv as ec
model = ec.capture(torch.nn.Linear(3, 2), (torch.randn(1, 3),))
print(model.signature.outputs[0])
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.stdout.strip() == "output:float32[1,2]", done.stderr


@pytest.mark.integration
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_another_model_is_no_valid_reference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch = pytest.importorskip("torch")
    monkeypatch.setenv("EDGECONV_CACHE_DIR", str(tmp_path / "cache"))
    net = torch.nn.Linear(4, 2)
    lite = ec.convert(ec.capture(net, (torch.randn(1, 4),)), to=["tflite"], out=tmp_path / "out")
    with torch.no_grad():
        net.weight[0, 0] += 0.01
    verdict = ec.validate(lite["tflite"], reference=ec.capture(net, (torch.randn(1, 4),)))
    assert not verdict.passed
    assert "off by" in verdict.summary()


@pytest.mark.integration
@pytest.mark.filterwarnings("ignore")
def test_a_captured_models_files_last_as_long_as_the_model() -> None:
    torch = pytest.importorskip("torch")
    model = ec.capture(torch.nn.Linear(4, 2), (torch.randn(1, 4),))
    assert model.captured is not None
    folder = model.captured.output
    assert (folder / "reference").exists()
    del model
    gc.collect()
    assert not folder.parent.exists()


@pytest.mark.integration
@pytest.mark.filterwarnings("ignore")
def test_a_capture_that_fails_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(ec.InvalidInputError):
        ec.capture(torch.nn.Linear(4, 2), (torch.randn(1, 5),))
    assert list(tmp_path.iterdir()) == []


def test_metadata_that_is_no_text_is_refused(tmp_path: Path) -> None:
    factory = tmp_path / "net.py"
    factory.touch()
    metadata = {"version": 3}
    with pytest.raises(UsageError, match="metadata 'version' is no text"):
        ec.convert(f"{factory}:build", out=tmp_path / "out", metadata=metadata)  # type: ignore[arg-type]
