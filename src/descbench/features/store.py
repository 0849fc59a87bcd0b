"""The feature store: one packed HDF5 file for a shard of images.

Layout (each array in one piece, without compression and without time stamps: equal content is equal bytes)::

    descriptors (N, D) float32 | float16    rows of image i are offsets[i]:offsets[i + 1], strongest first
    offsets     (I + 1,) int64
    image_ids   (I,) int64                  strictly ascending, ids of the manifest within its role
    keypoints   (N, 2) float32              x, y in pixels of the original image; absent where descriptors
                                            have no place (released ones, super-features of FIRe)
    scales      (N,) float32                pyramid scale, or size of a keypoint in pixels of the original; optional
    strengths   (N,) float32                descending within an image; optional
    orientations (N,) float32               radians from the x axis towards the y axis (down); optional
    skipped_ids (S,) int64, skipped_reasons (S,) string     images that could not be read, if any
    unturned_ids (T,) int64                 images that EXIF says are to be turned and that were not, if any

Root attributes: kind and format_version of the file, scope (local or global), features, images, checkpoint
(digests), device, backend, version, dim.
Global features are the case N = I, but for images that were skipped.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import numpy as np

from descbench import __version__
from descbench.errors import DataError, StaleFileError
from descbench.features import FORMAT_VERSION
from descbench.features.finite import all_finite
from descbench.io.atomic import atomic_path, named_errors
from descbench.io.hdf5 import Hdf5Reader, Hdf5Writer, RowStream, opened

_EXTRAS = {"keypoints": (2,), "scales": (), "strengths": (), "orientations": ()}
_KIND = "feature shard"
_TEXTS = ("features", "images", "checkpoint", "device", "version", "backend")


@dataclass(frozen=True)
class ShardInfo:
    """What a shard was made from.

    Attributes:
        kind: ``local`` (any number of rows for an image) or ``global`` (one).
        features: digest of all configuration that decides the content.
        images: ``Manifest.digest()`` of the shard's slice.
        checkpoint: SHA-256 of the weights, empty for released features.
        device: where the network ran, in words; empty for released features.
        version: version of the package that wrote the file.
        backend: what ran the network, with its version; empty for released features.
    """

    kind: Literal["local", "global"]
    features: str
    images: str
    checkpoint: str
    device: str
    version: str = __version__
    backend: str = ""


@dataclass(frozen=True)
class Block:
    """Features of consecutive images.

    Arrays may be views of the file. They can be written to, which does not change the file.

    Attributes:
        descriptors: (N, D) float32.
        image_ids: (N,) int64, ascending; an image without descriptors does not appear.
        keypoints: (N, 2) float32 in pixels of the original image, or None.
        scales: (N,) float32, or None.
        strengths: (N,) float32, or None.
        orientations: (N,) float32 in radians, or None.
    """

    descriptors: np.ndarray
    image_ids: np.ndarray
    keypoints: np.ndarray | None = None
    scales: np.ndarray | None = None
    strengths: np.ndarray | None = None
    orientations: np.ndarray | None = None


class UnfitFeaturesError(DataError):
    """Features of an image that must not be stored."""


class ShardWriter:
    """Context manager that streams one shard to disk; the file appears whole, or not at all.

    Descriptors go straight to the file; the small arrays (16 bytes a row) are held until the end. Any
    exception inside the context removes the unfinished file and leaves an older one at ``path`` untouched.

    Args:
        path: the shard file.
        info: what it is made from.
        dim: D, dimensions of a descriptor.
        dtype: storage type of the descriptors, ``float32`` or ``float16``.

    Raises:
        DataError: an image that must not be stored (see ``add``), or a disk that is full.
    """

    def __init__(self, path: str | os.PathLike[str], info: ShardInfo, dim: int, dtype: str = "float32") -> None:
        if dtype not in ("float32", "float16"):
            raise ValueError(f"descriptors are stored as float32 or float16, not {dtype}")
        self.path = Path(path)
        self.info = info
        self.dim = dim
        self.dtype = np.dtype(dtype).newbyteorder("<")
        self._image_ids: list[int] = []
        self._counts: list[int] = []
        self._skipped: list[tuple[int, str]] = []
        self._unturned: list[int] = []
        self._extras: dict[str, list[bytes]] | None = None
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with named_errors(self.path), ExitStack() as stack:
            temporary = stack.enter_context(atomic_path(self.path))
            self._rows = RowStream(temporary, self.dim, self.dtype)
            stack.callback(self._abandon)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if error is not None:
            return bool(self._stack.__exit__(kind, error, trace))
        with named_errors(self.path), self._stack:
            self._finish()
        return False

    def add(
        self,
        image_id: int,
        descriptors: np.ndarray,
        keypoints: np.ndarray | None = None,
        scales: np.ndarray | None = None,
        strengths: np.ndarray | None = None,
        orientations: np.ndarray | None = None,
    ) -> None:
        """Append one image; ids must ascend. (n, D), (n, 2), (n,), (n,); n may be 0, for ``global`` it is 1.

        Raises:
            DataError: wrong shapes, ids that do not ascend, NaN or infinity (also by overflow of
                float16), strengths that do not descend, or an optional array that other images of
                the shard have and this one lacks; the message names the image. Or a full disk.
        """
        given = {"keypoints": keypoints, "scales": scales, "strengths": strengths, "orientations": orientations}
        rows = self._checked_descriptors(image_id, descriptors)
        extras = self._checked_extras(image_id, {k: v for k, v in given.items() if v is not None}, len(rows))
        self._start_image(image_id, len(rows))
        for name, values in extras.items():
            self._extras[name].append(values.tobytes())
        with named_errors(self.path):
            self._rows.append(rows)

    def skip(self, image_id: int, reason: str) -> None:
        """Record an image that could not be read: it stays in the list, without descriptors."""
        self._start_image(image_id, 0)
        self._skipped.append((int(image_id), reason))

    def note_unturned(self) -> None:
        """Record of the last image that EXIF says it is to be turned, and that it was read as it is stored."""
        self._unturned.append(self._image_ids[-1])

    def _start_image(self, image_id: int, count: int) -> None:
        last = self._image_ids[-1] if self._image_ids else -1
        if image_id <= last:
            self._refuse(image_id, f"comes after image {last}, but ids must ascend from 0")
        self._image_ids.append(int(image_id))
        self._counts.append(count)

    def _checked_descriptors(self, image_id: int, descriptors: np.ndarray) -> np.ndarray:
        shape = np.shape(descriptors)
        if len(shape) != 2 or shape[1] != self.dim:
            self._refuse(image_id, f"descriptors have shape {shape}, not (n, {self.dim})")
        if self.info.kind == "global" and shape[0] != 1:
            self._refuse(image_id, f"has {shape[0]} global descriptors, not 1")
        with np.errstate(over="ignore"):  # an overflow of float16 is found and named just below
            stored = np.asarray(descriptors).astype(self.dtype, copy=False)
        if not all_finite(stored):
            self._refuse(image_id, f"descriptors hold NaN or infinity as {self.dtype.name}")
        return stored

    def _checked_extras(self, image_id: int, given: dict[str, np.ndarray], count: int) -> dict[str, np.ndarray]:
        if count == 0:
            return {}
        if self._extras is None:
            self._extras = {name: [] for name in given}
        if list(given) != list(self._extras):
            self._refuse(
                image_id, f"has {list(given) or 'no'} extra arrays, but earlier images have {list(self._extras)}"
            )
        for name, values in given.items():
            if np.shape(values) != (count, *_EXTRAS[name]):
                self._refuse(image_id, f"{name} have shape {np.shape(values)}, not {(count, *_EXTRAS[name])}")
            if not all_finite(values):
                self._refuse(image_id, f"{name} hold NaN or infinity")
        strengths = given.get("strengths")
        if strengths is not None and np.any(strengths[:-1] < strengths[1:]):
            self._refuse(image_id, "strengths do not descend")
        return {name: np.asarray(values, "<f4") for name, values in given.items()}

    def _refuse(self, image_id: int, reason: str) -> None:
        raise UnfitFeaturesError(f"{self.path}: not written, image {image_id} {reason}.")

    def _finish(self) -> None:
        with self._rows.into_dataset("descriptors") as file:
            for name, values in (self._extras or {}).items():
                file.put(name, np.frombuffer(b"".join(values), "<f4").reshape(-1, *_EXTRAS[name]))
            offsets = np.concatenate([[0], np.cumsum(self._counts, dtype="<i8")])
            file.put("offsets", offsets.astype("<i8"))
            file.put("image_ids", np.asarray(self._image_ids, "<i8"))
            if self._skipped:
                file.put("skipped_ids", np.asarray([i for i, _ in self._skipped], "<i8"))
                file.put_texts("skipped_reasons", [reason for _, reason in self._skipped])
            if self._unturned:
                file.put("unturned_ids", np.asarray(self._unturned, "<i8"))
            self._describe(file)

    def _describe(self, file: Hdf5Writer) -> None:
        described = {"kind": _KIND, "format_version": FORMAT_VERSION, "dim": self.dim, "scope": self.info.kind}
        for name, value in {**described, **{name: getattr(self.info, name) for name in _TEXTS}}.items():
            file.set(name, value)

    def _abandon(self) -> None:
        with suppress(OSError):  # the file is thrown away; the error that led here is the one to tell
            self._rows.close()


class ShardReader:
    """Context manager that reads one shard.

    Attributes:
        info: what the shard was made from.
        dim: D.
        image_ids: (I,) int64.
        offsets: (I + 1,) int64, of the rows as stored.
        skipped: image id -> reason, of the images that could not be read.
        unturned: ids of the images that EXIF says are to be turned, and that were read as they are stored.

    Raises:
        DataError: the file is absent, damaged, or no feature shard of this format version.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        with opened(self.path, _KIND, FORMAT_VERSION) as file:
            self._load(file)
            self._file = open(self.path, "rb")  # noqa: SIM115 - closed by close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file; blocks that were read stay."""
        self._file.close()

    @property
    def num_images(self) -> int:
        """I, images of the shard, with and without descriptors."""
        return len(self.image_ids)

    def counts(self, n: int | None = None, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Descriptors of each of the images ``start:stop``, at most ``n``: (images,) int64."""
        counts = np.diff(self.offsets)[start:stop]
        return counts if n is None else np.minimum(counts, n)

    def count(self, n: int | None = None) -> int:
        """All descriptors of the shard when at most ``n`` of an image are read."""
        return int(self.counts(n).sum())

    def read(self, start: int = 0, stop: int | None = None, n: int | None = None) -> Block:
        """The ``n`` strongest features (None: all) of images ``start:stop``, positions within the shard.

        What is stored as asked for is not copied: it is read from the disk when it is first looked at.
        """
        start, stop, _ = slice(start, stop).indices(self.num_images)
        counts = self.counts(n, start, stop)
        first, last = self.offsets[start], self.offsets[max(start, stop)]
        chosen: slice | np.ndarray = slice(None)
        if counts.sum() != last - first:
            skipped = self.offsets[start : start + len(counts)] - first - (np.cumsum(counts) - counts)
            chosen = np.arange(counts.sum()) + np.repeat(skipped, counts)
        columns = {
            name: rows.map(self._file, first, last)[chosen].astype(np.float32, copy=False)
            for name, rows in self._columns.items()
        }
        return Block(image_ids=np.repeat(self.image_ids[start : start + len(counts)], counts), **columns)

    def blocks(self, n: int | None = None, images: int = 256) -> Iterator[Block]:
        """The whole shard, ``images`` images at a time, so that memory stays bounded."""
        for start in range(0, self.num_images, images):
            yield self.read(start, start + images, n)

    def _load(self, file: Hdf5Reader) -> None:
        self.info = ShardInfo(kind=file.text("scope"), **{name: file.text(name) for name in _TEXTS})
        self._columns = {"descriptors": file.rows("descriptors", (np.float32, np.float16), 2)}
        for name, shape in _EXTRAS.items():
            if name in file:
                self._columns[name] = file.rows(name, np.float32, 1 + len(shape))
        self.dim = self._columns["descriptors"].shape[1]
        self.offsets = file.array("offsets", np.int64)
        self.image_ids = file.array("image_ids", np.int64)
        self.skipped: dict[int, str] = {}
        if "skipped_ids" in file:
            ids = file.array("skipped_ids", np.int64).tolist()
            self.skipped = dict(zip(ids, file.texts("skipped_reasons"), strict=True))
        ids = file.array("unturned_ids", np.int64) if "unturned_ids" in file else np.zeros(0, np.int64)
        self.unturned: tuple[int, ...] = tuple(ids.tolist())
        self._check(file.number("dim"))

    def _check(self, dim: int) -> None:
        rows = self._columns["descriptors"].shape[0]
        if self.info.kind not in ("local", "global"):
            raise ValueError(f"features of scope {self.info.kind!r}")
        if self.dim != dim or self.offsets.shape != (len(self.image_ids) + 1,):
            raise ValueError(f"{len(self.image_ids)} images, offsets {self.offsets.shape}, dim {self.dim}, not {dim}")
        if self.offsets[0] != 0 or self.offsets[-1] != rows or np.any(np.diff(self.offsets) < 0):
            raise ValueError(f"offsets do not run from 0 to {rows}")
        if np.any(np.diff(self.image_ids) <= 0) or np.any(self.image_ids < 0):
            raise ValueError("image ids do not ascend")
        if not np.isin(self.unturned, self.image_ids).all():
            raise ValueError("images that are to be turned and are not there")
        if self.info.kind == "global" and np.any(np.diff(self.offsets) > 1):
            raise ValueError("several global descriptors for one image")
        for name in self._columns.keys() & _EXTRAS.keys():
            if self._columns[name].shape != (rows, *_EXTRAS[name]):
                raise ValueError(f"{name} {self._columns[name].shape} for {rows} descriptors")
        empty = self.image_ids[np.diff(self.offsets) == 0]
        if not np.isin(list(self.skipped), empty).all():
            raise ValueError("images that were skipped are not in the list, or have descriptors")


def check_shard(
    reader: ShardReader, *, features: str | None = None, images: str | None = None, checkpoint: str | None = None
) -> None:
    """Compare the digests of a shard with those of the inputs at hand; None is not compared.

    Raises:
        StaleFileError: a digest differs; the message names the file, which digest, and both values.
    """
    asked = {"features": features, "images": images, "checkpoint": checkpoint}
    causes = {
        "features": "the extraction settings or the model",
        "images": "the list of images",
        "checkpoint": "the weights",
    }
    for name, expected in asked.items():
        found = getattr(reader.info, name)
        if expected is not None and found != expected:
            raise StaleFileError(
                f"{reader.path}: made with other inputs, {causes[name]} changed: the file has {name} digest "
                f"{found or '(none)'}, but {expected or '(none)'} is wanted. Delete the file and rerun."
            )
