"""Einstein sums, as matrix products of two operands at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from string import ascii_letters

from edgeconv.dims import Size, product
from edgeconv.graph import Tensor
from edgeconv.lowering.builder import LoweringBuilder
from edgeconv.lowering.families.indexing import take_diagonal
from edgeconv.lowering.families.linear import multiply
from edgeconv.lowering.registry import lower


@dataclass(frozen=True, slots=True)
class _Term:
    """A tensor and the label of each of its axes."""

    labels: str
    tensor: Tensor


@lower("aten.einsum")
def einsum(
    b: LoweringBuilder, equation: str, operands: Sequence[Tensor], path: object = None
) -> Tensor:
    return contract(b, equation, operands)


def contract(b: LoweringBuilder, equation: str, operands: Sequence[Tensor]) -> Tensor:
    """Operands are taken in from the left, and an axis is added up as soon as nothing later reads it."""
    inputs, output = _read(equation, [operand.rank for operand in operands])
    terms = [
        _take_diagonals(b, _Term(labels, operand))
        for labels, operand in zip(inputs, operands, strict=True)
    ]
    terms = _drop_broadcast_axes(b, terms)
    total = terms[0]
    for position in range(1, len(terms)):
        later = output + "".join(term.labels for term in terms[position + 1 :])
        total = _contract(b, total, terms[position], later)
    total = _sum_out(b, total, output)
    result = b.transpose(total.tensor, [total.labels.index(c) for c in output if c in total.labels])
    return b.broadcast(b.reshape(result, _with_ones(output, total)), b.shape)


def _with_ones(output: str, total: _Term) -> list[Size]:
    size = dict(zip(total.labels, total.tensor.shape, strict=True))
    return [size.get(label, 1) for label in output]


def _read(equation: str, ranks: Sequence[int]) -> tuple[list[str], str]:
    """The labels of the operands and of the result, with labels of their own for what an ellipsis stands for."""
    left, arrow, right = equation.replace(" ", "").partition("->")
    free = [letter for letter in ascii_letters if letter not in equation]
    terms = left.split(",")
    widths = [
        rank - len(term) + 3 for term, rank in zip(terms, ranks, strict=True) if "..." in term
    ]
    width = max(widths, default=0)
    spread = "".join(free[:width])

    def expand(term: str, rank: int) -> str:
        hidden = rank - len(term) + 3
        return term.replace("...", spread[width - hidden :]) if "..." in term else term

    inputs = [expand(term, rank) for term, rank in zip(terms, ranks, strict=True)]
    if arrow:
        return inputs, right.replace("...", spread)
    joined = "".join(terms).replace("...", "")
    return inputs, spread + "".join(sorted(c for c in set(joined) if joined.count(c) == 1))


def _take_diagonals(b: LoweringBuilder, term: _Term) -> _Term:
    """Of two axes with one label, the diagonal."""
    labels, tensor = term.labels, term.tensor
    for label in sorted(set(labels)):
        while labels.count(label) > 1:
            first = labels.index(label)
            second = labels.index(label, first + 1)
            tensor = take_diagonal(b, tensor, 0, first, second)
            rest = labels[:first] + labels[first + 1 : second] + labels[second + 1 :]
            labels = rest + label
    return _Term(labels, tensor)


def _drop_broadcast_axes(b: LoweringBuilder, terms: Sequence[_Term]) -> list[_Term]:
    """Without axes of size 1 where another operand has more along the same label."""
    sizes: dict[str, Size] = {}
    for term in terms:
        for label, size in zip(term.labels, term.tensor.shape, strict=True):
            sizes[label] = size if size != 1 else sizes.get(label, 1)
    found = []
    for term in terms:
        axes = zip(term.labels, term.tensor.shape, strict=True)
        kept = [(label, size) for label, size in axes if size != 1 or sizes[label] == 1]
        shape = [size for _, size in kept]
        found.append(_Term("".join(label for label, _ in kept), b.reshape(term.tensor, shape)))
    return found


def _sum_out(b: LoweringBuilder, term: _Term, kept: str) -> _Term:
    """Add up the axes whose labels nobody reads."""
    axes = [i for i, label in enumerate(term.labels) if label not in kept]
    if not axes:
        return term
    total = b.reduce("SUM", term.tensor, axes, keep_dims=False)
    return _Term("".join(label for label in term.labels if label in kept), total)


def _contract(b: LoweringBuilder, left: _Term, right: _Term, later: str) -> _Term:
    """One matrix product; labels of both that are read later are its batch."""
    left = _sum_out(b, left, kept=right.labels + later)
    right = _sum_out(b, right, kept=left.labels + later)
    shared = [label for label in left.labels if label in right.labels]
    batch = [label for label in shared if label in later]
    inner = [label for label in shared if label not in later]
    rows = [label for label in left.labels if label not in shared]
    columns = [label for label in right.labels if label not in shared]
    size = dict(
        zip(left.labels + right.labels, left.tensor.shape + right.tensor.shape, strict=True)
    )
    labels = batch + rows + columns
    x = _arrange(b, left, (batch, rows, inner))
    y = _arrange(b, right, (batch, inner, columns))
    result = b.reshape(multiply(b, x, y), [size[label] for label in labels])
    return _Term("".join(labels), result)


def _arrange(b: LoweringBuilder, term: _Term, groups: Sequence[Sequence[str]]) -> Tensor:
    """Axes in the order of the groups; those of the last two groups are merged, the batch is kept."""
    size = dict(zip(term.labels, term.tensor.shape, strict=True))
    order = [term.labels.index(label) for group in groups for label in group]
    batch, *matrix = ([size[label] for label in group] for group in groups)
    shape = (*batch, *(product(sizes) for sizes in matrix))
    return b.reshape(b.transpose(term.tensor, order), shape)
