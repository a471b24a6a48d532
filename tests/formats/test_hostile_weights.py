"""Weights in every container, intact, damaged and hostile; and what each reader of them says."""

from __future__ import annotations

import io
import json
import pickle
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from edgeconv.errors import EdgeconvError, InvalidInputError, UnsafeInputError
from edgeconv.formats import detect
from edgeconv.formats.pickles import find_foreign_imports, find_imports
from edgeconv_converters.torch_export.weights import read_weights
from tests.formats.archives import Payload, rewrite

pytestmark = [pytest.mark.integration, pytest.mark.filterwarnings("ignore")]

Writer = Callable[[object, Path], None]


def _archive(content: object, path: Path) -> None:
    torch.save(content, path)


def _archive_of_protocol_4(content: object, path: Path) -> None:
    torch.save(content, path, pickle_protocol=4)


def _legacy(content: object, path: Path) -> None:
    torch.save(content, path, _use_new_zipfile_serialization=False)


def _plain_pickle(content: object, path: Path) -> None:
    path.write_bytes(pickle.dumps(content))


WRITERS = [_archive, _archive_of_protocol_4, _legacy, _plain_pickle]


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("name", ["weights.pt", "weights.pth", "weights.ckpt", "weights.bin"])
def test_a_pickle_that_runs_code_is_refused(tmp_path: Path, write: Writer, name: str) -> None:
    marker, path = tmp_path / "ran", tmp_path / name
    write({"weight": torch.zeros(2), "evil": Payload(marker)}, path)
    with pytest.raises(UnsafeInputError) as caught:
        read_weights(path, trust=False)
    assert caught.value.exit_status == 9
    assert "posix.mkdir" in caught.value.details
    assert "--trust" in caught.value.hint
    assert not marker.exists()


@pytest.mark.parametrize("write", [_archive, _legacy])
def test_the_payload_works_where_it_is_trusted(tmp_path: Path, write: Writer) -> None:
    marker, path = tmp_path / "ran", tmp_path / "weights.pt"
    write({"weight": torch.zeros(2), "evil": Payload(marker)}, path)
    assert list(read_weights(path, trust=True)) == ["weight"]
    assert marker.exists()


@pytest.mark.parametrize("write", [_archive, _legacy])
def test_weights_alone_pass(tmp_path: Path, write: Writer) -> None:
    path = tmp_path / "weights.pt"
    wanted = torch.nn.LSTM(3, 4).state_dict()
    write({"state_dict": wanted, "epoch": 3, "loss": [0.5, 0.25]}, path)
    found = read_weights(path, trust=False)
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


class Evaluates:
    """A call of a builtin, which is no import of a module."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return eval, ("1",)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_the_scan_finds_what_any_protocol_imports(protocol: int, tmp_path: Path) -> None:
    """The oracle is Python's own unpickler, which is asked for each name."""
    content = pickle.dumps({"a": Evaluates(), "b": Payload(tmp_path / "x")}, protocol=protocol)
    asked: list[str] = []

    class Listening(pickle.Unpickler):
        def find_class(self, module: str, name: str) -> object:
            asked.append(f"{module}.{name}")
            return lambda *_: None

    Listening(io.BytesIO(content)).load()
    found = [name.replace("__builtin__", "builtins") for name in find_imports(io.BytesIO(content))]
    assert found == [name.replace("__builtin__", "builtins") for name in asked]
    assert len(found) == 2


def test_the_scan_runs_nothing(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    content = pickle.dumps(Payload(marker))
    assert find_foreign_imports(io.BytesIO(content)) == ["posix.mkdir"]
    assert not marker.exists()
    pickle.loads(content)
    assert marker.exists()


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("share", [0.0, 0.1, 0.3, 0.6, 0.9])
def test_truncated_weights_are_damaged(tmp_path: Path, write: Writer, share: float) -> None:
    path = tmp_path / "weights.pt"
    write({"weight": torch.arange(4096)}, path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(EdgeconvError) as caught:
        read_weights(path, trust=False)
    # A pickle of protocol 4 holds its tensors in calls that weights do not need, wherever it is cut.
    assert caught.value.exit_status == (9 if isinstance(caught.value, UnsafeInputError) else 2)
    assert write is _plain_pickle or isinstance(caught.value, InvalidInputError)


@pytest.mark.parametrize("name", ["weights.pt", "weights.safetensors", "weights.pth"])
@pytest.mark.parametrize("content", [b"", b"\n", b"just some text\n" * 9, b"PK\x03\x04", b"\x80"])
def test_what_are_no_weights_is_damaged(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InvalidInputError):
        read_weights(path, trust=False)


@pytest.mark.parametrize("name", ["weights.pt", "weights.safetensors"])
def test_a_folder_holds_no_weights(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.mkdir()
    with pytest.raises(InvalidInputError):
        read_weights(path, trust=False)


def test_a_torchscript_model_is_no_state_dict(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    torch.jit.script(torch.nn.Linear(2, 2)).save(str(path))
    with pytest.raises(InvalidInputError, match="are a TorchScript model") as caught:
        read_weights(path, trust=False)
    assert "MODEL" in caught.value.hint


def test_an_archive_whose_pickle_is_swapped_is_refused(tmp_path: Path) -> None:
    path, marker = tmp_path / "weights.pt", tmp_path / "ran"
    torch.save({"weight": torch.zeros(2)}, path)
    evil = rewrite(path, tmp_path / "evil.pt", {"data.pkl": pickle.dumps(Payload(marker))})
    with pytest.raises(UnsafeInputError):
        read_weights(evil, trust=False)
    assert not marker.exists()


def _safetensors(header: object, content: bytes = bytes(16), *, length: int | None = None) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + content


def _tensor(**changes: object) -> dict[str, object]:
    return {"w": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16], **changes}}


LIES = {
    "longer than the file": _safetensors(_tensor(), length=1 << 40),
    "longer than allowed": _safetensors(_tensor(), length=(1 << 63) - 1),
    "shorter than it is": _safetensors(_tensor(), length=10),
    "beyond the end": _safetensors(_tensor(data_offsets=[0, 1 << 40])),
    "backwards": _safetensors(_tensor(data_offsets=[16, 0])),
    "shape does not fit": _safetensors(_tensor(shape=[1 << 40])),
    "shape overflows": _safetensors(_tensor(shape=[1 << 32, 1 << 32])),
    "unknown dtype": _safetensors(_tensor(dtype="F31")),
    "holes": _safetensors(_tensor(data_offsets=[0, 8], shape=[2])),
    "no header": bytes(4),
    "not an object": _safetensors([1, 2]),
}


@pytest.mark.parametrize("content", LIES.values(), ids=LIES)
def test_a_safetensors_header_that_lies_is_damaged(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "weights.safetensors"
    path.write_bytes(content)
    with pytest.raises(InvalidInputError) as caught:
        read_weights(path, trust=False)
    assert caught.value.why
    with pytest.raises(InvalidInputError):
        detect(path)  # the same bytes given as a model


def test_an_honest_safetensors_header_passes(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    path.write_bytes(_safetensors(_tensor(), struct.pack("<4f", 1, 2, 3, 4)))
    assert read_weights(path, trust=False)["w"].tolist() == [1, 2, 3, 4]
