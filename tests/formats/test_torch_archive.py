"""The checks of zip archives: each kind of damage and of attack, against archives that Python's zipfile wrote."""

from __future__ import annotations

import stat
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeconv.errors import InvalidInputError, UnsafeInputError
from edgeconv.formats import detect
from edgeconv.formats.torch_archive import check_archive, replace_member
from tests.formats.archives import add_raw, flip_byte, read_member

WEIGHTS = bytes(range(256)) * 16


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "model.pt2"
    with zipfile.ZipFile(path, "w") as new:
        new.writestr("model/data/weights", WEIGHTS)
        new.writestr("model/code/a.py", "x = 1\n" * 999, zipfile.ZIP_DEFLATED)
        new.writestr("model/version", "3")
    return path


def test_an_intact_archive_passes(archive: Path) -> None:
    check_archive(archive)


@pytest.mark.parametrize(
    "name",
    ["../outside", "model/../../outside", "/etc/passwd", "C:/outside", "..\\outside", "\\outside"],
)
def test_a_member_that_leads_out_is_unsafe(archive: Path, name: str) -> None:
    with pytest.raises(UnsafeInputError) as caught:
        check_archive(add_raw(archive, name))
    assert caught.value.exit_status == 9
    assert len(caught.value.details) == 1


def test_a_link_is_unsafe(archive: Path) -> None:
    with pytest.raises(UnsafeInputError, match="lead out"):
        check_archive(add_raw(archive, "model/link", b"/etc/passwd", mode=stat.S_IFLNK | 0o777))


@pytest.mark.parametrize("name", ["model/version", "model/VERSION"])
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_doubled_member_is_damage(archive: Path, name: str) -> None:
    with pytest.raises(InvalidInputError, match="twice") as caught:
        check_archive(add_raw(archive, name))
    assert caught.value.exit_status == 2
    assert caught.value.details == ("model/version",)


def test_a_member_that_unpacks_to_far_more_is_a_bomb(archive: Path) -> None:
    with zipfile.ZipFile(archive, "a", zipfile.ZIP_DEFLATED) as bomb:
        bomb.writestr("model/bomb", bytes(20 << 20))
    with pytest.raises(UnsafeInputError, match="unpack") as caught:
        check_archive(archive)
    assert caught.value.details == ("model/bomb",)


def test_many_small_bombs_are_a_bomb(archive: Path) -> None:
    with zipfile.ZipFile(archive, "a", zipfile.ZIP_DEFLATED) as bomb:
        for number in range(4):
            bomb.writestr(f"model/bomb{number}", bytes(9 << 20))
    with pytest.raises(UnsafeInputError, match="unpack"):
        check_archive(archive)


def test_text_that_packs_well_is_no_bomb(archive: Path) -> None:
    with zipfile.ZipFile(archive, "a", zipfile.ZIP_DEFLATED) as text:
        text.writestr("model/code/long.py", "".join(f"x{n} = {n}\n" for n in range(1 << 20)))
    check_archive(archive)


def test_a_wrong_checksum_is_damage(archive: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="checksum"):
        check_archive(flip_byte(archive, tmp_path / "flipped.pt2", WEIGHTS))


