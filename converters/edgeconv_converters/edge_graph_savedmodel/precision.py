"""Half precision where weights are stored in it: TensorFlow would add the products up in it, too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import tensorflow as tf

from edgeconv_converters.edge_graph_savedmodel.call import Call, Translation

__all__ = ["computed_wide"]

_HALVES = (tf.float16, tf.bfloat16)


def computed_wide(translations: Mapping[str, Translation]) -> dict[str, Translation]:
    """The translations of operators with one output, computed in single precision where their inputs are halves."""
    return {name: _wide(translation) for name, translation in translations.items()}


def _wide(translation: Translation) -> Translation:
    def emit(call: Call) -> tf.Tensor | Sequence[tf.Tensor]:
        dtype = call.input(0).dtype
        if dtype not in _HALVES:
            return translation.emit(call)
        inputs = tuple(None if x is None else tf.cast(x, tf.float32) for x in call.inputs)
        return tf.cast(translation.emit(replace(call, inputs=inputs)), dtype)

    return replace(translation, emit=emit)
