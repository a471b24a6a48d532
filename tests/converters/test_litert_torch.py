"""litert-torch: a second route to TFLite that needs nothing of our lowering, with the same names, dtypes and dims."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")

import torch
from torch import Tensor, nn

from edgeconv.errors import FailureKind, StepError, UnsupportedOperatorsError
from edgeconv.formats import load_handler
from edgeconv.signature import Dim
from edgeconv.source import parse_model
from edgeconv_converters.torch_export.build import build_source
from tests.converters.model import Entry, Model, capture, draw

pytestmark = [
    pytest.mark.integration,
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.xdist_group("litert-torch"),
]


@pytest.fixture(scope="module")
def convert() -> Entry:
    from edgeconv_converters.litert_torch import worker

    return worker.convert


class _Tokens(nn.Module):
    """Token ids to vectors: int64 in and out, a table of positions, a token of its own for every row."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(16, 8)
        self.positions = nn.Embedding(32, 8)
        self.first = nn.Parameter(torch.randn(1, 1, 8))
        self.norm = nn.LayerNorm(8)
        self.mix = nn.Linear(8, 8)

    def forward(self, ids: Tensor, gain: Tensor) -> dict[str, Tensor]:
        places = torch.arange(ids.shape[1])
        tokens = self.words(ids) + self.positions(places)
        tokens = torch.cat([self.first.expand(ids.shape[0], -1, -1), tokens], 1)
        weights = torch.softmax(tokens @ tokens.transpose(1, 2), -1)
        mixed = self.norm(self.mix(weights @ tokens)) * gain
        return {"tokens": mixed, "best": mixed[:, 0].argmax(-1), "again": mixed}


def _capture_tokens(folder: Path, longest: int | None) -> Model:
    torch.manual_seed(0)
    examples = (torch.randint(0, 16, (2, 5)), draw(8))
    sequence: str | Dim = "S" if longest is None else Dim(name="S", example=5, max=longest)
    return capture(_Tokens(), examples, folder, dynamic={"ids": {0: "N", 1: sequence}})


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return _capture_tokens(tmp_path_factory.mktemp("tokens"), 32)


@pytest.fixture(scope="module")
def tflite(tokens: Model, convert: Entry, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tflite") / "tokens.tflite"
    tokens.convert(convert, path, source=tokens.folder / "model.pt2")
    return path


def test_it_computes_what_the_model_computes_at_every_size(tokens: Model, tflite: Path) -> None:
    sizes = {tuple(case.sizes.values()) for case in tokens.reference.cases}
    assert len({n for n, _ in sizes}) > 2
    assert len({s for _, s in sizes}) > 2
    verdict = tokens.verify(tflite, "tflite")
    assert verdict.passed, verdict.summary()


def test_names_dtypes_and_metadata_are_the_models(tokens: Model, tflite: Path) -> None:
    handler = load_handler("tflite")
    signature = handler.read_signature(tflite)
    assert [str(spec) for spec in signature.inputs] == ["ids:int64[N,S]", "gain:float32[8]"]
    assert [str(spec) for spec in signature.outputs] == [
        "tokens:float32[N,S + 1,8]",
        "best:int64[N]",
        "again:float32[N,S + 1,8]",
    ]
    assert handler.read_metadata(tflite)["author"] == "Ada"
    assert [path.name for path in tflite.parent.iterdir()] == ["tokens.tflite"]


def test_a_damaged_weight_fails_verification(tokens: Model, tflite: Path, tmp_path: Path) -> None:
    content = bytearray(tflite.read_bytes())
    weight = tokens.live.module.get_parameter("module.mix.bias").detach().numpy().tobytes()
    assert content.count(weight) == 1
    content[content.index(weight) + 3] ^= 1  # a bit of the first number's exponent
    (tmp_path / "damaged.tflite").write_bytes(content)
    assert not tokens.verify(tmp_path / "damaged.tflite", "tflite").passed


def test_a_table_without_an_end_keeps_its_dim_from_being_dynamic(
    convert: Entry, tmp_path: Path
) -> None:
    model = _capture_tokens(tmp_path / "capture", None)
    with pytest.raises(StepError, match="cannot keep 'N', 'S' dynamic") as caught:
        model.convert(convert, tmp_path / "model.tflite", source=model.folder / "model.pt2")
    assert list(caught.value.details) == ["ADD: a constant of shape [5, 8] depends on 'S'"]
    assert "S=1..128" in caught.value.hint
    assert caught.value.kind is FailureKind.UNSUPPORTED_OPS


def test_files_that_are_built_differently_are_not_compared(tflite: Path, tmp_path: Path) -> None:
    from edgeconv_converters.litert_torch.dims import Variant, free_dims

    other = nn.Sequential(nn.Linear(4, 3), nn.ReLU())
    model = capture(other, (draw(2, 4),), tmp_path / "capture")
    path = _write_tflite(model, tmp_path / "other.tflite")
    variant = Variant(dim="N", path=path, input=0, axis=0, base=2, size=3, is_largest=False)
    before = tflite.read_bytes()
    with pytest.raises(StepError) as caught:
        free_dims(tflite, [variant], [])
    assert list(caught.value.details) == ["other operators are written for another 'N'"]
    assert tflite.read_bytes() == before


def _write_tflite(model: Model, path: Path) -> Path:
    from edgeconv_converters.edge_graph_lowering.worker import convert as lower
    from edgeconv_converters.edge_graph_tflite.worker import convert as write

    graph = path.with_suffix(".edge.safetensors")
    model.convert(lower, graph, source=model.folder / "model.pt2")
    model.convert(write, path, source=graph)
    return path


class _Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.classify = nn.Linear(4, 5)

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.classify(torch.relu(self.conv(image)).flatten(2).mean(2))
        return logits


def test_a_script_is_converted_with_its_batch_dynamic(convert: Entry, tmp_path: Path) -> None:
    torch.manual_seed(0)
    path = tmp_path / "net.pt"
    traced = torch.jit.trace(_Net().eval(), (draw(2, 3, 8, 8),))  # type: ignore[no-untyped-call]
    torch.jit.save(torch.jit.freeze(traced), str(path))
    built = build_source(parse_model(str(path)))
    dynamic = {"image": {0: "N"}}
    model = capture(built.module, (draw(2, 3, 8, 8),), tmp_path / "capture", dynamic=dynamic)
    outputs = [tmp_path / folder / "net.tflite" for folder in ("first", "second")]
    for output in outputs:
        output.parent.mkdir()
        model.convert(convert, output, source=model.folder / "model.pt2")
    assert model.verify(outputs[0], "tflite").passed
    first, second = (output.read_bytes() for output in outputs)
    assert first == second


class _Special(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        y = torch.special.bessel_j0(x) + torch.special.bessel_j0(x * 2)
        z: Tensor = torch.igamma(x.abs() + 1, y.abs())
        return z


def test_all_operators_that_are_missing_are_told_at_once(convert: Entry, tmp_path: Path) -> None:
    model = capture(_Special(), (draw(2, 3),), tmp_path / "capture")
    with pytest.raises(UnsupportedOperatorsError) as caught:
        model.convert(convert, tmp_path / "model.tflite", source=model.folder / "model.pt2")
    bessel, igamma = caught.value.details
    assert "bessel_j0" in bessel
    assert " x2, first at test_litert_torch.py:" in bessel
    assert "igamma" in igamma
    assert not (tmp_path / "model.tflite").exists()
