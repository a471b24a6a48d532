from __future__ import annotations

from edgeconv.graph import Graph


def legalize_for_tflite(graph: Graph) -> list[str]:
    return []
