"""Recurrent operators stay whole while a program is traced, and PyTorch is as before afterwards."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from torch import SymInt, Tensor, nn
from torch._decomp import meta_table
from torch._subclasses import fake_impls
from torch.export import ExportedProgram

from edgeconv.errors import ConversionError
from edgeconv.lowering.retracing import (
    RECURRENT_OPERATORS,
    keep_recurrent_operators,
    run_decompositions,
)
from tests.lowering.case import Case
from tests.lowering.runtimes import lower_case

pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore"),  # PyTorch's own advice
]

LAYERS: list[tuple[type[nn.RNNBase], dict[str, bool | int | str]]] = [
    (nn.LSTM, {"batch_first": True}),
    (nn.LSTM, {"proj_size": 2, "bidirectional": True, "num_layers": 2}),
    (nn.GRU, {"batch_first": True, "bidirectional": True}),
    (nn.RNN, {"num_layers": 2}),
    (nn.RNN, {"nonlinearity": "relu", "batch_first": True}),
]


def _export(net: nn.Module) -> ExportedProgram:
    dims = ({0: torch.export.Dim("A"), 1: torch.export.Dim("B")},)
    inputs = (torch.randn(2, 7, 3),)
    with torch.no_grad():
        program: ExportedProgram = torch.export.export(
            net, inputs, dynamic_shapes=dims, strict=False
        )
    return program


def _tables() -> list[object]:
    return [
        *(dict(operator.py_kernels) for operator in RECURRENT_OPERATORS),
        *(operator in meta_table for operator in RECURRENT_OPERATORS),
        *(operator in fake_impls.op_implementations_dict for operator in RECURRENT_OPERATORS),
    ]


def _outputs(net: nn.Module, x: Tensor) -> list[Tensor]:
    with torch.no_grad():
        leaves: list[Tensor] = torch.utils._pytree.tree_leaves(net(x))
    return leaves


def test_pytorch_alone_fixes_the_number_of_steps() -> None:
    """Once this fails, PyTorch keeps it dynamic itself, and `keep_recurrent_operators` can go."""
    with pytest.raises(Exception, match="specialized it to be a constant"):
        _export(nn.LSTM(3, 5).eval())


@pytest.mark.parametrize(("kind", "options"), LAYERS)
def test_shapes_and_strides_are_those_of_the_kernels(
    kind: type[nn.RNNBase], options: dict[str, bool | int | str]
) -> None:
    net = kind(3, 5, **options).eval()  # type: ignore[arg-type]
    with keep_recurrent_operators():
        program = _export(net)
    (results,) = (n.args[0] for n in program.graph.nodes if n.op == "output")
    faked = [node.meta["val"] for node in results]
    for fake, real in zip(faked, _outputs(net, torch.randn(2, 7, 3)), strict=True):
        assert [_example(size) for size in fake.shape] == list(real.shape)
        assert [_example(stride) for stride in fake.stride()] == list(real.stride())
    x = torch.randn(3, 4, 3)
    for got, wanted in zip(_outputs(program.module(), x), _outputs(net, x), strict=True):
        assert torch.equal(got, wanted)


def _example(size: int | SymInt) -> int:
    """What a size is for the example inputs."""
    return size if isinstance(size, int) else int(str(size.node.hint))


def test_decomposing_a_program_keeps_them_again_and_again() -> None:
    with keep_recurrent_operators():
        program = _export(nn.GRU(3, 5).eval())
        for _ in range(2):
            program = run_decompositions(program, {})
            assert torch.ops.aten.gru.input in {node.target for node in program.graph.nodes}
    assert all(not isinstance(size, int) for size in _first_input(program).shape[:2])


def _first_input(program: ExportedProgram) -> Tensor:
    (name,) = program.graph_signature.user_inputs
    (value,) = (node.meta["val"] for node in program.graph.nodes if node.name == name)
    assert isinstance(value, Tensor)
    return value


def test_tensors_with_values_are_computed_as_ever() -> None:
    net, x = nn.LSTM(3, 5).eval(), torch.randn(4, 2, 3)
    before = _outputs(net, x)
    with keep_recurrent_operators():
        within = _outputs(net, x)
        loss = net(x)[0].sum()
        loss.backward()
    assert all(torch.equal(a, b) for a, b in zip(before, within, strict=True))
    assert net.weight_hh_l0.grad is not None


def _fail_within_contexts() -> None:
    before = _tables()
    with keep_recurrent_operators():
        with keep_recurrent_operators():
            assert _tables() != before
        assert _tables() != before
        raise RuntimeError("midway")


def test_pytorch_is_as_before_whatever_happens() -> None:
    before = _tables()
    with pytest.raises(RuntimeError, match="midway"):
        _fail_within_contexts()
    assert _tables() == before


def test_the_program_is_loaded_without_edgeconv(tmp_path: Path) -> None:
    net, path = nn.LSTM(3, 5, batch_first=True).eval(), tmp_path / "net.pt2"
    with keep_recurrent_operators():
        torch.export.save(_export(net), path)
    script = (
        "import sys, torch; program = torch.export.load(sys.argv[1]).module();"
        "print(*[list(program(torch.zeros(3, t, 3))[0].shape) for t in (1, 9)], 'edgeconv' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[3, 1, 5] [3, 9, 5] False"


def test_a_long_sequence_needs_constant_weights() -> None:
    def layer(x: Tensor, scale: Tensor) -> object:
        zero, weights = torch.zeros(1, 2, 5), [torch.ones(20, 4) * scale, torch.ones(20, 5)]
        hidden = [weights[0], weights[1] * scale]
        return torch.lstm(x, [zero, zero], hidden, False, 1, 0.0, False, False, False)

    case = Case("computed weights", layer, (torch.randn(40, 2, 4), torch.randn(1)))
    with pytest.raises(ConversionError, match="depend on no input"):
        lower_case(case)
