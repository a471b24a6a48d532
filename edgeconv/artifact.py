"""A model in one format on disk: where it is, what goes in and out, and what it was made from."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from edgeconv.formats.companion import files_of
from edgeconv.formats.record import FLOAT, read_precision
from edgeconv.signature import Signature

if TYPE_CHECKING:
    from edgeconv.formats.handler import Array

__all__ = ["Artifact", "digest_file", "digest_path", "measure_size"]

_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """One file or folder that holds the model.

    Attributes:
        name: The model's name.
        format: Format id, for example `tflite`.
        path: The file, or the folder of a SavedModel; the weights of an ONNX model over 2 GB are in `<path>.data`.
        digest: SHA-256 of the content, hexadecimal.
        signature: Inputs and outputs by name.
        precision: `float32`, or the recipe it was quantized with.
        metadata: What is stored inside the file: author, description, versions, source digest, labels.
        parents: Digests of what it was made from.
    """

    name: str
    format: str
    path: Path
    digest: str
    signature: Signature
    precision: str = FLOAT
    metadata: Mapping[str, str] = field(default_factory=dict)
    parents: tuple[str, ...] = ()

    @staticmethod
    def read(path: Path) -> Artifact:
        """The artifact at a path, with all that the file says of itself.

        Raises:
            InvalidInputError: It is missing, damaged, or of no known format.
            UnsafeInputError: It would run code when read.
            MissingDependencyError: The library of its format is not installed.
        """
        from edgeconv.formats import detect, load_handler

        known = detect(path)
        handler = load_handler(known.id)
        metadata = handler.read_metadata(path)
        return Artifact(
            name=path.name.removesuffix(known.suffix),
            format=known.id,
            path=path,
            digest=digest_path(path),
            signature=handler.read_signature(path),
            precision=read_precision(metadata),
            metadata=metadata,
        )

    @property
    def size_bytes(self) -> int:
        """Bytes on disk."""
        return measure_size(self.path)

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Run the artifact on this machine in its own runtime: names in, names out.

        Args:
            inputs: One array for each input name, with the dtype and shape of the signature.

        Returns:
            One array for each output name.

        Raises:
            InvalidInputError: A name, dtype or shape does not fit.
            MissingDependencyError: The runtime is not installed.

        Example:
            >>> import numpy, tempfile, torch, edgeconv as ec
            >>> model = ec.capture(torch.nn.ReLU(), torch.ones(1, 3), dynamic={"input": {0: "N"}})
            >>> artifact = ec.convert(model, to="tflite", out=tempfile.mkdtemp())["tflite"]
            >>> artifact.run({"input": numpy.array([[-1, 0, 1]], dtype="float32")})["output"].tolist()
            [[0.0, 0.0, 1.0]]
        """
        from edgeconv.formats import load_handler

        with load_handler(self.format).open(self.path) as session:
            return session.run(inputs).outputs


def digest_path(path: Path, digest_one: Callable[[Path], str] | None = None) -> str:
    """SHA-256 of a file, with that of the file beside it that holds its weights; or of all files of a folder by name.

    Args:
        path: The artifact.
        digest_one: Gives the digest of a single file; reads it unless given.
    """
    digest_one = digest_one or digest_file
    if path.is_dir():
        total = hashlib.sha256()
        for item in sorted(p for p in path.rglob("*") if p.is_file()):
            total.update(item.relative_to(path).as_posix().encode() + b"\0")
            total.update(bytes.fromhex(digest_one(item)))
        return total.hexdigest()
    digests = [digest_one(item) for item in files_of(path)]
    if len(digests) == 1:
        return digests[0]
    return hashlib.sha256(b"".join(map(bytes.fromhex, digests))).hexdigest()


def measure_size(path: Path) -> int:
    """Bytes of a file, with the one beside it that holds its weights, or of all files of a folder."""
    if path.is_dir():
        return sum(item.stat().st_size for item in path.rglob("*") if item.is_file())
    return sum(item.stat().st_size for item in files_of(path))


def digest_file(path: Path) -> str:
    """SHA-256 of a single file."""
    total = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            total.update(chunk)
    return total.hexdigest()
