"""How ONNX Runtime opens a file here."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnxruntime

__all__ = ["EXACT_SUMS", "session_options"]

EXACT_SUMS = "session.x64quantprecision"
"""The entry of a session's configuration that keeps integer sums from saturating on x86 processors without VNNI.

Their fast instruction (`vpmaddubsw`) adds two 8-bit products into 16 bits. With the entry, ONNX Runtime takes 16-bit
products there instead; elsewhere it changes nothing.
"""


def session_options(*, threads: int, least_severity: int) -> onnxruntime.SessionOptions:
    """Options of a session on the processor, whose integer sums are exact on every machine.

    Args:
        threads: For one operator.
        least_severity: Of what ONNX Runtime writes to the error stream: 2 is a warning, 3 an error, 4 a fatal one.

    Raises:
        ImportError: ONNX Runtime is not installed.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = least_severity
    options.add_session_config_entry(EXACT_SUMS, "1")
    return options
