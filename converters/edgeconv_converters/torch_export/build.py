"""Builds the module that a source names: a factory is called, a file is loaded."""

from __future__ import annotations

from edgeconv.source import ModelSource
from edgeconv_converters.torch_export.built import Built
from edgeconv_converters.torch_export.factory import call_factory
from edgeconv_converters.torch_export.loaded import load_file, sign_loaded
from edgeconv_converters.torch_export.weights import load_weights, read_weights

__all__ = ["build_source"]


def build_source(source: ModelSource) -> Built:
    """Build or load the module.

    Raises:
        InvalidInputError: The factory raises or returns something else; the file or the weights do not fit.
        UnsafeInputError: A file would run code when read.
        UsageError: The file is of a format that does not enter here.
    """
    if source.kind == "file" and source.path is not None:
        return load_file(source.path, is_trusted=source.trust)
    module, args, kwargs = call_factory(source)
    if source.weights is not None:
        weights = read_weights(source.weights, trust=source.trust)
        load_weights(module, weights, source.weights)
    return Built(module=sign_loaded(module), args=args, kwargs=kwargs)
