"""Folders of images as data: decoded when they are read, as the declared preprocessing says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from edgeconv.errors import InvalidInputError, MissingDependencyError, UsageError, counted
from edgeconv.quantization.preprocess import EXAMPLE, Preprocess
from edgeconv.signature import Signature, TensorSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image

    Array: TypeAlias = NDArray[np.generic]

__all__ = ["ImageColumn", "Images", "class_folders", "is_image_folder", "open_images"]

_SUFFIXES = frozenset((".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff"))
_LABEL = "label"


def is_image_folder(path: Path) -> bool:
    """Whether a folder holds images, or folders of images."""
    return _has_images(path)


@dataclass(frozen=True, slots=True, kw_only=True)
class Images:
    """The images of a folder.

    Attributes:
        columns: Inputs by name, and labels where there are classes.
        notes: What the user should know.
    """

    columns: Mapping[str, Array | ImageColumn]
    notes: tuple[str, ...] = ()


def class_folders(path: Path) -> tuple[Path, ...]:
    """One folder per class, in the order in which classes are numbered; none where no folder holds images.

    A folder without images is a class as well, so that it does not change the numbers of others; a hidden one is none.
    """
    folders = sorted(
        item for item in path.iterdir() if item.is_dir() and not item.name.startswith(".")
    )
    return tuple(folders) if any(_has_images(item) for item in folders) else ()


def open_images(path: Path, signature: Signature, preprocess: Preprocess | None) -> Images:
    """The images of a folder as the model's only input; with one folder per class also their labels.

    Raises:
        UsageError: It is not said how images become inputs, or the model's input is no image.
        MissingDependencyError: Pillow is not installed.
    """
    if preprocess is None:
        raise UsageError(
            f"'{path}' holds images, and it is not said how they become inputs",
            why="a wrong mean or order of channels would look like lost accuracy",
            hint=f"say it in edgeconv.toml:\n{EXAMPLE}",
        )
    spec = _find_input(signature, preprocess)
    classes = class_folders(path)
    if not classes:
        return Images(columns={spec.name: ImageColumn(sorted(_images(path)), spec, preprocess)})
    listed = [
        (file, number) for number, item in enumerate(classes) for file in sorted(_images(item))
    ]
    files, labels = zip(*listed, strict=True)
    return Images(
        columns={spec.name: ImageColumn(files, spec, preprocess), _LABEL: np.array(labels)},
        notes=(*_empty_classes(classes), *_other_count(classes, signature)),
    )


def _empty_classes(classes: Sequence[Path]) -> Iterator[str]:
    empty = [f"'{item.name}'" for item in classes if not _has_images(item)]
    if empty:
        has = "has" if len(empty) == 1 else "have"
        yield f"{counted(len(empty), 'folder')} of a class {has} no images: {', '.join(empty)}"


def _other_count(classes: Sequence[Path], signature: Signature) -> Iterator[str]:
    """Where a class has no folder, all behind it have other numbers than the model gives them."""
    scores = [spec.shape[-1] for spec in signature.outputs if len(spec.shape) == 2]
    if scores and all(isinstance(size, int) and 1 < size != len(classes) for size in scores):
        yield (
            f"the folders are of {len(classes)} classes, and the model tells {scores[0]} apart: they are numbered in the order of"
            " their names, and a class without images needs an empty folder"
        )


class ImageColumn:
    """Image files, each of which becomes a whole input when it is asked for.

    Args:
        files: One for each sample.
        spec: The input.
        preprocess: How a file becomes an input.
    """

    def __init__(self, files: Sequence[Path], spec: TensorSpec, preprocess: Preprocess) -> None:
        self._files = files
        self._spec = spec
        self._preprocess = preprocess
        self._is_channels_first = spec.shape[-3] == len(preprocess.mean)
        self.ndim = len(spec.shape) + 1
        self.shape = (len(files), *spec.shape)
        self.dtype = np.dtype(np.float32)

    def __getitem__(self, index: int) -> Array:
        """The input made of one file, of batch size 1.

        Raises:
            InvalidInputError: It is no image.
            MissingDependencyError: Pillow is not installed.
        """
        pixels = _normalize(_decode(self._files[index], self._preprocess), self._preprocess)
        if self._spec.dtype.value in {"uint8", "int8"}:
            ends = np.iinfo(self._spec.dtype.value)
            pixels = np.clip(np.rint(pixels), ends.min, ends.max)
        turned = pixels.transpose(2, 0, 1) if self._is_channels_first else pixels
        return np.ascontiguousarray(turned[None]).astype(self._spec.dtype.value)


def _has_images(path: Path) -> bool:
    return next(_images(path), None) is not None


def _images(path: Path) -> Iterator[Path]:
    depth = ("*", "*/*")
    return (
        file for pattern in depth for file in path.glob(pattern) if file.suffix.lower() in _SUFFIXES
    )


def _find_input(signature: Signature, preprocess: Preprocess) -> TensorSpec:
    if len(signature.inputs) != 1:
        raise UsageError(
            f"a folder of images fits models with one input, and this has {len(signature.inputs)}",
            hint="give a .npz with one array per input name",
        )
    spec = signature.inputs[0]
    channels, (height, width) = len(preprocess.mean), preprocess.size
    shapes = ((channels, height, width), (height, width, channels))
    if len(spec.shape) != 4 or not any(_fits(spec.shape[1:], shape) for shape in shapes):
        raise UsageError(
            f"[preprocess] makes images of {channels} channels, {height} x {width}",
            why=f"the model takes {spec}",
            hint="give its size, and as many numbers in mean and std as it has channels",
        )
    return spec


def _fits(declared: Sequence[object], shape: Sequence[int]) -> bool:
    return all(not isinstance(a, int) or a == b for a, b in zip(declared, shape, strict=True))


def _decode(file: Path, preprocess: Preprocess) -> Image:
    try:
        from PIL import Image, ImageOps
    except ImportError as error:
        raise MissingDependencyError(
            "folders of images need Pillow",
            why="it is not installed",
            hint="pip install 'edgeconv[quantize]'",
        ) from error
    try:
        with Image.open(file) as opened:
            mode = "L" if preprocess.color == "L" else "RGB"
            image = _narrow(ImageOps.exif_transpose(opened)).convert(mode)
    except Exception as error:  # the decoders raise all sorts of errors on damaged files
        raise InvalidInputError(
            f"'{file}' cannot be decoded", why=str(error), hint="leave it out of the folder"
        ) from error
    method = Image.Resampling[preprocess.interpolation.upper()]
    height, width = preprocess.size
    if preprocess.resize is None:
        return image.resize((width, height), method)
    ratio = preprocess.resize / min(image.size)
    wide, high = (max(1, round(side * ratio)) for side in image.size)
    left, top = (wide - width) // 2, (high - height) // 2
    return image.resize((wide, high), method).crop((left, top, left + width, top + height))


def _narrow(image: Image) -> Image:
    """An image of more than 8 bits in 8: Pillow would cut each value off at 255, which makes 16-bit images white.

    Raises:
        ValueError: Its values have no known range.
    """
    if image.mode in ("I", "F"):
        raise ValueError("its pixels have 32 bits, of which nobody knows the range: give a .npy")
    if not image.mode.startswith("I;16"):
        return image
    from PIL import Image

    return Image.fromarray(np.rint(np.asarray(image) / 257).astype(np.uint8))


def _normalize(image: Image, preprocess: Preprocess) -> NDArray[np.float32]:
    pixels = np.asarray(image, dtype=np.float32)
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    if preprocess.color == "BGR":
        pixels = pixels[:, :, ::-1]
    mean, std = (np.asarray(part, np.float32) for part in (preprocess.mean, preprocess.std))
    scaled: NDArray[np.float32] = (pixels * np.float32(preprocess.scale) - mean) / std
    return scaled
