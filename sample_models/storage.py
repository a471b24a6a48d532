"""How trained weights are kept: one function to write and one to read for each way PyTorch users have.

The four ways are all in use among the sample models, so that every way into edgeconv has a real file.
"""

from __future__ import annotations

import importlib
import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from edgeconv.formats.torch_export import load_program
from edgeconv.signature import Signature, TensorSpec
from sample_models.cards import ROOT, Card, StorageWay, folder_of

__all__ = ["create_model", "example_inputs", "export_model", "load_model", "save_model"]

# torch.export and torch.jit.trace take a size of 1 for a constant: an example must have at least two of a dim.
_SMALLEST_EXAMPLE = 2


def create_model(name: str) -> nn.Module:
    """The sample model called `name` with initial weights, from the factory in its `model.py`."""
    module = importlib.import_module(f"{ROOT.name}.{name}.model")
    return cast("nn.Module", module.create())


def example_inputs(signature: Signature, **sizes: int) -> tuple[Tensor, ...]:
    """Random inputs (floats standard normal, integers 0 or 1), dims sized by `sizes`, else by the card."""
    chosen = {dim.name: max(dim.example, _SMALLEST_EXAMPLE) for dim in signature.dims} | sizes
    generator = torch.Generator().manual_seed(0)
    return tuple(_random_tensor(spec, chosen, generator) for spec in signature.inputs)


def _random_tensor(
    spec: TensorSpec, sizes: Mapping[str, int], generator: torch.Generator
) -> Tensor:
    shape = spec.concrete_shape(sizes)
    if spec.dtype.is_floating:
        return torch.randn(shape, generator=generator)
    drawn = torch.randint(0, 2, shape, generator=generator)
    drawn[:, 0] = 1  # a sequence has at least one token
    return drawn


def export_model(
    model: nn.Module, signature: Signature, fixed: frozenset[str] = frozenset()
) -> torch.export.ExportedProgram:
    """The program of `model`, every named dim of the signature dynamic but those in `fixed`."""
    dims = {
        dim.name: torch.export.Dim(dim.name, min=dim.min)
        for dim in signature.dims
        if dim.name not in fixed
    }
    shapes = {
        spec.name: {
            axis: dims[str(size)] for axis, size in enumerate(spec.shape) if str(size) in dims
        }
        for spec in signature.inputs
    }
    return torch.export.export(model, example_inputs(signature), dynamic_shapes=shapes)


def save_model(model: nn.Module, card: Card) -> None:
    """Write the weights of `model`, in evaluation mode, as the card says."""
    path = folder_of(card.name) / card.storage.file
    match card.storage.way:
        case StorageWay.SAFETENSORS:
            save_file(model.state_dict(), path)
        case StorageWay.STATE_DICT:
            torch.save(model.state_dict(), path)
        case StorageWay.TORCHSCRIPT:
            traced = torch.jit.trace(model, example_inputs(card.signature()))  # type: ignore[no-untyped-call]  # torch leaves it untyped
            _save_torchscript(torch.jit.freeze(traced), path)
        case StorageWay.TORCH_EXPORT:
            program = export_model(model, card.signature())
            _make_source_paths_relative(program)
            torch.export.save(program, path)


def load_model(card: Card) -> nn.Module:
    """The trained model of a card, ready to be called with its inputs in order."""
    path = folder_of(card.name) / card.storage.file
    match card.storage.way:
        case StorageWay.TORCHSCRIPT:
            return cast("nn.Module", torch.jit.load(path))  # type: ignore[no-untyped-call]  # torch leaves it untyped
        case StorageWay.TORCH_EXPORT:
            return load_program(path).module()
        case StorageWay.SAFETENSORS:
            weights = load_file(path)
        case StorageWay.STATE_DICT:
            weights = torch.load(path, weights_only=True)
    model = create_model(card.name)
    model.load_state_dict(weights)
    return model


def _save_torchscript(module: torch.jit.ScriptModule, path: Path) -> None:
    """Save without the debug records: they hold the paths of the machine that traced the model."""
    buffer = io.BytesIO()
    torch.jit.save(module, buffer)
    with zipfile.ZipFile(buffer) as whole, zipfile.ZipFile(path, "w") as kept:
        for info in whole.infolist():
            if not info.filename.endswith(".debug_pkl"):
                kept.writestr(info, whole.read(info))


def _make_source_paths_relative(program: torch.export.ExportedProgram) -> None:
    """Keep source lines, which error messages quote, but not where this checkout lies."""
    for module in program.graph_module.modules():
        if isinstance(module, torch.fx.GraphModule):
            for node in module.graph.nodes:
                if "stack_trace" in node.meta:
                    node.meta["stack_trace"] = _without_folders(node.meta["stack_trace"])


def _without_folders(trace: str) -> str:
    packages, checkout = Path(torch.__file__).parents[1], ROOT.parent
    return trace.replace(f"{packages}/", "").replace(f"{checkout}/", "")
