from __future__ import annotations

import importlib
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def tensorflow() -> ModuleType:
    """TensorFlow, loaded after all of PyTorch: triton, which torch.export loads, crashes when it comes second."""
    importlib.import_module("torch._dynamo")
    return importlib.import_module("tensorflow")
