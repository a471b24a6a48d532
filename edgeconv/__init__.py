"""Converts PyTorch models into verified artifacts for edge devices."""
