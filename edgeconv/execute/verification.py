"""Which entry verifies which format, and in which lane: the runtime of the format decides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["VERIFIERS", "Verifier"]

_ENTRY = "edgeconv.validation.worker:verify"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verifier:
    """How artifacts of one format are verified.

    Attributes:
        entry: `module:function`; takes a job with the files `artifact` and `reference`, and leaves the JSON of a
            `Verdict` under `verdict` in the details of its result.
        lane: The lane it runs in.
        warm: Modules it will import.
        requires: Import names it cannot do without.
        extra: The extra of edgeconv that installs them.
        seconds: Typical time, to let short steps go first.
    """

    entry: str = _ENTRY
    lane: str
    warm: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()
    extra: str = ""
    seconds: float = 0.5


VERIFIERS: Mapping[str, Verifier] = {
    "torch-export": Verifier(lane="torch", warm=("torch",), requires=("torch",), extra="torch"),
    "torchscript": Verifier(lane="torch", warm=("torch",), requires=("torch",), extra="torch"),
    "edge-graph": Verifier(lane="light", warm=("numpy",)),
    "onnx": Verifier(
        lane="light", warm=("onnxruntime",), requires=("onnx", "onnxruntime"), extra="onnx"
    ),
    "tflite": Verifier(
        lane="light",
        warm=("ai_edge_litert.interpreter",),
        requires=("ai_edge_litert",),
        extra="tflite",
    ),
    "keras": Verifier(
        lane="tensorflow", warm=("tensorflow",), requires=("tensorflow",), extra="tensorflow"
    ),
    "savedmodel": Verifier(
        lane="tensorflow", warm=("tensorflow",), requires=("tensorflow",), extra="tensorflow"
    ),
}
"""First-party verifiers by format id; `convert` takes another table in its place."""
