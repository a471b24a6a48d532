"""Names what a pickle would import, by its opcodes: the pickle is read, not run."""

from __future__ import annotations

from typing import BinaryIO

from edgeconv.errors import MissingDependencyError

__all__ = ["find_foreign_imports", "find_imports"]

# torch.save wrote five pickles in a row, and then the numbers, before it wrote archives.
_LEGACY_PICKLES = 5


def find_imports(stream: BinaryIO) -> tuple[str, ...]:
    """Every `module.name` that the pickles at the beginning of a stream would import, in their order.

    Raises:
        ValueError: There is no intact pickle.
        MissingDependencyError: The scanner is not installed.
    """
    try:
        from fickling.fickle import Pickled
    except ImportError as error:
        raise MissingDependencyError(
            "pickles cannot be examined", why=str(error), hint="pip install 'edgeconv[torch]'"
        ) from error
    found: dict[str, None] = {}
    for number in range(_LEGACY_PICKLES):
        try:
            imports = Pickled.load(stream).properties.imports
        except Exception as error:
            # Opcodes that make no sense fail in any way; what follows the first pickle may be no pickle.
            if number == 0:
                raise ValueError(f"it is no intact pickle: {error}") from error
            break
        found |= {f"{each.module}.{name.name}": None for each in imports for name in each.names}
    return tuple(found)


def find_foreign_imports(stream: BinaryIO) -> list[str]:
    """The imports that PyTorch would refuse to make for weights.

    Raises:
        ValueError: There is no intact pickle.
        MissingDependencyError: PyTorch or the scanner is not installed.
    """
    try:
        from torch import _weights_only_unpickler
    except ImportError as error:
        raise MissingDependencyError(
            "weights need PyTorch", why=str(error), hint="pip install 'edgeconv[torch]'"
        ) from error
    # There is no public way to ask for it: get_unsafe_globals_in_checkpoint takes archives only, and fails on
    # pickles of protocol 4.
    allowed = _weights_only_unpickler._get_allowed_globals()  # noqa: SLF001
    return [name for name in find_imports(stream) if name not in allowed]
