"""Writes programs as a TFLite file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from flatbuffers import Builder

from edgeconv.dims import evaluate
from edgeconv.formats.tflite_file import (
    LARGEST_FLATBUFFER,
    StoredBuffer,
    exceeds,
    pack_offsets,
    write_tflite,
)
from edgeconv.graph import Tensor
from edgeconv.graph.model import Constant
from edgeconv_converters.edge_graph_tflite.options import ENUMERATIONS, OPTION_TABLES
from edgeconv_converters.edge_graph_tflite.program import Operator, OptionValue, Program
from edgeconv_converters.edge_graph_tflite.releases import find_oldest_runtime
from edgeconv_converters.edge_graph_tflite.versions import find_version

__all__ = ["Model", "Written", "write_model"]

_SCHEMA_VERSION = 3
_SIGNATURE_KEY = "serving_default"
_RUNTIME_METADATA = "min_runtime_version"
_RUNTIME_METADATA_BYTES = 16
_LARGEST_DEPRECATED_CODE = 127
_SAMPLE_BYTES = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """What a TFLite file holds.

    Attributes:
        programs: The main one first.
        example_sizes: Sizes of the dynamic dims that the file's tensors are allocated with unless resized.
        metadata: Buffers by name.
    """

    programs: Sequence[Program]
    example_sizes: Mapping[str, int]
    metadata: Mapping[str, bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What a file that was written asks of its runtime.

    Attributes:
        oldest_runtime: The oldest release that has all operators and finds the weights.
        is_large: Whether the weights stand behind the flatbuffer.
    """

    oldest_runtime: str
    is_large: bool


def write_model(
    model: Model, path: Path, *, largest_flatbuffer: int = LARGEST_FLATBUFFER
) -> Written:
    """Write a TFLite file; the same model gives the same bytes.

    Args:
        model: The model.
        path: Where to.
        largest_flatbuffer: A file with more bytes keeps its weights behind the flatbuffer.

    Raises:
        OSError: The file cannot be written; what was written of it stays for the caller to remove.
    """
    operators = [operator for program in model.programs for operator in program.operators]
    codes = list(dict.fromkeys((operator.code, find_version(operator)) for operator in operators))
    buffers = _Buffers()
    metadata = {n: buffers.add(np.frombuffer(c, np.uint8)) for n, c in model.metadata.items()}
    for tensor in (tensor for program in model.programs for tensor in program.tensors()):
        if tensor.constant is not None:
            buffers.add(tensor.constant)
    is_large = exceeds(buffers.all, largest_flatbuffer)
    oldest = find_oldest_runtime(codes, has_outside_buffers=is_large)
    runtime = oldest.encode().ljust(_RUNTIME_METADATA_BYTES, b"\0")
    metadata[_RUNTIME_METADATA] = buffers.add(np.frombuffer(runtime, np.uint8))
    tables = _Tables(model, codes, buffers)
    write_tflite(
        path,
        lambda builder: tables.pack(builder, metadata),
        buffers.all,
        largest_flatbuffer=largest_flatbuffer,
    )
    return Written(oldest_runtime=oldest, is_large=is_large)


class _Buffers:
    """The buffers of a file; equal constants share one."""

    def __init__(self) -> None:
        self.all = [StoredBuffer()]
        self._arrays: dict[int, int] = {}
        self._samples: dict[tuple[int, bytes], list[int]] = {}
        self._kept: list[Constant] = []

    def add(self, array: Constant) -> int:
        """The index of the buffer that holds an array's bytes."""
        if not array.size:
            return 0
        if id(array) not in self._arrays:
            self._kept.append(array)  # an id stays taken only as long as its object lives
            self._arrays[id(array)] = self._find(array)
        return self._arrays[id(array)]

    def _find(self, array: Constant) -> int:
        content = StoredBuffer(array).content()
        middle = len(content) // 2
        sample = bytes(content[:_SAMPLE_BYTES]) + bytes(content[middle : middle + _SAMPLE_BYTES])
        alike = self._samples.setdefault((len(content), sample), [])
        for index in alike:
            if np.array_equal(np.asarray(self.all[index].content()), np.asarray(content)):
                return index
        self.all.append(StoredBuffer(array))
        alike.append(len(self.all) - 1)
        return alike[-1]


