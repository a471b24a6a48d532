"""All translations, collected from the operator families."""

from __future__ import annotations

from collections.abc import Mapping

from edgeconv_converters.edge_graph_savedmodel import (
    activation,
    control,
    elementwise,
    matrix,
    reduction,
    selection,
    shaping,
    spatial,
)
from edgeconv_converters.edge_graph_savedmodel.call import Translation

__all__ = ["TRANSLATIONS"]

_FAMILIES = (
    activation.TRANSLATIONS,
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
