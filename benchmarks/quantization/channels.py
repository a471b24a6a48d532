"""Networks whose channels differ in scale by more than two orders of magnitude, and compute what they computed before.

Output channels of convolutions are multiplied by 10^u, u uniform in [-1.2, 1.2], and the next layer's weights
divided by it. ReLU lets positive factors pass, so in float32 nothing changes; with one scale for all channels of a tensor,
the faint ones are lost. It is the case of Nagel et al., Data-Free Quantization Through Weight Equalization and Bias
Correction, 2019, arXiv:1906.04721, which equalization cures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import TypeAlias, cast

import torch
from torch import Tensor, nn

from sample_models.cards import read_card
from sample_models.storage import load_model

__all__ = ["RESCALED", "rescaled_model"]

_DECADES = 1.2
_SEED = 12

_Chain: TypeAlias = tuple[nn.BatchNorm2d, nn.Conv2d | nn.Linear]

RESCALED: Mapping[str, str] = MappingProxyType(
    {"digits_mobilenet_rescaled": "digits_mobilenet", "digits_resnet8_rescaled": "digits_resnet8"}
)
"""Names of the cases, and of the sample models that they are made from."""


def rescaled_model(name: str) -> nn.Module:
    """The trained sample model of a case with its channels rescaled, in evaluation mode.

    The MobileNet has ReLU where it was trained with ReLU6, which no factor passes: its channels seldom reach 6.
    """
    model = load_model(read_card(RESCALED[name])).eval()
    generator = torch.Generator().manual_seed(_SEED)
    with torch.no_grad():
        for norm, reader in _CHAINS[name](model):
            factors = 10 ** (
                (torch.rand(norm.num_features, generator=generator) * 2 - 1) * _DECADES
            )
            _rescale(norm, reader, factors)
    return model


def _rescale(norm: nn.BatchNorm2d, reader: nn.Conv2d | nn.Linear, factors: Tensor) -> None:
    norm.weight.mul_(factors)
    norm.bias.mul_(factors)
    is_depthwise = isinstance(reader, nn.Conv2d) and reader.groups > 1
    axis = 0 if is_depthwise else 1
    shape = [-1 if at == axis else 1 for at in range(reader.weight.ndim)]
    reader.weight.div_(factors.reshape(shape))


def _mobilenet_chains(model: nn.Module) -> Iterator[_Chain]:
    """Every convolution with the layer behind it, after ReLU has taken the place of ReLU6."""
    layers = [cast("nn.Sequential", layer) for layer in cast("nn.Sequential", model.features)]
    for layer in layers:
        layer[2] = nn.ReLU()
    readers = [*(layer[0] for layer in layers[1:]), model.classifier]
    for layer, reader in zip(layers, readers, strict=True):
        yield cast("nn.BatchNorm2d", layer[1]), cast("nn.Conv2d | nn.Linear", reader)


def _resnet_chains(model: nn.Module) -> Iterator[_Chain]:
    """The first convolution of each block with the second: a shortcut ties the channels of all others together."""
    for block in cast("nn.Sequential", model.blocks):
        yield cast("nn.BatchNorm2d", block.first_norm), cast("nn.Conv2d", block.second)


_CHAINS: Mapping[str, Callable[[nn.Module], Iterator[_Chain]]] = {
    "digits_mobilenet_rescaled": _mobilenet_chains,
    "digits_resnet8_rescaled": _resnet_chains,
}
