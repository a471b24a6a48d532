"""Cards are complete, the folders hold what cards promise, and everything stays small enough for git."""

from __future__ import annotations

import ast
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError as CardError

from edgeconv.errors import InvalidInputError
from edgeconv.source import parse_model
from sample_models import cards
from sample_models.cards import (
    CARD_FILE,
    ROOT,
    TEST_FILE,
    StorageWay,
    folder_of,
    model_names,
    read_card,
    record_measurements,
)

LARGEST_FILE_BYTES = 2_000_000
ENOUGH_DIGITS = 300
README = ROOT / "README.md"


def stored_files() -> Iterator[Path]:
    return (path for path in ROOT.rglob("*") if path.is_file() and "__pycache__" not in path.parts)


def test_every_folder_is_a_sample_model_and_the_eight_are_there() -> None:
    folders = {path.name for path in ROOT.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert folders == set(model_names())
    assert folders == {
        "anomaly_autoencoder",
        "digits_mobilenet",
        "digits_mobilenetv3",
        "digits_qat",
        "digits_resnet8",
        "digits_vit",
        "gesture_lstm",
        "keyword_dscnn",
        "sentence_encoder",
    }


@pytest.mark.parametrize("name", model_names())
def test_a_card_is_complete_and_its_files_exist(name: str) -> None:
    card = read_card(name)
    assert card.name == name
    assert {"model.py", "train.py", TEST_FILE, card.storage.file} <= {
        path.name for path in folder_of(name).iterdir()
    }


def test_every_way_to_store_a_model_has_a_file() -> None:
    assert {read_card(name).storage.way for name in model_names()} == set(StorageWay)


@pytest.mark.parametrize("name", model_names())
def test_all_dims_of_outputs_are_dims_of_inputs_and_the_batch_is_dynamic(name: str) -> None:
    signature = read_card(name).signature()
    assert all(str(spec.shape[0]) == "N" for spec in (*signature.inputs, *signature.outputs))


@pytest.mark.parametrize("name", model_names())
def test_the_names_of_inputs_are_the_parameters_of_forward(name: str) -> None:
    tree = ast.parse((folder_of(name) / "model.py").read_text("utf-8"))
    forwards = [
        [argument.arg for argument in node.args.args[1:]]
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.name == "forward"
    ]
    assert list(read_card(name).input_names()) in forwards


@pytest.mark.parametrize("name", model_names())
def test_a_model_file_imports_nothing_but_torch(name: str) -> None:
    tree = ast.parse((folder_of(name) / "model.py").read_text("utf-8"))
    imported: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(str(node.module).split(".")[0])
    assert imported <= {"__future__", "itertools", "torch"}


@pytest.mark.parametrize("name", model_names())
def test_the_held_out_samples_fit_the_signature(name: str) -> None:
    card = read_card(name)
    with np.load(folder_of(name) / TEST_FILE) as file:
        arrays = {key: file[key] for key in file.files}
    sizes: dict[str, int] = {}
    for spec in card.signature().inputs:
        array = arrays[spec.name]
        assert array.dtype == spec.dtype.value
        sizes |= {str(size): found for size, found in zip(spec.shape, array.shape, strict=True)}
        assert array.shape == spec.concrete_shape(
            {key: value for key, value in sizes.items() if not key.isdigit()}
        )
    assert ("label" in arrays) is (card.metric.value is not None)
    assert len({len(array) for array in arrays.values()}) == 1
    if name.startswith("digits"):
        assert sizes["N"] >= ENOUGH_DIGITS


def test_no_file_is_too_large_for_git() -> None:
    sizes = {path.relative_to(ROOT).as_posix(): path.stat().st_size for path in stored_files()}
    assert len(sizes) > len(model_names())
    assert {path: size for path, size in sizes.items() if size > LARGEST_FILE_BYTES} == {}


def test_stored_programs_do_not_say_where_they_were_made() -> None:
    places = [str(ROOT.parent).encode(), b"site-packages", str(Path.home()).encode()]
    stored = [folder_of(name) / read_card(name).storage.file for name in model_names()]
    found = [
        (path.name, place) for path in stored for place in places if place in path.read_bytes()
    ]
    assert found == []


@pytest.mark.parametrize("name", model_names())
def test_the_readme_has_figures_and_command_of_each_card(name: str) -> None:
    card, text = read_card(name), README.read_text("utf-8")
    (row,) = [line for line in text.splitlines() if line.startswith(f"| [{name}]")]
    assert f" {card.parameters:,} " in row
    assert f"`{card.storage.file}`" in row
    figure = "none" if card.metric.value is None else f"{card.metric.name} {card.metric.value:.4f}"
    assert f" {figure} " in row
    assert card.convert_command() in text


@pytest.mark.parametrize("name", model_names())
def test_the_convert_command_names_a_model_that_edgeconv_reads(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT.parent)
    words = shlex.split(read_card(name).convert_command())
    weights = Path(words[words.index("--weights") + 1]) if "--weights" in words else None
    source = parse_model(words[2], weights=weights)
    assert source.kind == ("factory" if read_card(name).storage.way.needs_factory else "file")
    assert source.path is not None
    assert source.path.is_file()
    assert Path(words[words.index("--samples") + 1]).is_file()


@pytest.fixture
def copied_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "digits_vit"
    folder.mkdir()
    shutil.copy(folder_of("digits_vit") / CARD_FILE, folder)
    monkeypatch.setattr(cards, "ROOT", tmp_path)
    return folder / CARD_FILE


@pytest.mark.parametrize("entry", ["license", "limits", "parameters", "paper", "way", "source"])
def test_a_card_without_an_entry_is_refused(copied_card: Path, entry: str) -> None:
    lines = copied_card.read_text("utf-8").splitlines()
    kept = [line for line in lines if not line.startswith(f"{entry} = ")]
    assert len(kept) < len(lines)
    copied_card.write_text("\n".join(kept), "utf-8")
    with pytest.raises(CardError):
        read_card("digits_vit")


def test_a_card_with_an_unknown_entry_is_refused(copied_card: Path) -> None:
    copied_card.write_text('colour = "blue"\n' + copied_card.read_text("utf-8"), "utf-8")
    with pytest.raises(CardError, match="colour"):
        read_card("digits_vit")


def test_recording_changes_the_figures_and_nothing_else(copied_card: Path) -> None:
    before = read_card("digits_vit")
    record_measurements("digits_vit", parameters=7, value=0.25)
    after = read_card("digits_vit")
    metric = before.metric.model_copy(update={"value": 0.25})
    assert after == before.model_copy(update={"parameters": 7, "metric": metric})


def test_recording_into_a_card_without_the_line_is_refused(copied_card: Path) -> None:
    text = copied_card.read_text("utf-8")
    copied_card.write_text(text.replace("\nvalue = ", "\nworth = "), "utf-8")
    with pytest.raises(InvalidInputError, match="value"):
        record_measurements("digits_vit", parameters=7, value=0.25)
