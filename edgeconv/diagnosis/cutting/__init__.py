"""What a diagnosis does to a program, in the worker that has PyTorch and the model."""

from __future__ import annotations
