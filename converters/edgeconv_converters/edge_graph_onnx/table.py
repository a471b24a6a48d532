"""All translations, collected from the operator families."""

from __future__ import annotations

from collections.abc import Mapping

from edgeconv_converters.edge_graph_onnx import (
    control,
    elementwise,
    matrix,
    reduction,
    selection,
    shaping,
    spatial,
)
from edgeconv_converters.edge_graph_onnx.call import Translation

__all__ = ["TRANSLATIONS"]

_FAMILIES = (
    control.TRANSLATIONS,
    elementwise.TRANSLATIONS,
    matrix.TRANSLATIONS,
    reduction.TRANSLATIONS,
    selection.TRANSLATIONS,
    shaping.TRANSLATIONS,
    spatial.TRANSLATIONS,
)

TRANSLATIONS: Mapping[str, Translation] = {
    name: translation for family in _FAMILIES for name, translation in family.items()
}
