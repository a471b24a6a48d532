"""Tells a model that was made ready for quantization-aware training from one that went through it."""

from __future__ import annotations

from torch import fx, nn

from edgeconv.errors import InvalidInputError

__all__ = ["refuse_unconverted"]

_OPERATORS = (
    "aten.fused_moving_avg_obs_fake_quant",
    "aten._fused_moving_avg_obs_fq_helper",
    "aten.fake_quantize_",
    "aten._fake_quantize_",
)
_PACKAGES = ("torchao.quantization.pt2e.", "torch.ao.quantization.")
_KINDS = ("fake_quantize", "observer")


def refuse_unconverted(module: nn.Module) -> None:
    """Refuse a model that still pretends to be quantized.

    Raises:
        InvalidInputError: It has fake quantization or observers inside.
    """
    found = sum(map(_count, module.modules()))
    if found:
        raise InvalidInputError(
            "the model was prepared for quantization, but not converted",
            why=f"it has fake quantization or observers in {found} places, which still follow what they see",
            hint="call `convert_pt2e(model)` of torchao.quantization.pt2e.quantize_pt2e once it is trained, and give edgeconv the result",
        )


def _count(module: nn.Module) -> int:
    kind = type(module).__module__
    own = int(kind.startswith(_PACKAGES) and kind.rpartition(".")[2].endswith(_KINDS))
    nodes = module.graph.nodes if isinstance(module, fx.GraphModule) else ()
    return own + sum(str(node.target).startswith(_OPERATORS) for node in nodes)
