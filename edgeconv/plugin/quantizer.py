"""How a quantizer of one format declares itself, and what its work is.

The parts that every format shares, calibration, preparation, the search within an accuracy budget, the evidence, are
`edgeconv.quantization`; they know a model only as the `FloatModel` that a quantizer opens: operators by name, weights
that can be changed, and all activations of a run. What is left to a quantizer is its file format, and the library
that writes integers into it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeAlias

from edgeconv.signature import DType, Signature

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array: TypeAlias = NDArray[np.generic]

__all__ = [
    "FLOAT32",
    "Dependence",
    "FloatModel",
    "Operator",
    "Precision",
    "QuantizationPlan",
    "QuantizedFile",
    "QuantizerSpec",
    "Range",
    "Weights",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Precision:
    """In what numbers an operator computes.

    Attributes:
        weights: `float32`, `float16`, `int8` or `int4`.
        activations: `float32`, `float16`, `int8` or `int16`.
        is_dynamic: Whether activations become integers while the model runs, each time by their own range; what is
            stored between operators is float32 then, and `activations` says `float32`.
        block: So many weights along the input axis share a scale; 0 where all weights of an output channel do.
    """

    weights: str = "float32"
    activations: str = "float32"
    is_dynamic: bool = False
    block: int = 0

    @property
    def is_static(self) -> bool:
        """Whether activations are stored as integers, whose scales come from calibration."""
        return self.activations.startswith("int")

    @property
    def name(self) -> str:
        """The name of the recipe that asks for it, which an artifact's metadata carries under `precision`."""
        if self.is_static:
            is_same = self.activations == self.weights
            return self.weights if is_same else f"{self.activations}x{self.weights[3:]}"
        if self.weights.startswith("float"):
            return {"float16": "fp16"}.get(self.weights, self.weights)
        how = "dynamic" if self.is_dynamic else "weights"
        return f"{self.weights}-{how}" + (f"-b{self.block}" if self.block else "")


FLOAT32 = Precision()


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """The least and greatest value that a tensor must be able to hold."""

    low: float
    high: float

    @property
    def largest(self) -> float:
        """The greatest absolute value."""
        return max(abs(self.low), abs(self.high))


class Dependence(StrEnum):
    """How an operator's output depends on its data input, as far as preparation needs to know.

    `HOMOGENEOUS`: each channel by itself, and f(a x) = a f(x) for every a > 0: ReLU, pooling, zero padding, means over
    space. `CONCATENATION`: the inputs side by side. `SHAPE`: the same values in another shape or order, channels kept together
    or not. `OTHER`: anything else.
    """

    HOMOGENEOUS = "homogeneous"
    CONCATENATION = "concatenation"
    SHAPE = "shape"
    OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """The constant weights of a convolution or matrix product.

    Attributes:
        tensor: Name of the weights.
        output_axis: The axis of the weights that counts output channels.
        input_axis: The axis that counts input channels; None for a depthwise convolution, whose output channel c reads
            input channel c // multiplier alone.
        multiplier: Output channels per input channel of a depthwise convolution.
        bias: Name of the constant bias, one value per output channel; empty if there is none.
        is_linear: Whether nothing, or a homogeneous activation such as ReLU, is fused behind it.
        is_grouped: Whether a convolution has several groups and is not depthwise: its channels are not equalized.
    """

    tensor: str
    output_axis: int
    input_axis: int | None
    multiplier: int = 1
    bias: str = ""
    is_linear: bool = True
    is_grouped: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """One operator of a float model.

    Attributes:
        name: That of its first output, unique in the model: what overrides are matched with and reports show.
        code: The format's own name of the operator: `CONV_2D`, `Conv`.
        inputs: Names of the tensors it reads, constants included; empty for a missing optional one.
        outputs: Names of the tensors it makes.
        dependence: See there.
        weights: Of a convolution or matrix product with constant weights.
        channel_axis: The axis of its output that counts channels; negative counts from the end.
        source: The line of the user's program and the PyTorch node it came from; empty if not known.
    """

    name: str
    code: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    dependence: Dependence = Dependence.OTHER
    weights: Weights | None = None
    channel_axis: int = -1
    source: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizationPlan:
    """What a quantizer is to do; nothing in it is left to choose.

    Attributes:
        default: Precision of every operator that is not named in `operators` and that can have it.
        operators: Precision of single operators, by name; `FLOAT32` keeps one as it is.
        ranges: By tensor name, of every float activation, where any precision is static.
        io: Dtype of the inputs and outputs that are float32 in the float model: `float32`, `int8` or `uint8`.
    """

    default: Precision
    operators: Mapping[str, Precision] = field(default_factory=dict)
    ranges: Mapping[str, Range] = field(default_factory=dict)
    io: DType = DType.FLOAT32

    def precision_of(self, operator: str) -> Precision:
        """The precision that is asked for an operator."""
        return self.operators.get(operator, self.default)


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizedFile:
    """What came of a plan.

    Attributes:
        precisions: By operator name, what each operator of the float model computes in now.
        reasons: By operator name, why an operator is not in the precision that was asked for.
        versions: Of the libraries that did the work.
        warnings: What the user should know.
    """

    precisions: Mapping[str, Precision]
    reasons: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


