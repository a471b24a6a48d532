"""What the capture makes of programs, scripts, integers and pickles; called as a worker calls it."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn

from edgeconv.errors import CaptureError, InvalidInputError
from edgeconv.formats.torch_files import torch_file
from edgeconv.source import parse_inputs, parse_model
from edgeconv_converters.torch_export.binding import bind_source
from edgeconv_converters.torch_export.build import build_source
from edgeconv_converters.torch_export.evaluate import run_in_float64
from edgeconv_converters.torch_export.examples import arguments_from_specs
from edgeconv_converters.torch_export.flatten import (
    Bound,
    bind_inputs,
    flatten_outputs,
    make_flat_module,
)
from edgeconv_converters.torch_export.prepare import ready_module
from edgeconv_converters.torch_export.size_lines import find_size_lines
from edgeconv_converters.torch_export.vocabulary import spread_integers
from tests.disks import mounted

pytestmark = [pytest.mark.integration, pytest.mark.filterwarnings("ignore")]


class Tables(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(1000, 4)
        self.few = nn.Embedding(7, 4)
        self.table = nn.Buffer(torch.randn(5, 3))

    def forward(
        self, ids: Tensor, mask: Tensor, kind: Tensor, both: Tensor, offset: Tensor
    ) -> tuple[Tensor, ...]:
        looked_up = self.words(ids.view(-1, 8)) * mask.unsqueeze(-1)
        shared = self.words(both) + self.few(both)
        return looked_up, self.table[kind], shared, self.words(offset + 998)


def _drawn(module: nn.Module, *inputs: str) -> Bound:
    arguments = arguments_from_specs(module, parse_inputs(inputs), 0)
    return spread_integers(module, bind_inputs(module, (), arguments), list(arguments), 0)


def test_token_ids_use_all_rows_of_their_tables_and_masks_stay_masks() -> None:
    bound = _drawn(
        Tables().eval(),
        "ids:int64[64,8]",
        "mask:int64[64,8]",
        "kind:int64[99]",
        "both:int64[99]",
        "offset:int64[9]",
    )
    largest = {n: int(t.max()) for n, t in zip(bound.names, bound.tensors, strict=True)}
    smallest = {n: int(t.min()) for n, t in zip(bound.names, bound.tensors, strict=True)}
    assert 900 < largest["ids"] < 1000
    assert largest | {"ids": 0} == {"ids": 0, "mask": 1, "kind": 4, "both": 6, "offset": 1}
    assert set(smallest.values()) == {0}


def test_pixels_and_sound_have_all_values_of_their_dtype() -> None:
    class Pixels(nn.Module):
        def forward(self, image: Tensor, sound: Tensor, mask: Tensor) -> Tensor:
            return image.float().mean() + sound.float().mean() + mask.float().mean()

    bound = _drawn(Pixels(), "image:uint8[9,99]", "sound:int16[9,99]", "mask:int64[9,99]")
    image, sound, mask = bound.tensors
    assert int(image.max()) > 200
    assert int(sound.min()) < -30000
    assert int(mask.max()) == 1
    assert [tensor.dtype for tensor in bound.tensors] == [torch.uint8, torch.int16, torch.int64]


def test_integers_stay_as_they_are_where_more_would_fail() -> None:
    class Refuses(nn.Module):
        def forward(self, ids: Tensor) -> Tensor:
            if bool((ids > 1).any()):
                raise ValueError("too large")
            found: Tensor = torch.randn(5, 3).index_select(0, ids)
            return found

    assert int(_drawn(Refuses(), "ids:int64[99]").tensors[0].max()) == 1


def test_floats_that_are_looked_up_nowhere_are_left_alone() -> None:
    bound = bind_inputs(nn.ReLU(), (torch.rand(2, 3),))
    assert spread_integers(nn.ReLU(), bound, ["input"], 0) is bound


def test_a_fixed_size_of_a_program_cannot_be_made_dynamic(tmp_path: Path) -> None:
    path = tmp_path / "linear.pt2"
    torch.export.save(torch.export.export(nn.Linear(4, 3), (torch.rand(5, 4),)), path)
    built = build_source(parse_model(str(path)))
    bound, _ = bind_source(built, parse_inputs(["input:float32[5,4]"]), seed=0)
    assert bound.names == ("input",)
    with pytest.raises(CaptureError, match="'N' cannot be dynamic"):
        bind_source(built, parse_inputs(["input:float32[N=5,4]"]), seed=0)


def test_what_is_not_given_of_a_program_stays_as_it_declares(tmp_path: Path) -> None:
    class Pair(nn.Module):
        def forward(self, left: Tensor, right: Tensor) -> Tensor:
            return left.sum(1) + right.sum(1)

    rows, wide = torch.export.Dim("rows"), torch.export.Dim("wide", min=3, max=9)
    inputs, dims = (torch.rand(5, 4), torch.rand(5, 8)), ({0: rows}, {0: rows, 1: wide})
    path = tmp_path / "pair.pt2"
    torch.export.save(torch.export.export(Pair(), inputs, dynamic_shapes=dims), path)
    _, shapes = bind_source(
        build_source(parse_model(str(path))), parse_inputs(["left:float32[left_0=5,4]"]), seed=0
    )
    assert [tuple(map(str, shape)) for shape in shapes.shapes] == [
        ("left_0", "4"),
        ("left_0", "right_1"),
    ]


def test_a_model_without_a_program_runs_in_float64_as_well() -> None:
    class Branch(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x / 3 if x.sum() > 0 else x - 1

    module = Branch()
    bound = bind_inputs(module, (torch.rand(2, 3),))
    plan = flatten_outputs(module(torch.rand(2, 3)), bound.names)
    exact = run_in_float64(None, make_flat_module(module, bound, plan), bound.tensors)
    assert exact is not None
    assert exact[0].dtype == torch.float64
    wanted = bound.tensors[0].double() / 3
    assert torch.equal(exact[0], wanted)


def test_a_line_that_assumes_a_size_is_found_by_the_dim() -> None:
    class Two(nn.Module):
        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            first = x.reshape(2, 6)
            return first.sum() + y.reshape(3, 5).sum()

    def export() -> object:
        dynamic = torch.export.Dim.DYNAMIC
        return torch.export.export(
            Two(), (torch.rand(2, 6), torch.rand(3, 5)), dynamic_shapes=({0: dynamic}, {0: dynamic})
        )

    axes = {("x", 0): "N", ("y", 0): "M"}
    (first,) = find_size_lines(export, axes, ["N"])
    (second,) = find_size_lines(export, axes, ["M"])
    assert "first = x.reshape(2, 6)" in first
    assert "y.reshape(3, 5)" in second
    assert find_size_lines(export, axes, ["K"]) == []


def test_a_module_is_copied_and_shares_its_weights() -> None:
    net = nn.Sequential(nn.Linear(4, 3), nn.Dropout())
    ready = ready_module(net, is_owned=False)
    assert ready is not net
    assert not ready.training
    assert net.training
    assert next(ready.parameters()) is next(net.parameters())
    assert ready_module(net, is_owned=True) is net


def test_a_module_that_cannot_be_copied_is_taken_as_it_is_or_refused() -> None:
    class Stubborn(nn.Module):
        def __deepcopy__(self, memo: object) -> None:
            raise TypeError("there is only one of me")

    module = Stubborn().eval()
    assert ready_module(module, is_owned=False) is module
    with pytest.raises(InvalidInputError, match="without changing it"):
        ready_module(Stubborn(), is_owned=False)


def test_a_file_that_cannot_be_written_fails_in_python(tmp_path: Path) -> None:
    program = torch.export.export(nn.Linear(64, 64), (torch.rand(5, 64),))
    with torch_file(tmp_path / "whole.pt2") as stream:
        torch.export.save(program, stream)
    assert len(list(torch.export.load(tmp_path / "whole.pt2").graph.nodes)) > 2
    with mounted(tmp_path / "disk", "size=8k") as disk:
        with pytest.raises(OSError, match="No space left"), torch_file(disk / "m.pt2") as stream:
            torch.export.save(program, stream)
        assert list(disk.iterdir()) == []
