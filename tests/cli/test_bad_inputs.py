"""`--input` as users get it wrong, dims that a model does not take, and what a model's own file says instead."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from tests.cli.conftest import CommandLine, Refusals

torch = pytest.importorskip("torch")

from torch import Tensor, nn

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("warm")]

NETS = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 3)
    def forward(self, features, mask=None):
        return self.fc(features) if mask is None else self.fc(features) * mask

class Two(nn.Module):
    def forward(self, left, *, right): return left + right
class Rest(nn.Module):
    def forward(self, *parts): return parts[0] + parts[1]
class Batch(nn.Module):
    def forward(self, batch): return batch["left"] + batch["right"]
class Fixed(nn.Module):
    def forward(self, x):
        return x.reshape(2, 12) * 2
class Limited(nn.Module):
    def __init__(self):
        super().__init__()
        self.position = nn.Parameter(torch.randn(6, 4))
    def forward(self, x):
        return x + self.position[: x.shape[1]]
class Equal(nn.Module):
    def forward(self, x, y):
        return x + y
class Even(nn.Module):
    def forward(self, x):
        return x.reshape(-1, 2, 4) + 1
class Branch(nn.Module):
    def forward(self, x):
        if x.sum() > 0:
            return x * 2
        return x - 1
class Unsized(nn.Module):
    def forward(self, x):
        if x.shape[0] > 10:
            raise ValueError("too many rows")
        return x[x > 0].sum() + x

def net(): return Net()
def example(): return Net(), (torch.rand(2, 4),)
def two(): return Two()
def rest(): return Rest()
def rest_example(): return Rest(), (torch.rand(2, 3), torch.rand(2, 3))
def batch(): return Batch()
def batch_example(): return Batch(), ({"left": torch.rand(2, 3), "right": torch.rand(2, 3)},)
def fixed(): return Fixed(), (torch.rand(2, 3, 4),)
def limited(): return Limited(), (torch.rand(2, 3, 4),)
def equal(): return Equal(), (torch.rand(2, 3), torch.rand(2, 3))
def even(): return Even(), (torch.rand(4, 4),)
def branch(): return Branch(), (torch.rand(2, 3),)
def named(): return Two(), {"left": torch.rand(2, 3), "right": torch.rand(2, 3)}
"""


@pytest.fixture
def nets(tmp_path: Path) -> Path:
    path = tmp_path / "net.py"
    path.write_text(NETS)
    return path


@pytest.mark.parametrize(
    ("function", "inputs", "texts"),
    [
        (
            "net",
            [],
            ["about input 'features'", "forward takes (features, mask=None)", "--input 'features:"],
        ),
        ("two", [], ["about inputs 'left', 'right'", "forward takes (left, *, right)"]),
        ("net", ["feature:float32[2,4]"], ["no input 'feature'", "did you mean 'features'?"]),
        ("net", ["features:float32[2,4]", "a:bool[1]", "b:bool[1]"], ["no input 'a', 'b'"]),
        ("net", ["features:float32[2,5]"], ["forward fails", "net.py:", "features:float32[2, 5]"]),
        ("example", ["feature:float32[2,4]"], ["its inputs are features", "did you mean"]),
        ("example", ["features:float32[4]"], ["does not fit the model's example", "float32[2, 4]"]),
        ("example", ["features:int64[2,4]"], ["does not fit the model's example"]),
        ("rest", ["parts:float32[2,3]"], ["(*parts)", "(module, example_inputs)"]),
        ("batch", ["batch_left:float32[2,3]"], ["inputs inside of tuples, lists, dicts"]),
        ("net", ["features:float32[2147483647,2147483647]"], ["too large for this machine", "GiB"]),
    ],
)
def test_inputs_that_do_not_fit(
    refused: Refusals, nets: Path, function: str, inputs: list[str], texts: list[str]
) -> None:
    words = [word for text in inputs for word in ("--input", text)]
    refused.convert(f"{nets}:{function}", *words, code="invalid-input", status=2, texts=texts)


