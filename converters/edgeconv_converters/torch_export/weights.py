"""Reads weights without running code, and puts them into a module; all misfits are reported together."""

from __future__ import annotations

import io
import pickle
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from edgeconv.errors import InvalidInputError, MissingDependencyError, UnsafeInputError
from edgeconv.formats.pickles import find_foreign_imports
from edgeconv.formats.torch_archive import check_archive

__all__ = ["load_weights", "read_weights"]

_NESTED = ("state_dict", "model_state_dict", "model")
_MAX_SHOWN = 20
_SAFE_VERSION = (2, 10)
_HINT = "save the weights as safetensors, or pass --trust if you trust the file to run code"


def read_weights(path: Path, *, trust: bool) -> dict[str, Tensor]:
    """The state dict in a file: at the top or under a usual key, a `module.` prefix removed.

    Raises:
        InvalidInputError: Missing, empty, damaged, or no state dict.
        UnsafeInputError: Reading it would run code, and `trust` was not given; nothing of it ran.
        MissingDependencyError: This PyTorch has known holes in its safe loading.
    """
    if path.stat().st_size == 0:
        raise InvalidInputError(f"weights '{path}' are empty", hint="fetch the file again")
    loaded = _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path, trust)
    return _find_state_dict(path, loaded)


def _read_safetensors(path: Path) -> object:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise InvalidInputError(
            f"weights '{path}' are no intact safetensors file",
            why=str(error),
            hint="the file is truncated or of another format: fetch it again",
        ) from error


def _read_torch(path: Path, trust: bool) -> object:  # noqa: FBT001 - passed on
    is_archive = _is_archive(path)
    if is_archive:
        check_archive(path)
        _refuse_script(path)
    if trust:
        return _load(path, weights_only=False)
    _check_version()
    _refuse_imports(path, is_archive=is_archive)
    return _load(path, weights_only=True)


def _is_archive(path: Path) -> bool:
    """Told as PyTorch tells it: by the first bytes."""
    try:
        with path.open("rb") as stream:
            return stream.read(4) == b"PK\x03\x04"
    except OSError as error:
        raise _damaged(path, error) from error


def _refuse_script(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        if any(name.rpartition("/")[2] == "constants.pkl" for name in archive.namelist()):
            raise InvalidInputError(
                f"weights '{path}' are a TorchScript model",
                why="the file holds a whole model, not the weights of one",
                hint="give it as MODEL, without a factory and without --weights",
            )


def _check_version() -> None:
    numbers = tuple(int(part) for part in re.findall(r"\d+", torch.__version__)[:2])
    if numbers < _SAFE_VERSION:
        raise MissingDependencyError(
            f"PyTorch {torch.__version__} cannot load weights safely",
            why="weights_only was bypassed in versions before 2.10 (CVE-2025-32434, CVE-2026-24747)",
            hint="pip install 'torch>=2.10', or save the weights as safetensors",
        )


def _refuse_imports(path: Path, *, is_archive: bool) -> None:
    """Refuse pickles that name what weights do not need. They are read, not run.

    PyTorch's restricted unpickler, which reads the file next, refuses them as well; it runs until it meets the
    first such name, and tells that one alone.
    """
    try:
        imports = _imports_in_archive(path) if is_archive else _imports_in_file(path)
    except (ValueError, OSError) as error:
        raise _damaged(path, error) from error
    if imports:
        raise UnsafeInputError(
            f"weights '{path}' would run code when read",
            why=f"the pickle imports {len(imports)} names that weights do not need",
            details=imports[:_MAX_SHOWN],
            hint=_HINT,
        )


def _imports_in_file(path: Path) -> list[str]:
    with path.open("rb") as stream:
        return find_foreign_imports(stream)


def _imports_in_archive(path: Path) -> list[str]:
    with zipfile.ZipFile(path) as archive:
        pickles = [n for n in archive.namelist() if n.rpartition("/")[2] == "data.pkl"]
        found: list[str] = []
        for name in pickles:
            with archive.open(name) as stream:
                found += find_foreign_imports(io.BytesIO(stream.read()))
    return found


def _load(path: Path, *, weights_only: bool) -> object:
    try:
        return torch.load(path, map_location="cpu", weights_only=weights_only)
    except pickle.UnpicklingError as error:
        if "weights_only" not in str(error) and "Unsupported" not in str(error):
            raise _damaged(path, error) from error
        names = re.findall(r"(?:GLOBAL|class) (\S+)", str(error))
        raise UnsafeInputError(
            f"weights '{path}' would run code when read",
            why="the pickle needs more than weights do",
            details=list(dict.fromkeys(names))[:_MAX_SHOWN],
            hint=_HINT,
        ) from error
    except (RuntimeError, ValueError, EOFError, KeyError, OSError, AttributeError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> InvalidInputError:
    return InvalidInputError(
        f"weights '{path}' cannot be read",
        why=str(error).strip().partition("\n")[0] or type(error).__name__,
        hint="the file is truncated, or no PyTorch or safetensors file",
    )


def _find_state_dict(path: Path, loaded: object) -> dict[str, Tensor]:
    if isinstance(loaded, nn.Module):
        loaded = loaded.state_dict()
    for key in _NESTED:
        if isinstance(loaded, Mapping) and isinstance(loaded.get(key), Mapping):
            loaded = loaded[key]
            break
    if not isinstance(loaded, Mapping):
        raise InvalidInputError(
            f"weights '{path}' are no state dict", why=f"the file holds a {type(loaded).__name__}"
        )
    tensors = {str(k): v for k, v in loaded.items() if isinstance(v, Tensor)}
    if not tensors:
        raise InvalidInputError(
            f"weights '{path}' hold no tensors",
            why=f"found keys {sorted(map(str, loaded))[:_MAX_SHOWN]}",
            hint="a checkpoint has its weights at the top, or under state_dict or model",
        )
    if all(name.startswith("module.") for name in tensors):
        return {name.removeprefix("module."): tensor for name, tensor in tensors.items()}
    return tensors


def load_weights(module: nn.Module, weights: Mapping[str, Tensor], path: Path) -> None:
    """Put weights into a module.

    Raises:
        InvalidInputError: Keys are missing or unexpected, or shapes differ; all are listed.
    """
    own = module.state_dict()
    missing = [name for name in own if name not in weights]
    unexpected = [name for name in weights if name not in own]
    shapes = [
        f"{name}: {list(weights[name].shape)} in the file, {list(own[name].shape)} in the model"
        for name in own
        if name in weights and weights[name].shape != own[name].shape
    ]
    if missing or unexpected or shapes:
        raise InvalidInputError(
            f"weights '{path}' do not fit the model",
            why=f"{len(missing)} keys are missing, {len(unexpected)} unexpected, {len(shapes)} of another shape",
            details=[
                *_shown("missing", missing),
                *_shown("unexpected", unexpected),
                *_shown("shape", shapes),
            ],
            hint="the weights are of another architecture, or of another version of it",
        )
    module.load_state_dict(dict(weights))


def _shown(what: str, lines: list[str]) -> list[str]:
    more = [f"{what}: and {len(lines) - _MAX_SHOWN} more"] if len(lines) > _MAX_SHOWN else []
    return [*(f"{what}: {line}" for line in lines[:_MAX_SHOWN]), *more]
