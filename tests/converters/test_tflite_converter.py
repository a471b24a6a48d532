"""TensorFlow's own converter: from our SavedModel to TFLite, with builtin operators alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("torch")

import torch
from torch import Tensor, nn

from edgeconv.errors import StepError, UnsupportedOperatorsError
from edgeconv.formats import load_handler
from edgeconv.plugin import Job
from edgeconv_converters.edge_graph_lowering.worker import convert as lower
from tests.converters.model import Entry, Model, capture, draw

if TYPE_CHECKING:
    import tensorflow as tf

pytestmark = [pytest.mark.integration, pytest.mark.filterwarnings("ignore")]


class _Net(nn.Module):
    """Outputs are not in the order of their names, two are the same, and an input is named as an inner tensor might be."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(16, 8)
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.classify = nn.Linear(8, 5)

    def forward(self, image: Tensor, ids: Tensor, add: Tensor) -> dict[str, Tensor]:
        pooled = torch.relu(self.conv(image)).mean((2, 3)) + self.words(ids).sum(1)
        logits = self.classify(pooled) + add
        return {"logits": logits, "best": pooled.argmax(-1), "again": logits}


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Model:
    torch.manual_seed(0)
    examples = (draw(2, 3, 8, 8), torch.tensor([[1, 2, 3], [0, 15, 7]]), draw(5))
    dynamic = {"image": {0: "N"}, "ids": {0: "N", 1: "S"}}
    return capture(_Net(), examples, tmp_path_factory.mktemp("net"), dynamic=dynamic)


@pytest.fixture(scope="module")
def convert(tensorflow: ModuleType) -> Entry:
    from edgeconv_converters.tflite_converter import worker

    return worker.convert


@pytest.fixture(scope="module")
def savedmodel(
    net: Model, tensorflow: ModuleType, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    from edgeconv_converters.edge_graph_savedmodel.worker import convert as write_savedmodel

    folder = tmp_path_factory.mktemp("savedmodel")
    net.convert(lower, folder / "net.edge.safetensors", source=net.folder / "model.pt2")
    output = folder / "net.savedmodel"
    net.convert(write_savedmodel, output, source=folder / "net.edge.safetensors")
    return output


@pytest.fixture(scope="module")
def tflite(
    net: Model, savedmodel: Path, convert: Entry, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    path = tmp_path_factory.mktemp("tflite") / "net.tflite"
    net.convert(convert, path, source=savedmodel)
    return path


def test_it_computes_what_the_model_computes_at_every_size(net: Model, tflite: Path) -> None:
    assert len({tuple(case.sizes.items()) for case in net.reference.cases}) > 3
    verdict = net.verify(tflite, "tflite")
    assert verdict.passed, verdict.summary()


def test_names_dtypes_and_metadata_are_the_models(net: Model, tflite: Path) -> None:
    handler = load_handler("tflite")
    signature = handler.read_signature(tflite)
    assert [str(spec) for spec in signature.inputs] == [
        "image:float32[N,3,8,8]",
        "ids:int64[N,S]",
        "add:float32[5]",
    ]
    assert [spec.name for spec in signature.outputs] == ["logits", "best", "again"]
    assert signature.outputs[1].dtype == "int64"
    assert handler.read_metadata(tflite)["author"] == "Ada"


def test_it_converts_the_same_way_twice(
    net: Model, savedmodel: Path, tflite: Path, convert: Entry, tmp_path: Path
) -> None:
    again = tmp_path / tflite.name
    net.convert(convert, again, source=savedmodel)
    assert again.read_bytes() == tflite.read_bytes()


def test_a_damaged_weight_fails_verification(net: Model, tmp_path: Path, tflite: Path) -> None:
    content = bytearray(tflite.read_bytes())
    weight = net.live.module.get_parameter("module.classify.bias").detach().numpy().tobytes()
    assert content.count(weight) == 1
    content[content.index(weight) + 3] ^= 1  # a bit of the first number's exponent
    (tmp_path / "damaged.tflite").write_bytes(content)
    assert not net.verify(tmp_path / "damaged.tflite", "tflite").passed


class _Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(3, 4, batch_first=True)

    def forward(self, motion: Tensor) -> Tensor:
        states, _ = self.lstm(motion)
        last: Tensor = states[:, -1]
        return last


def test_a_loop_over_any_number_of_steps_is_converted(
    tensorflow: ModuleType, convert: Entry, tmp_path: Path
) -> None:
    from edgeconv_converters.edge_graph_savedmodel.worker import convert as write_savedmodel

    torch.manual_seed(0)
    dynamic = {"motion": {0: "N", 1: "T"}}
    model = capture(_Recurrent(), (draw(2, 9, 3),), tmp_path / "capture", dynamic=dynamic)
    graph, saved = tmp_path / "net.edge.safetensors", tmp_path / "net.savedmodel"
    model.convert(lower, graph, source=model.folder / "model.pt2")
    model.convert(write_savedmodel, saved, source=graph)
    model.convert(convert, tmp_path / "net.tflite", source=saved)
    assert len({case.sizes["T"] for case in model.reference.cases}) > 2
    assert model.verify(tmp_path / "net.tflite", "tflite").passed


def _save(function: Callable[[tf.Tensor], tf.Tensor], path: Path) -> Job:
    import tensorflow as tf

    module = tf.Module()
    module.call = tf.function(
        function, input_signature=[tf.TensorSpec([None, 4, 4], tf.float32, name="x")]
    )
    tf.saved_model.save(module, str(path), signatures={"serving_default": module.call})
    signature = load_handler("savedmodel").read_signature(path)
    output = path.with_suffix(".tflite")
    return Job(name="model", inputs={"source": path}, output=output, signature=signature)


def test_all_operators_without_a_builtin_are_told_at_once(
    tensorflow: ModuleType, convert: Entry, tmp_path: Path
) -> None:
    math = tensorflow.math

    def special(x: tf.Tensor) -> tf.Tensor:
        errors = math.erf(x) + math.erf(x * 2)
        return math.igamma(abs(errors) + 1, abs(x))

    job = _save(special, tmp_path / "special")
    with pytest.raises(UnsupportedOperatorsError) as caught:
        convert(job.to_json(), {})
    assert list(caught.value.details) == [
        "tf.Erf x2, first at Erf",
        "tf.Igamma x1, first at Igamma",
    ]
    assert caught.value.message == "TFLite has no builtin for 2 operators"
    assert not job.output.exists()


def test_what_cannot_be_read_is_told_in_one_line(convert: Entry, tmp_path: Path) -> None:
    job = _save(abs, tmp_path / "model")
    (tmp_path / "model" / "saved_model.pb").write_bytes(b"no graph")
    with pytest.raises(StepError) as caught:
        convert(job.to_json(), {})
    assert "\n" not in caught.value.why