@pytest.mark.parametrize(
    ("texts", "place", "why"),
    [
        (["features"], 8, "not NAME:DTYPE[DIMS]"),
        (["features:float32[2,4"], 20, "not NAME:DTYPE[DIMS]"),
        (["features:float[2,4]"], 9, "did you mean float32?"),
        (["features:long[2,4]"], 9, "did you mean int64?"),
        (["features:float32[0,4]"], 17, "leaves nothing to compute"),
        (["features:float32[N=0,4]"], 17, "must be 1 or more"),
        (["features:float32[N=8..1,4]"], 17, "the range 8..1 is empty"),
        (["features:float32[-1,4]"], 17, "is no size"),
        (["features:float32[2,,4]"], 19, "is no size"),
        (["features:float32[4//0]"], 17, "is no size"),
        (["features:float32[99999999999]"], 17, "more than any format can count"),
        (["features:float32[N=1..99999999999]"], 17, "more than any format can count"),
    ],
)
def test_inputs_that_cannot_be_read(
    refused: Refusals, nets: Path, texts: list[str], place: int, why: str
) -> None:
    words = [word for text in texts for word in ("--input", text)]
    marked = f"  - {texts[0]}\n  - {' ' * place}^\n"
    refused.convert(f"{nets}:net", *words, code="usage", status=2, texts=[why, marked])


@pytest.mark.parametrize(
    ("inputs", "why"),
    [
        (["a:bool[1]", "a:bool[1]"], "given twice"),
        (["a:bool[N=1]", "b:bool[N=2]"], "declared in two ways"),
        (["a:bool[N]"], "has no example size"),
    ],
)
def test_inputs_that_contradict_each_other(
    refused: Refusals, nets: Path, inputs: list[str], why: str
) -> None:
    words = [word for text in inputs for word in ("--input", text)]
    refused.convert(f"{nets}:net", *words, code="usage", status=2, texts=[why])


@pytest.mark.parametrize(
    ("function", "inputs", "texts"),
    [
        ("fixed", ["x:float32[N=2,3,4]"], ["dim 'N' cannot be dynamic", "x.reshape(2, 12)"]),
        (
            "limited",
            ["x:float32[2,N=1..8,4]"],
            ["all sizes of 1..8", "inside 1..6", "self.position[:"],
        ),
        (
            "equal",
            ["x:float32[N=2,3]", "y:float32[M=2,3]"],
            ["must be the same dim", "return x + y"],
        ),
        ("even", ["x:float32[N=4,4]"], ["a whole number N", "2*N=4", "x.reshape(-1, 2, 4)"]),
    ],
)
def test_dims_that_the_model_does_not_take_are_told_with_its_line(
    refused: Refusals, nets: Path, function: str, inputs: list[str], texts: list[str]
) -> None:
    words = [word for text in inputs for word in ("--input", text)]
    out = refused.out
    said = refused.edgeconv(
        "convert", f"{nets}:{function}", *words, "--to", "tflite", "-o", out, "--json"
    )
    assert said.status == 5
    goals = cast("list[dict[str, dict[str, object]]]", said.data["goals"])
    assert goals[0]["error"]["code"] == "capture"
    refused.check_text(said, ["net.py:", *texts])
    assert {path.name for path in out.iterdir()} == {"report.json", "report.html"}


def test_control_flow_that_depends_on_data_is_told_with_its_line(
    refused: Refusals, nets: Path
) -> None:
    said = refused.edgeconv("convert", f"{nets}:branch", "--to", "tflite", "-o", refused.out)
    assert said.status == 5
    refused.check_text(said, ["depends on the values", "net.py:", "if x.sum() > 0:", "torch.where"])
    assert "float64" not in said.err


def _signature(edgeconv: CommandLine, *words: str | Path) -> tuple[list[str], list[str]]:
    said = edgeconv("inspect", *words, "--json", "-q")
    assert said.status == 0, said.err
    signature = cast("dict[str, list[dict[str, object]]]", said.data["signature"])
    inputs, dims = (signature[key] for key in ("inputs", "dims"))
    shown = [f"{spec['name']}:{spec['dtype']}{spec['shape']}" for spec in inputs]
    return shown, [f"{d['name']}={d['example']}:{d['min']}..{d['max']}" for d in dims]