def test_a_damaged_stream_is_damage(archive: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(archive) as old:
        start = old.getinfo("model/code/a.py").header_offset
    data = bytearray(archive.read_bytes())
    data[start + 30 + len("model/code/a.py") + 2] ^= 0xFF
    damaged = tmp_path / "damaged.pt2"
    damaged.write_bytes(data)
    with pytest.raises(InvalidInputError):
        check_archive(damaged)


@settings(max_examples=60, deadline=None)
@given(share=st.floats(min_value=0, max_value=0.999))
def test_every_truncated_archive_is_damage(
    tmp_path_factory: pytest.TempPathFactory, share: float
) -> None:
    path = tmp_path_factory.mktemp("cut") / "model.pt2"
    with zipfile.ZipFile(path, "w") as new:
        new.writestr("model/weights", WEIGHTS)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(InvalidInputError):
        check_archive(path)


@settings(max_examples=200, deadline=None)
@given(position=st.integers(min_value=0), value=st.integers(min_value=0, max_value=255))
def test_an_archive_with_any_byte_changed_passes_or_is_refused_in_words(
    tmp_path_factory: pytest.TempPathFactory, position: int, value: int
) -> None:
    path = tmp_path_factory.mktemp("byte") / "model.pt2"
    with zipfile.ZipFile(path, "w") as new:
        new.writestr("model/weights", WEIGHTS[:64])
        new.writestr("model/code.py", "x = 1\n" * 9, zipfile.ZIP_DEFLATED)
    data = bytearray(path.read_bytes())
    data[position % len(data)] = value
    path.write_bytes(data)
    with suppress(InvalidInputError, UnsafeInputError):
        check_archive(path)


@pytest.mark.parametrize(
    "content", [b"", b"PK", b"a text file, and no archive", b"\x80\x02}q\x00."]
)
def test_what_is_no_archive_is_damage(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.pt2"
    path.write_bytes(content)
    with pytest.raises(InvalidInputError, match="damaged"):
        check_archive(path)


def test_a_folder_is_damage(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="damaged"):
        check_archive(tmp_path)


def test_a_member_is_replaced_and_the_others_stay(archive: Path, tmp_path: Path) -> None:
    target = tmp_path / "new.pt2"
    replace_member(archive, target, "version", b"4")
    check_archive(target)
    with zipfile.ZipFile(archive) as old, zipfile.ZipFile(target) as new:
        assert sorted(new.namelist()) == sorted(old.namelist())
        for name in ("model/data/weights", "model/code/a.py"):
            assert new.read(name) == old.read(name)
            assert new.getinfo(name).compress_type == old.getinfo(name).compress_type
    assert read_member(target, "version") == b"4"


def test_a_member_is_added_where_there_was_none(archive: Path, tmp_path: Path) -> None:
    target = tmp_path / "new.pt2"
    replace_member(archive, target, "extra/edgeconv.json", b"{}")
    assert read_member(target, "extra/edgeconv.json") == b"{}"
    assert read_member(target, "version") == b"3"


def test_members_begin_where_pytorch_lets_them_begin(archive: Path, tmp_path: Path) -> None:
    """PyTorch's own writer aligns them to 64 bytes, so that they can be mapped into memory."""
    target = tmp_path / "new.pt2"
    replace_member(archive, target, "version", b"4")
    with zipfile.ZipFile(target) as new:
        members = new.infolist()
    data = target.read_bytes()
    for member in members:
        names, extras = data[member.header_offset + 26 :][:2], data[member.header_offset + 28 :][:2]
        sizes = int.from_bytes(names, "little") + int.from_bytes(extras, "little")
        assert (member.header_offset + 30 + sizes) % 64 == 0


def test_the_same_contents_make_the_same_archive(archive: Path, tmp_path: Path) -> None:
    for name in ("one.pt2", "two.pt2"):
        replace_member(archive, tmp_path / name, "version", b"4")
    assert (tmp_path / "one.pt2").read_bytes() == (tmp_path / "two.pt2").read_bytes()


@pytest.mark.integration
def test_a_module_that_was_pickled_whole_is_told_from_weights(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    path, weights = tmp_path / "net.pt", tmp_path / "weights.pt"
    net = torch.nn.Sequential(torch.nn.Linear(2, 2))
    torch.save(net, path)
    torch.save(net.state_dict(), weights)
    with pytest.raises(InvalidInputError, match="a whole model that") as caught:
        detect(path)
    assert "'torch.nn.modules.container.Sequential'" in caught.value.why
    assert "weights_only=False" in caught.value.hint
    with pytest.raises(InvalidInputError, match="a PyTorch checkpoint without a model"):
        detect(weights)
