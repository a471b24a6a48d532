"""The one translation of PyTorch programs into edge graphs: small typed functions, one file per operator family.

Start at `edgeconv.lowering.program`; nothing is imported here, so that naming the package does not load PyTorch.
"""