@pytest.mark.parametrize(
    ("function", "inputs", "shown"),
    [
        ("net", ["features:float32[N=2,4]"], ["features:float32['N', 4]"]),
        (
            "net",
            ["mask:float32[3]", "features:float32[2,4]"],
            ["features:float32[2, 4]", "mask:float32[3]"],
        ),
        (
            "two",
            ["right:float32[2,3]", "left:float32[2,3]"],
            ["left:float32[2, 3]", "right:float32[2, 3]"],
        ),
        ("named", [], ["left:float32[2, 3]", "right:float32[2, 3]"]),
        (
            "named",
            ["right:float32[N=5,3]", "left:float32[N,3]"],
            ["left:float32['N', 3]", "right:float32['N', 3]"],
        ),
        ("rest_example", [], ["parts_0:float32[2, 3]", "parts_1:float32[2, 3]"]),
        (
            "rest_example",
            ["parts_0:float32[N=2,3]", "parts_1:float32[N,3]"],
            ["parts_0:float32['N', 3]", "parts_1:float32['N', 3]"],
        ),
        ("batch_example", [], ["batch_left:float32[2, 3]", "batch_right:float32[2, 3]"]),
    ],
)
def test_inputs_are_named_after_the_parameters_of_forward(
    edgeconv: CommandLine, nets: Path, function: str, inputs: list[str], shown: list[str]
) -> None:
    words = [word for text in inputs for word in ("--input", text)]
    assert _signature(edgeconv, f"{nets}:{function}", *words)[0] == shown


def test_a_program_keeps_the_names_and_dims_it_was_made_with(
    edgeconv: CommandLine, nets: Path, tmp_path: Path
) -> None:
    words = (
        "--input",
        "features:float32[N=3..16,4]",
        "--to",
        "torch-export",
        "-o",
        tmp_path / "out",
    )
    assert edgeconv("convert", f"{nets}:net", *words, "-q").status == 0
    shown = _signature(edgeconv, tmp_path / "out" / "net.pt2")
    assert shown == (["features:float32['N', 4]"], ["N=3:3..16"])


def test_a_program_of_pytorch_keeps_its_dynamic_dims(
    refused: Refusals, edgeconv: CommandLine, tmp_path: Path
) -> None:
    path = tmp_path / "linear.pt2"
    dims = ({0: torch.export.Dim("batch", max=64)},)
    program = torch.export.export(torch.nn.Linear(4, 3), (torch.rand(5, 4),), dynamic_shapes=dims)
    torch.export.save(program, path)
    assert _signature(edgeconv, path) == (["input:float32['input_0', 4]"], ["input_0=5:1..64"])
    given = _signature(edgeconv, path, "--input", "input:float32[N=2,4]")
    assert given == (["input:float32['N', 4]"], ["N=2:1..64"])


def test_a_program_with_a_fixed_size_says_so(refused: Refusals, tmp_path: Path) -> None:
    path = tmp_path / "linear.pt2"
    program = torch.export.export(torch.nn.Linear(4, 3), (torch.rand(5, 4),))
    torch.export.save(program, path)
    words = ("inspect", path, "--input", "input:float32[N=5,4]")
    texts = ["dim 'N' cannot be dynamic", "exported with the size 5 on axis 0 of 'input'"]
    refused(*words, code="capture", status=5, texts=texts)


@pytest.mark.filterwarnings("ignore::FutureWarning")  # PyTorch's, of scripting itself
def test_a_script_is_exported_with_its_weights(
    edgeconv: CommandLine, refused: Refusals, tmp_path: Path
) -> None:
    path = tmp_path / "script.pt"
    torch.jit.script(torch.nn.Linear(4, 3)).save(path)
    words = ("convert", path, "--to", "torch-export", "-o", tmp_path / "out", "-q")
    said = edgeconv(*words)
    assert said.status == 2
    assert "nothing is known about input 'input'" in said.err
    assert edgeconv(*words, "--input", "input:float32[2,4]").status == 0
    assert edgeconv(*words, "--input", "input:float32[N=2,4]").status == 0


class _Halves(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.reshape(2 * x.size(0), 2)


@pytest.mark.filterwarnings("ignore::FutureWarning")  # PyTorch's, of scripting itself
def test_sizes_that_a_script_computes_cannot_be_dynamic_in_a_program(
    edgeconv: CommandLine, refused: Refusals, tmp_path: Path
) -> None:
    path = tmp_path / "script.pt"
    torch.jit.script(_Halves()).save(path)
    words = ("convert", path, "--input", "x:float32[N=2,4]", "-o", tmp_path / "out", "-q")
    said = edgeconv(*words, "--to", "torch-export")
    assert said.status == 5
    refused.check_text(said, ["TorchScript model cannot be exported with dynamic dims (N)"])
    assert edgeconv(*words, "--to", "torchscript").status == 0
