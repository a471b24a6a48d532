"""What is kept of a failure names no folder of the machine."""

from __future__ import annotations

from benchmarks.failures import describe_failure, without_folders


def test_paths_are_names_of_files() -> None:
    text = "['/opt/tools-2.6/bin/onnx2tf', '-i', '/srv/x/model.onnx'] at /opt/site-packages/conv.py:1198:0"
    assert without_folders(text) == "['onnx2tf', '-i', 'model.onnx'] at conv.py:1198:0"


def test_what_is_no_absolute_path_stays() -> None:
    text = "see https://example.org/a/b/c, docs/results.md, ../zoo/models.py, 3/4 of 1 / 2"
    assert without_folders(text) == text


def test_the_last_line_is_told() -> None:
    assert (
        describe_failure(1, "first\n\nIOError: '/srv/data/x.npz'\n \n")
        == "status 1: IOError: 'x.npz'"
    )
    assert describe_failure(-9, "") == "status -9: "
