"""The command line: one module for each command, and nothing heavy imported before a command runs."""

from __future__ import annotations
