"""Describe a shard of images and store what that gives: by a network over whole images, or keypoint by keypoint."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.utils.data import DataLoader, Dataset

from descbench.config.features import GlobalFeatures, KeypointFeatures, LocalFeatures
from descbench.config.models import Backend
from descbench.datasets.contents import content_of
from descbench.datasets.manifest import Manifest, ManifestRow, missing_files
from descbench.datasets.missing import what_to_do
from descbench.device import device_name, pick_device
from descbench.errors import ConfigError, DataError, StaleFileError
from descbench.features.extractor import Described, Extractor, Network, digest_networks
from descbench.features.images import LoadedImage, is_turned, load_image, to_tensor
from descbench.features.kept import KeptFeatures
from descbench.features.keypoint_features import keypoint_extractor
from descbench.features.point_images import load_point_image
from descbench.features.shards import ShardSpec
from descbench.features.store import Block, ShardInfo, ShardWriter, UnfitFeaturesError
from descbench.listing import listed
from descbench.models.backends import use_backend
from descbench.models.checkpoints import load_network
from descbench.models.folding import prepare_for_inference
from descbench.models.levels import ImageTooSmallError, LevelNetwork
from descbench.models.local import LocalNetwork
from descbench.progress import progress
from descbench.signals import ignore_interrupts

Settings = LocalFeatures | GlobalFeatures | KeypointFeatures


@dataclass(frozen=True)
class _Item:
    """One image on its way through the loader: either an image or the reason why there is none."""

    row: ManifestRow
    image: LoadedImage | None
    error: str
    changed: bool = False


_TURNED = (
    "EXIF says that it is to be turned, but homographies and cameras of this dataset are of files as they are stored; "
    "use features without `exif_orientation: apply`."
)
# By whose way images are read.
_LOADERS = {"toolbox": load_image, "hndesc": load_point_image}


class _Images(Dataset):
    """Loads the images of a shard; a broken one comes through as a reason, for the caller to judge."""

    def __init__(self, rows: Sequence[ManifestRow], root: Path, settings: Settings, pixel_labels: bool) -> None:
        self._rows, self._root = rows, root
        self._none_is_turned = pixel_labels and settings.turns_images
        resize = settings.resize
        self._image_size = None if resize else settings.image_size
        self._load = _LOADERS[settings.read_as]
        self._reading = {"resize": resize, **settings.reading_options}

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> _Item:
        row = self._rows[index]
        path = self._root / row.path
        try:
            if self._none_is_turned and is_turned(path):
                raise DataError(f"{path}: {_TURNED}")
            image, error = self._load(path, self._image_size, row.box, **self._reading), ""
        except DataError as refusal:
            image, error = None, str(refusal)
        changed = row.content is not None and content_of(path) != row.content
        return _Item(row, image, error, changed)


def extract_features(
    shard: ShardSpec,
    image_root: Path,
    networks: Mapping[str, Network],
    settings: Settings,
    output: Path,
    *,
    pixel_labels: bool = False,
    kept: Path | None = None,
    device: str = "auto",
    backend: Backend = "torch",
    workers: int = 2,
) -> None:
    """Extract one shard of features.

    Args:
        shard: its images.
        image_root: folder that the manifest's paths are relative to.
        networks: those of the models that the block names, by name, in its order; empty for descriptors without.
        settings: features block.
        output: the file to write.
        pixel_labels: whether labels of the dataset are in pixels of the files, such as homographies and cameras: images
            that ``exif_orientation: apply`` would turn count as bad ones then.
        kept: folder of features of the user's own images that are not made again (:mod:`descbench.features.kept`).
        device: ``auto``, ``cpu`` or ``cuda``.
        backend: what runs the network; others than ``torch`` run on the CPU.
        workers: processes that load images; no effect on the result.

    Raises:
        DataError: the manifest is shorter than the shard, images are missing (the first five are
            named), or one cannot be read and ``settings.on_bad_image`` is ``stop``.
        StaleFileError: the user's own images changed since they were listed.
        ConfigError: the device is absent, or the backend not installed.
    """
    images = shard.find_images()
    _check_files(images, image_root, settings, shard.source)
    extractor = _EXTRACTORS[settings.kind](networks, settings, device, backend)
    info = ShardInfo(
        kind=extractor.scope,
        features=shard.features,
        images=images.digest(),
        checkpoint=extractor.checkpoint,
        device=extractor.device,
        backend=extractor.backend,
    )
    with _known(kept, info) as known:
        found = {} if known is None else {row.image_id: block for row in images.rows if (block := known.find(row))}
        new = [row for row in images.rows if row.image_id not in found]
        if found:
            logging.info("%s: %d of %d images were described before", shard.role, len(found), len(images))
        loaded = _loaded(_Images(new, image_root, settings, pixel_labels), workers)
        items = _told(progress(loaded, len(new), f"{shard.role} {shard.start}-{shard.start + len(images)}"))
        with ShardWriter(output, info, extractor.dim, settings.dtype) as writer, torch.inference_mode():
            for row in images.rows:
                if row.image_id in found:
                    _copy(found[row.image_id], row, writer)
                    if known.is_unturned(row):
                        writer.note_unturned()
                else:
                    _extract_one(next(items), extractor, settings, writer)
    if known is not None:
        known.keep(output, images.rows, shard.listed.rows)


def _known(kept: Path | None, info: ShardInfo) -> AbstractContextManager[KeptFeatures | None]:
    return nullcontext() if kept is None else KeptFeatures(kept, info)


def _loaded(images: _Images, workers: int) -> DataLoader:
    """Images in order, loaded by other processes while the network works."""
    return DataLoader(
        images,
        batch_size=None,
        num_workers=workers if len(images) else 0,
        collate_fn=_as_is,
        worker_init_fn=ignore_interrupts,
    )


def _copy(block: Block, row: ManifestRow, writer: ShardWriter) -> None:
    extras = (block.keypoints, block.scales, block.strengths, block.orientations)
    writer.add(row.image_id, block.descriptors, *extras)


def _as_is(item: _Item) -> _Item:
    return item


def _told(items: Iterable[_Item]) -> Iterator[_Item]:
    """The items, with what was decided while reading logged once for each kind of image."""
    told: set[str] = set()
    for item in items:
        note = "" if item.image is None else item.image.note
        if note and note not in told:
            told.add(note)
            logging.info("%s (first: %s)", note, item.row.path)
        yield item


def _check_files(images: Manifest, root: Path, settings: Settings, source: str) -> None:
    """Name missing images before the first one is processed."""
    missing = missing_files(images, root)
    if missing and settings.on_bad_image == "stop":
        raise DataError(
            f"{source}: {len(missing)} of {len(images)} images are not below {root}: {listed(missing, 5)}. "
            f"{what_to_do(missing, Path(root))}, or set "
            "`on_bad_image: skip`."
        )


def _extract_one(item: _Item, extractor: Extractor, settings: Settings, writer: ShardWriter) -> None:
    if item.changed:
        raise StaleFileError(f"{item.row.path}: changed since it was listed; run again.")
    try:
        if item.image is None:
            raise DataError(item.error)
        found = extractor.describe(item.image, item.row.path)
    except ConfigError as error:
        raise ConfigError(f"{item.row.path}: {error}") from error
    except DataError as error:
        if settings.on_bad_image == "stop":
            hint = "Or leave it out: `on_bad_image: skip` in the features block, `--on-bad-file skip` of some commands."
            raise DataError(f"{error} {hint}") from error
        logging.warning("skipped: %s", error)
        writer.skip(item.row.image_id, str(error))
        return
    extras = (found.keypoints, found.scales, found.strengths, found.orientations)
    try:
        writer.add(item.row.image_id, found.descriptors, *extras)
    except UnfitFeaturesError as error:
        raise DataError(f"{item.row.path}: {error} Check the network and its weights.") from error
    if item.image.unturned:
        writer.note_unturned()


def _network_extractor(networks: Mapping[str, Network], settings: Settings, device: str, backend: Backend) -> Extractor:
    """A network over whole images."""
    chosen = pick_device(device, backend)
    network = prepare_for_inference(load_network(*networks[settings.model])).to(chosen)
    if settings.IS_LOCAL and not isinstance(network, LocalNetwork):
        raise ConfigError(f"model {settings.model!r} gives no local descriptors; set `kind: global` of its features.")
    return Extractor(
        scope=settings.kind,
        dim=network.dim,
        checkpoint=digest_networks(networks),
        device=device_name(chosen),
        backend=use_backend(network, backend),
        describe=lambda image, path: _describe(image, path, network, settings, chosen),
    )


def _keypoint_extractor(
    networks: Mapping[str, Network], settings: Settings, device: str, backend: Backend
) -> Extractor:
    """Descriptors of keypoints."""
    return keypoint_extractor(networks, settings, device=device, backend=backend)


# By the kind of a features block.
_EXTRACTORS: Mapping[str, Callable[..., Extractor]] = {
    "local": _network_extractor,
    "global": _network_extractor,
    "keypoints": _keypoint_extractor,
}


def _describe(
    image: LoadedImage, path: str, network: LevelNetwork, settings: Settings, device: torch.device
) -> Described:
    """What the writer takes of one image.

    Raises:
        DataError: the image is too small for the network.
    """
    tensor = to_tensor(image.pixels, network.mean, network.std)[None].to(device)
    height, width = tensor.shape[-2:]
    too_small = f"{path}: {width} x {height} pixels are too small for the network; leave this image out."
    if int(min(height, width) * max(settings.scales)) < 1:
        raise DataError(too_small)
    try:
        if settings.IS_LOCAL:
            return _local(image, tensor, network, settings)
        return Described(network.describe(tensor, settings.scales).cpu().numpy())
    except ImageTooSmallError as error:
        raise DataError(too_small) from error


def _local(image: LoadedImage, tensor: torch.Tensor, network: LocalNetwork, settings: Settings) -> Described:
    """Descriptors, keypoints in pixels of the original image (None where they have no place), scales, strengths."""
    found = network.local(tensor, settings.scales, settings.max_features)
    centres = network.keypoints(found, settings.scales, tuple(tensor.shape[-2:]))
    return Described(
        found.descriptors.cpu().numpy(),
        None if centres is None else image.to_original(centres.cpu().numpy()),
        found.scales.float().cpu().numpy(),
        found.strengths.cpu().numpy(),
    )
