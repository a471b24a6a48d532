"""ONNX through PyTorch's own exporters: the one from exported programs leads, the TorchScript one steps in."""

from __future__ import annotations

from edgeconv.plugin import ONNX_TRANSLATIONS, ConverterSpec, Cost

__all__ = ["SPECS"]

SPECS = (
    ConverterSpec(
        id="torch-onnx",
        version="1",
        kind="convert",
        source="torch-export",
        target="onnx",
        summary="torch.onnx.export from the exported program (dynamo)",
        entry="edgeconv_converters.torch_onnx.worker:convert_program",
        lane="torch",
        cost=Cost(fidelity=0, install_bytes=120_000_000, seconds=4.0),
        takes_live=True,
        warm=("torch",),
        requires=("torch", "onnx", "onnxscript"),
        extra="onnx,torch",
        extensions=ONNX_TRANSLATIONS,
    ),
    ConverterSpec(
        id="torch-onnx-torchscript",
        version="1",
        kind="convert",
        source="torch",
        target="onnx",
        summary="torch.onnx.export by tracing (the TorchScript exporter)",
        entry="edgeconv_converters.torch_onnx.worker:convert_module",
        lane="torch",
        cost=Cost(fidelity=1, install_bytes=120_000_000, seconds=0.5),
        warm=("torch",),
        requires=("torch", "onnx", "onnxscript"),
        extra="onnx,torch",
    ),
)