class _Tables:
    """Packs everything but the weights.

    Args:
        model: What is packed.
        codes: Every operator and version in it.
        buffers: Where constants go.
    """

    def __init__(self, model: Model, codes: list[tuple[str, int]], buffers: _Buffers) -> None:
        self._model = model
        self._codes = codes
        self._buffers = buffers
        self._code_indices = {code: index for index, code in enumerate(codes)}
        self._options: dict[tuple[object, ...], int] = {}
        self._vectors: dict[tuple[int, ...], int] = {}

    def pack(self, builder: Builder, metadata: Mapping[str, int]) -> int:
        """Append the model; gives the position of the root table."""
        programs = [self._pack_program(builder, program) for program in self._model.programs]
        subgraphs = pack_offsets(builder, programs)
        signature = pack_offsets(builder, [self._pack_signature(builder)])
        named = [_pack_metadata(builder, name, index) for name, index in metadata.items()]
        entries = pack_offsets(builder, named)
        buffers = pack_offsets(builder, [buffer.Pack(builder) for buffer in self._buffers.all])
        codes = pack_offsets(builder, [_pack_code(builder, *code) for code in self._codes])
        description = builder.CreateString("edgeconv")
        schema.ModelStart(builder)
        schema.ModelAddVersion(builder, _SCHEMA_VERSION)
        schema.ModelAddOperatorCodes(builder, codes)
        schema.ModelAddSubgraphs(builder, subgraphs)
        schema.ModelAddDescription(builder, description)
        schema.ModelAddBuffers(builder, buffers)
        schema.ModelAddMetadata(builder, entries)
        schema.ModelAddSignatureDefs(builder, signature)
        return int(schema.ModelEnd(builder))

    def _pack_program(self, builder: Builder, program: Program) -> int:
        tensors = program.tensors()
        index = {tensor: position for position, tensor in enumerate(tensors)}
        packed_tensors = pack_offsets(builder, [self._pack_tensor(builder, t) for t in tensors])
        packed_operators = pack_offsets(
            builder, [self._pack_operator(builder, o, index) for o in program.operators]
        )
        inputs = self._pack_indices(builder, program.inputs, index)
        outputs = self._pack_indices(builder, program.outputs, index)
        name = builder.CreateString(program.name)
        schema.SubGraphStart(builder)
        schema.SubGraphAddTensors(builder, packed_tensors)
        schema.SubGraphAddInputs(builder, inputs)
        schema.SubGraphAddOutputs(builder, outputs)
        schema.SubGraphAddOperators(builder, packed_operators)
        schema.SubGraphAddName(builder, name)
        return int(schema.SubGraphEnd(builder))

    def _pack_tensor(self, builder: Builder, tensor: Tensor) -> int:
        sizes = tuple(evaluate(size, self._model.example_sizes) for size in tensor.shape)
        signature = tuple(size if isinstance(size, int) else -1 for size in tensor.shape)
        name = builder.CreateString(tensor.name)
        shape = self._pack_vector(builder, sizes)
        dynamic = self._pack_vector(builder, signature) if signature != sizes else None
        buffer = 0 if tensor.constant is None else self._buffers.add(tensor.constant)
        quantization = self._pack_quantization(builder, tensor)
        schema.TensorStart(builder)
        schema.TensorAddShape(builder, shape)
        schema.TensorAddType(builder, getattr(schema.TensorType, tensor.dtype.value.upper()))
        schema.TensorAddBuffer(builder, buffer)
        schema.TensorAddName(builder, name)
        if dynamic is not None:
            schema.TensorAddShapeSignature(builder, dynamic)
        if quantization is not None:
            schema.TensorAddQuantization(builder, quantization)
        schema.TensorAddHasRank(builder, True)  # noqa: FBT003 - the schema's interface
        return int(schema.TensorEnd(builder))

    def _pack_quantization(self, builder: Builder, tensor: Tensor) -> int | None:
        known = tensor.quantization
        if known is None or tensor.dtype != known.dtype:  # a float constant that was left in float
            return None
        scales = int(builder.CreateNumpyVector(np.asarray(known.scales, np.float32)))
        points = int(builder.CreateNumpyVector(np.asarray(known.zero_points, np.int64)))
        schema.QuantizationParametersStart(builder)
        schema.QuantizationParametersAddScale(builder, scales)
        schema.QuantizationParametersAddZeroPoint(builder, points)
        schema.QuantizationParametersAddQuantizedDimension(builder, known.axis or 0)
        return int(schema.QuantizationParametersEnd(builder))

    def _pack_operator(
        self, builder: Builder, operator: Operator, index: Mapping[Tensor, int]
    ) -> int:
        inputs = self._pack_indices(builder, operator.inputs, index)
        outputs = self._pack_indices(builder, operator.outputs, index)
        table = OPTION_TABLES.get(operator.code)
        options = None if table is None else self._pack_options(builder, table.name, operator)
        schema.OperatorStart(builder)
        code = self._code_indices[operator.code, find_version(operator)]
        schema.OperatorAddOpcodeIndex(builder, code)
        schema.OperatorAddInputs(builder, inputs)
        schema.OperatorAddOutputs(builder, outputs)
        if table is not None and options is not None:
            kind = getattr(schema.BuiltinOptions, table.name)
            schema.OperatorAddBuiltinOptionsType(builder, kind)
            schema.OperatorAddBuiltinOptions(builder, options)
        return int(schema.OperatorEnd(builder))

    def _pack_options(self, builder: Builder, table: str, operator: Operator) -> int:
        key = (table, *operator.options.items())
        if key not in self._options:
            options = getattr(schema, f"{table}T")()
            for name, value in operator.options.items():
                setattr(options, name, _encode(name, value))
            self._options[key] = int(options.Pack(builder))
        return self._options[key]

    def _pack_indices(
        self,
        builder: Builder,
        tensors: Iterable[Tensor | None],
        index: Mapping[Tensor, int],
    ) -> int:
        return self._pack_vector(builder, tuple(-1 if t is None else index[t] for t in tensors))

    def _pack_vector(self, builder: Builder, values: tuple[int, ...]) -> int:
        """A vector of int32; equal ones are packed once."""
        if values not in self._vectors:
            array = np.asarray(values, dtype=np.int32)
            self._vectors[values] = int(builder.CreateNumpyVector(array))
        return self._vectors[values]

    def _pack_signature(self, builder: Builder) -> int:
        main = self._model.programs[0]
        index = {tensor: position for position, tensor in enumerate(main.tensors())}
        maps = []
        for tensors in (main.inputs, main.outputs):
            packed = [_pack_tensor_map(builder, t.name, index[t]) for t in tensors]
            maps.append(pack_offsets(builder, packed))
        key = builder.CreateString(_SIGNATURE_KEY)
        schema.SignatureDefStart(builder)
        schema.SignatureDefAddInputs(builder, maps[0])
        schema.SignatureDefAddOutputs(builder, maps[1])
        schema.SignatureDefAddSignatureKey(builder, key)
        return int(schema.SignatureDefEnd(builder))


