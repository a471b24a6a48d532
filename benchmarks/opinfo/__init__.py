"""Conformance with PyTorch's own OpInfo database: samples of every operator through both of edgeconv's writers."""
