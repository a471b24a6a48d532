"""First-party converters: one folder per tool, its spec in `__init__.py`, its work in `worker.py`."""
