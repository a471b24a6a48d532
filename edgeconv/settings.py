"""What the user's environment says: the only file that reads environment variables.

Everything else is given a `Settings`, so that a test or an embedding program can run with its own.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from edgeconv.errors import UsageError

__all__ = ["Settings", "load_settings"]

# What a worker may see of the user's environment: where things are, how to reach them, which language.
_INHERITED = (
    "CUDA_VISIBLE_DEVICES",
    "HF_HOME",
    "HOME",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "LD_LIBRARY_PATH",
    "LOGNAME",
    "NO_PROXY",
    "PATH",
    "REQUESTS_CA_BUNDLE",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "TMPDIR",
    "TORCH_HOME",
    "TZ",
    "USER",
    "XDG_CACHE_HOME",
    "http_proxy",
    "https_proxy",
    "no_proxy",
)

# Conversions run on the CPU: a GPU changes numbers from machine to machine, and claims memory for nothing.
_FIXED = {
    "CUDA_VISIBLE_DEVICES": "",
    "KMP_BLOCKTIME": "0",
    "OMP_WAIT_POLICY": "PASSIVE",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "TF_ENABLE_ONEDNN_OPTS": "0",
    "TOKENIZERS_PARALLELISM": "false",
}

_OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}

_TRUE, _FALSE = ("1", "true", "yes", "on"), ("", "0", "false", "no", "off")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The user's settings.

    Attributes:
        cache_dir: Holds the store, environments and scratch folders. `EDGECONV_CACHE_DIR`.
        is_offline: Nothing may be fetched. `EDGECONV_OFFLINE`.
        plugins: Names of entry points or distributions whose plugins are loaded; None for all. The plugins
            that come with edgeconv are always loaded. `EDGECONV_PLUGINS`, separated by commas.
        cores: Processor cores this process may use.
        worker_environment: All environment variables that worker processes see. `EDGECONV_PASS_ENV` names
            more of the user's variables to hand on, separated by commas.
    """

    cache_dir: Path
    is_offline: bool = False
    plugins: frozenset[str] | None = None
    cores: int = 1
    worker_environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def store_dir(self) -> Path:
        """Where results of earlier runs are kept."""
        return self.cache_dir / "store"

    @property
    def scratch_dir(self) -> Path:
        """Where runs work; on the same filesystem as the store, so that files move instead of being copied."""
        return self.cache_dir / "runs"


def load_settings(environment: Mapping[str, str] | None = None) -> Settings:
    """Read the settings.

    Args:
        environment: Environment variables; those of this process unless given.

    Raises:
        UsageError: A variable has a value that means nothing.
    """
    variables = os.environ if environment is None else environment
    cores = len(os.sched_getaffinity(0))
    is_offline = _read_switch(variables, "EDGECONV_OFFLINE")
    return Settings(
        cache_dir=_read_cache_dir(variables),
        is_offline=is_offline,
        plugins=_read_names(variables, "EDGECONV_PLUGINS"),
        cores=cores,
        worker_environment=_worker_environment(variables, cores=cores, is_offline=is_offline),
    )


def _read_cache_dir(variables: Mapping[str, str]) -> Path:
    chosen = variables.get("EDGECONV_CACHE_DIR")
    if chosen:
        return Path(chosen).expanduser().absolute()
    from platformdirs import user_cache_path

    return user_cache_path("edgeconv", appauthor=False)


def _read_switch(variables: Mapping[str, str], name: str) -> bool:
    value = variables.get(name, "").strip().lower()
    if value in _TRUE:
        return True
    if value in _FALSE:
        return False
    raise UsageError(
        f"'{name}' is '{value}'", why="it is neither on nor off", hint=f"set {name}=1 or {name}=0"
    )


def _read_names(variables: Mapping[str, str], name: str) -> frozenset[str] | None:
    if name not in variables:
        return None
    return frozenset(part.strip() for part in variables[name].split(",") if part.strip())


def _worker_environment(
    variables: Mapping[str, str], *, cores: int, is_offline: bool
) -> dict[str, str]:
    wanted = {*_INHERITED, *(_read_names(variables, "EDGECONV_PASS_ENV") or ())}
    inherited = {name: variables[name] for name in sorted(wanted) if name in variables}
    threads = {"OMP_NUM_THREADS": str(cores)}
    return {**threads, **_FIXED, **inherited, **(_OFFLINE if is_offline else {})}
