"""What goes into a model and what comes out: names, dtypes, and shapes with named dynamic dims.

The names of the parameters of `forward` are the names in every format, package and report; the signature is
where they are written down once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from edgeconv.dims import Size, evaluate, is_static, parse_size, symbols

__all__ = [
    "DType",
    "Dim",
    "InputSpec",
    "Layout",
    "Signature",
    "TensorSpec",
    "to_channels_first",
    "to_channels_last",
]


class DType(StrEnum):
    """Element types, named as NumPy and PyTorch name them."""

    FLOAT16 = "float16"
    BFLOAT16 = "bfloat16"
    FLOAT32 = "float32"
    FLOAT64 = "float64"
    INT8 = "int8"
    INT16 = "int16"
    INT32 = "int32"
    INT64 = "int64"
    UINT8 = "uint8"
    UINT16 = "uint16"
    UINT32 = "uint32"
    UINT64 = "uint64"
    BOOL = "bool"
    COMPLEX64 = "complex64"
    COMPLEX128 = "complex128"

    @property
    def is_floating(self) -> bool:
        """Whether it is a real floating-point type."""
        return self.value.startswith(("float", "bfloat"))

    @property
    def is_complex(self) -> bool:
        """Whether it is a complex type."""
        return self.value.startswith("complex")

    @property
    def is_integer(self) -> bool:
        """Whether it is a signed or unsigned integer type; bool is not."""
        return self.value.startswith(("int", "uint"))

    @property
    def is_unsigned(self) -> bool:
        """Whether it is an integer type without negative numbers."""
        return self.value.startswith("uint")

    @property
    def size_bytes(self) -> int:
        """Bytes of one element."""
        digits = "".join(c for c in self.value if c.isdigit())
        return int(digits) // 8 if digits else 1


class Layout(StrEnum):
    """The order of an image tensor's axes; `none` where the tensor is no image or nobody said.

    Clips and volumes, which have an axis more, are called the same: `nhwc` has the channels last.
    """

    NCHW = "nchw"
    NHWC = "nhwc"
    NONE = "none"

    def permutation_to(self, other: Layout, rank: int) -> tuple[int, ...] | None:
        """The permutation of the axes that makes `other` of this layout; None where nothing moves."""
        if self == other or Layout.NONE in (self, other):
            return None
        return to_channels_last(rank) if other == Layout.NHWC else to_channels_first(rank)


def to_channels_last(rank: int) -> tuple[int, ...]:
    """The permutation from NCHW to NHWC, and alike for other ranks."""
    return (0, *range(2, rank), 1)


def to_channels_first(rank: int) -> tuple[int, ...]:
    """The permutation from NHWC to NCHW, and alike for other ranks."""
    return (0, rank - 1, *range(1, rank - 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Dim:
    """A named dynamic dim: the size in the example, and the range of sizes the model takes."""

    name: str
    example: int
    min: int = 1
    max: int | None = None

    def to_json(self) -> dict[str, object]:
        """Name, example, min and max as JSON data."""
        return {"name": self.name, "example": self.example, "min": self.min, "max": self.max}


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorSpec:
    """One input or output: name, dtype and shape; a size is an integer or an expression of named dims."""

    name: str
    dtype: DType
    shape: tuple[Size, ...]
    layout: Layout = Layout.NONE

    @property
    def is_dynamic(self) -> bool:
        """Whether some size depends on a named dim."""
        return not is_static(self.shape)

    def concrete_shape(self, sizes: Mapping[str, int]) -> tuple[int, ...]:
        """The shape with every named dim replaced by its value in `sizes`."""
        return tuple(evaluate(size, sizes) for size in self.shape)

    def in_layout(self, layout: Layout) -> TensorSpec:
        """The same image with its axes in the order of a layout; itself where it is no image."""
        perm = self.layout.permutation_to(layout, len(self.shape))
        if perm is None:
            return self
        return replace(self, shape=tuple(self.shape[axis] for axis in perm), layout=layout)

    def __str__(self) -> str:
        return f"{self.name}:{self.dtype.value}[{','.join(str(size) for size in self.shape)}]"

    def to_json(self) -> dict[str, object]:
        """The spec as JSON data; dynamic sizes are strings."""
        shape = [size if isinstance(size, int) else str(size) for size in self.shape]
        return {
            "name": self.name,
            "dtype": self.dtype.value,
            "shape": shape,
            "layout": self.layout.value,
        }

    @staticmethod
    def from_json(data: Mapping[str, object]) -> TensorSpec:
        """The spec that `to_json` wrote."""
        shape = data["shape"]
        if not isinstance(shape, list):
            raise TypeError(f"shape is not a list: {shape!r}")
        return TensorSpec(
            name=str(data["name"]),
            dtype=DType(str(data["dtype"])),
            shape=tuple(s if isinstance(s, int) else parse_size(str(s)) for s in shape),
            layout=Layout(str(data.get("layout", "none"))),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class InputSpec:
    """What a user says of one input.

    Attributes:
        tensor: Name, dtype and shape.
        dims: The dynamic dims that are given an example size here.
        bounded: Those of them whose range the user gave, as in `N=1..8`; others may be narrowed to what the
            model takes.
    """

    tensor: TensorSpec
    dims: tuple[Dim, ...] = ()
    bounded: frozenset[str] = frozenset()

    def to_json(self) -> dict[str, object]:
        """The input as JSON data."""
        return {
            "tensor": self.tensor.to_json(),
            "dims": [dim.to_json() for dim in self.dims],
            "bounded": sorted(self.bounded),
        }

    @staticmethod
    def from_json(data: Mapping[str, object]) -> InputSpec:
        """The input that `to_json` wrote."""
        (tensor,) = _objects([data["tensor"]])
        bounded = data["bounded"]
        if not isinstance(bounded, list):
            raise TypeError(f"bounded is not a list: {bounded!r}")
        return InputSpec(
            tensor=TensorSpec.from_json(tensor),
            dims=tuple(_dim_from_json(item) for item in _objects(data["dims"])),
            bounded=frozenset(map(str, bounded)),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """The inputs and outputs of a model in order, and the dynamic dims their shapes speak of.

    >>> image = TensorSpec(name="image", dtype=DType.FLOAT32, shape=(parse_size("N"), 3, 8, 8))
    >>> s = Signature(inputs=(image,), outputs=(), dims=(Dim(name="N", example=1),))
    >>> s.inputs[0].concrete_shape(s.example_sizes())
    (1, 3, 8, 8)
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    dims: tuple[Dim, ...] = ()

    def __post_init__(self) -> None:
        """Refuse doubled names and sizes that speak of an unknown dim."""
        for specs in (self.inputs, self.outputs):
            names = [spec.name for spec in specs]
            if len(set(names)) != len(names):
                raise ValueError(f"names appear twice: {names}")
        known = {dim.name for dim in self.dims}
        for spec in (*self.inputs, *self.outputs):
            unknown = frozenset().union(*map(symbols, spec.shape)) - known
            if unknown:
                raise ValueError(f"{spec} speaks of unknown dims {sorted(unknown)}")

    def example_sizes(self) -> dict[str, int]:
        """The example size of each dynamic dim."""
        return {dim.name: dim.example for dim in self.dims}

    def to_json(self) -> dict[str, object]:
        """The signature as JSON data."""
        return {
            "inputs": [spec.to_json() for spec in self.inputs],
            "outputs": [spec.to_json() for spec in self.outputs],
            "dims": [dim.to_json() for dim in self.dims],
        }

    @staticmethod
    def from_json(data: Mapping[str, object]) -> Signature:
        """The signature that `to_json` wrote."""
        return Signature(
            inputs=tuple(TensorSpec.from_json(item) for item in _objects(data["inputs"])),
            outputs=tuple(TensorSpec.from_json(item) for item in _objects(data["outputs"])),
            dims=tuple(_dim_from_json(item) for item in _objects(data.get("dims", []))),
        )


def _objects(value: object) -> Iterable[Mapping[str, object]]:
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise TypeError(f"not a list of objects: {value!r}")
    return value


def _dim_from_json(data: Mapping[str, object]) -> Dim:
    largest = data.get("max")
    return Dim(
        name=str(data["name"]),
        example=int(str(data["example"])),
        min=int(str(data.get("min", 1))),
        max=None if largest is None else int(str(largest)),
    )
