"""Finds the ways from one format to another, best first, and says why the others are out."""

from __future__ import annotations

from edgeconv.plan.explain import explain, explain_text
from edgeconv.plan.plan import Node, Plan, Rejected, Search
from edgeconv.plan.planner import Planner

__all__ = ["Node", "Plan", "Planner", "Rejected", "Search", "explain", "explain_text"]
