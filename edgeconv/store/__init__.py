"""Results of earlier runs: files by their content, and which action made which."""

from __future__ import annotations

from edgeconv.store.keys import CodeDigests, action_key, module_versions
from edgeconv.store.store import Cached, Store, StoreEntry, StoreInfo

__all__ = [
    "Cached",
    "CodeDigests",
    "Store",
    "StoreEntry",
    "StoreInfo",
    "action_key",
    "module_versions",
]
