"""Folders of images: decoded, turned, resized and normalized as it is declared, and by no guess."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from edgeconv.errors import EdgeconvError, InvalidInputError, UsageError
from edgeconv.quantization.dataset import Dataset
from edgeconv.quantization.preprocess import EXAMPLE, Preprocess, read_preprocess
from edgeconv.signature import DType
from tests.quantization.conftest import Opener, image_signature

Pixels = NDArray[np.uint8]
_ORIENTATION = 0x0112
_ROTATED = 6  # the camera was turned: what is stored must be turned by 90 degrees clockwise

PIXELS = np.random.default_rng(5).integers(0, 256, (4, 4, 3), dtype=np.uint8)
PLAIN = Preprocess(size=(4, 4), color="RGB", scale=1.0, mean=(0, 0, 0), std=(1, 1, 1))


def save(pixels: Pixels, path: Path, **options: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)  # type: ignore[arg-type]  # options of the format


def read(opened: Opener, folder: Path, preprocess: Preprocess, *shape: int) -> NDArray[np.float32]:
    dataset = opened(folder, image_signature(*shape), preprocess)
    (batch,) = dataset.read([0])
    return batch.inputs["image"].astype(np.float32)


def test_channels_stand_where_the_model_wants_them(tmp_path: Path, opened: Opener) -> None:
    save(PIXELS, tmp_path / "d" / "a.png")
    last = read(opened, tmp_path / "d", PLAIN, 1, 4, 4, 3)
    first = read(opened, tmp_path / "d", PLAIN, 1, 3, 4, 4)
    np.testing.assert_array_equal(last[0], PIXELS)
    np.testing.assert_array_equal(first[0], PIXELS.transpose(2, 0, 1))


def test_scale_mean_and_deviation(tmp_path: Path, opened: Opener) -> None:
    save(PIXELS, tmp_path / "d" / "a.png")
    told = Preprocess(
        size=(4, 4), color="RGB", scale=1 / 255, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4)
    )
    wanted = (PIXELS / 255 - [0.5, 0.4, 0.3]) / [0.2, 0.3, 0.4]
    np.testing.assert_allclose(read(opened, tmp_path / "d", told, 1, 4, 4, 3)[0], wanted, rtol=1e-5)


def test_order_of_channels_and_grey(tmp_path: Path, opened: Opener) -> None:
    save(PIXELS, tmp_path / "d" / "a.png")
    turned = PLAIN.model_copy(update={"color": "BGR"})
    np.testing.assert_array_equal(
        read(opened, tmp_path / "d", turned, 1, 4, 4, 3)[0], PIXELS[..., ::-1]
    )
    grey = Preprocess(size=(4, 4), color="L", scale=1.0, mean=(0,), std=(1,))
    weights = PIXELS @ np.array([0.299, 0.587, 0.114])
    np.testing.assert_allclose(
        read(opened, tmp_path / "d", grey, 1, 1, 4, 4)[0, 0], weights, atol=1.0
    )


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "1"])
def test_images_of_other_modes(mode: str, tmp_path: Path, opened: Opener) -> None:
    (tmp_path / "d").mkdir()
    Image.fromarray(PIXELS).convert(mode).save(tmp_path / "d" / "a.png")
    assert read(opened, tmp_path / "d", PLAIN, 1, 4, 4, 3).shape == (1, 4, 4, 3)


def test_sixteen_bits_become_eight_and_not_white(tmp_path: Path, opened: Opener) -> None:
    (tmp_path / "d").mkdir()
    deep = PIXELS[..., 0].astype(np.uint16) * 257
    Image.fromarray(deep).save(tmp_path / "d" / "a.png")
    got = read(opened, tmp_path / "d", PLAIN, 1, 4, 4, 3)[0]
    np.testing.assert_array_equal(got, np.repeat(PIXELS[..., :1], 3, axis=2))


def test_pixels_without_a_known_range_are_refused(tmp_path: Path, opened: Opener) -> None:
    (tmp_path / "d").mkdir()
    Image.fromarray(PIXELS[..., 0].astype(np.float32)).save(tmp_path / "d" / "a.tiff")
    with pytest.raises(InvalidInputError, match="cannot be decoded"):
        read(opened, tmp_path / "d", PLAIN, 1, 4, 4, 3)


def test_a_photograph_is_turned_as_its_camera_says(tmp_path: Path, opened: Opener) -> None:
    exif = Image.Exif()
    exif[_ORIENTATION] = _ROTATED
    save(PIXELS, tmp_path / "d" / "a.png", exif=exif)
    np.testing.assert_array_equal(
        read(opened, tmp_path / "d", PLAIN, 1, 4, 4, 3)[0], np.rot90(PIXELS, -1)
    )


def test_the_centre_is_cropped(tmp_path: Path, opened: Opener) -> None:
    wide = np.zeros((4, 12, 3), np.uint8)
    wide[:, 4:8] = PIXELS
    save(wide, tmp_path / "d" / "a.png")
    cropped = PLAIN.model_copy(update={"resize": 4})
    np.testing.assert_array_equal(read(opened, tmp_path / "d", cropped, 1, 4, 4, 3)[0], PIXELS)
    squeezed = read(opened, tmp_path / "d", PLAIN, 1, 4, 4, 3)[0]
    assert np.abs(squeezed - PIXELS).max() > 20


def test_integer_inputs_take_pixels_and_never_wrap(tmp_path: Path, opened: Opener) -> None:
    save(np.full((4, 4, 3), 250, np.uint8), tmp_path / "d" / "a.png")
    bright = PLAIN.model_copy(update={"scale": 2.0})
    dataset = opened(tmp_path / "d", image_signature(1, 4, 4, 3, dtype=DType.UINT8), bright)
    (batch,) = dataset.read([0])
    assert batch.inputs["image"].dtype == np.uint8
    assert batch.inputs["image"].min() == 255


def _labels(dataset: Dataset) -> list[int]:
    return [int(batch.extras["label"][0]) for batch in dataset.read(range(dataset.count))]


def test_folders_are_classes(tmp_path: Path, opened: Opener) -> None:
    for name, count in (("cat", 2), ("bee", 1)):
        for number in range(count):
            save(PIXELS, tmp_path / "d" / name / f"{number}.PNG")
    save(PIXELS, tmp_path / "d" / ".thumbnails" / "0.png")
    dataset = opened(tmp_path / "d", image_signature(1, 4, 4, 3), PLAIN)
    assert _labels(dataset) == [0, 1, 1]
    assert dataset.notes == ()


def test_a_class_without_images_keeps_its_number(tmp_path: Path, opened: Opener) -> None:
    save(PIXELS, tmp_path / "d" / "cat" / "0.png")
    (tmp_path / "d" / "bee").mkdir()
    (tmp_path / "d" / "bee" / "readme.txt").write_text("no image")
    dataset = opened(tmp_path / "d", image_signature(1, 4, 4, 3), PLAIN)
    assert _labels(dataset) == [1]
    assert dataset.notes == (
        "the data '{}': 1 folder of a class has no images: 'bee'".format(tmp_path / "d"),
    )


def test_fewer_folders_than_classes_of_the_model_are_noticed(
    tmp_path: Path, opened: Opener
) -> None:
    save(PIXELS, tmp_path / "d" / "cat" / "0.png")
    (note,) = opened(tmp_path / "d", image_signature(1, 4, 4, 3), PLAIN).notes
    assert "of 1 classes, and the model tells 2 apart" in note


def test_folders_beside_images_are_no_classes(tmp_path: Path, opened: Opener) -> None:
    save(PIXELS, tmp_path / "d" / "0.png")
    (tmp_path / "d" / "bee").mkdir()
    assert opened(tmp_path / "d", image_signature(1, 4, 4, 3), PLAIN).extra_names == frozenset()


def test_without_a_declaration_nothing_is_guessed(tmp_path: Path, opened: Opener) -> None:
    save(PIXELS, tmp_path / "d" / "a.png")
    with pytest.raises(UsageError, match="not said how they become inputs") as caught:
        opened(tmp_path / "d", image_signature(1, 4, 4, 3))
    assert "[preprocess]" in caught.value.hint


@pytest.mark.parametrize("shape", [(1, 5, 4, 3), (1, 4, 4, 1), (1, 4, 4), (1, 48)])
def test_a_declaration_that_does_not_fit_the_input(
    shape: tuple[int, ...], tmp_path: Path, opened: Opener
) -> None:
    save(PIXELS, tmp_path / "d" / "a.png")
    with pytest.raises(UsageError, match="makes images of 3 channels, 4 x 4") as caught:
        opened(tmp_path / "d", image_signature(*shape), PLAIN)
    assert "float32" in caught.value.why


@pytest.mark.parametrize("damage", ["empty", "text", "truncated", "chunk"])
def test_a_damaged_image_is_named(damage: str, tmp_path: Path, opened: Opener) -> None:
    path = tmp_path / "d" / "broken.png"
    save(np.zeros((64, 64, 3), np.uint8) + PIXELS[0, 0], path)
    data = bytearray(path.read_bytes())
    match damage:
        case "empty":
            data = bytearray()
        case "text":
            data = bytearray(b"no image at all")
        case "truncated":
            data = data[: len(data) // 2]
        case "chunk":
            data[40:60] = b"\xff" * 20
    path.write_bytes(data)
    with pytest.raises(InvalidInputError, match=r"broken\.png' cannot be decoded") as caught:
        read(opened, tmp_path / "d", Preprocess(**{**dict(PLAIN), "size": (64, 64)}), 1, 64, 64, 3)
    assert caught.value.hint


def test_the_example_of_a_declaration_is_one(tmp_path: Path) -> None:
    config = tmp_path / "edgeconv.toml"
    config.write_text(EXAMPLE)
    told = read_preprocess(config, None)
    assert told is not None
    assert told.size == (224, 224)
    assert told.resize == 256


def test_the_file_goes_before_the_models_own_declaration(tmp_path: Path) -> None:
    own = PLAIN.model_dump_json()
    config = tmp_path / "edgeconv.toml"
    assert read_preprocess(None, own) == PLAIN
    config.write_text("[package]\nname = 'x'\n")
    assert read_preprocess(config, own) == PLAIN
    config.write_text(EXAMPLE)
    assert read_preprocess(config, own) != PLAIN
    assert read_preprocess(None, None) is None


GOOD = "size = [4, 4]\ncolor = 'RGB'\nscale = 1.0\nmean = [0, 0, 0]\nstd = [1, 1, 1]\n"


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("preprocess = 3", "preprocess"),
        ("[preprocess]", "size"),
        (f"[preprocess]\n{GOOD}means = [1]", "means"),
        (f"[preprocess]\n{GOOD.replace('RGB', 'HSV')}", "color"),
        (f"[preprocess]\n{GOOD.replace('std = [1, 1, 1]', 'std = [1, 1, 0]')}", "std holds a 0"),
        (f"[preprocess]\n{GOOD.replace('[1, 1, 1]', '[1, 1]')}", "3 numbers"),
        (f"[preprocess]\n{GOOD.replace('[0, 0, 0]', '[0, nan, 0]')}", "finite"),
        (f"[preprocess]\n{GOOD.replace('[4, 4]', '[4, 0]')}", "size is [4, 0]"),
        (f"[preprocess]\n{GOOD}resize = 3", "resize must not be less"),
        ("[preprocess", "cannot be read"),
    ],
)
def test_a_table_that_says_too_little_or_nonsense(table: str, said: str, tmp_path: Path) -> None:
    config = tmp_path / "edgeconv.toml"
    config.write_text(table)
    with pytest.raises(EdgeconvError) as caught:
        read_preprocess(config, None)
    assert said in str(caught.value)
    assert "[preprocess]" in caught.value.hint
    assert isinstance(caught.value, UsageError | InvalidInputError)


def test_a_declaration_that_is_no_json() -> None:
    with pytest.raises(InvalidInputError, match="no JSON") as caught:
        read_preprocess(None, "{")
    assert caught.value.hint
