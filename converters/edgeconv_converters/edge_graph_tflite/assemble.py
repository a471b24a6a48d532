"""Turns a legalized edge graph into TFLite programs: parameters become tensors, loops become subgraphs."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from edgeconv.dims import DimExpr, Size, symbols
from edgeconv.graph import Graph, Node, Tensor
from edgeconv.graph.arrays import numpy_dtype
from edgeconv.signature import DType
from edgeconv_converters.edge_graph_tflite.options import read_options
from edgeconv_converters.edge_graph_tflite.parameters import (
    find_parameters,
    slice_parameters,
    with_unknown,
)
from edgeconv_converters.edge_graph_tflite.program import (
    Constants,
    Names,
    Operator,
    OptionValue,
    Program,
)
from edgeconv_converters.edge_graph_tflite.sizes import SizeTensors

__all__ = ["assemble"]

Inputs = list[Tensor | None]
Options = dict[str, OptionValue]


def assemble(graph: Graph, input_names: list[str], output_names: list[str]) -> list[Program]:
    """The programs of a file, the main one first.

    The graph's inputs and outputs get the names given; other tensors keep theirs where they are free.

    Raises:
        ConversionError: A dim cannot be read from any input.
    """
    names = Names()
    for name in dict.fromkeys((*input_names, *output_names)):
        names.take(name)
    programs: list[Program] = []
    assembler = _Assembler(graph, names, programs)
    program = assembler.run()
    _name_ends(program, input_names, output_names)
    return programs


def _name_ends(program: Program, input_names: list[str], output_names: list[str]) -> None:
    """Name inputs and outputs; an output that has a name already, or is known, is a copy from then on."""
    named = dict(zip(program.inputs, input_names, strict=True))
    for index, (tensor, name) in enumerate(zip(program.outputs, output_names, strict=True)):
        if tensor in named or tensor.is_constant:
            copy = Tensor(name=name, dtype=tensor.dtype, shape=tensor.shape, source=tensor.source)
            program.operators.append(_copy(tensor, copy))
            program.outputs[index] = copy
        named[program.outputs[index]] = name
    for tensor, name in named.items():
        tensor.name = name


def _copy(source: Tensor, target: Tensor) -> Operator:
    options: Options = {"inDataType": source.dtype.value, "outDataType": source.dtype.value}
    return Operator(code="CAST", inputs=[source], outputs=[target], options=options)


class _Assembler:
    """One graph into one program; graphs inside loops into programs after it."""

    def __init__(
        self,
        graph: Graph,
        names: Names,
        programs: list[Program],
        *,
        known: Mapping[str, Tensor] | None = None,
    ) -> None:
        self._graph = graph
        self._names = names
        self._prefix = "" if known is None else f"{graph.name}/"
        self._programs = programs
        self.program = Program(
            name=graph.name, inputs=list(graph.inputs), outputs=list(graph.outputs), operators=[]
        )
        programs.append(self.program)
        self._constants = Constants(names)
        self._sizes = SizeTensors(
            graph.inputs, self.program.operators, self._constants, names, known=known
        )
        self._replaced: dict[Tensor, Tensor] = {}
        self._special: Mapping[str, Callable[[Node], tuple[Inputs, Options]]] = {
            "STRIDED_SLICE": self._strided_slice,
            "RESHAPE": self._reshape,
            "CAST": self._cast,
            "PACK": self._pack,
            "SPLIT_V": self._split,
            "ONE_HOT": self._one_hot,
            "CONV_2D": self._with_bias,
            "CONV_3D_TRANSPOSE": self._with_dilation,
            "DEPTHWISE_CONV_2D": self._with_bias,
            "FULLY_CONNECTED": self._fully_connected,
        }

    def run(self) -> Program:
        """The program, with unique names on all of its tensors."""
        for tensor in self._own_tensors():
            tensor.name = self._names.take(f"{self._prefix}{tensor.name}")
        for node in self._graph.nodes:
            self._append(node)
        self.program.outputs = [self._current(tensor) for tensor in self.program.outputs]
        return self.program

    def _own_tensors(self) -> list[Tensor]:
        made = [tensor for node in self._graph.nodes for tensor in node.outputs]
        return list(dict.fromkeys([*self._graph.inputs, *self._graph.constants(), *made]))

    def _current(self, tensor: Tensor) -> Tensor:
        return self._replaced.get(tensor, tensor)

    def _append(self, node: Node) -> None:
        node.inputs = [None if t is None else self._current(t) for t in node.inputs]
        if node.op == "SIZE_VALUE":
            (value,) = node.sizes("value")
            self._replaced[node.output] = self._sizes.scalar(value, node.output.dtype)
        elif node.op == "WHILE":
            self._append_while(node)
        elif node.op == "IF":
            self._append_if(node)
        else:
            inputs, options = self._special.get(node.op, self._plain)(node)
            self.program.operators.append(
                Operator(code=node.op, inputs=inputs, outputs=list(node.outputs), options=options)
            )

    def _plain(self, node: Node) -> tuple[Inputs, Options]:
        return find_parameters(node, self._sizes, self._constants), read_options(node)

    def _strided_slice(self, node: Node) -> tuple[Inputs, Options]:
        return slice_parameters(node, self._sizes)

    def _reshape(self, node: Node) -> tuple[Inputs, Options]:
        inputs, options = self._plain(node)
        shape = with_unknown(node.sizes("shape"))
        static = tuple(size for size in shape if isinstance(size, int))
        if len(static) == len(shape):
            options["newShape"] = static
        return inputs, options

    def _cast(self, node: Node) -> tuple[Inputs, Options]:
        inputs, options = self._plain(node)
        return inputs, {**options, "inDataType": node.input(0).dtype.value}

    def _pack(self, node: Node) -> tuple[Inputs, Options]:
        inputs, options = self._plain(node)
        return inputs, {**options, "valuesCount": len(inputs)}

    def _split(self, node: Node) -> tuple[Inputs, Options]:
        inputs, options = self._plain(node)
        return inputs, {**options, "numSplits": len(node.outputs)}

    def _one_hot(self, node: Node) -> tuple[Inputs, Options]:
        inputs, options = self._plain(node)
        return inputs, {**options, "axis": -1}

    def _with_bias(self, node: Node) -> tuple[Inputs, Options]:
        """Delegates refuse a convolution without a bias."""
        inputs, options = self._plain(node)
        if len(inputs) < 3 or inputs[2] is None:
            weight = node.input(1)
            (count,) = _static(weight.shape[:1] if node.op == "CONV_2D" else weight.shape[-1:])
            bias = self._constants.array(np.zeros(count, numpy_dtype(weight.dtype)))
            inputs = [*inputs[:2], bias]
        return inputs, options

    def _with_dilation(self, node: Node) -> tuple[Inputs, Options]:
        """The kernel refuses any dilation but 1, which the schema's default of the depth is."""
        inputs, options = self._plain(node)
        return inputs, {**options, "dilationHFactor": 1, "dilationWFactor": 1}

    def _fully_connected(self, node: Node) -> tuple[Inputs, Options]:
        inputs, options = self._plain(node)
        return inputs, {**options, "keepNumDims": node.input(0).rank != 2}

    def _append_while(self, node: Node) -> None:
        """Dims that a loop's graphs speak of are carried along and given back."""
        condition, body, carried = self._assemble_inner(node, ("cond", "body"))
        body.outputs += body.inputs[len(body.inputs) - len(carried) :]
        _separate_outputs(body, self._names)
        options: Options = {
            "condSubgraphIndex": self._programs.index(condition),
            "bodySubgraphIndex": self._programs.index(body),
        }
        outputs = [*node.outputs, *(self._carried(tensor) for tensor in carried)]
        self._emit_inner(node, carried, outputs, options)

    def _append_if(self, node: Node) -> None:
        then, other, carried = self._assemble_inner(node, ("then_branch", "else_branch"))
        for program in (then, other):
            _separate_outputs(program, self._names)
        options: Options = {
            "thenSubgraphIndex": self._programs.index(then),
            "elseSubgraphIndex": self._programs.index(other),
        }
        self._emit_inner(node, carried, list(node.outputs), options)

    def _assemble_inner(
        self, node: Node, names: tuple[str, str]
    ) -> tuple[Program, Program, list[Tensor]]:
        """The programs of two graphs, and the dims they speak of: these become inputs, which shapes need not tell."""
        graphs = [node.subgraph(name) for name in names]
        wanted = sorted(frozenset().union(*map(_symbols, graphs)))
        carried = [self._sizes.scalar(DimExpr.symbol(name)) for name in wanted]
        programs = []
        for graph in graphs:
            inner = [self._carried(tensor) for tensor in carried]
            known = dict(zip(wanted, inner, strict=True))
            program = _Assembler(graph, self._names, self._programs, known=known).run()
            program.inputs += inner
            programs.append(program)
        return programs[0], programs[1], carried

    def _emit_inner(
        self, node: Node, carried: list[Tensor], outputs: list[Tensor], options: Options
    ) -> None:
        self.program.operators.append(
            Operator(
                code=node.op, inputs=[*node.inputs, *carried], outputs=outputs, options=options
            )
        )

    def _carried(self, tensor: Tensor) -> Tensor:
        return Tensor(name=self._names.take("size/carried"), dtype=DType.INT32, shape=tensor.shape)


def _separate_outputs(program: Program, names: Names) -> None:
    """Outputs that are inputs, known, or returned twice become copies: values of blocks must not share memory."""
    taken = set(program.inputs)
    for index, tensor in enumerate(program.outputs):
        if tensor in taken or tensor.is_constant:
            copy = Tensor(name=names.take(tensor.name), dtype=tensor.dtype, shape=tensor.shape)
            program.operators.append(_copy(tensor, copy))
            program.outputs[index] = copy
        taken.add(program.outputs[index])


def _symbols(graph: Graph) -> frozenset[str]:
    """The dims that anything inside a graph needs the values of."""
    found: set[str] = set()
    for node in (node for inner in (graph, *graph.subgraphs()) for node in inner.nodes):
        for value in node.attributes.values():
            for size in value if isinstance(value, tuple) else (value,):
                if isinstance(size, DimExpr):
                    found |= symbols(size)
    return frozenset(found)


def _static(sizes: tuple[Size, ...]) -> tuple[int, ...]:
    return tuple(size for size in sizes if isinstance(size, int))
