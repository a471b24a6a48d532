"""A graph's Python code is made when it runs: less of it is, and what runs is the same."""

from __future__ import annotations

import copy
import threading

import pytest
import torch
from torch import Tensor, nn
from torch.fx import GraphModule

from edgeconv_converters.torch_export.code_on_demand import code_on_demand, program_module


class Counting(nn.Module):
    """Has a weight, a branch on values, and a buffer that every run changes."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 3)
        self.runs: Tensor
        self.register_buffer("runs", torch.zeros(()))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        self.runs.add_(1)
        y = torch.cond(x.sum() > 0, lambda x: x.sin(), lambda x: x * 2, (self.layer(x),))
        return y, self.runs * 1


def leave_out(graph: GraphModule, layer: str) -> None:
    """Edit a graph: what the layer is given takes the place of what it gives."""
    node = next(node for node in graph.graph.nodes if node.target == layer)
    node.replace_all_uses_with(node.args[0])
    graph.graph.erase_node(node)
    graph.recompile()


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[GraphModule]:
    """The graph modules that got their code."""
    from edgeconv_converters.torch_export import code_on_demand as module

    modules, compile_now = [], module._compile

    def compile_and_note(graph: GraphModule) -> object:
        modules.append(graph)
        return compile_now(graph)

    monkeypatch.setattr(module, "_compile", compile_and_note)
    return modules


@torch.no_grad()
def test_only_what_runs_is_compiled_and_it_computes_the_same(compiled: list[GraphModule]) -> None:
    model, x = Counting().eval(), torch.randn(2, 3)
    with code_on_demand():
        program = torch.export.export(copy.deepcopy(model), (x,))
    ready = program_module(program)
    before = len(compiled)

    for sign in (1, -1, 1):
        wanted = model(sign * x)
        torch.testing.assert_close(ready(sign * x), wanted)

    assert ready in compiled[before:]
    assert program.graph_module not in compiled


def test_sizes_that_vary_are_checked() -> None:
    dims = {0: torch.export.Dim("N", min=2, max=4)}
    program = torch.export.export(nn.Linear(3, 3), (torch.randn(3, 3),), dynamic_shapes=(dims,))
    ready = program_module(program)

    assert ready(torch.randn(4, 3)).shape == (4, 3)
    with pytest.raises(AssertionError, match="4"):
        ready(torch.randn(5, 3))


def test_code_is_made_again_where_a_graph_was_edited() -> None:
    with code_on_demand():
        graph = torch.fx.symbolic_trace(nn.Sequential(nn.ReLU(), nn.Tanh()))
        x = torch.randn(4)
        torch.testing.assert_close(graph(x), x.relu().tanh())
        leave_out(graph, "1")

    torch.testing.assert_close(graph(x), x.relu())


def test_other_threads_and_what_comes_after_are_left_alone() -> None:
    compile_now = GraphModule.recompile
    codes: list[str] = []

    def trace() -> None:
        codes.append(torch.fx.symbolic_trace(nn.ReLU()).code)

    with code_on_demand():
        with code_on_demand():
            thread = threading.Thread(target=trace)
            thread.start()
            thread.join()
        assert GraphModule.recompile is not compile_now

    assert "relu" in codes[0]
    assert GraphModule.recompile is compile_now


def test_code_that_is_read_is_that_of_the_graph() -> None:
    with code_on_demand():
        graph = torch.fx.symbolic_trace(nn.Sequential(nn.ReLU(), nn.Tanh()))
        assert 'getattr(self, "1")' in str(graph)
        leave_out(graph, "1")
        assert "_code" not in vars(graph)
        assert 'getattr(self, "1")' not in graph.code

    leave_out(graph, "0")
    assert 'getattr(self, "0")' not in graph.code