def _encode(name: str, value: OptionValue) -> object:
    if name in ENUMERATIONS:
        return getattr(getattr(schema, ENUMERATIONS[name]), str(value).upper())
    return list(value) if isinstance(value, tuple) else value


def _pack_tensor_map(builder: Builder, name: str, index: int) -> int:
    text = builder.CreateString(name)
    schema.TensorMapStart(builder)
    schema.TensorMapAddName(builder, text)
    schema.TensorMapAddTensorIndex(builder, index)
    return int(schema.TensorMapEnd(builder))


def _pack_metadata(builder: Builder, name: str, buffer: int) -> int:
    text = builder.CreateString(name)
    schema.MetadataStart(builder)
    schema.MetadataAddName(builder, text)
    schema.MetadataAddBuffer(builder, buffer)
    return int(schema.MetadataEnd(builder))


def _pack_code(builder: Builder, name: str, version: int) -> int:
    code = getattr(schema.BuiltinOperator, name)
    schema.OperatorCodeStart(builder)
    # Runtimes before 2.4 read the first field, which holds a byte.
    schema.OperatorCodeAddDeprecatedBuiltinCode(builder, min(code, _LARGEST_DEPRECATED_CODE))
    schema.OperatorCodeAddVersion(builder, version)
    schema.OperatorCodeAddBuiltinCode(builder, code)
    return int(schema.OperatorCodeEnd(builder))
