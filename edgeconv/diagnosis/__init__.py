"""What a failed conversion leaves for a bug report: the smallest part of the model that still fails, and a script."""

from __future__ import annotations
