"""The last step of every training run: store, reopen, compare, measure, and only then write the figures down."""

from __future__ import annotations

import logging

import numpy as np
from torch import nn

from edgeconv.errors import ValidationError
from sample_models.cards import TEST_FILE, folder_of, read_card, record_measurements
from sample_models.evaluation import METRICS, predict
from sample_models.samples import Samples, load_samples, save_samples
from sample_models.storage import create_model, load_model, save_model

__all__ = ["publish"]

_log = logging.getLogger(__name__)

_LARGEST_DIFFERENCE = 1e-3


def publish(name: str, model: nn.Module, test: Samples) -> None:
    """Store a trained model and its held-out samples, and record its figures in its card.

    The figures are measured on the files just written, not on the model in memory.

    Raises:
        ValidationError: The stored model does not answer as the one in memory. The files stay, to be looked
            at; the card is not changed.
    """
    card = read_card(name)
    model.eval()
    save_samples(folder_of(name) / TEST_FILE, test)
    save_model(model, card)
    samples = load_samples(folder_of(name) / TEST_FILE, card.input_names())
    outputs = predict(load_model(card), samples)
    expected = predict(model, test)
    for output, array in outputs.items():
        if not np.allclose(array, expected[output], atol=_LARGEST_DIFFERENCE, rtol=0):
            raise ValidationError(
                f"'{card.storage.file}' of '{name}' differs from the trained model",
                why=f"output '{output}' is off by more than {_LARGEST_DIFFERENCE}",
            )
    metric = METRICS.get(card.metric.name)
    value = None if metric is None else metric(outputs, samples.extras)
    # A quantized program holds its weights as something else.
    parameters = sum(parameter.numel() for parameter in create_model(name).parameters())
    record_measurements(name, parameters=parameters, value=value)
    _log.info("%s: %d parameters, %s %s", name, parameters, card.metric.name, value)
