"""The public model zoo: a folder with `models.py`, which names models and builds them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["build_model", "model_names"]


def model_names(zoo: Path) -> list[str]:
    """All models, in the zoo's order; asked in a process of its own, for the zoo imports frameworks."""
    code = f"import sys; sys.path.insert(0, {str(zoo)!r}); import models; print(*models.names())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.split()


def build_model(zoo: Path, name: str) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """A model and its example inputs, in this process."""
    sys.path.insert(0, str(zoo))
    import models  # type: ignore[import-not-found]  # the zoo's own module

    module, inputs = models.build(name)
    return module, tuple(inputs)
