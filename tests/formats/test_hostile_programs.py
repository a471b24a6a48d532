"""Exported programs made to run code: each is refused before it does, and most would have run in PyTorch alone."""

from __future__ import annotations

import io
import json
import pickle
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeAlias

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn

from edgeconv.errors import EdgeconvError, InvalidInputError, UnsafeInputError
from edgeconv.formats.program_check import check_program
from edgeconv.formats.torch_export import load_program
from tests.formats.archives import Content, Payload, read_member, rewrite

pytestmark = [pytest.mark.integration, pytest.mark.filterwarnings("ignore")]

MODEL = "models/model.json"
WEIGHTS = "data/weights/model_weights_config.json"
CONSTANTS = "data/constants/model_constants_config.json"

Changes: TypeAlias = Mapping[str, Content]
Json: TypeAlias = Any  # the text of a program, changed at will


class Net(nn.Module):
    """Two inputs that share a dynamic dim, so that the program has a guard and symbolic sizes."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2)

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        scores: Tensor = self.layer(left + right)
        return scores


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("program") / "model.pt2"
    size = torch.export.Dim("size")
    example = (torch.randn(2, 3), torch.randn(2, 3))
    shapes = ({0: size}, {0: size})
    torch.export.save(torch.export.export(Net(), example, dynamic_shapes=shapes), path)
    return path


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    """A folder that exists once a payload has run."""
    return tmp_path / "ran"


def _saved(content: object) -> bytes:
    stream = io.BytesIO()
    torch.save(content, stream)
    return stream.getvalue()


def _legacy(content: object) -> bytes:
    stream = io.BytesIO()
    torch.save(content, stream, _use_new_zipfile_serialization=False)
    return stream.getvalue()


def _json(program: Path, name: str) -> Json:
    return json.loads(read_member(program, name))


def _payload(program: Path, config: str, **changes: object) -> bytes:
    """A configuration whose first payload is another one."""
    data = _json(program, config)
    first = next(iter(_json(program, WEIGHTS)["config"].values()))
    data["config"]["layer.weight"] = {**first, **changes}
    return json.dumps(data).encode()


def _example_inputs(program: Path, marker: Path) -> Changes:
    return {"data/sample_inputs/model.pt": _saved(((Payload(marker),), {}))}


def _legacy_example_inputs(program: Path, marker: Path) -> Changes:
    return {"data/sample_inputs/model.pt": _legacy(((Payload(marker),), {}))}


def _plain_pickle_for_weights(program: Path, marker: Path) -> Changes:
    weights = _payload(program, WEIGHTS, path_name="weight_9", use_pickle=True)
    return {WEIGHTS: weights, "data/weights/weight_9": _saved(Payload(marker))}


def _old_weights(program: Path, marker: Path) -> Changes:
    return {"data/weights/model.pt": _saved({"layer.weight": Payload(marker)})}


def _old_constants(program: Path, marker: Path) -> Changes:
    return {"data/constants/model.pt": _saved({"c": Payload(marker)})}


def _opaque_constant(program: Path, marker: Path) -> Changes:
    constants = _payload(program, CONSTANTS, path_name="opaque_obj_0", use_pickle=True)
    return {CONSTANTS: constants, "data/constants/opaque_obj_0": pickle.dumps(Payload(marker))}


def _pickled_constant(program: Path, marker: Path) -> Changes:
    constants = _payload(program, CONSTANTS, path_name="tensor_0", use_pickle=True)
    return {CONSTANTS: constants, "data/constants/tensor_0": _saved(Payload(marker))}


def _code(marker: Path) -> str:
    return f"__import__('os').mkdir({str(marker)!r})"


def _edit(program: Path, edit: Callable[[Json], None]) -> Changes:
    model = _json(program, MODEL)
    edit(model)
    return {MODEL: json.dumps(model).encode()}


def _size_expression(program: Path, marker: Path) -> Changes:
    def edit(model: Json) -> None:
        sizes = model["graph_module"]["graph"]["tensor_values"]["left"]["sizes"]
        sizes[0]["as_expr"]["expr_str"] = _code(marker)

    return _edit(program, edit)


def _guard(program: Path, marker: Path) -> Changes:
    return _edit(program, lambda model: model["guards_code"].append(_code(marker)))


def _guard_text(program: Path, marker: Path) -> Changes:
    """The guard itself is harmless; the message that quotes it is not."""
    text = f'", {_code(marker)}, "'.replace("'", '"')
    return _edit(program, lambda model: model["guards_code"].append(f"L['left'] != {text!r}"))


def _argument_name(program: Path, marker: Path) -> Changes:
    def edit(model: Json) -> None:
        signature = model["graph_module"]["module_call_graph"][0]["signature"]
        signature["forward_arg_names"] = ["left", f"right={_code(marker)}"]

    return _edit(program, edit)


def _input_name(program: Path, marker: Path) -> Changes:
    evil = json.dumps(f"right={_code(marker)}")
    text = read_member(program, MODEL).decode().replace('"right"', evil)
    return {MODEL: text.replace(f'["left", {evil}]', '["left", "right"]').encode()}


def _operator(program: Path, marker: Path) -> Changes:
    def edit(model: Json) -> None:
        node = model["graph_module"]["graph"]["nodes"][0]
        node["target"] = "torch.os.mkdir"
        node["inputs"] = [{"name": "", "arg": {"as_string": str(marker)}, "kind": 1}]

    return _edit(program, edit)


def _parameter_name(program: Path, marker: Path) -> Changes:
    evil = json.dumps(f"x\", getattr(__import__('os'), 'mkdir')({str(marker)!r})) or (\"")
    text = read_member(program, MODEL).decode().replace('"layer.weight"', evil)
    weights = read_member(program, WEIGHTS).decode().replace('"layer.weight"', evil)
    return {MODEL: text.encode(), WEIGHTS: weights.encode()}


def _hidden_operator(program: Path, marker: Path) -> Changes:
    """In the arguments by name of a call, under a name that elsewhere holds free text."""

    def edit(model: Json) -> None:
        node = model["graph_module"]["graph"]["nodes"][0]
        hidden = {"metadata": {"as_operator": "torch.os.mkdir"}}
        node["inputs"].append({"name": "x", "arg": {"as_string_to_argument": hidden}, "kind": 2})

    return _edit(program, edit)


def _file_operator(program: Path, marker: Path) -> Changes:
    def edit(model: Json) -> None:
        node = model["graph_module"]["graph"]["nodes"][0]
        node["target"] = "torch.ops.aten.from_file.default"
        node["inputs"] = [
            {"name": "filename", "arg": {"as_string": str(marker)}, "kind": 1},
            {"name": "shared", "arg": {"as_bool": True}, "kind": 1},
            {"name": "size", "arg": {"as_int": 8}, "kind": 1},
        ]

    return _edit(program, edit)


def _module_to_import(program: Path, marker: Path) -> Changes:
    def edit(model: Json) -> None:
        signature = model["graph_module"]["module_call_graph"][0]["signature"]
        context = json.dumps({"__enum__": True, "fqn": "this:x", "name": "y"})
        tree = {"type": "builtins.dict", "context": context, "children_spec": []}
        signature["out_spec"] = json.dumps([1, tree])

    return _edit(program, edit)


def _factory_to_import(program: Path, marker: Path) -> Changes:
    def edit(model: Json) -> None:
        signature = model["graph_module"]["module_call_graph"][0]["signature"]
        context = {
            "default_factory_module": "this",
            "default_factory_name": "s",
            "dict_context": [],
        }
        tree = {"type": "collections.defaultdict", "context": context, "children_spec": []}
        signature["out_spec"] = json.dumps([1, tree])

    return _edit(program, edit)


def _compiled_library(program: Path, marker: Path) -> Changes:
    return {"data/aotinductor/model/model.so": b"\x7fELF"}


RUNS_IN_PYTORCH = [
    _example_inputs,
    _legacy_example_inputs,
    _plain_pickle_for_weights,
    _old_weights,
    _old_constants,
    _opaque_constant,
    _pickled_constant,
    _size_expression,
    _guard,
    _guard_text,
    _input_name,
    _parameter_name,
    _file_operator,
]
OTHERS = [
    _argument_name,
    _operator,
    _hidden_operator,
    _module_to_import,
    _factory_to_import,
    _compiled_library,
]
Attack = Callable[[Path, Path], Changes]


@pytest.mark.parametrize("attack", [*RUNS_IN_PYTORCH, *OTHERS])
def test_an_attack_is_refused_before_it_runs(
    program: Path, marker: Path, tmp_path: Path, attack: Attack
) -> None:
    path = rewrite(program, tmp_path / "evil.pt2", attack(program, marker))
    with pytest.raises(UnsafeInputError) as caught:
        load_program(path)
    assert caught.value.exit_status == 9
    assert caught.value.details
    assert not marker.exists()


@pytest.mark.parametrize("attack", RUNS_IN_PYTORCH)
def test_the_attack_works_in_pytorch_alone(
    program: Path, marker: Path, tmp_path: Path, attack: Attack
) -> None:
    """What is refused above is refused for a reason."""
    path = rewrite(program, tmp_path / "evil.pt2", attack(program, marker))
    with suppress(Exception):  # whatever comes of it, the payload has run
        torch.export.load(path).module()(torch.randn(2, 3), torch.randn(2, 3))
    assert marker.exists()


def test_imports_are_named(program: Path, marker: Path, tmp_path: Path) -> None:
    path = rewrite(program, tmp_path / "evil.pt2", _example_inputs(program, marker))
    with pytest.raises(UnsafeInputError) as caught:
        load_program(path)
    assert "posix.mkdir" in str(caught.value)
    assert "--trust" in caught.value.hint


def test_a_trusted_file_may_run(program: Path, marker: Path, tmp_path: Path) -> None:
    path = rewrite(program, tmp_path / "evil.pt2", _example_inputs(program, marker))
    with suppress(InvalidInputError):  # what the payload returns are no example inputs
        load_program(path, is_trusted=True)
    assert marker.exists()


@pytest.mark.parametrize(
    "changes",
    [
        {MODEL: None},
        {MODEL: b""},
        {MODEL: b"[1, 2"},
        {MODEL: b"[]"},
        {MODEL: b"{}"},
        {"models/other.json": b"{}"},
        {WEIGHTS: b"{}"},
        {WEIGHTS: None},
        {"data/weights/weight_0": b""},
        {"data/weights/weight_0": b"123"},
        {"archive_version": b"99"},
    ],
)
def test_a_damaged_program_is_no_crash(program: Path, tmp_path: Path, changes: Changes) -> None:
    with pytest.raises(InvalidInputError) as caught:
        load_program(rewrite(program, tmp_path / "damaged.pt2", changes))
    assert caught.value.exit_status == 2
    assert caught.value.why


class Branch(nn.Module):
    def forward(self, image: Tensor) -> Tensor:
        chosen: Tensor = torch.cond(image.sum() > 0, torch.sin, torch.cos, (image,))
        return chosen


class Nested(nn.Module):
    """Names, structures and sizes of every kind that torch.export writes."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleDict({"conv-1 x": nn.Conv1d(3, 4, 3), "last": nn.Linear(4, 4)})
        self.positions: Tensor
        self.register_buffer("positions", torch.arange(64))

    def forward(self, input: Tensor, more: dict[str, Tensor]) -> dict[str, object]:  # noqa: A002
        convolution, linear = self.layers.values()
        hidden: Tensor = convolution(input)
        batch, channels, length = hidden.shape
        flat = hidden.reshape(batch, channels * length)[:, : (channels * length) // 2 + 1]
        with torch.no_grad():
            weights = flat.softmax(-1)
        mixed = linear(hidden.transpose(1, 2))
        return {"a.b": (weights, [mixed]), "m": more["k k"] + 1, "p": self.positions[:length]}


@pytest.mark.parametrize("dynamic", [True, False])
def test_what_torch_export_writes_passes(tmp_path: Path, dynamic: bool) -> None:
    path = tmp_path / "nested.pt2"
    batch, length = torch.export.Dim("batch"), torch.export.Dim("length", min=2, max=15)
    shapes = {"input": {0: batch, 2: 4 * length}, "more": {"k k": {0: batch}}} if dynamic else None
    arguments = (torch.randn(2, 3, 12), {"k k": torch.randn(2, 2)})
    torch.export.save(torch.export.export(Nested(), arguments, dynamic_shapes=shapes), path)
    check_program(path)
    assert load_program(path).module()(*arguments)["m"].shape == (2, 2)


def test_control_flow_passes(tmp_path: Path) -> None:
    path = tmp_path / "branch.pt2"
    torch.export.save(torch.export.export(Branch(), (torch.randn(3),)), path)
    check_program(path)


@pytest.mark.parametrize("name", ["left", "right"])
def test_every_text_of_the_program_that_names_is_checked(
    program: Path, tmp_path: Path, name: str
) -> None:
    """Whatever name is no name anywhere in the program is refused: nothing is left out by its place."""
    text = read_member(program, MODEL).decode()
    places = text.count(f'"{name}"')
    assert places > 3
    for place in range(places):
        parts = text.split(f'"{name}"')
        changed = (
            f'"{name}"'.join(parts[: place + 1]) + '"a(b)"' + f'"{name}"'.join(parts[place + 1 :])
        )
        path = rewrite(program, tmp_path / f"{place}.pt2", {MODEL: changed.encode()})
        with pytest.raises(EdgeconvError):
            load_program(path)
