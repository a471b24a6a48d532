"""Which operators of a TFLite file a delegate runs, as the runtime itself has it once the file is open.

LiteRT appends a node for each part of the graph that it hands to a delegate and keeps the nodes that it replaces, but
does not say which these are. They are found from the outputs of the delegate's node, walking up to its inputs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["Execution", "RuntimeNode", "read_execution", "sort_nodes"]

_DELEGATE = "DELEGATE"
_TRANSPOSE = "TRANSPOSE"


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeNode:
    """One node as the interpreter has it: the operator's name, and the tensors that it reads and makes."""

    op: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """How the runtime carries out the main subgraph.

    Attributes:
        operators: How many there are.
        partitions: In how many parts the delegate takes them.
        undelegated: How often each operator is left to the runtime's own kernels.
        border_transposes: Transposes of an input, or to an output.
        inner_transposes: All others.
    """

    operators: int
    partitions: int
    undelegated: Mapping[str, int]
    border_transposes: int
    inner_transposes: int

    @property
    def delegated_share(self) -> float:
        """The share of operators that the delegate takes."""
        left = sum(self.undelegated.values())
        return 1 - left / self.operators if self.operators else 1.0

    def to_json(self) -> dict[str, object]:
        """The same as JSON data."""
        return {**asdict(self), "delegate": "XNNPACK", "delegated_share": self.delegated_share}


def read_execution(interpreter: Any) -> Execution:  # noqa: ANN401 - untyped library
    """What an interpreter does with its file, once its tensors are allocated."""
    runtime = interpreter._interpreter  # noqa: SLF001 - there is no public way, and the public form of it is slow
    nodes = [
        RuntimeNode(
            op=str(runtime.NodeName(index)),
            inputs=tuple(map(int, runtime.NodeInputs(index))),
            outputs=tuple(map(int, runtime.NodeOutputs(index))),
        )
        for index in range(runtime.NumNodes())
    ]
    ends = [
        tuple(int(detail["index"]) for detail in details)
        for details in (interpreter.get_input_details(), interpreter.get_output_details())
    ]
    return sort_nodes(nodes, inputs=ends[0], outputs=ends[1])


def sort_nodes(
    nodes: Sequence[RuntimeNode], *, inputs: Iterable[int], outputs: Iterable[int]
) -> Execution:
    """Tell the nodes that delegates run from those that they leave.

    Args:
        nodes: The file's own, then one for each part that a delegate took.
        inputs: Tensors that the graph takes.
        outputs: Tensors that the graph gives.
    """
    own = [node for node in nodes if node.op != _DELEGATE]
    parts = [node for node in nodes if node.op == _DELEGATE]
    makers = {tensor: node for node in own for tensor in node.outputs}
    taken = {id(node) for part in parts for node in _replaced(part, makers)}
    ends = (set(inputs), set(outputs))
    transposes = [node for node in own if node.op == _TRANSPOSE]
    read = {tensor for node in own for tensor in node.inputs}
    border = sum(_is_at_border(node, ends, read) for node in transposes)
    return Execution(
        operators=len(own),
        partitions=len(parts),
        undelegated=dict(Counter(n.op for n in own if id(n) not in taken).most_common()),
        border_transposes=border,
        inner_transposes=len(transposes) - border,
    )


def _replaced(part: RuntimeNode, makers: Mapping[int, RuntimeNode]) -> list[RuntimeNode]:
    """The nodes between the inputs and the outputs of a delegate's node."""
    known, found = set(part.inputs), []
    waiting = list(part.outputs)
    while waiting:
        tensor = waiting.pop()
        node = makers.get(tensor)
        if tensor in known or node is None:
            continue
        known.update(node.outputs)
        found.append(node)
        waiting += node.inputs
    return found


def _is_at_border(node: RuntimeNode, ends: tuple[set[int], set[int]], read: set[int]) -> bool:
    """Whether a transpose reads an input, or is read by the graph's caller alone."""
    inputs, outputs = ends
    return node.inputs[0] in inputs or (node.outputs[0] in outputs and node.outputs[0] not in read)
