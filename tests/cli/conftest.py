from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from edgeconv.cli.main import run


@dataclass(frozen=True)
class Said:
    status: int
    out: str
    err: str

    @property
    def data(self) -> dict[str, object]:
        found = json.loads(self.out)
        assert isinstance(found, dict)
        return found


class CommandLine:
    """Runs command lines in this process, with a cache folder of their own."""

    def __init__(self, capture: pytest.CaptureFixture[str], cache: Path) -> None:
        self._capture = capture
        self.cache = cache

    def __call__(self, *arguments: str | Path) -> Said:
        self._capture.readouterr()
        words: Sequence[str] = [str(argument) for argument in arguments]
        status = run(words)
        told = self._capture.readouterr()
        return Said(status=status, out=told.out, err=told.err)


@pytest.fixture
def edgeconv(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> CommandLine:
    cache = tmp_path / "cache"
    monkeypatch.setenv("EDGECONV_CACHE_DIR", str(cache))
    return CommandLine(capsys, cache)
