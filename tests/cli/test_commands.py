from __future__ import annotations

import json
from pathlib import Path
from typing import cast

import pytest

from edgeconv.cli.cache import parse_age
from edgeconv.errors import UsageError
from edgeconv.plugin.registry import Registry
from edgeconv.settings import parse_size
from edgeconv.store import Cached, Store
from edgeconv.testing.plain import PLAIN_SPECS
from tests.cli.conftest import CommandLine


@pytest.fixture
def model(tmp_path: Path) -> str:
    path = tmp_path / "net.py"
    path.write_text("raise SystemExit('the model was run')\n")
    return f"{path}:build"


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """The converters of plain text in place of those that are installed."""
    monkeypatch.setattr("edgeconv.cli.plan.Registry", lambda **_: Registry(PLAIN_SPECS, plugins=()))


@pytest.mark.usefixtures("plain")
def test_plan_lists_routes_best_first(edgeconv: CommandLine, model: str) -> None:
    said = edgeconv("plan", model, "--to", "onnx,tflite", "--json")
    assert said.status == 0
    goals = cast("list[dict[str, object]]", said.data["goals"])
    assert [goal["format"] for goal in goals] == ["onnx", "tflite"]
    for goal in goals:
        routes = cast("list[dict[str, dict[str, int]]]", goal["routes"])
        costs = [route["cost"]["fidelity"] for route in routes]
        assert costs == sorted(costs)
        assert len(costs) >= 2


@pytest.mark.usefixtures("plain")
def test_plan_explains_what_is_out(edgeconv: CommandLine, model: str) -> None:
    arguments = ("plan", model, "--to", "tflite", "--avoid", "plain-tflite")
    assert "plain-tflite:" not in edgeconv(*arguments).out
    assert "plain-tflite: 'plain-tflite' is to be avoided" in edgeconv(*arguments, "--explain").out


@pytest.mark.usefixtures("plain")
def test_plan_says_which_formats_an_id_does_not_lead_to(edgeconv: CommandLine, model: str) -> None:
    said = edgeconv("plan", model, "--to", "onnx,tflite", "--via", "plain-tflite-direct")
    told = "--via plain-tflite-direct says nothing of 'onnx': it does not lead there"
    assert said.status == 0
    assert f"warning: {told}" in said.err
    words = ("plan", model, "--to", "tflite", "--via", "plain-tflite-direct")
    assert "warning" not in edgeconv(*words).err
    assert edgeconv(*words, "--json").data["ignored"] == []


@pytest.mark.usefixtures("plain")
def test_plan_without_a_route_ends_with_3(edgeconv: CommandLine, model: str) -> None:
    said = edgeconv(
        "plan", model, "--to", "onnx,tflite", "--avoid", "edge-graph,plain-tflite-direct"
    )
    assert said.status == 3
    assert "1. torch" in said.out
    assert "error: no route from 'torch' to 'tflite'" in said.err


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["missing.py:f"], "Python file 'missing.py' does not exist"),
        (["missing.onnx"], "model 'missing.onnx' does not exist"),
        (["MODEL", "--to", "coreml"], "unknown format 'coreml'"),
        (["MODEL", "--via", "no-such"], "unknown converter or format 'no-such'"),
    ],
)
@pytest.mark.usefixtures("plain")
def test_plan_refuses_what_means_nothing(
    edgeconv: CommandLine, model: str, arguments: list[str], text: str
) -> None:
    said = edgeconv("plan", *(model if word == "MODEL" else word for word in arguments))
    assert said.status == 2
    assert text in said.err