class FloatModel(Protocol):
    """A float artifact that is opened to be prepared, calibrated and quantized; the file itself is never changed.

    Weights that were changed with `set_constant` are what `observe`, `save` and `quantize` use from then on.
    """

    @property
    def signature(self) -> Signature:
        """Names, dtypes, shapes and dynamic dims of the float model."""
        ...

    @property
    def operators(self) -> Sequence[Operator]:
        """Every operator of the main graph, in an order in which they can run."""
        ...

    def constant(self, tensor: str) -> Array | None:
        """The value of a constant; None for a tensor that is none. Not to be written to."""
        ...

    def set_constant(self, tensor: str, value: Array) -> None:
        """Give a constant another value of the same shape and dtype.

        A constant that several operators read changes for all of them.
        """
        ...

    def observe(self, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        """Run once; every float activation by tensor name, inputs and outputs of the graph among them.

        The arrays are valid until the next run.

        Raises:
            InvalidInputError: The inputs do not fit, or the runtime fails.
        """
        ...

    def refusal(self, operator: Operator, precision: Precision) -> str:
        """Why no kernel of the installed runtime computes an operator in a precision; empty if one does."""
        ...

    def save(self, path: Path) -> None:
        """Write the float model as it is now, with names and metadata as in the file that was opened."""
        ...

    def quantize(self, plan: QuantizationPlan, path: Path) -> QuantizedFile:
        """Write the quantized model; names of inputs and outputs and the metadata stay, and dtypes as `plan.io` says.

        Raises:
            ConversionError: The library cannot do it.
        """
        ...

    def observe_quantized(self, path: Path, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        """Run a file that `quantize` wrote; the float32 value of each activation, under its name in the float model.

        Activations that have no counterpart any more are left out.

        Args:
            path: The quantized file.
            inputs: As of the float model: float32 where that takes float32.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizerSpec:
    """A quantizer as data, read without importing any framework; found through the entry points `edgeconv.quantizers`.

    Attributes:
        id: The tool's name, unique among all quantizers.
        version: Version of this quantizer's code; part of the cache key.
        format: Format id it reads and writes.
        summary: One line for `edgeconv plugins`.
        entry: `module:function`, called in a worker with the path of a float artifact; returns a `FloatModel`, or raises
            `InvalidInputError` for a file that is damaged or quantized already.
        recipes: Names of the recipes it can carry out.
        requires: Import names that must be installed.
        extra: The extras of edgeconv that install them, with commas between.
    """

    id: str
    version: str
    format: str
    summary: str
    entry: str
    recipes: tuple[str, ...]
    requires: tuple[str, ...] = ()
    extra: str = ""
