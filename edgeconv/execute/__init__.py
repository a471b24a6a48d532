"""Runs plans: workers, the executor, and the records of what happened."""
