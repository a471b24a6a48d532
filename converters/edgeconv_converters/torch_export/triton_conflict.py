"""Keeps a process alive in which TensorFlow was imported before PyTorch's exporter."""

from __future__ import annotations

import logging
import sys

__all__ = ["refuse_triton_beside_tensorflow"]

_LOG = logging.getLogger(__name__)


def refuse_triton_beside_tensorflow() -> None:
    """Make `import triton` fail from now on, where it would end the process.

    PyTorch's exporter imports triton where it is installed, and triton's native library crashes when it is loaded
    after TensorFlow's (seen with triton 3.8 and TensorFlow 2.21: segmentation fault in `triton/knobs.py`). PyTorch does
    without triton, which only compiles for GPUs. The other order works, so nothing is done unless TensorFlow is there.
    """
    if "tensorflow" in sys.modules and "triton" not in sys.modules:
        _LOG.info("triton is kept out of this process, which has TensorFlow")
        sys.modules["triton"] = None  # type: ignore[assignment]  # how Python is told that a module is not to be had
