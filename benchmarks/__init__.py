"""Measurements against the same work done with other tools; each prints ratios of one run."""
