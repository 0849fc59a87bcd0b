"""The feature store: one packed HDF5 file a shard, never a group per image.

Layout (N descriptors of I images): ``descriptors (N, D)`` float32 or float16, ``offsets (I + 1)``
int64, ``image_ids (I)`` int64 and, for local features, ``keypoints (N, 2)`` float32 (x, y in pixels
of the original image), ``scales (N)`` and ``strengths (N)`` float32. Descriptors of an image stand
strongest first, so that its n strongest are a prefix. Global features are the case N = I.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType

import h5py
import numpy as np

import descbench
from descbench.errors import DataError, StaleFileError
from descbench.features import FORMAT_VERSION
from descbench.io.atomic import atomic_path

_BUFFER_BYTES = 16 << 20
_EXTRAS = {"keypoints": (2,), "scales": (), "strengths": ()}


@dataclass(frozen=True)
class ShardInfo:
    """What a shard was made from.

    Attributes:
        kind: ``local`` or ``global``.
        features: digest of the features block, its model and the stage version.
        images: digest of the manifest slice.
        checkpoint: SHA-256 of the weights; empty for released descriptors.
        device: where the network ran; empty for released descriptors.
        version: version of the package that wrote the shard.
    """

    kind: str
    features: str
    images: str
    checkpoint: str
    device: str
    version: str = descbench.__version__


@dataclass(frozen=True)
class Block:
    """Descriptors of consecutive images of a shard.

    Attributes:
        descriptors: (N, D) float32.
        image_ids: (N,) int64, the image of every descriptor, ascending.
        keypoints: (N, 2) float32 x, y in pixels of the original image, or None.
        scales: (N,) float32, or None.
        strengths: (N,) float32, or None.
    """

    descriptors: np.ndarray
    image_ids: np.ndarray
    keypoints: np.ndarray | None = None
    scales: np.ndarray | None = None
    strengths: np.ndarray | None = None


class ShardWriter:
    """Write one shard, image by image, in bounded memory; the file appears when all went well.

    Args:
        path: target file.
        info: what the shard is made from.
        dim: dimensions D of a descriptor.
        dtype: storage type of the descriptors, ``float32`` or ``float16``.

    Raises:
        DataError: descriptors that are not finite, of a wrong shape or not strongest first, image
            ids that do not ascend, or a disk that is full.
    """

    def __init__(self, path: str | os.PathLike[str], info: ShardInfo, dim: int, dtype: str = "float32") -> None:
        self._path, self._info, self._dim, self._dtype = Path(path), info, dim, np.dtype(dtype)
        self._image_ids: list[int] = []
        self._counts: list[int] = []
        self._skipped: list[tuple[int, str]] = []
        self._pending: dict[str, list[np.ndarray]] = {}
        self._pending_bytes = 0

    def __enter__(self) -> ShardWriter:
        self._stack = ExitStack()
        temporary = self._stack.enter_context(atomic_path(self._path))
        # A fixed format version and no time stamps: equal content gives equal bytes.
        self._file = self._stack.enter_context(h5py.File(temporary, "w", libver=("earliest", "v110")))
        self._descriptors = self._dataset("descriptors", (self._dim,), self._dtype)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._abandon(kind, error, trace)
            return
        try:
            self._finish()
        except BaseException as failure:
            self._abandon(type(failure), failure, failure.__traceback__)
            raise self._translated(failure) from failure
        self._stack.close()

    def add(
        self,
        image_id: int,
        descriptors: np.ndarray,
        keypoints: np.ndarray | None = None,
        scales: np.ndarray | None = None,
        strengths: np.ndarray | None = None,
    ) -> None:
        """Append the descriptors (n, D) of one image, strongest first; n may be 0."""
        if self._image_ids and image_id <= self._image_ids[-1]:
            raise DataError(f"{self._path}: image {image_id} comes after image {self._image_ids[-1]}; ids must ascend.")
        extras = {"keypoints": keypoints, "scales": scales, "strengths": strengths}
        given = {name: values for name, values in extras.items() if values is not None}
        self._check(image_id, descriptors, given)
        self._image_ids.append(image_id)
        self._counts.append(len(descriptors))
        for name, values in {"descriptors": descriptors, **given}.items():
            stored = np.ascontiguousarray(values, self._dtype if name == "descriptors" else np.float32)
            self._pending.setdefault(name, []).append(stored)
            self._pending_bytes += stored.nbytes
        if self._pending_bytes >= _BUFFER_BYTES:
            self._guarded_flush()

    def skip(self, image_id: int, reason: str, descriptors: np.ndarray | None = None) -> None:
        """Record an image that could not be read; it has no descriptors, or the stand-in given."""
        self._skipped.append((image_id, reason))
        self.add(image_id, np.zeros((0, self._dim), np.float32) if descriptors is None else descriptors)

    def _check(self, image_id: int, descriptors: np.ndarray, extras: dict[str, np.ndarray]) -> None:
        where = f"{self._path}: image {image_id}"
        if descriptors.ndim != 2 or descriptors.shape[1] != self._dim:
            raise DataError(f"{where}: descriptors of shape {descriptors.shape}, expected (n, {self._dim}).")
        for name, values in extras.items():
            if values.shape != (len(descriptors), *_EXTRAS[name]):
                raise DataError(f"{where}: {name} of shape {values.shape} for {len(descriptors)} descriptors.")
        if not np.isfinite(descriptors).all():
            raise DataError(f"{where}: descriptors hold NaN or infinity; check the checkpoint and the image.")
        if "strengths" in extras and (np.diff(extras["strengths"]) > 0).any():
            raise DataError(f"{where}: descriptors are not sorted by descending strength.")

    def _dataset(self, name: str, tail: tuple[int, ...], dtype: np.dtype) -> h5py.Dataset:
        row_bytes = max(1, int(np.prod(tail, dtype=np.int64)) * dtype.itemsize)
        rows = max(1, (1 << 20) // row_bytes)
        return self._file.create_dataset(
            name, (0, *tail), dtype, maxshape=(None, *tail), chunks=(rows, *tail), track_times=False
        )

    def _guarded_flush(self) -> None:
        try:
            self._flush()
        except OSError as error:
            raise self._translated(error) from error

    def _flush(self) -> None:
        for name, parts in self._pending.items():
            values = np.concatenate(parts)
            dataset = self._file.get(name)
            if dataset is None:
                dataset = self._dataset(name, values.shape[1:], values.dtype)
            start = len(dataset)
            dataset.resize(start + len(values), axis=0)
            dataset[start:] = values
        self._pending, self._pending_bytes = {}, 0

    def _finish(self) -> None:
        self._flush()
        total = len(self._descriptors)
        wrong = [name for name in _EXTRAS if name in self._file and len(self._file[name]) != total]
        if wrong:
            raise DataError(f"{self._path}: {', '.join(wrong)} given for some images only.")
        self._file.create_dataset("offsets", data=np.cumsum([0, *self._counts], dtype=np.int64), track_times=False)
        self._file.create_dataset("image_ids", data=np.array(self._image_ids, np.int64), track_times=False)
        if self._skipped:
            group = self._file.create_group("skipped")
            group.create_dataset("image_ids", data=np.array([i for i, _ in self._skipped], np.int64), track_times=False)
            reasons = [reason for _, reason in self._skipped]
            group.create_dataset("reasons", data=reasons, dtype=h5py.string_dtype(), track_times=False)
        self._file.attrs["format_version"] = FORMAT_VERSION
        for key, value in asdict(self._info).items():
            self._file.attrs[key] = value

    def _abandon(self, kind: type | None, error: BaseException, trace: TracebackType | None) -> None:
        """Close the file without a second complaint (a full disk makes closing fail too)."""
        try:
            self._stack.__exit__(kind, error, trace)
        except (OSError, RuntimeError) as closing:
            if error is None:
                raise
            error.add_note(f"closing {self._path} failed as well: {closing}")

    def _translated(self, error: BaseException) -> BaseException:
        text = str(error).lower()
        full = isinstance(error, OSError) and (
            error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
            or any(sign in text for sign in ("no space left", "file too large", "quota"))
        )
        if full:
            return DataError(f"{self._path}: disk full while writing; nothing was kept. Free some space and run again.")
        return error


class ShardReader:
    """Read one shard.

    Raises:
        DataError: the file is no feature shard of this format, or was cut short.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        try:
            self._file = h5py.File(self.path, "r")
        except FileNotFoundError:
            raise DataError(f"{self.path}: no such feature shard.") from None
        except OSError as error:
            raise DataError(f"{self.path}: not a feature shard, or cut short ({error}); delete it and rerun.") from None
        try:
            self._read_header()
        except BaseException:
            self._file.close()
            raise

    def _read_header(self) -> None:
        version = self._file.attrs.get("format_version")
        if version != FORMAT_VERSION or "descriptors" not in self._file:
            raise DataError(
                f"{self.path}: not a feature shard of format {FORMAT_VERSION} (found {version}); delete it and rerun."
            )
        names = ShardInfo.__dataclass_fields__
        self.info = ShardInfo(**{name: str(self._file.attrs[name]) for name in names})
        self.offsets: np.ndarray = self._file["offsets"][:]
        self.image_ids: np.ndarray = self._file["image_ids"][:]
        self.num_images = len(self.image_ids)
        self.dim = int(self._file["descriptors"].shape[1])

    def __enter__(self) -> ShardReader:
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()

    @property
    def skipped(self) -> dict[int, str]:
        """Images that could not be read, with the reason."""
        if "skipped" not in self._file:
            return {}
        group = self._file["skipped"]
        return dict(zip(group["image_ids"][:].tolist(), group["reasons"].asstr()[:].tolist(), strict=True))

    def counts(self, n: int | None = None, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Descriptors of each image ``start:stop``, at most ``n``: (images,) int64."""
        counts = np.diff(self.offsets[start : None if stop is None else stop + 1])
        return counts if n is None else np.minimum(counts, n)

    def count(self, n: int | None = None) -> int:
        """Number of descriptors when at most ``n`` an image are read."""
        return int(self.counts(n).sum())

    def read(self, start: int = 0, stop: int | None = None, n: int | None = None) -> Block:
        """The at most ``n`` strongest descriptors of each of the images ``start:stop`` of the shard."""
        stop = self.num_images if stop is None else min(stop, self.num_images)
        low, high = int(self.offsets[start]), int(self.offsets[stop])
        kept = self.counts(n, start, stop)
        rows = prefix_rows(self.offsets[start : stop + 1] - low, kept)
        whole = len(rows) == high - low
        columns = {}
        for name in ("descriptors", *_EXTRAS):
            if name in self._file:
                values = self._file[name][low:high].astype(np.float32, copy=False)
                columns[name] = values if whole else values[rows]
        return Block(image_ids=np.repeat(self.image_ids[start:stop], kept), **columns)

    def blocks(self, n: int | None = None, images: int = 256) -> Iterator[Block]:
        """Blocks of so many images, in order; memory is bounded by one block."""
        for start in range(0, self.num_images, images):
            yield self.read(start, start + images, n)


def prefix_rows(offsets: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Rows of the first ``kept[i]`` entries of every group ``offsets[i]:offsets[i + 1]``, ascending."""
    total = int(kept.sum())
    firsts = np.repeat(offsets[:-1] - np.concatenate(([0], np.cumsum(kept)[:-1])), kept)
    return np.arange(total, dtype=np.int64) + firsts


def check_shard(
    shard: ShardReader, *, features: str | None = None, images: str | None = None, checkpoint: str | None = None
) -> None:
    """Refuse a shard whose digests do not fit the inputs at hand.

    Raises:
        StaleFileError: names the file, which digest differs, and both values.
    """
    for name, expected in (("features", features), ("images", images), ("checkpoint", checkpoint)):
        found = getattr(shard.info, name)
        if expected is not None and found != expected:
            raise StaleFileError(
                f"{shard.path}: made with another {name} digest: it has {found or 'none'}, expected "
                f"{expected or 'none'}. Delete it and run again."
            )


def check_shard_files(paths: Iterable[str | os.PathLike[str]], features: str) -> None:
    """Refuse shard files that another features block made; see :func:`check_shard`."""
    for path in paths:
        with ShardReader(path) as shard:
            check_shard(shard, features=features)