def test_plugins_says_why_one_cannot_be_used(
    edgeconv: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace

    from edgeconv.cli import plugins

    first, second, *_ = PLAIN_SPECS
    absent = replace(second, requires=("no_such_module",), extra="torch")
    registry = Registry((first, absent), plugins=())
    monkeypatch.setattr(plugins, "Registry", lambda **_: registry)
    found = cast("list[dict[str, object]]", edgeconv("plugins", "--json").data["converters"])
    assert {str(item["id"]): item["is_usable"] for item in found} == {
        first.id: True,
        absent.id: False,
    }
    text = edgeconv("plugins").out
    assert "'no_such_module' not installed: pip install 'edgeconv[torch]'" in text


def test_doctor_passes_where_edgeconv_is_installed(edgeconv: CommandLine) -> None:
    said = edgeconv("doctor", "--json")
    assert said.status == 0
    packages = cast("list[dict[str, object]]", said.data["packages"])
    base = [package for package in packages if not package["extra"]]
    assert {"numpy", "pydantic", "typer"} <= {package["name"] for package in base}
    assert "torch" in {package["extra"] for package in packages}
    assert "edgeconv can work" in edgeconv("doctor").out


def test_doctor_notices_a_package_that_is_missing_or_too_old(
    edgeconv: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgeconv.cli import doctor

    declared = [
        "numpy<1",
        "no-such-package>=2",
        'no-such-framework>=3; extra == "torch"',
        'edgeconv[torch]; extra == "all"',
    ]
    monkeypatch.setattr(doctor, "requires", lambda _: declared)
    said = edgeconv("doctor")
    assert said.status == 4
    assert "edgeconv cannot work like this" in said.out
    assert "needs <1" in said.out
    assert "not installed: pip install 'edgeconv[torch]'" in said.out
    assert "to get all of them: pip install 'edgeconv[torch]'" in said.out


def test_doctor_notices_a_cache_that_cannot_be_written(edgeconv: CommandLine) -> None:
    edgeconv.cache.write_text("a file")
    said = edgeconv("doctor")
    assert said.status == 4
    assert "set EDGECONV_CACHE_DIR" in said.out


def _fill(cache: Path) -> None:
    store = Store(cache / "store")
    for name in ("first", "second"):
        path = cache / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name * 100)
        digest = store.digests.digest(path)
        store.save(name * 8, Cached(result={}, digest=digest, label=f"m: {name}"), path)
    store.close()


def test_the_cache_is_listed_pruned_and_cleared(edgeconv: CommandLine) -> None:
    assert edgeconv("cache", "info", "--json").data["entries"] == 0
    assert edgeconv("cache", "list").out == "nothing\n"
    _fill(edgeconv.cache)
    assert edgeconv("cache", "info", "--json").data["entries"] == 2
    assert "m: first" in edgeconv("cache", "list").out
    edgeconv("cache", "prune", "--max-age", "4w")
    assert edgeconv("cache", "info", "--json").data["entries"] == 2
    freed = edgeconv("cache", "prune", "--max-size", "700B", "--json").data["freed_bytes"]
    assert cast("int", freed) > 0
    assert edgeconv("cache", "info", "--json").data["entries"] == 1
    assert edgeconv("cache", "clear").out.startswith("freed ")
    assert edgeconv("cache", "info", "--json").data["entries"] == 0


def test_clearing_takes_logs_and_what_killed_runs_left_along(edgeconv: CommandLine) -> None:
    from filelock import FileLock

    runs, logs = edgeconv.cache / "runs", edgeconv.cache / "logs"
    for folder in (runs / "run-dead", runs / "run-alive", logs):
        folder.mkdir(parents=True)
        (folder / "file").write_text("x" * 1000)
    (runs / "run-dead.lock").touch()
    with FileLock(runs / "run-alive.lock"):
        freed = edgeconv("cache", "clear", "--json").data["freed_bytes"]
    assert freed == 2000
    assert not logs.exists()
    assert sorted(path.name for path in runs.iterdir()) == ["run-alive", "run-alive.lock"]


def test_plugins_tells_what_each_does_and_who_brought_it(edgeconv: CommandLine) -> None:
    found = cast("list[dict[str, object]]", edgeconv("plugins", "--json").data["converters"])
    assert {item["distribution"] for item in found} >= {"edgeconv"}
    text = edgeconv("plugins").out
    for item in found:
        assert str(item["id"]) in text
        assert str(item["summary"]) in text


@pytest.mark.usefixtures("plain")
def test_plan_says_that_nothing_is_out(edgeconv: CommandLine, model: str) -> None:
    assert "no converter is out" in edgeconv("plan", model, "--to", "tflite", "--explain").out


def test_pruning_needs_a_limit(edgeconv: CommandLine) -> None:
    assert edgeconv("cache", "prune").status == 2


@pytest.mark.parametrize(
    ("text", "size"),
    [("0", 0), ("12", 12), ("1k", 1024), ("1.5M", 3 << 19), ("2GiB", 2 << 30), ("3 tb", 3 << 40)],
)
def test_sizes_are_read(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "M", "-1M", "1X", "1 2"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is no size"):
        parse_size(text)


def test_ages_are_read() -> None:
    assert [parse_age(text) for text in ("1h", "2d", "2", "1w")] == [3600, 172800, 172800, 604800]
    with pytest.raises(UsageError, match="is no age"):
        parse_age("soon")


def test_the_schema_is_printed_whole(edgeconv: CommandLine) -> None:
    from edgeconv.report.document import SCHEMA_PATH

    assert edgeconv("report", "schema").data == json.loads(SCHEMA_PATH.read_text())


def test_a_missing_report_is_told(edgeconv: CommandLine, tmp_path: Path) -> None:
    for command in ("show", "html"):
        said = edgeconv("report", command, tmp_path)
        assert said.status == 2
        assert "cannot be read" in said.err
    assert not (tmp_path / "report.html").exists()
