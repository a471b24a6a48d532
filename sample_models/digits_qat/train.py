"""Makes the weights again: `python -m sample_models.digits_qat.train` from the root of the repository; it needs torchao."""

from __future__ import annotations

import operator
from dataclasses import replace
from typing import cast

from torch import Tensor, fx, nn
from torch.nn import functional
from torchao.quantization.pt2e import (
    allow_exported_model_train_eval,
    disable_observer,
)
from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_qat_pt2e

# ExecuTorch's quantizer, of which torchao carries a copy for its own tests.
from torchao.testing.pt2e._xnnpack_quantizer import (
    XNNPACKQuantizer,
    get_symmetric_quantization_config,
)

from sample_models.cards import read_card
from sample_models.digits import load_digit_split, warp_digits
from sample_models.digits_qat.model import create
from sample_models.publishing import publish
from sample_models.storage import export_model
from sample_models.training import TrainingRecipe, fit, labelled_tensors, prepare_run

NAME = "digits_qat"


def main() -> None:
    """Train in float, then with integers, and store the converted program, test set and accuracy."""
    recipe = TrainingRecipe(epochs=16, seed=read_card(NAME).seed)
    prepare_run(recipe.seed)
    model = create()
    split = load_digit_split(size=32, channels=1)
    data = labelled_tensors(split.train)
    fit(model, data, recipe, functional.cross_entropy, warp_digits)
    publish(NAME, train_in_integers(model, data, replace(recipe, epochs=4)), split.test)


def train_in_integers(
    model: nn.Module, data: tuple[Tensor, Tensor], recipe: TrainingRecipe
) -> nn.Module:
    """Let the model learn with its weights and activations rounded to 8 bits; the scales stand still in a second round."""
    configuration = get_symmetric_quantization_config(is_per_channel=True, is_qat=True)
    quantizer = XNNPACKQuantizer().set_global(configuration)
    program = export_model(model.train(), read_card(NAME).signature())
    prepared = allow_exported_model_train_eval(prepare_qat_pt2e(program.module(), quantizer))
    slow = replace(recipe, learning_rate=recipe.learning_rate / 6)
    fit(prepared, data, slow, functional.cross_entropy, warp_digits)
    prepared.apply(disable_observer)
    slower = replace(slow, learning_rate=slow.learning_rate / 4)
    fit(prepared, data, slower, functional.cross_entropy, warp_digits)
    converted = convert_pt2e(prepared)
    drop_float_weights(converted)
    return cast("nn.Module", allow_exported_model_train_eval(converted))


def drop_float_weights(module: fx.GraphModule) -> None:
    """Take out what the converted program does not read any more."""
    read = {str(node.target) for node in module.graph.nodes if node.op == "get_attr"}
    for name, _ in [*module.named_parameters(), *module.named_buffers()]:
        if name not in read:
            owner, _, attribute = name.rpartition(".")
            delattr(operator.attrgetter(owner)(module) if owner else module, attribute)


if __name__ == "__main__":
    main()
