"""Stage count_matches: features of the images of a sequence, and mutual nearest neighbours of its pairs, counted.

Definition: docs/protocols/r2d2.md, Re-measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from descbench.config.models import Backend
from descbench.config.networks import Model
from descbench.device import device_name, pick_device
from descbench.errors import ConfigError, DataError
from descbench.features.point_images import load_point_image, to_point_tensor
from descbench.io.digests import digest_of
from descbench.io.jsonfiles import write_checked_json
from descbench.metrics.counts_file import Counted
from descbench.models.backends import use_backend
from descbench.models.checkpoints import checkpoint_digest, load_network
from descbench.models.folding import prepare_for_inference
from descbench.models.levels import ImageTooSmallError
from descbench.models.points import PointNetwork
from descbench.neighbours.mutual_nearest import mutual_nearest_neighbours
from descbench.progress import progress


def count_matches(
    name: str,
    networks: Mapping[str, tuple[Path, Model]],
    images: Sequence[Path],
    output: Path,
    *,
    most: int,
    settings: str,
    device: str = "auto",
    backend: Backend = "torch",
    threads: int | None = None,
) -> None:
    """Count features and matches of several networks, and write them.

    Networks of equal weights that only look at other levels of the image pyramid share the levels they both look at.

    Args:
        name: of the block of configuration.
        networks: checkpoint of ours and block of each model.
        images: those of the sequence, the first one first; they are read at their full size.
        output: JSON file.
        most: strongest keypoints kept of an image.
        settings: digest of the configuration behind the counts.
        device: ``auto``, ``cpu`` or ``cuda``.
        backend: what runs the networks; others than ``torch`` run on the CPU.
        threads: of the matching; None = all processors.

    Raises:
        DataError: an image cannot be read or is too small, or a checkpoint is none.
        ConfigError: a network finds no keypoints, the device is absent, or the backend not installed.
    """
    chosen, counts, used = pick_device(device, backend), {}, ""
    for group in _groups(networks):
        loaded = [prepare_for_inference(load_network(*networks[model])).to(chosen) for model in group]
        by_backend = networks[group[0]][1].RUNS_BY_BACKENDS
        used = use_backend(loaded[0], backend if by_backend else "torch")
        described = _describe(loaded, images, most, chosen, " and ".join(group))
        for model, descriptors in zip(group, described, strict=True):
            pairs = [mutual_nearest_neighbours(descriptors[0], other, threads=threads)[0] for other in descriptors[1:]]
            checkpoint = checkpoint_digest(networks[model][0])
            counts[model] = Counted(tuple(map(len, descriptors)), tuple(map(len, pairs)), checkpoint)
    ordered = {model: asdict(counts[model]) for model in networks}
    found = {"name": name, "settings": settings, "device": device_name(chosen), "backend": used, "counts": ordered}
    write_checked_json(output, found)


def _groups(networks: Mapping[str, tuple[Path, Model]]) -> list[list[str]]:
    """Models whose networks are the same but for their levels."""
    groups: dict[str, list[str]] = {}
    for name, (checkpoint, model) in networks.items():
        if not (model.DETECTS_KEYPOINTS and model.DESCRIBES_POINTS):
            what = f"model {name!r} ({model.architecture}) does not find and describe keypoints"
            raise ConfigError(f"{what}; name another one.")
        same = model.model_dump(mode="json", exclude={"weights", *model.LEVELS})
        groups.setdefault(digest_of([checkpoint_digest(checkpoint), same]), []).append(name)
    return list(groups.values())


def _describe(
    networks: Sequence[PointNetwork], images: Sequence[Path], most: int, device: torch.device, title: str
) -> list[list[np.ndarray]]:
    """Descriptors (n, dim) float32 of each image, by network."""
    described: list[list[np.ndarray]] = [[] for _ in networks]
    for path in progress(images, len(images), title):
        image = to_point_tensor(load_point_image(path), networks[0]).to(device)
        try:
            with torch.inference_mode():
                found = networks[0].find_together(image, networks, most)
        except ImageTooSmallError as error:
            raise DataError(f"{path}: {error}; leave this sequence out.") from error
        for rows, points in zip(described, found, strict=True):
            rows.append(points.descriptors.float().cpu().numpy())
    return described
