"""Quantization that keeps its accuracy: recipes, calibration, preparation, the accuracy budget, and the evidence."""
