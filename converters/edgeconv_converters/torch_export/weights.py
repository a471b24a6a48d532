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

from edgeconv.errors import InvalidInputError, MissingDependencyError, UnsafeInputError, counted
from edgeconv.formats.foreign import HEAD_BYTES, recognize_file
from edgeconv.formats.pickles import find_foreign_imports
from edgeconv.formats.torch_archive import check_archive

__all__ = ["load_weights", "read_weights"]

_NESTED = ("state_dict", "model_state_dict", "model")
_MAX_SHOWN = 20
_SAFE_VERSION = (2, 10)
_ZIP, _PICKLE = b"PK\x03\x04", b"\x80"
_HINT = "save the weights as safetensors, or pass --trust if you trust the file to run code"


def read_weights(path: Path, *, trust: bool) -> dict[str, Tensor]:
    """The state dict in a file: at the top or under a usual key, a `module.` prefix removed.

    The content decides how it is read, not the name.

    Raises:
        InvalidInputError: Missing, empty, damaged, or no state dict.
        UnsafeInputError: Reading it would run code, and `trust` was not given; nothing of it ran.
        MissingDependencyError: This PyTorch has known holes in its safe loading.
    """
    head = _read_head(path)
    if head.startswith((_ZIP, _PICKLE)):
        loaded = _read_torch(path, trust)
    elif head[8:9] == b"{":  # the length of the header, then the header, which is JSON
        loaded = _read_safetensors(path)
    else:
        kind, _ = recognize_file(head)
        raise InvalidInputError(
            f"weights '{path}' are no PyTorch or safetensors file",
            why=f"it is {kind}",
            hint="give a .safetensors file, or a checkpoint saved with torch.save",
        )
    return _find_state_dict(path, loaded)


def _read_head(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            head = stream.read(HEAD_BYTES)
    except OSError as error:
        raise InvalidInputError(
            f"weights '{path}' cannot be read",
            why=error.strerror or str(error),
            hint="check the path",
        ) from error
    if not head:
        raise InvalidInputError(f"weights '{path}' are empty", hint="fetch the file again")
    return head


def _read_safetensors(path: Path) -> object:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise InvalidInputError(
            f"weights '{path}' are no intact safetensors file",
            why=str(error),
            hint="the file is truncated or damaged: fetch it again",
        ) from error


def _read_torch(path: Path, trust: bool) -> object:  # noqa: FBT001 - passed on
    is_archive = _read_head(path).startswith(_ZIP)
    if is_archive:
        check_archive(path)
        _check_members(path)
    if trust:
        return _load(path, weights_only=False)
    _check_version()
    _refuse_imports(path, is_archive=is_archive)
    return _load(path, weights_only=True)


def _check_members(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        names = [name.partition("/")[2] for name in archive.namelist()]
    if "data.pkl" not in names:
        raise InvalidInputError(
            f"weights '{path}' are no PyTorch checkpoint",
            why="it is a zip archive of another kind",
            hint="give a .safetensors file, or a checkpoint saved with torch.save",
        )
    if any(name.startswith("code/") for name in names):
        raise InvalidInputError(
            f"weights '{path}' are a TorchScript model",
            why="it holds code besides weights",
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
            why=f"the pickle imports {counted(len(imports), 'name')} that weights do not need",
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
    except (AttributeError, ImportError) as error:
        raise InvalidInputError(
            f"weights '{path}' need code that is not there",
            why=str(error).strip().partition("\n")[0],
            hint="a class that a script defined is found in that script alone: save the state_dict there, or call "
            "edgeconv where the module that is named can be imported",
        ) from error
    except (RuntimeError, ValueError, EOFError, KeyError, OSError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> InvalidInputError:
    return InvalidInputError(
        f"weights '{path}' cannot be read",
        why=str(error).strip().partition("\n")[0] or f"it ends too early ({type(error).__name__})",
        hint="the file is truncated or damaged: fetch it again",
    )


def _find_state_dict(path: Path, loaded: object) -> dict[str, Tensor]:
    for key in _NESTED:
        if isinstance(loaded, Mapping) and isinstance(loaded.get(key), Mapping | nn.Module):
            loaded = loaded[key]
            break
    if isinstance(loaded, nn.Module):
        loaded = loaded.state_dict()
    if not isinstance(loaded, Mapping):
        raise InvalidInputError(
            f"weights '{path}' are no state dict",
            why=f"the file holds a {type(loaded).__name__}",
            hint="save them with torch.save(model.state_dict(), file)",
        )
    tensors = {str(k): v for k, v in loaded.items() if isinstance(v, Tensor)}
    if not tensors:
        raise InvalidInputError(
            f"weights '{path}' hold no tensors",
            why=f"it holds the keys {', '.join(sorted(map(str, loaded))[:_MAX_SHOWN]) or '(none)'}",
            hint=f"a checkpoint has its weights at the top, or under {', '.join(_NESTED)}",
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
    # Checkpoints of before PyTorch 0.4.1 do not have these counters, and nothing depends on them.
    missing = [k for k in own if k not in weights and not k.endswith(".num_batches_tracked")]
    unexpected = [name for name in weights if name not in own]
    shapes = [
        f"{name}: {list(weights[name].shape)} in the file, {list(own[name].shape)} in the model"
        for name in own
        if name in weights and weights[name].shape != own[name].shape
    ]
    if missing or unexpected or shapes:
        counts = {"missing": missing, "unexpected": unexpected, "of another shape": shapes}
        raise InvalidInputError(
            f"weights '{path}' do not fit the model",
            why=", ".join(
                f"{counted(len(lines), 'key')} {what}" for what, lines in counts.items() if lines
            ),
            details=[
                *_shown("missing", missing),
                *_shown("unexpected", unexpected),
                *_shown("shape", shapes),
            ],
            hint=_misfit_hint(list(own), list(weights)),
        )
    try:
        module.load_state_dict(dict(weights), strict=False)
    except Exception as error:  # a module may load in a way of its own
        raise InvalidInputError(
            f"weights '{path}' do not fit the model",
            why=f"{type(error).__name__}: {str(error).strip()}",
            hint="load them in Python to see the whole traceback",
        ) from error


def _misfit_hint(own: list[str], given: list[str]) -> str:
    """What to do; the most common cause is a wrapper, whose name all keys of one side begin with."""
    for side, others, what in ((given, own, "in the file"), (own, given, "of the model")):
        prefix = f"{side[0].partition('.')[0]}." if side else ""
        if prefix and all(key.startswith(prefix) for key in side):
            bare = {key.removeprefix(prefix) for key in side}
            if bare & set(others):
                return f"all keys {what} begin with '{prefix}': rename them, or let the factory build the part that they are of"
    return "the weights are of another architecture, or of another version of it"


def _shown(what: str, lines: list[str]) -> list[str]:
    more = [f"{what}: and {len(lines) - _MAX_SHOWN} more"] if len(lines) > _MAX_SHOWN else []
    return [*(f"{what}: {line}" for line in lines[:_MAX_SHOWN]), *more]
