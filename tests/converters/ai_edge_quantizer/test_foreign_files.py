"""Files that other tools wrote: TFLiteConverter and litert-torch."""

from __future__ import annotations

import warnings
from pathlib import Path
from types import ModuleType

import pytest

pytest.importorskip("ai_edge_quantizer")

from edgeconv.formats import load_handler
from edgeconv.plugin.quantizer import QuantizationPlan
from edgeconv.quantization.recipes import RECIPES
from edgeconv.signature import DType
from edgeconv_converters.ai_edge_quantizer.worker import open_model
from tests.converters.ai_edge_quantizer.graphs import draw, measure_ranges, snr_db

pytestmark = [pytest.mark.integration, pytest.mark.slow]


def _check(path: Path, folder: Path, shape: tuple[int, ...]) -> None:
    """Every recipe keeps names, and what the model computes."""
    model = open_model(path)
    (name,) = (spec.name for spec in model.signature.inputs)
    inputs = {name: draw(*shape)}
    ranges = measure_ranges(model, [inputs])
    output = model.signature.outputs[0].name
    handler = load_handler("tflite")
    with handler.open(path) as session:
        wanted = session.run(inputs).outputs[output]
    floor = {"int4-weights": 12, "fp16": 55}
    for recipe in ("int8", "int16x8", "int8-dynamic", "int8-weights", "fp16", "int4-weights"):
        target = folder / f"{recipe}.tflite"
        result = model.quantize(
            QuantizationPlan(default=RECIPES[recipe].precision, ranges=ranges), target
        )
        assert handler.read_signature(target) == model.signature
        with handler.open(target) as session:
            got = session.run(inputs).outputs[output]
        assert snr_db(wanted, got) > floor.get(recipe, 25), recipe
        assert result.precisions.keys() == {o.name for o in model.operators}
    assert "goes" not in "".join(result.reasons.values())
    plan = QuantizationPlan(default=RECIPES["int8"].precision, ranges=ranges, io=DType.INT8)
    model.quantize(plan, folder / "integer.tflite")
    assert handler.read_signature(folder / "integer.tflite").inputs[0].dtype == DType.INT8
    got = model.observe_quantized(folder / "integer.tflite", inputs)[output]
    assert snr_db(wanted, got) > 25


def test_a_file_of_tflite_converter(tensorflow: ModuleType, tmp_path: Path) -> None:
    tf = tensorflow
    weights = [draw(3, 3, 3, 8, seed=1), draw(8, 5, seed=2)]

    class Network(tf.Module):  # type: ignore[misc, name-defined]
        @tf.function(input_signature=[tf.TensorSpec((None, 8, 8, 3), tf.float32, name="image")])  # type: ignore[untyped-decorator]
        def __call__(self, image: object) -> dict[str, object]:
            x = tf.nn.relu6(tf.nn.conv2d(image, weights[0], 1, "SAME"))
            x = tf.nn.leaky_relu(tf.reduce_mean(x, [1, 2]) @ weights[1])
            return {"scores": tf.nn.softmax(x)}

    network = Network()
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [network.__call__.get_concrete_function()], network
    )
    path = tmp_path / "foreign.tflite"
    path.write_bytes(converter.convert())
    _check(path, tmp_path, (4, 8, 8, 3))


def test_a_file_of_litert_torch(tmp_path: Path) -> None:
    litert_torch = pytest.importorskip("litert_torch")
    import torch

    torch.manual_seed(0)
    module = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3, padding=1),
        torch.nn.ReLU6(),
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
        torch.nn.Linear(8, 5),
    ).eval()
    path = tmp_path / "foreign.tflite"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        litert_torch.convert(module, (torch.zeros(1, 3, 8, 8),)).export(str(path))
    _check(path, tmp_path, (1, 3, 8, 8))
