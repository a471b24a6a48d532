from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import pytest

from edgeconv.artifact import digest_path
from edgeconv.plugin import Json
from edgeconv.store import Cached, Store, action_key, module_versions
from edgeconv.store.digests import DigestMemo

KEY, OTHER = "ab" * 32, "cd" * 32


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def keep(store: Store, key: str, path: Path, **fields: object) -> Cached:
    cached = Cached(
        result={"output": str(path)},
        digest=digest_path(path),
        label=path.name,
        **fields,  # type: ignore[arg-type]
    )
    store.save(key, cached, path)
    return cached


def folder(path: Path) -> Path:
    (path / "variables").mkdir(parents=True)
    (path / "saved_model.pb").write_text("graph")
    (path / "variables" / "data").write_text("weights")
    return path


def file(path: Path, text: str = "content") -> Path:
    path.write_text(text)
    return path


def test_what_was_kept_is_found_and_fetched(store: Store, tmp_path: Path) -> None:
    for key, path in ((KEY, file(tmp_path / "a.onnx")), (OTHER, folder(tmp_path / "b"))):
        cached = keep(store, key, path)
        assert store.find(key) == cached
        target = tmp_path / "fetched" / path.name
        assert store.fetch(cached.digest or "", target)
        assert digest_path(target) == digest_path(path)


def test_what_was_not_kept_is_not_found(store: Store, tmp_path: Path) -> None:
    assert store.find(KEY) is None
    assert not store.fetch(KEY, tmp_path / "x")
    assert not (tmp_path / "store").exists() or store.info().entries == 0


def test_it_outlives_the_process(store: Store, tmp_path: Path) -> None:
    cached = keep(store, KEY, file(tmp_path / "a"))
    store.close()
    assert Store(tmp_path / "store").find(KEY) == cached


def test_a_candidate_is_a_hit_only_while_its_files_are_the_same(
    store: Store, tmp_path: Path
) -> None:
    source = file(tmp_path / "model.py", "one")
    first = keep(
        store, KEY, file(tmp_path / "a", "A"), dependencies={str(source): digest_path(source)}
    )
    source.write_text("two")
    assert store.find(KEY) is None
    second = keep(
        store, KEY, file(tmp_path / "b", "B"), dependencies={str(source): digest_path(source)}
    )
    assert store.find(KEY) == second
    source.write_text("one")
    assert store.find(KEY) == first
    source.unlink()
    assert store.find(KEY) is None


def test_a_candidate_is_a_hit_only_with_the_same_versions(store: Store, tmp_path: Path) -> None:
    path = file(tmp_path / "a")
    keep(store, KEY, path, distributions={"psutil": "0.1"})
    keep(store, OTHER, path, distributions={"no-such-distribution": "1"})
    assert store.find(KEY) is None
    assert store.find(OTHER) is None
    keep(store, OTHER, path, distributions={"psutil": version("psutil")})
    assert store.find(OTHER) is not None


def test_an_object_that_was_changed_is_removed_with_a_warning(store: Store, tmp_path: Path) -> None:
    path = folder(tmp_path / "m")
    cached = keep(store, KEY, path)
    stored = next((tmp_path / "store" / "objects").glob(f"*/{cached.digest}"))
    inside = stored / "variables" / "data"
    inside.unlink()
    inside.write_text("weightz")  # same size
    assert store.find(KEY) is None
    assert not stored.exists()
    assert "damaged" in store.take_warnings()[0]
    assert store.take_warnings() == ()


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"schema": "edgeconv.store/1"}'])
def test_an_action_file_that_is_damaged_is_removed_with_a_warning(
    store: Store, tmp_path: Path, text: str
) -> None:
    keep(store, KEY, file(tmp_path / "a"))
    action = next((tmp_path / "store" / "actions").glob("*/*.json"))
    action.write_text(text)
    assert store.find(KEY) is None
    assert not action.exists()
    assert store.take_warnings()


def test_an_action_of_another_schema_is_left_alone(store: Store, tmp_path: Path) -> None:
    keep(store, KEY, file(tmp_path / "a"))
    action = next((tmp_path / "store" / "actions").glob("*/*.json"))
    action.write_text(json.dumps({"schema": "edgeconv.store/99"}))
    assert store.find(KEY) is None
    assert action.exists()


def test_info_list_and_clear(store: Store, tmp_path: Path) -> None:
    assert (store.info().entries, store.info().size_bytes, store.clear()) == (0, 0, 0)
    keep(store, KEY, file(tmp_path / "a", "x" * 1000))
    keep(store, OTHER, file(tmp_path / "b", "y" * 500))
    assert store.info().entries == 2
    assert {e.label: e.size_bytes for e in store.entries()} == {"a": 1000, "b": 500}
    assert store.clear() > 1500
    assert store.info().entries == 0
    assert store.find(KEY) is None
    keep(store, KEY, tmp_path / "a")
    assert store.find(KEY)


