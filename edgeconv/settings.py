"""What the user's environment says: the only file that reads environment variables.

Everything else is given a `Settings`, so that a test or an embedding program can run with its own.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from edgeconv.errors import UsageError

__all__ = ["Settings", "load_settings", "parse_size"]

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

_UNITS = {"": 0, "k": 10, "m": 20, "g": 30, "t": 40}

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
        memory_limit_bytes: Most that one worker process and all it starts may take; None for most of the machine's
            memory. `EDGECONV_MEMORY_LIMIT`, such as `2G`.
        worker_environment: All environment variables that worker processes see. `EDGECONV_PASS_ENV` names
            more of the user's variables to hand on, separated by commas.
    """

    cache_dir: Path
    is_offline: bool = False
    plugins: frozenset[str] | None = None
    cores: int = 1
    memory_limit_bytes: int | None = None
    worker_environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def store_dir(self) -> Path:
        """Where results of earlier runs are kept."""
        return self.cache_dir / "store"

    @property
    def log_dir(self) -> Path:
        """Where tracebacks of bugs are kept."""
        return self.cache_dir / "logs"

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
        memory_limit_bytes=_read_limit(variables),
        worker_environment=_worker_environment(variables, cores=cores, is_offline=is_offline),
    )


def parse_size(text: str) -> int:
    """Bytes from a text such as `500M`; units are powers of 1024.

    >>> parse_size("1.5k")
    1536

    Raises:
        UsageError: It is no size.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?", text.strip().lower())
    if not match:
        raise UsageError(f"'{text}' is no size", hint="write it as 500M or 2G")
    return int(float(match[1]) * 2 ** _UNITS[match[2]])


def _read_limit(variables: Mapping[str, str]) -> int | None:
    text = variables.get("EDGECONV_MEMORY_LIMIT", "")
    if not text:
        return None
    limit = parse_size(text)
    if not limit:
        raise UsageError("'EDGECONV_MEMORY_LIMIT' is 0", hint="write it as 500M or 2G, or unset it")
    return limit


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
