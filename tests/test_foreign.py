"""Files that are no models are told for what they are."""

from __future__ import annotations

import gzip
import json
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest

from edgeconv.errors import InvalidInputError
from edgeconv.formats import detect
from edgeconv.formats.foreign import recognize_file

STARTS = {
    b"\x89PNG\r\n\x1a\n": "a PNG image",
    b"\xff\xd8\xff\xe0": "a JPEG image",
    b"%PDF-1.7": "a PDF document",
    b"\x7fELF\x02": "a program or library",
    gzip.compress(b"x")[:8]: "compressed with gzip",
    b"\x89HDF\r\n\x1a\n": "an HDF5 file",
    pickle.dumps({}, 4): "a pickle",
    b"<html><body>": "a web page",
    b"\n<!DOCTYPE HTML>": "a web page",
    json.dumps([1]).encode(): "a JSON text",
    "Grüße".encode(): "plain text",
    b"PK\x05\x06" + bytes(18): "an empty zip archive",
    (9).to_bytes(8, "little") + b'{"a":{}}': "a safetensors file",
    b"\x00\x01\x02": "of an unknown kind: it begins with 00 01 02",
}


@pytest.mark.parametrize(("start", "kind"), STARTS.items(), ids=STARTS.values())
def test_a_file_is_recognized_by_its_first_bytes(start: bytes, kind: str) -> None:
    found, hint = recognize_file(start)
    assert kind in found
    assert hint


def test_a_letter_that_is_cut_in_two_makes_no_binary_of_a_text() -> None:
    assert recognize_file("ü".encode() * 255 + b"\xc3")[0] == "plain text"
    assert "unknown" in recognize_file(b"\xc3 and more text after it")[0]


@pytest.mark.parametrize(
    ("members", "text"),
    [
        (["archive/data.pkl", "archive/version"], "checkpoint without a model"),
        (["word/document.xml"], "a zip archive, but not a model"),
    ],
)
def test_archives_are_told_apart(tmp_path: Path, members: list[str], text: str) -> None:
    path = tmp_path / "model.pt2"
    with zipfile.ZipFile(path, "w") as archive:
        for name in members:
            archive.writestr(name, b"x")
    with pytest.raises(InvalidInputError, match=text):
        detect(path)


def test_weights_are_no_model(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    save_file({"w": np.zeros(2)}, tmp_path / "w.safetensors")
    with pytest.raises(InvalidInputError, match="weights without a model") as caught:
        detect(tmp_path / "w.safetensors")
    assert "--weights" in caught.value.hint
    (tmp_path / "w.safetensors").rename(tmp_path / "w.bin")
    with pytest.raises(InvalidInputError, match="safetensors file: weights without a model"):
        detect(tmp_path / "w.bin")
