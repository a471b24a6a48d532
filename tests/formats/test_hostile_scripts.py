"""TorchScript files that do more than compute: refused before their code runs."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn

from edgeconv.errors import InvalidInputError, UnsafeInputError
from edgeconv.formats.script_check import check_script
from edgeconv.formats.torchscript import load_script
from tests.formats.archives import Payload, read_member, rewrite

pytestmark = [pytest.mark.integration, pytest.mark.filterwarnings("ignore")]

CODE = "code/__torch__/net.py"
_SCRIPT = """
class Net(Module):
  __parameters__ = []
  __buffers__ = []
  training : bool
  _is_full_backward_hook : Optional[bool]
  def forward(self: __torch__.net.Net,
    x: Tensor) -> Tensor:
    {statement}
    return torch.add(x, 1)
"""


class Net(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + 1


@pytest.fixture(scope="session")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A module called `__torch__.net.Net`, whose code can be replaced."""
    path = tmp_path_factory.mktemp("script") / "net.pt"
    traced = torch.jit.script(Net())
    traced.save(str(path))
    name = str(traced._c._type().qualified_name()).removeprefix("__torch__.")
    data = read_member(path, "data.pkl").replace(
        f"__torch__.{name.rpartition('.')[0]}".encode(), b"__torch__.net"
    )
    member = f"code/__torch__/{name.rpartition('.')[0].replace('.', '/')}.py"
    changes = {member: None, f"{member}.debug_pkl": None, "data.pkl": data, CODE: _code("pass")}
    return rewrite(path, path.with_name("plain.pt"), changes)


def _code(statement: str) -> bytes:
    return _SCRIPT.format(statement=statement).encode()


def _with(script: Path, folder: Path, statement: str) -> Path:
    return rewrite(script, folder / "evil.pt", {CODE: _code(statement)})


def test_the_untouched_script_loads_and_runs(script: Path) -> None:
    module, text = load_script(script)
    assert torch.equal(module(torch.zeros(2)), torch.ones(2))
    assert text == ""


WRITES: list[Callable[[Path], str]] = [
    lambda path: f'torch.save(x, "{path}")',
    lambda path: f'x = torch.from_file("{path}", True, 2)',
    lambda path: f'ops.aten.save(x, "{path}")',
    lambda path: f'y = torch . from_file ("{path}", True, 8)',
]


@pytest.mark.parametrize("statement", WRITES)
def test_code_that_opens_files_is_refused(
    script: Path, tmp_path: Path, statement: Callable[[Path], str]
) -> None:
    marker = tmp_path / "written"
    path = _with(script, tmp_path, statement(marker))
    with pytest.raises(UnsafeInputError) as caught:
        load_script(path)
    assert caught.value.exit_status == 9
    assert "line 9" in caught.value.details[0]
    assert not marker.exists()


@pytest.mark.parametrize("statement", [WRITES[0], WRITES[1]])
def test_in_pytorch_alone_the_code_writes(
    script: Path, tmp_path: Path, statement: Callable[[Path], str]
) -> None:
    marker = tmp_path / "written"
    torch.jit.load(str(_with(script, tmp_path, statement(marker))))(torch.zeros(2))
    assert marker.exists()


@pytest.mark.parametrize(
    "statement",
    ['y = getattr(torch, "save")', 'y = getattr(torch, "\\x73ave")', "y = getattr(torch, x)"],
)
def test_a_name_that_is_looked_up_is_refused(script: Path, tmp_path: Path, statement: str) -> None:
    with pytest.raises(UnsafeInputError, match="more than compute"):
        check_script(_with(script, tmp_path, statement))


@pytest.mark.parametrize("member", ["data.pkl", "constants.pkl"])
@pytest.mark.parametrize("protocol", [2, 4])
def test_a_pickle_with_foreign_names_is_refused(
    script: Path, tmp_path: Path, member: str, protocol: int
) -> None:
    marker = tmp_path / "ran"
    evil = pickle.dumps(Payload(marker), protocol=protocol)
    with pytest.raises(UnsafeInputError, match=r"posix\.mkdir"):
        load_script(rewrite(script, tmp_path / "evil.pt", {member: evil}))
    assert not marker.exists()


@pytest.mark.parametrize(
    "changes",
    [
        {"data.pkl": None},
        {"data.pkl": b""},
        {"data.pkl": b"no pickle"},
        {CODE: None},
        {CODE: b""},
        {"version": b"9999"},
        {"constants.pkl": None},
    ],
)
def test_a_damaged_script_is_no_crash(
    script: Path, tmp_path: Path, changes: dict[str, bytes | None]
) -> None:
    with pytest.raises(InvalidInputError) as caught:
        load_script(rewrite(script, tmp_path / "damaged.pt", changes))
    assert caught.value.exit_status == 2


def test_code_that_is_no_python_is_refused(script: Path, tmp_path: Path) -> None:
    with pytest.raises(UnsafeInputError, match="cannot be examined"):
        load_script(_with(script, tmp_path, "def def"))


class Cell(nn.Module):
    """Loops, branches, lists, strings and submodules: what scripted code is made of."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.LSTMCell(3, 4)
        self.names = ["a", "b"]

    def forward(self, x: Tensor, mode: str = "sum") -> Tensor:
        hidden = torch.zeros(x.shape[1], 4)
        memory = torch.zeros(x.shape[1], 4)
        outputs: list[Tensor] = []
        for step in x.unbind(0):
            hidden, memory = self.cell(step, (hidden, memory))
            outputs.append(hidden if mode == "sum" else memory)
        stacked: Tensor = torch.stack(outputs)
        return stacked


def test_what_torch_jit_writes_passes(tmp_path: Path) -> None:
    quantized = torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.Linear(3, 2)), {nn.Linear})
    modules = {
        "scripted": torch.jit.script(Cell()),
        "traced": torch.jit.trace(nn.Conv2d(1, 2, 3).eval(), torch.zeros(1, 1, 5, 5)),
        "quantized": torch.jit.script(quantized),
    }
    for name, module in modules.items():
        path = tmp_path / f"{name}.pt"
        module.save(str(path))
        check_script(path)
