"""Features of images that are descriptors of patches, cut around keypoints.

Definition: docs/protocols/oxford_bow.md, Keypoints and patches.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from descbench.config.features import PatchFeatures
from descbench.config.networks import Model
from descbench.features.classical_patches import library
from descbench.features.describe_patches import Describer, classical_describer, in_blocks, network_describer
from descbench.features.extractor import Described, Extractor
from descbench.features.images import LoadedImage
from descbench.features.keypoints import cut_patches, detect_keypoints, to_grey
from descbench.models.checkpoints import checkpoint_digest


def patch_extractor(
    checkpoint: Path | None, model: Model | None, settings: PatchFeatures, *, device: str = "auto"
) -> Extractor:
    """Keypoints of an image and descriptors of the patches around them.

    Args:
        checkpoint, model: of the network, None without one.
        settings: features block.
        device: of the network: ``auto``, ``cpu`` or ``cuda``.

    Raises:
        ConfigError: the network describes no patches, or the device is absent.
    """
    if model is None:
        describer = classical_describer(settings.describe)
    else:
        describer = network_describer(checkpoint, model, device=device)
    return Extractor(
        scope="local",
        dim=describer.maker.dim,
        checkpoint="" if model is None else checkpoint_digest(checkpoint),
        device=describer.maker.device,
        backend=library(),
        describe=lambda image, path: describe_keypoints(image, settings, describer),
    )


def describe_keypoints(image: LoadedImage, settings: PatchFeatures, describer: Describer) -> Described:
    """Features of an image, strongest first; ``scales`` are sizes of keypoints in pixels of the original image."""
    grey = to_grey(image.pixels)
    found = detect_keypoints(grey, settings.detector, settings.max_features)
    patches = cut_patches(grey, found, settings.region)
    none = np.zeros((0, describer.maker.dim), np.float32)
    # The middle of the original's first pixel is 0.5, 0.5, as for other features.
    centres = image.to_original((found.points + 0.5).astype(np.float32))
    return Described(
        descriptors=np.concatenate([none, *in_blocks(describer, patches)]),
        keypoints=centres,
        scales=(found.sizes * np.mean(image.ratio)).astype(np.float32),
        strengths=found.strengths.astype(np.float32),
        orientations=found.angles.astype(np.float32),
    )