def age(store: Store, root: Path, key: str, seconds: float) -> None:
    path = root / "store" / "actions" / key[:2] / f"{key}.json"
    os.utime(path, (time.time() - seconds,) * 2)


def test_pruning_by_age_keeps_what_others_use(store: Store, tmp_path: Path) -> None:
    shared = file(tmp_path / "a")
    cached = keep(store, KEY, shared)
    keep(store, OTHER, shared)
    age(store, tmp_path, KEY, 1000)
    store.prune(max_age_seconds=500)
    assert store.find(KEY) is None
    assert store.find(OTHER) == cached
    age(store, tmp_path, OTHER, 1000)
    store.prune(max_age_seconds=500)
    assert list((tmp_path / "store" / "objects").glob("*/*")) == []


def test_pruning_by_size_removes_the_least_recently_used(store: Store, tmp_path: Path) -> None:
    keep(store, KEY, file(tmp_path / "a", "x" * 1000))
    keep(store, OTHER, file(tmp_path / "b", "y" * 1000))
    age(store, tmp_path, KEY, 50)
    age(store, tmp_path, OTHER, 100)
    assert store.find(OTHER)  # used just now
    assert store.prune(max_bytes=1500) >= 1000
    assert store.find(KEY) is None
    assert store.find(OTHER)
    store.prune(max_bytes=0)
    assert store.info().entries == 0


def test_what_a_killed_process_left_aside_is_swept(store: Store, tmp_path: Path) -> None:
    keep(store, KEY, file(tmp_path / "a"))
    (tmp_path / "store" / "aside").mkdir(exist_ok=True)
    (tmp_path / "store" / "aside" / "half").write_text("half")
    store.prune()
    assert not (tmp_path / "store" / "aside").exists()
    assert store.find(KEY)


WRITER = """
import sys
from pathlib import Path
from edgeconv.artifact import digest_path
from edgeconv.plugin import Json
from edgeconv.store import Cached, Store
root = Path(sys.argv[1])
store = Store(root / "store")
for n in range(20):
    path = root / f"{sys.argv[2]}-{n}"
    path.write_text(f"{n}")
    store.save(f"{n:064}", Cached(result={}, digest=digest_path(path), label="x"), path)
    found = store.find(f"{n:064}")
    assert found and store.fetch(found.digest, root / f"{sys.argv[2]}-{n}-back")
print(store.take_warnings())
"""


def test_processes_share_it(store: Store, tmp_path: Path) -> None:
    commands = [[sys.executable, "-c", WRITER, str(tmp_path), name] for name in "ab"]
    writers = [subprocess.Popen(c, stdout=subprocess.PIPE, text=True) for c in commands]
    assert [writer.communicate()[0] for writer in writers] == ["()\n", "()\n"]
    assert store.info().entries == 20


def test_digests_agree_with_the_plain_ones_and_are_not_computed_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgeconv.store import digests

    memo = DigestMemo(tmp_path / "digests.json")
    tree, single = folder(tmp_path / "tree"), file(tmp_path / "single")
    expected = [digest_path(tree), digest_path(single)]
    assert [memo.digest(path, is_ours=True) for path in (tree, single)] == expected
    memo.flush()
    read: list[Path] = []
    monkeypatch.setattr(digests, "digest_file", read.append)
    again = DigestMemo(tmp_path / "digests.json")
    assert [again.digest(path) for path in (tree, single)] == expected
    assert read == []


def test_a_file_just_written_by_others_is_read_again(tmp_path: Path) -> None:
    memo = DigestMemo(tmp_path / "digests.json")
    path = file(tmp_path / "a", "one")
    status = path.stat()
    first = memo.digest(path)
    path.write_text("two")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))  # within one tick of the clock
    assert memo.digest(path) != first


def test_keys_depend_on_every_fact() -> None:
    facts: dict[str, Json] = {"a": 1, "b": {"c": [1, 2]}}
    assert action_key(facts) == action_key({"b": {"c": [1, 2]}, "a": 1})
    assert action_key(facts) != action_key({"a": 1, "b": {"c": [2, 1]}})


def test_versions_are_found_without_importing() -> None:
    found = module_versions(["numpy", "_pytest", "no_such_module"])
    assert found["numpy"] == version("numpy")
    assert found["_pytest"] == version("pytest")
    assert found["no_such_module"] == "?"
