"""The store: objects by content, actions by key.

```
<root>/objects/ab/<sha256>      a file, or a folder; the second file of an artifact beside it, as <sha256>.data
<root>/actions/cd/<key>.json    what an action gave: its result and the object it wrote
<root>/digests.json             digests of files that were read before
```

An action may have several candidates: what a capture depends on (the user's files) is only known after it ran,
so each candidate carries the digests of what it was made from, and is a hit when all of them still match.
Objects and the files of a run share their bytes by hard links; whoever writes into one in place damages the
entry, which is noticed by its digest, deleted with a warning, and computed again.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import cast

from filelock import FileLock

from edgeconv.artifact import digest_path, measure_size
from edgeconv.formats.companion import SUFFIX
from edgeconv.plugin.job import Json
from edgeconv.store.digests import DigestMemo
from edgeconv.store.files import link, move, remove

__all__ = ["Cached", "Store", "StoreEntry", "StoreInfo"]

_SCHEMA = "edgeconv.store/1"
_MAX_CANDIDATES = 8
_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cached:
    """What an action gave.

    Attributes:
        result: Its result as JSON data.
        digest: The object it wrote; None if none.
        label: What the action was, for people.
        dependencies: SHA-256 of each file it depends on that its key does not know of, by path.
        distributions: Versions of distributions, likewise, by name.
    """

    result: Mapping[str, Json]
    digest: str | None = None
    label: str = ""
    dependencies: Mapping[str, str] = field(default_factory=dict)
    distributions: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Json]:
        """As JSON data."""
        return {
            "result": dict(self.result),
            "digest": self.digest,
            "label": self.label,
            "dependencies": dict(self.dependencies),
            "distributions": dict(self.distributions),
        }

    @staticmethod
    def from_json(data: Mapping[str, Json]) -> Cached:
        """What `to_json` wrote."""
        return Cached(
            result=cast("dict[str, Json]", data["result"]),
            digest=cast("str | None", data["digest"]),
            label=str(data["label"]),
            dependencies=cast("dict[str, str]", data["dependencies"]),
            distributions=cast("dict[str, str]", data["distributions"]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreEntry:
    """One action in the store, for `edgeconv cache list`; `used` is in seconds since the epoch."""

    key: str
    label: str
    size_bytes: int
    used: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreInfo:
    """What the store holds."""

    path: Path
    entries: int
    size_bytes: int


class Store:
    """Content-addressed results; safe for several processes and threads.

    Args:
        root: Its folder; created when something is first kept.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self.digests = DigestMemo(root / "digests.json")
        self._warnings: list[str] = []
        self._guard = threading.Lock()

    def find(self, key: str) -> Cached | None:
        """The result of an action, if it is here, whole, and made from what is still the same."""
        for candidate in self._read(key):
            if not self._is_current(candidate):
                continue
            if candidate.digest is None or self._is_whole(candidate.digest):
                self._touch(key)
                return candidate
            self._discard(key, candidate)
        return None

    def fetch(self, digest: str, target: Path) -> bool:
        """Put an object at a path that does not exist; False if it cannot be had any more."""
        try:
            with self._lock():
                link(self._object(digest), target)
        except OSError as error:
            _logger.debug("object %s is not used: %s", digest, error)
            return False
        return True

    def save(self, key: str, cached: Cached, output: Path | None = None) -> None:
        """Keep what an action gave. A full disk costs the entry and a warning, not the run.

        Args:
            key: The action.
            cached: Its result; `digest` is that of `output`.
            output: The file or folder it wrote.
        """
        try:
            with self._lock():
                if output is not None and cached.digest is not None:
                    self._put(cached.digest, output)
                kept = [c for c in self._read(key) if c.dependencies != cached.dependencies]
                self._write(key, [cached, *kept][:_MAX_CANDIDATES])
        except OSError as error:
            self._warn(f"'{cached.label}' was not cached: {error.strerror or error}")

    def take_warnings(self) -> tuple[str, ...]:
        """What went wrong in the store since this was last asked."""
        with self._guard:
            taken, self._warnings = tuple(self._warnings), []
        return taken

    def close(self) -> None:
        """Keep the digests for the next run."""
        if self._root.is_dir():
            self.digests.flush()

    def entries(self) -> tuple[StoreEntry, ...]:
        """All actions, the last used first."""
        found = [self._describe(path) for path in self._action_files()]
        return tuple(sorted(found, key=lambda entry: (-entry.used, entry.key)))

    def info(self) -> StoreInfo:
        """Where it is, how much it holds."""
        size = measure_size(self._root) if self._root.is_dir() else 0
        return StoreInfo(path=self._root, entries=len(list(self._action_files())), size_bytes=size)

    def clear(self) -> int:
        """Remove everything; returns the bytes freed."""
        freed = self.info().size_bytes
        if self._root.is_dir():
            with self._lock():
                for name in ("objects", "actions", "aside", "digests.json"):
                    remove(self._root / name)
        return freed

    def prune(self, *, max_bytes: int | None = None, max_age_seconds: float | None = None) -> int:
        """Remove what was not used for long, then the least recently used until it fits.

        Args:
            max_bytes: Size to keep at most; None for any.
            max_age_seconds: Time since the last use; None for any.

        Returns:
            Bytes freed.
        """
        if not self._root.is_dir():
            return 0
        before = self.info().size_bytes
        with self._lock():
            oldest = time.time() - max_age_seconds if max_age_seconds is not None else 0.0
            entries = self.entries()
            kept = [entry for entry in entries if entry.used >= oldest]
            while max_bytes is not None and kept and sum(e.size_bytes for e in kept) > max_bytes:
                kept.pop()
            for entry in set(entries) - set(kept):
                remove(self._action(entry.key))
            self._sweep()
        return before - self.info().size_bytes

    def _lock(self) -> FileLock:
        self._root.mkdir(parents=True, exist_ok=True)
        return FileLock(self._root / "lock")

    def _object(self, digest: str) -> Path:
        return self._root / "objects" / digest[:2] / digest

    def _action(self, key: str) -> Path:
        return self._root / "actions" / key[:2] / f"{key}.json"

    def _action_files(self) -> Iterator[Path]:
        return (self._root / "actions").glob("*/*.json")

    def _read(self, key: str) -> list[Cached]:
        path = self._action(key)
        try:
            data = json.loads(path.read_text())
            if data["schema"] != _SCHEMA:
                return []
            return [Cached.from_json(item) for item in data["candidates"]]
        except FileNotFoundError:
            return []
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            self._warn(f"a damaged cache entry was removed: {type(error).__name__}: {error}")
            remove(path)
            return []

    def _write(self, key: str, candidates: Sequence[Cached]) -> None:
        path = self._action(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_suffix(f".{uuid.uuid4().hex}")
        items: list[Json] = [candidate.to_json() for candidate in candidates]
        try:
            aside.write_text(json.dumps({"schema": _SCHEMA, "candidates": items}))
            aside.replace(path)
        finally:
            remove(aside)

    def _put(self, digest: str, output: Path) -> None:
        target = self._object(digest)
        if target.exists():
            return
        aside = self._root / "aside" / uuid.uuid4().hex
        link(output, aside)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            move(aside, target)
        finally:
            remove(aside)

    def _is_current(self, candidate: Cached) -> bool:
        try:
            files = candidate.dependencies.items()
            if any(self.digests.digest(Path(path)) != digest for path, digest in files):
                return False
            return all(version(name) == v for name, v in candidate.distributions.items())
        except (OSError, PackageNotFoundError):
            return False

    def _is_whole(self, digest: str) -> bool:
        """Whether an object is what it was; by its content, since a file may change and keep its size and times."""
        try:
            return digest_path(self._object(digest)) == digest
        except OSError:
            return False

    def _discard(self, key: str, damaged: Cached) -> None:
        self._warn(f"'{damaged.label}' was damaged in the cache and is computed again")
        try:
            with self._lock():
                remove(self._object(damaged.digest or ""))
                kept = [item for item in self._read(key) if item.digest != damaged.digest]
                self._write(key, kept)
        except OSError as error:
            self._warn(f"the cache cannot be written: {error.strerror or error}")

    def _touch(self, key: str) -> None:
        try:
            os.utime(self._action(key))
        except OSError:
            _logger.debug("time of use is not kept", exc_info=True)

    def _describe(self, path: Path) -> StoreEntry:
        candidates = self._read(path.stem)
        objects = [self._object(c.digest) for c in candidates if c.digest]
        return StoreEntry(
            key=path.stem,
            label=candidates[0].label if candidates else "",
            size_bytes=sum(measure_size(item) for item in objects if item.exists()),
            used=path.stat().st_mtime if path.exists() else 0.0,
        )

    def _sweep(self) -> None:
        """Remove objects that no action names, and what a killed process left aside."""
        named = {c.digest for path in self._action_files() for c in self._read(path.stem)}
        for item in (self._root / "objects").glob("*/*"):
            if item.name.removesuffix(SUFFIX) not in named:
                remove(item)
        remove(self._root / "aside")

    def _warn(self, text: str) -> None:
        _logger.warning("%s", text)
        with self._guard:
            self._warnings.append(text)
