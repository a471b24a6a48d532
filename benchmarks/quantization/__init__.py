"""What quantization costs in accuracy: each recipe beside the plain use of the libraries that do the work.

`python -m benchmarks.quantization` for everything; see `__main__`.
"""
