from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self, cast

import pytest

from edgeconv.cli.main import run
from edgeconv.execute.pool import WorkerPool
from edgeconv.execute.runner import Lane, Reply, Task
from edgeconv.settings import load_settings

if TYPE_CHECKING:
    from tests.cli.quantizable import Shelf


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


class Borrowed:
    """A pool that somebody else closes: its processes, with what they imported, serve the next test."""

    def __init__(self, pool: WorkerPool) -> None:
        self._pool = pool

    def warm(self, lane: Lane, modules: Sequence[str]) -> None:
        self._pool.warm(lane, modules)

    def run(self, lane: Lane, task: Task) -> Reply:
        return self._pool.run(lane, task)

    def retire(self, lane: Lane) -> None:
        pass

    def close(self) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pass


@pytest.fixture(scope="session")
def warm_pool() -> Iterator[WorkerPool]:
    with WorkerPool(load_settings().worker_environment) as pool:
        yield pool


@pytest.fixture
def warm(monkeypatch: pytest.MonkeyPatch, warm_pool: WorkerPool) -> None:
    """Commands run in worker processes that have imported their frameworks already."""
    for module in ("conversion", "examination", "quantizing"):
        monkeypatch.setattr(f"edgeconv.{module}.WorkerPool", lambda *_, **__: Borrowed(warm_pool))


@pytest.fixture(scope="session")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    """A network to be quantized, and data for it."""
    pytest.importorskip("ai_edge_litert")
    pytest.importorskip("onnx")
    from tests.cli.quantizable import stock

    return stock(tmp_path_factory.mktemp("shelf"))


class Refusals:
    """Runs command lines that must be refused, and looks at how.

    What holds for all: one JSON document on stdout that is the error, the same error as text on stderr, something to do
    about it, no traceback, and nothing left where the output would have been.
    """

    def __init__(self, edgeconv: CommandLine, folder: Path) -> None:
        self.edgeconv = edgeconv
        self.out = folder / "out"

    def convert(self, *words: str | Path, code: str, status: int, texts: Sequence[str]) -> None:
        """A conversion to TFLite that is refused before anything is tried."""
        to = () if "--to" in words else ("--to", "tflite")
        self("convert", *words, *to, "-o", self.out, code=code, status=status, texts=texts)
        assert not self.out.exists()

    def __call__(
        self, *words: str | Path, code: str, status: int, texts: Sequence[str]
    ) -> dict[str, object]:
        """Any command; returns the error."""
        said = self.edgeconv(*words, "--json")
        error = cast("dict[str, object]", said.data["error"])
        self.check_text(said, texts)
        assert (error["code"], said.status, error["exit_status"]) == (code, status, status)
        assert error["hint"]
        assert f"error: {error['message']}" in said.err
        return error

    def check_text(self, said: Said, texts: Sequence[str]) -> None:
        """What is told on stderr."""
        for text in texts:
            assert text in said.err
        assert "\nhint: " in said.err
        assert "Traceback" not in said.out + said.err
        assert "Warning" not in said.err


@pytest.fixture
def refused(edgeconv: CommandLine, tmp_path: Path) -> Refusals:
    return Refusals(edgeconv, tmp_path)


_SPECS = """
from edgeconv.plugin import ConverterSpec, Cost

NAMES = (
    "crash", "exit_process", "exit_politely", "hang", "hang_holding_the_lock", "fill_memory", "run_out_of_memory",
    "fill_disk", "print_noise", "raise_error", "miss_tool", "return_garbage", "return_unserializable",
    "return_nothing", "leave_no_output", "point_elsewhere", "close_streams",
)

def _spec(name):
    return ConverterSpec(
        id=f"evil-{name}", version="1", kind="convert", source="torch-export", target="tflite", summary="does harm",
        entry=f"edgeconv.testing.hostile:{name}", lane="evil", cost=Cost(fidelity=0, install_bytes=0, seconds=0.1),
    )

ALL = [_spec(name) for name in NAMES]
"""


@pytest.fixture
def evil(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A distribution with an entry point, as pip leaves one."""
    site = tmp_path / "site"
    facts = site / "evil_plugin-1.0.dist-info"
    facts.mkdir(parents=True)
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: evil-plugin\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text("[edgeconv.converters]\nevil = evil_specs:ALL\n")
    (site / "evil_specs.py").write_text(_SPECS)
    monkeypatch.syspath_prepend(site)
    monkeypatch.delitem(sys.modules, "evil_specs", raising=False)
