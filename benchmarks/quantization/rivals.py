"""Plain use of the three libraries: what their documentation shows, with its defaults and the same calibration data.

- ai-edge-quantizer on edgeconv's float TFLite file, with the recipes that it ships;
- TFLiteConverter on edgeconv's SavedModel, with a representative dataset;
- onnxruntime.quantization on edgeconv's float ONNX file; static quantization once with the defaults, and once per channel.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from benchmarks.quantization.cases import Case
from sample_models.samples import Array

__all__ = ["RIVALS", "Rival"]

_Work: TypeAlias = Callable[[Case, Path], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rival:
    """One way to use a library.

    Attributes:
        reads: Format id of the float artifact.
        writes: Format id of the result.
        work: By recipe: writes the quantized file of a case.
    """

    reads: str
    writes: str
    work: Mapping[str, _Work]


def _samples(case: Case) -> Iterator[dict[str, Array]]:
    """The calibration data, one sample at a time."""
    inputs = case.calibration().inputs
    for at in range(len(case.calibration())):
        yield {name: array[at : at + 1] for name, array in inputs.items()}


def _by_ai_edge_quantizer(recipe_name: str) -> _Work:
    def work(case: Case, path: Path) -> None:
        from ai_edge_quantizer import quantizer, recipe

        task = quantizer.Quantizer(str(case.artifact("tflite")))
        task.load_quantization_recipe(getattr(recipe, recipe_name)())
        ranges = None
        if task.need_calibration:
            ranges = task.calibrate({_signature_of(case): list(_samples(case))})
        task.quantize(ranges).export_model(str(path), overwrite=True)

    return work


def _by_casting(case: Case, path: Path) -> None:
    """Weights as float16, as in ai-edge-quantizer's own examples: it has no recipe for it."""
    from ai_edge_quantizer import qtyping, quantizer

    task = quantizer.Quantizer(str(case.artifact("tflite")))
    weights = qtyping.TensorQuantizationConfig(num_bits=16, dtype=qtyping.TensorDataType.FLOAT)
    task.update_quantization_recipe(
        regex=".*",
        operation_name=qtyping.TFLOperationName.ALL_SUPPORTED,
        op_config=qtyping.OpQuantizationConfig(
            weight_tensor_config=weights, compute_precision=qtyping.ComputePrecision.FLOAT
        ),
        algorithm_key=quantizer.AlgorithmName.FLOAT_CASTING,
    )
    task.quantize().export_model(str(path), overwrite=True)


def _signature_of(case: Case) -> str:
    from ai_edge_litert.interpreter import Interpreter

    (key,) = Interpreter(str(case.artifact("tflite"))).get_signature_list()
    return str(key)


def _by_tflite_converter(recipe: str) -> _Work:
    def work(case: Case, path: Path) -> None:
        import tensorflow as tf

        converter = tf.lite.TFLiteConverter.from_saved_model(str(case.artifact("savedmodel")))
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        integers = {
            "int8": tf.lite.OpsSet.TFLITE_BUILTINS_INT8,
            "int16x8": tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8,
        }
        if recipe == "fp16":
            converter.target_spec.supported_types = [tf.float16]
        if recipe in integers:
            converter.representative_dataset = lambda: _samples(case)
            converter.target_spec.supported_ops = [integers[recipe]]
        path.write_bytes(converter.convert())

    return work


def _by_onnxruntime_static(*, activations: str, per_channel: bool) -> _Work:
    def work(case: Case, path: Path) -> None:
        from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static

        class Reader(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no types
            def __init__(self) -> None:
                self._left = _samples(case)

            def get_next(self) -> dict[str, Array] | None:
                return next(self._left, None)

        quantize_static(
            str(case.artifact("onnx")),
            str(path),
            Reader(),
            per_channel=per_channel,
            activation_type=QuantType[activations],
        )

    return work


def _by_onnxruntime_dynamic(case: Case, path: Path) -> None:
    from onnxruntime.quantization import quantize_dynamic

    quantize_dynamic(str(case.artifact("onnx")), str(path))


def _by_onnxruntime_half(case: Case, path: Path) -> None:
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    model = onnx.load(case.artifact("onnx"))
    onnx.save(convert_float_to_float16(model, keep_io_types=True), path)


def _by_onnxruntime_four_bits(case: Case, path: Path) -> None:
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    task = MatMulNBitsQuantizer(str(case.artifact("onnx")), bits=4)
    task.process()
    task.model.save_model_to_file(str(path))


RIVALS: Mapping[str, Rival] = {
    "ai-edge-quantizer": Rival(
        reads="tflite",
        writes="tflite",
        work={
            "fp16": _by_casting,
            "int8": _by_ai_edge_quantizer("static_wi8_ai8"),
            "int8-dynamic": _by_ai_edge_quantizer("dynamic_wi8_afp32"),
            "int8-weights": _by_ai_edge_quantizer("weight_only_wi8_afp32"),
            "int16x8": _by_ai_edge_quantizer("static_wi8_ai16"),
            "int4-weights": _by_ai_edge_quantizer("weight_only_wi4_afp32"),
        },
    ),
    "TFLiteConverter": Rival(
        reads="savedmodel",
        writes="tflite",
        work={
            recipe: _by_tflite_converter(recipe)
            for recipe in ("fp16", "int8", "int8-dynamic", "int16x8")
        },
    ),
    "onnxruntime": Rival(
        reads="onnx",
        writes="onnx",
        work={
            "fp16": _by_onnxruntime_half,
            "int8": _by_onnxruntime_static(activations="QInt8", per_channel=False),
            "int8-dynamic": _by_onnxruntime_dynamic,
            "int16x8": _by_onnxruntime_static(activations="QInt16", per_channel=False),
            "int4-weights": _by_onnxruntime_four_bits,
        },
    ),
    "onnxruntime, per channel": Rival(
        reads="onnx",
        writes="onnx",
        work={
            "int8": _by_onnxruntime_static(activations="QInt8", per_channel=True),
            "int16x8": _by_onnxruntime_static(activations="QInt16", per_channel=True),
        },
    ),
}
"""By the name that the report shows."""
