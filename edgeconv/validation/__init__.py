"""Proves that an artifact computes what the model computes: samples, noise floor, metrics, verdict."""
