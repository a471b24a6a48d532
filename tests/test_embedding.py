"""The Python interface inside of somebody else's program: what it takes, refuses, and leaves as it was."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar, cast

import numpy as np
import pytest

import edgeconv as ec
from edgeconv.data import Data

torch = pytest.importorskip("torch")

from torch import Tensor, nn

# Warnings are errors here, as in many a program: none of PyTorch's may come through.
pytestmark = [pytest.mark.integration, pytest.mark.xdist_group("embedding")]


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(4)
        self.fc = nn.Linear(4, 3)
        self.calls = 0

    def forward(self, features: Tensor) -> Tensor:
        self.calls += 1
        found: Tensor = self.fc(self.norm(features))
        return found


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def _own_cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGECONV_CACHE_DIR", str(cache))


FORMATS = ["onnx", "savedmodel", "tflite", "torch-export", "torchscript"]


class Made:
    def __init__(self, folder: Path) -> None:
        torch.manual_seed(0)
        self.net = Net().eval()
        self.features = torch.randn(2, 4)
        self.model = ec.capture(self.net, self.features, name="net", dynamic={"features": {0: "N"}})
        self.result = ec.convert(self.model, to=FORMATS, out=folder)


@pytest.fixture(scope="session")
def made(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Made:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGECONV_CACHE_DIR", str(cache))
        return Made(tmp_path_factory.mktemp("made"))


FEATURES = np.random.default_rng(0).standard_normal((5, 4)).astype("float32")


@pytest.mark.parametrize("format_id", FORMATS)
@pytest.mark.filterwarnings(
    "ignore"
)  # TensorFlow's and LiteRT's own, which run in this process here
def test_an_artifact_runs_by_names_and_refuses_what_does_not_fit(
    made: Made, format_id: str
) -> None:
    artifact = made.result[format_id]
    with torch.no_grad():
        wanted = made.net(torch.from_numpy(FEATURES)).numpy()
    assert abs(artifact.run({"features": FEATURES})["output"] - wanted).max() < 1e-5
    fortran = np.asfortranarray(FEATURES)
    assert abs(artifact.run({"features": fortran})["output"] - wanted).max() < 1e-5
    for inputs, text in REFUSED:
        with pytest.raises(ec.InvalidInputError, match=text) as caught:
            artifact.run(inputs)  # type: ignore[arg-type]
        assert "features:float32[N,4]" in caught.value.why
        assert caught.value.hint


REFUSED: list[tuple[object, str]] = [
    ({"feature": FEATURES}, "input 'features' is missing"),
    ({}, "input 'features' is missing"),
    ({"features": FEATURES, "more": FEATURES}, "there is no input 'more'"),
    ({"features": FEATURES.astype("float64")}, "is float64, not float32"),
    ({"features": FEATURES.astype(">f4")}, "order of another kind of machine"),
    ({"features": FEATURES[:, :3]}, r"has shape \[5, 3\]"),
    ({"features": FEATURES[0]}, r"has shape \[4\]"),
    ({"features": FEATURES[:0]}, "dim 'N' is 0"),
    ({"features": FEATURES.tolist()}, "is a list, not an array"),
    ({"features": torch.from_numpy(FEATURES)}, "is a Tensor, not an array"),
    (FEATURES, "the inputs are a ndarray"),
]


def test_a_result_is_a_mapping_of_what_was_made(made: Made) -> None:
    assert sorted(made.result) == FORMATS
    assert "tflite" in made.result
    assert "coreml" not in made.result
    assert made.result.get("coreml") is None
    lite = made.result["tflite"]
    assert made.result.get("tflite") is lite
    assert lite.path.exists()
    assert lite.size_bytes == lite.path.stat().st_size
    assert str(lite.signature.inputs[0]) == "features:float32[N,4]"
    assert len(lite.digest) == 64
    with pytest.raises(KeyError):
        _ = made.result["coreml"]


class Branch(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * 2 if x.sum() > 0 else x - 1


def test_a_format_that_failed_raises_its_error_when_asked_for(tmp_path: Path) -> None:
    model = ec.capture(Branch(), torch.rand(2, 3))
    with pytest.raises(ec.CaptureError):
        ec.convert(model, to=["tflite", "torchscript"], out=tmp_path / "raises")
    result = ec.convert(
        model, to=["tflite", "torchscript"], out=tmp_path / "partial", allow_partial=True
    )
    assert list(result) == ["torchscript"]
    assert "tflite" not in result
    assert result.get("tflite") is None
    assert list(result.errors) == ["tflite"]
    with pytest.raises(ec.CaptureError, match="depends on the values"):
        _ = result["tflite"]


def _batches() -> Iterator[dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float32]]]]:
    for start in range(0, 6, 2):
        yield {"features": FEATURES[:5][start % 4 : start % 4 + 1]}


def _as_archive(folder: Path) -> Data:
    np.savez(folder / "d.npz", features=FEATURES, label=np.arange(5))
    return folder / "d.npz"


def _as_folder(folder: Path) -> Data:
    np.save(folder / "features.npy", FEATURES)
    return str(folder)


@pytest.mark.parametrize(
    ("make", "count"),
    [
        (_as_archive, 5),
        (_as_folder, 5),
        (lambda _: {"features": FEATURES}, 5),
        (lambda _: {"features": torch.from_numpy(FEATURES)}, 5),
        (lambda _: list(_batches()), 3),
        (lambda _: _batches, 3),
        (lambda _: _batches(), 3),
        (lambda _: [(batch, np.zeros(1)) for batch in _batches()], 3),
    ],
    ids=["npz", "folder", "mapping", "tensors", "list", "function", "generator", "labelled"],
)
def test_samples_are_compared_in_all_their_forms(
    made: Made, tmp_path: Path, make: Callable[[Path], Data], count: int
) -> None:
    plain = ec.validate(made.result["onnx"], reference=made.model)
    verdict = ec.validate(made.result["onnx"], reference=made.model, samples=make(tmp_path))
    assert verdict.passed, verdict.summary()
    assert verdict.samples == plain.samples + count


def test_samples_decide(made: Made) -> None:
    """A model that differs only where random inputs do not come is told apart by samples that do."""

    class Clamped(Net):
        def forward(self, features: Tensor) -> Tensor:
            return super().forward(features.clamp(-50.0, 50.0))

    other = Clamped()
    other.load_state_dict(made.net.state_dict())
    reference = ec.capture(other, made.features, dynamic={"features": {0: "N"}})
    assert ec.validate(made.result["onnx"], reference=reference).passed
    far = {"features": FEATURES * 1000}
    verdict = ec.validate(made.result["onnx"], reference=reference, samples=far)
    assert not verdict.passed
    assert "off by" in verdict.summary()


def test_samples_go_with_a_factory_as_well(made: Made, tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text("import torch\ndef build(): return torch.nn.Linear(4, 3)\n")
    model = ec.load(f"{tmp_path}/net.py:build", inputs=["input:float32[N=2,4]"])
    result = ec.convert(model, to="torch-export", out=tmp_path / "out")
    artifact = result["torch-export"]
    plain = ec.validate(artifact, reference=model)
    batches = [{"input": FEATURES[:2]}, {"input": FEATURES[2:]}]
    verdict = ec.validate(artifact, reference=model, samples=batches)
    assert verdict.passed, verdict.summary()
    assert verdict.samples == plain.samples + 5
    again = ec.validate(artifact.path, reference=str(artifact.path), samples=lambda: iter(batches))
    assert again.passed, again.summary()


@pytest.mark.parametrize(
    ("samples", "error", "text"),
    [
        ("no-such.npz", ec.InvalidInputError, "do not exist"),
        (7, ec.UsageError, "cannot be an object of type int"),
        ([], ec.InvalidInputError, "there are no samples"),
        ([FEATURES], ec.InvalidInputError, "batch 0 of the samples is a ndarray"),
        ({"image": FEATURES}, ec.InvalidInputError, "no array for input 'features'"),
        ({"features": FEATURES * np.nan}, ec.InvalidInputError, "holds NaN"),
        ({"features": FEATURES.astype("int32")}, ec.InvalidInputError, "another dtype"),
    ],
)
def test_samples_that_cannot_be_used_are_refused(
    made: Made, samples: Data, error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        ec.validate(made.result["onnx"], reference=made.model, samples=samples)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (
            lambda _: ec.capture(cast("nn.Module", Net), torch.rand(2, 4)),
            ec.UsageError,
            "the class 'Net'",
        ),
        (
            lambda _: ec.capture(cast("nn.Module", len), torch.rand(2, 4)),
            ec.UsageError,
            "a builtin_function_or_method",
        ),
        (
            lambda _: ec.capture(Net(), cast("Tensor", FEATURES)),
            ec.InvalidInputError,
            "cannot be an object of type ndarray",
        ),
        (lambda _: ec.capture(Net(), (FEATURES,)), ec.InvalidInputError, "is a NumPy array"),
        (
            lambda _: ec.capture(Net(), cast("Tensor", None)),
            ec.InvalidInputError,
            "cannot be an object of type NoneType",
        ),
        (lambda _: ec.capture(Net(), ()), ec.InvalidInputError, "do not fit the model's forward"),
        (lambda _: ec.capture(Net(), {"x": torch.rand(2, 4)}), ec.InvalidInputError, "do not fit"),
        (lambda _: ec.capture(Net(), torch.rand(2, 5)), ec.InvalidInputError, "forward fails"),
        (lambda _: ec.capture(Net(), torch.rand(2, 4), seed=-1), ec.UsageError, "no seed"),
        (
            lambda _: ec.capture(Net(), torch.rand(2, 4), dynamic={"image": {0: "N"}}),
            ec.UsageError,
            "'image' is no input",
        ),
        (lambda _: ec.load("no-such.pt2"), ec.InvalidInputError, "does not exist"),
        (
            lambda m: ec.convert(m.model, to="tflit", out="o"),
            ec.UsageError,
            "did you mean 'tflite'",
        ),
        (lambda m: ec.convert(m.model, to=[], out="o"), ec.UsageError, "no format"),
        (lambda m: ec.convert(m.model, out=""), ec.UsageError, "an empty text"),
        (lambda m: ec.convert(m.model, out="/proc/out"), ec.OutputError, "cannot be written"),
        (lambda m: ec.convert(m.result["onnx"].path, to="onnx", out="o"), ec.UsageError, "already"),
        (lambda m: ec.validate("none.onnx", reference=m.model), ec.InvalidInputError, "not exist"),
    ],
)
def test_calls_that_mean_nothing_raise_typed_errors(
    made: Made, call: Callable[[Made], object], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        call(made)


def _used(net: Net) -> dict[str, object]:
    """All that a caller could notice of a module."""
    return {
        "modes": [child.training for child in net.modules()],
        "weights": {name: p.detach().clone() for name, p in net.named_parameters()},
        "grads": {name: p.grad.clone() for name, p in net.named_parameters() if p.grad is not None},
        "needs": [p.requires_grad for p in net.parameters()],
        "buffers": {name: b.clone() for name, b in net.named_buffers()},
        "hooks": len(net._forward_hooks),
        "calls": net.calls,
        "threads": torch.get_num_threads(),
        "random": torch.random.get_rng_state(),
    }


def _same(before: object, after: object) -> bool:
    if isinstance(before, dict):
        assert isinstance(after, dict)
        return before.keys() == after.keys() and all(_same(before[k], after[k]) for k in before)
    if isinstance(before, Tensor):
        return bool(torch.equal(before, after))
    return before == after


def test_the_module_and_the_program_around_it_stay_as_they_were(tmp_path: Path) -> None:
    net = Net().train()
    net.fc.weight.requires_grad_(False)
    net(torch.randn(8, 4)).sum().backward()
    net.register_forward_hook(lambda *_: None)
    example = torch.randn(2, 4, requires_grad=True)
    torch.manual_seed(5)
    before = _used(net)
    model = ec.capture(net, example, dynamic={"features": {0: "N"}})
    ec.convert(model, to=["torchscript", "onnx"], out=tmp_path / "out")
    ec.validate(tmp_path / "out" / "model.onnx", reference=model, samples={"features": FEATURES})
    assert _same(before, _used(net))
    assert example.grad is None
    assert torch.is_grad_enabled()


def test_what_was_noticed_would_be_told() -> None:
    net = Net()
    before = _used(net)
    net(torch.randn(8, 4))
    assert not _same(before, _used(net))


class _Counting(nn.Module):
    """Notes how many threads compute it, beside the module: a capture leaves the attributes of modules as they were."""

    threads: ClassVar[list[int]] = []

    def forward(self, x: Tensor) -> Tensor:
        _Counting.threads.append(torch.get_num_threads())
        return x * 2


@pytest.mark.parametrize(("load", "most"), [(64.0, 2), (0.0, 3)])
def test_a_core_is_left_to_what_else_runs(
    load: float, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Threads that wait for one another spin: beside busy processes as many as there are cores take several times as long."""
    monkeypatch.setattr("os.getloadavg", lambda: (load, load, load))
    before = torch.get_num_threads()
    _Counting.threads.clear()
    torch.set_num_threads(3)
    try:
        ec.capture(_Counting(), torch.randn(2, 4))
        assert max(_Counting.threads) == most
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_inference_mode_of_the_caller_does_not_matter(tmp_path: Path) -> None:
    with torch.inference_mode():
        model = ec.capture(Net(), torch.randn(2, 4))
        assert list(ec.convert(model, to="tflite", out=tmp_path / "out")) == ["tflite"]
        assert torch.is_inference_mode_enabled()


class Mutates(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        x += 1
        return x * 2


def test_a_model_that_changes_its_input_does_not_change_the_callers(tmp_path: Path) -> None:
    example = torch.zeros(2, 3)
    model = ec.capture(Mutates(), example)
    result = ec.convert(model, to=["onnx", "tflite"], out=tmp_path / "out")
    assert torch.equal(example, torch.zeros(2, 3))
    given = np.zeros((2, 3), "float32")
    for artifact in result.values():
        assert artifact.run({"x": given})["output"].tolist() == [[2.0] * 3] * 2
    assert not given.any()


def test_two_threads_convert_at_once(tmp_path: Path) -> None:
    made: dict[int, bool] = {}

    def work(number: int) -> None:
        torch.manual_seed(number)
        model = ec.capture(Net(), torch.randn(2, 4), dynamic={"features": {0: "N"}})
        result = ec.convert(model, to=["onnx", "tflite", "torchscript"], out=tmp_path / f"{number}")
        made[number] = ec.validate(result["tflite"], reference=model).passed

    threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == {0: True, 1: True}
