from __future__ import annotations

from pathlib import Path

import pytest

from edgeconv.errors import UsageError
from edgeconv.settings import load_settings


def test_the_cache_is_where_the_user_says(tmp_path: Path) -> None:
    settings = load_settings({"EDGECONV_CACHE_DIR": str(tmp_path)})
    assert settings.cache_dir == tmp_path
    assert settings.store_dir.parent == settings.scratch_dir.parent == tmp_path
    assert load_settings({"EDGECONV_CACHE_DIR": "somewhere"}).cache_dir.is_absolute()


def test_the_cache_is_the_systems_otherwise() -> None:
    assert load_settings({}).cache_dir.name == "edgeconv"


@pytest.mark.parametrize(
    ("value", "expected"), [("1", True), ("TRUE", True), ("0", False), ("", False), ("no", False)]
)
def test_the_offline_switch(value: str, expected: bool) -> None:
    settings = load_settings({"EDGECONV_OFFLINE": value})
    assert settings.is_offline is expected
    assert ("HF_HUB_OFFLINE" in settings.worker_environment) is expected


def test_a_switch_that_is_neither_on_nor_off_is_refused() -> None:
    with pytest.raises(UsageError, match="EDGECONV_OFFLINE"):
        load_settings({"EDGECONV_OFFLINE": "perhaps"})


def test_the_plugin_list() -> None:
    assert load_settings({}).plugins is None
    assert load_settings({"EDGECONV_PLUGINS": ""}).plugins == frozenset()
    assert load_settings({"EDGECONV_PLUGINS": "a, b"}).plugins == frozenset({"a", "b"})


def test_workers_see_little_of_the_users_environment() -> None:
    variables = {"PATH": "/bin", "SECRET": "x", "MODEL_DIR": "/m", "EDGECONV_PASS_ENV": "MODEL_DIR"}
    seen = load_settings(variables).worker_environment
    assert seen["PATH"] == "/bin"
    assert seen["MODEL_DIR"] == "/m"
    assert "SECRET" not in seen
    assert seen["CUDA_VISIBLE_DEVICES"] == ""
    chosen = load_settings({"CUDA_VISIBLE_DEVICES": "1"}).worker_environment
    assert chosen["CUDA_VISIBLE_DEVICES"] == "1"
