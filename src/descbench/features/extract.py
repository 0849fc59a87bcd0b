"""Run a network over a shard of images and store what it gives."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from descbench.config.models import GlobalFeatures, LocalFeatures, Model
from descbench.datasets.manifest import Manifest, ManifestRow, missing_files, read_manifest
from descbench.device import device_name, pick_device
from descbench.errors import DataError
from descbench.features.images import LoadedImage, load_image, to_tensor
from descbench.features.store import ShardInfo, ShardWriter
from descbench.models.checkpoints import checkpoint_digest, load_network
from descbench.models.how import HowNet, cell_centres

Settings = LocalFeatures | GlobalFeatures


@dataclass(frozen=True)
class _Item:
    """One image on its way through the loader: either an image or the reason why there is none."""

    row: ManifestRow
    image: LoadedImage | None
    error: str


class _Images(Dataset):
    """Loads the images of a shard; a broken one comes through as a reason, for the caller to judge."""

    def __init__(self, rows: Sequence[ManifestRow], root: Path, image_size: int) -> None:
        self._rows, self._root, self._image_size = rows, root, image_size

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> _Item:
        row = self._rows[index]
        try:
            return _Item(row, load_image(self._root / row.path, self._image_size, row.box), "")
        except DataError as error:
            return _Item(row, None, str(error))


def extract_features(
    manifest: Path,
    role: str,
    start: int,
    stop: int,
    image_root: Path,
    checkpoint: Path,
    model: Model,
    settings: Settings,
    features_digest: str,
    output: Path,
    *,
    device: str = "auto",
    workers: int = 2,
) -> None:
    """Extract one shard of features.

    Args:
        manifest: manifest CSV of the dataset.
        role: which of its images.
        start, stop: images of the shard, positions within the role.
        image_root: folder that the manifest's paths are relative to.
        checkpoint: checkpoint of ours.
        model: block of the model, must be the checkpoint's.
        settings: features block.
        features_digest: digest that readers will ask for.
        output: the shard.
        device: ``auto``, ``cpu`` or ``cuda``.
        workers: processes that load images; no effect on the result.

    Raises:
        DataError: images are missing (the first five are named), or one cannot be read and
            ``settings.on_bad_image`` is ``stop``.
    """
    images = read_manifest(manifest).of_role(role).slice(start, stop)
    _check_files(images, image_root, settings, manifest)
    chosen = pick_device(device)
    network = load_network(checkpoint, model).to(chosen)
    info = ShardInfo(
        kind=settings.kind,
        features=features_digest,
        images=images.digest(),
        checkpoint=checkpoint_digest(checkpoint),
        device=device_name(chosen),
    )
    loader = DataLoader(
        _Images(images.rows, image_root, settings.image_size),
        batch_size=None,
        num_workers=workers,
        collate_fn=_as_is,
    )
    with ShardWriter(output, info, network.dim, settings.dtype) as writer, torch.inference_mode():
        for item in tqdm(loader, total=len(images), desc=f"{role} {start}-{stop}", mininterval=5):
            _extract_one(item, network, settings, chosen, writer)


def _as_is(item: _Item) -> _Item:
    return item


def _check_files(images: Manifest, root: Path, settings: Settings, manifest: Path) -> None:
    """Name missing images before the first one is processed."""
    missing = missing_files(images, root)
    if missing and settings.on_bad_image == "stop":
        shown = ", ".join(missing[:5])
        raise DataError(
            f"{manifest}: {len(missing)} of {len(images)} images are not below {root}: {shown}"
            f"{', ...' if len(missing) > 5 else ''}. The archive was unpacked in part: delete its marker in "
            f"{root}/.unpacked and run again, or set `on_bad_image: skip`."
        )


def _extract_one(
    item: _Item, network: torch.nn.Module, settings: Settings, device: torch.device, writer: ShardWriter
) -> None:
    image_id = item.row.image_id
    if item.image is None:
        if settings.on_bad_image == "stop":
            raise DataError(f"{item.error} (or set `on_bad_image: skip`)")
        logging.warning("skipped: %s", item.error)
        writer.skip(image_id, item.error)
        return
    tensor = to_tensor(item.image.pixels, network.mean, network.std)[None].to(device)
    if settings.kind == "global":
        writer.add(image_id, network.describe(tensor, settings.scales).cpu().numpy())
        return
    _add_local(image_id, item.image, tensor, network, settings, writer)


def _add_local(
    image_id: int, image: LoadedImage, tensor: torch.Tensor, network: HowNet, settings: Settings, writer: ShardWriter
) -> None:
    found = network.local(tensor, settings.scales, settings.max_features)
    centres = cell_centres(
        found.locations, found.scale_indexes, settings.scales, network.stride, tuple(tensor.shape[-2:])
    )
    writer.add(
        image_id,
        found.descriptors.cpu().numpy(),
        image.to_original(centres.cpu().numpy()),
        found.scales.float().cpu().numpy(),
        found.strengths.cpu().numpy(),
    )
