"""Keeps what a quantization made, so that the same one again takes no time: the cache of conversions, with a key of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edgeconv.artifact import digest_path
from edgeconv.execute.answering import digest_data
from edgeconv.plugin.job import Json
from edgeconv.plugin.quantizer import QuantizerSpec
from edgeconv.quantization.request import QuantizationRequest
from edgeconv.store import Cached, CodeDigests, Store, action_key, module_versions

__all__ = ["KeptQuantization", "find_key"]

# Where things lie, which says nothing of what they are; and where only functions of the user's are looked for.
_PLACES = ("artifact", "calibration", "data", "output", "preprocess", "python_path", "scratch")


@dataclass(frozen=True, slots=True)
class KeptQuantization:
    """The place of one quantization in the cache.

    Args:
        store: The cache.
        key: What its result depends on; empty for one that is not kept.
    """

    store: Store
    key: str

    def recall(self, output: Path) -> Mapping[str, Json] | None:
        """What an earlier run told, with the file that it made at `output`; None if there was none."""
        found = self.store.find(self.key) if self.key else None
        if found is None or found.digest is None or not self.store.fetch(found.digest, output):
            return None
        return found.result

    def keep(self, facts: Mapping[str, Json], output: Path, label: str) -> None:
        """Keep what a run told, and the file that it made."""
        if self.key:
            made = Cached(result=facts, digest=digest_path(output), label=label)
            self.store.save(self.key, made, output)


def find_key(request: QuantizationRequest, spec: QuantizerSpec, store: Store, entry: str) -> str:
    """What a quantization depends on, as a key: model, data, options, code and versions; empty where that cannot be told.

    Args:
        request: The quantization.
        spec: Its quantizer.
        store: The cache.
        entry: Does the work.
    """
    if ":" in request.metric:
        return ""  # what a function of the user's does, no key tells
    code = CodeDigests(store.digests)
    try:
        contents: dict[str, Json] = {
            "artifact": store.digests.digest(request.artifact),
            **{
                name: None if path is None else digest_data(path, store.digests.digest)
                for name, path in (
                    ("calibration", request.calibration),
                    ("data", request.data),
                    ("preprocess", request.preprocess),
                )
            },
        }
    except OSError:
        return ""  # the worker tells what cannot be read
    options = {name: value for name, value in request.to_json().items() if name not in _PLACES}
    return action_key(
        {
            "quantization": options,
            "contents": contents,
            "quantizer": [spec.id, spec.version],
            "code": [code.digest(entry), code.digest(spec.entry)],
            "versions": module_versions((*spec.requires, "numpy")),
        }
    )
