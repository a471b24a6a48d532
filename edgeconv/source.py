"""What users type for a model and its inputs, as typed data: MODEL, `--weights`, `--trust` and `--input`.

Parsing needs no framework and runs in the host, so that a mistyped option is refused before any process
starts. Everything here is JSON-serializable, for it travels to the capture step as its options.
"""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, NoReturn, cast

from edgeconv.dims import DimExpr, Size, parse_size, symbols
from edgeconv.errors import InvalidInputError, UsageError
from edgeconv.plugin.job import Json
from edgeconv.signature import Dim, DType, InputSpec, TensorSpec

__all__ = ["ModelSource", "parse_input", "parse_inputs", "parse_model"]

_GRAMMAR = (
    "write NAME:DTYPE[DIMS], e.g. image:float32[N=1,3,224,224]; N=1 or N=1..8 is a dynamic dim"
)
_FUNCTION = re.compile(r"[A-Za-z_]\w*\Z")
_MODULE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*\Z")
_INPUT = re.compile(r"(?P<name>[A-Za-z_][\w.\-]*):(?P<dtype>[^\[\]]*)\[(?P<dims>[^\[\]]*)\]\Z")
# What PyTorch, NumPy and others also call them.
_OTHER_DTYPES = {
    **dict.fromkeys(("float", "f32", "fp32", "single"), "float32"),
    **dict.fromkeys(("half", "f16", "fp16"), "float16"),
    **dict.fromkeys(("double", "f64", "fp64"), "float64"),
    **dict.fromkeys(("bf16",), "bfloat16"),
    **dict.fromkeys(("long", "int", "i64"), "int64"),
    **dict.fromkeys(("i32",), "int32"),
    **dict.fromkeys(("byte", "u8"), "uint8"),
    **dict.fromkeys(("boolean",), "bool"),
}
# Sizes are 32-bit integers in TFLite.
_LARGEST_SIZE = 2**31 - 1
_RANGE = re.compile(r"(?P<first>\d+)(?:\.\.(?P<last>\d+))?\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSource:
    """Where a model comes from.

    Attributes:
        text: As the user wrote it, for messages.
        kind: A model file, or a function that builds the module.
        path: The model file, or the Python file of the factory; None for a factory in an importable module.
        module: Dotted module of the factory; empty otherwise.
        function: Name of the factory; empty for a file.
        search_path: Folders from which the factory's imports are resolved, besides what is installed.
        weights: State dict to load into the module.
        trust: Whether a pickle may run code.
    """

    text: str
    kind: Literal["file", "factory"]
    path: Path | None = None
    module: str = ""
    function: str = ""
    search_path: tuple[Path, ...] = ()
    weights: Path | None = None
    trust: bool = False

    def to_json(self) -> dict[str, Json]:
        """The source as JSON data."""
        return {
            "text": self.text,
            "kind": self.kind,
            "path": _text(self.path),
            "module": self.module,
            "function": self.function,
            "search_path": [str(folder) for folder in self.search_path],
            "weights": _text(self.weights),
            "trust": self.trust,
        }

    @staticmethod
    def from_json(data: Mapping[str, Json]) -> ModelSource:
        """The source that `to_json` wrote."""
        return ModelSource(
            text=str(data["text"]),
            kind="file" if data["kind"] == "file" else "factory",
            path=_path(data.get("path")),
            module=str(data.get("module") or ""),
            function=str(data.get("function") or ""),
            search_path=tuple(Path(str(item)) for item in cast("list[Json]", data["search_path"])),
            weights=_path(data.get("weights")),
            trust=bool(data.get("trust")),
        )


def parse_model(text: str, *, weights: Path | None = None, trust: bool = False) -> ModelSource:
    """Read MODEL: `package.module:function`, `path/file.py:function`, or the path of a model file.

    Args:
        text: What the user wrote.
        weights: State dict to load into what a factory builds.
        trust: Whether a pickle may run code.

    Raises:
        UsageError: The text is neither a factory nor a path, or weights are given beside a model file.
        InvalidInputError: The file, or the weights, do not exist.
    """
    if not text.strip():
        raise UsageError("the model is an empty text", hint="name a model file or a factory")
    if weights is not None:
        weights = _existing(weights, "weights file")
        if weights.is_dir():
            raise InvalidInputError(
                f"weights '{weights}' are a folder", hint="name the weights file inside it"
            )
    head, colon, function = text.rpartition(":")
    if colon and not Path(text).exists():
        return _parse_factory(text, head, function, weights=weights, trust=trust)
    path = Path(text)
    if path.suffix == ".py":
        raise UsageError(
            f"'{text}' does not say which function builds the model",
            hint=f"write {text}:FUNCTION; it returns an nn.Module, or (module, example_inputs)",
        )
    if not path.exists() and _MODULE.match(text) and path.suffix[1:] not in _SUFFIXES:
        raise UsageError(
            f"'{text}' is no file",
            why="and it does not name a function",
            hint=f"a factory is written {text}:FUNCTION",
        )
    path = _existing(path, "model")
    if weights is not None:
        raise UsageError(
            f"--weights does not go with the model file '{text}'",
            why="the file holds its own weights",
            hint="leave --weights out, or give the model as file.py:function",
        )
    return ModelSource(text=text, kind="file", path=path, trust=trust)


_SUFFIXES = frozenset(
    ("pt2", "pt", "pth", "onnx", "tflite", "keras", "h5", "safetensors", "bin", "ckpt", "pb")
)


def _parse_factory(
    text: str, head: str, function: str, *, weights: Path | None, trust: bool
) -> ModelSource:
    if not _FUNCTION.match(function):
        raise UsageError(
            f"'{text}' does not name a function",
            why=f"'{function}' is no name of a Python function",
            hint="write package.module:function or path/to/file.py:function",
        )
    source = ModelSource(text=text, kind="factory", function=function, weights=weights, trust=trust)
    if head.endswith(".py") or "/" in head:
        path = _existing(Path(head), "Python file")
        if path.is_dir():
            raise UsageError(
                f"'{head}' is a folder, not a Python file",
                hint="write path/to/file.py:function, or package.module:function",
            )
        return replace(source, path=path, search_path=_search_path(path.parent))
    if not _MODULE.match(head):
        raise UsageError(
            f"'{head}' is neither a Python file nor a module",
            hint="write package.module:function or path/to/file.py:function",
        )
    return replace(source, module=head, search_path=_search_path(Path.cwd()))


def _search_path(first: Path) -> tuple[Path, ...]:
    """Where this process looks for modules, so that a factory is found by the worker as it is here.

    Workers start isolated: `PYTHONPATH`, and what a program put on its own path, they would not know of.
    """
    given = (Path(entry).absolute() for entry in sys.path if entry and Path(entry).is_dir())
    installed = (Path(sys.prefix), Path(sys.base_prefix))
    own = [p for p in given if not any(p.is_relative_to(prefix) for prefix in installed)]
    return tuple(dict.fromkeys((first, *own)))


def _existing(path: Path, what: str) -> Path:
    if not path.exists():
        raise InvalidInputError(f"{what} '{path}' does not exist", hint=_suggest_neighbour(path))
    if not (path.is_file() or path.is_dir()):
        raise InvalidInputError(
            f"{what} '{path}' is no regular file",
            why="a pipe or device would be waited for",
            hint="copy it into a file first",
        )
    return path.resolve()


def _suggest_neighbour(path: Path) -> str:
    folder = path.parent
    if not folder.is_dir():
        return f"there is no folder '{folder}': check the path"
    names = [item.name for item in folder.iterdir() if item.suffix == path.suffix]
    close = difflib.get_close_matches(path.name, names, n=1, cutoff=0.75)
    return f"did you mean '{folder / close[0]}'?" if close else "check the path"


def parse_inputs(texts: Iterable[str]) -> tuple[InputSpec, ...]:
    """Read all `--input` options; a dim that one of them declares can be used by the others by name.

    Raises:
        UsageError: One cannot be read, two have the same name, a dim has two example sizes or none.
    """
    inputs = tuple(parse_input(text) for text in texts)
    names = [item.tensor.name for item in inputs]
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise UsageError(f"input '{doubled[0]}' is given twice", hint="name each input once")
    declared: dict[str, Dim] = {}
    for dim in (dim for item in inputs for dim in item.dims):
        if declared.setdefault(dim.name, dim) != dim:
            raise UsageError(
                f"dim '{dim.name}' is declared in two ways",
                why=f"{_describe(declared[dim.name])} and {_describe(dim)}",
                hint=f"declare it once; elsewhere write just {dim.name}",
            )
    for item in inputs:
        unknown = sorted(frozenset().union(*map(symbols, item.tensor.shape)) - set(declared))
        if unknown:
            raise UsageError(
                f"dim '{unknown[0]}' of input '{item.tensor.name}' has no example size",
                hint=f"write {unknown[0]}=SIZE in one of the inputs",
            )
    return inputs


def _describe(dim: Dim) -> str:
    largest = "" if dim.max is None else f"..{dim.max}"
    return f"{dim.name}={dim.example}{largest}"


def parse_input(text: str) -> InputSpec:
    """Read `image:float32[N=1,3,224,224]`: name, dtype, dims.

    A dim is a size (`3`); a dynamic dim with its example size (`N=1`) or its range (`N=1..8`, of which the
    lower end is the example size); a dim declared elsewhere (`N`); or a sum of multiples of dims (`2*N + 1`),
    which declares its one unknown dim when it is given a size itself (`8*H=64` makes `H` 8).

    >>> parse_input("image:float32[N=1..8,3]").dims
    (Dim(name='N', example=1, min=1, max=8),)

    Raises:
        UsageError: The text is not of this form; the error points at the place.
    """
    text = text.strip()
    match = _INPUT.match(text)
    if match is None:
        _refuse(text, _find_problem(text), "this is not NAME:DTYPE[DIMS]")
    dtype = match["dtype"]
    if dtype not in set(DType):
        _refuse(text, match.start("dtype"), f"'{dtype}' is no dtype{_suggest_dtype(dtype)}")
    shape: list[Size] = []
    dims: list[Dim] = []
    bounded: set[str] = set()
    for position, item in _split(match["dims"], match.start("dims")):
        size, dim, is_bounded = _parse_dim(text, position, item)
        shape.append(size)
        if dim is not None:
            dims.append(dim)
            bounded |= {dim.name} if is_bounded else set()
    tensor = TensorSpec(name=match["name"], dtype=DType(dtype), shape=tuple(shape))
    return InputSpec(tensor=tensor, dims=tuple(dict.fromkeys(dims)), bounded=frozenset(bounded))


def _suggest_dtype(text: str) -> str:
    close = difflib.get_close_matches(text, list(DType), n=1)
    meant = _OTHER_DTYPES.get(text.lower()) or (close[0] if close else "")
    return f"; did you mean {meant}?" if meant else ""


def _find_problem(text: str) -> int:
    """Where a text stops looking like an input."""
    name = re.match(r"[A-Za-z_][\w.\-]*", text)
    if name is None or text[name.end() : name.end() + 1] != ":":
        return name.end() if name else 0
    bracket = text.find("[", name.end())
    if bracket < 0:
        return len(text)
    end = text.find("]", bracket)
    return len(text) if end < 0 else end + 1


def _split(dims: str, start: int) -> Iterable[tuple[int, str]]:
    if not dims.strip():
        return
    for item in dims.split(","):
        yield start + len(item) - len(item.lstrip()), item.strip()
        start += len(item) + 1


def _parse_dim(text: str, position: int, item: str) -> tuple[Size, Dim | None, bool]:
    left, equals, right = item.partition("=")
    try:
        size = parse_size(left)
    except ValueError:
        _refuse(text, position, f"'{left}' is no size")
    if isinstance(size, int):
        if equals or size < 0:
            _refuse(text, position, f"'{item}' is no size: only a name can be given one")
        if size == 0:
            _refuse(text, position, "a size of 0 leaves nothing to compute, and nothing to compare")
        if size > _LARGEST_SIZE:
            _refuse(text, position, f"{size} is more than any format can count")
        return size, None, False
    if not equals:
        return size, None, False
    limits = _RANGE.match(right.strip())
    if limits is None:
        _refuse(text, position + len(left) + 1, f"'{right}' is no size and no range such as 1..8")
    last = None if limits["last"] is None else int(limits["last"])
    return size, _solve(text, position, size, int(limits["first"]), last), last is not None


def _solve(text: str, position: int, size: DimExpr, first: int, last: int | None) -> Dim:
    """The dim that makes `size` equal `first`, and at most `last`."""
    if last is not None and last < first:
        _refuse(text, position, f"the range {first}..{last} is empty")
    factors = dict(size.terms)
    offset = factors.pop((), 0)
    if len(factors) != 1:
        _refuse(text, position, f"'{size}' has more than one unknown: declare each dim by itself")
    ((monomial, factor),) = factors.items()
    name = monomial[0]
    if len(monomial) != 1 or not isinstance(name, str) or factor <= 0:
        _refuse(text, position, f"'{size}' is not a multiple of one dim")
    if (first - offset) % factor:
        _refuse(text, position, f"no whole {name} makes {size} equal {first}")
    example = (first - offset) // factor
    if max(first, last or 0) > _LARGEST_SIZE:
        _refuse(text, position, f"{max(first, last or 0)} is more than any format can count")
    if example < 1:
        _refuse(text, position, f"the example size of {name} must be 1 or more")
    return Dim(
        name=name,
        example=example,
        min=1 if last is None else example,
        max=None if last is None else (last - offset) // factor,
    )


def _refuse(text: str, position: int, why: str) -> NoReturn:
    raise UsageError(
        f"the input '{text}' cannot be read",
        why=why,
        hint=_GRAMMAR,
        details=(text, " " * position + "^"),
    )


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)


def _path(value: Json) -> Path | None:
    return None if value is None else Path(str(value))
