"""Features of images that are descriptors of keypoints.

Definition: docs/protocols/oxford_bow.md, Keypoints and patches.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from descbench.config.keypoint_features import KeypointFeatures
from descbench.config.models import Backend
from descbench.device import device_name, pick_device
from descbench.errors import DataError
from descbench.features.affine_frames import hessian_detector, with_frames
from descbench.features.classical_patches import library
from descbench.features.describe_patches import Describer, classical_describer, in_blocks, network_describer
from descbench.features.detectors import Detector, image_tensor, network_detector, opencv_detector
from descbench.features.extractor import Described, Extractor, Network, digest_networks
from descbench.features.hesaff import hesaff_detector
from descbench.features.images import LoadedImage
from descbench.features.keypoints import Keypoints, cut_patches, to_grey
from descbench.models.backends import backend_name, use_backend
from descbench.models.checkpoints import load_network
from descbench.models.folding import prepare_for_inference
from descbench.models.levels import ImageTooSmallError
from descbench.models.points import PointNetwork


class KeypointDescriber(NamedTuple):
    """Something that describes keypoints of an image.

    Attributes:
        dim: dimensions of a descriptor.
        device: where it runs, in words.
        describe: (H, W, 3) uint8 pixels, keypoints, and (H, W) uint8 grey pixels of the image's own or None ->
            (n, dim) float32.
    """

    dim: int
    device: str
    describe: Callable[[np.ndarray, Keypoints, np.ndarray | None], np.ndarray]


def keypoint_extractor(
    networks: Mapping[str, Network], settings: KeypointFeatures, *, device: str = "auto", backend: Backend = "torch"
) -> Extractor:
    """Keypoints of an image and their descriptors.

    Args:
        networks: those of the models that the block names, by name.
        settings: features block.
        device: of networks: ``auto``, ``cpu`` or ``cuda``.
        backend: what runs networks of points; those of patches, which are small, and Key.Net stay with torch. Others
            than ``torch`` run on the CPU.

    Raises:
        ConfigError: the device is absent, or the backend not installed.
    """
    detect = build_detector(networks, settings, device, backend)
    describer = build_describer(networks, settings, device, backend)
    return Extractor(
        scope="local",
        dim=describer.dim,
        checkpoint=digest_networks(networks),
        device=describer.device,
        backend=_libraries(networks, settings, backend),
        describe=lambda image, path: describe_keypoints(image, path, detect, describer),
    )


def _libraries(networks: Mapping[str, Network], settings: KeypointFeatures, backend: Backend) -> str:
    """What keypoints, networks and patches rest on; what runs the networks comes first."""
    by_kornia = settings.detector == "hessian" or settings.shape_model or settings.orientation_model
    libraries = f"{library()}, kornia {version('kornia')}" if by_kornia else library()
    points = [model for _, model in networks.values() if model.DESCRIBES_POINTS or model.DETECTS_KEYPOINTS]
    by_backend = any(model.RUNS_BY_BACKENDS for model in points)
    ran = dict.fromkeys(backend_name(backend if by_backend else "torch") for _ in networks)
    return ", ".join([*ran, libraries])


def _load_point_network(network: Network, device: torch.device, backend: Backend) -> nn.Module:
    """A network that finds or describes points, ready for inference by a backend that it can be run by."""
    loaded = prepare_for_inference(load_network(*network)).to(device)
    if network.model.RUNS_BY_BACKENDS:
        use_backend(loaded, backend)
    return loaded


def build_detector(
    networks: Mapping[str, Network], settings: KeypointFeatures, device: str, backend: Backend = "torch"
) -> Detector:
    """What finds keypoints and frames their patches, as the block says."""
    chosen = pick_device(device, backend)
    detect = _bare_detector(networks, settings, chosen, backend)
    shape, orientation = (
        None if name is None else prepare_for_inference(load_network(*networks[name])).to(chosen)
        for name in (settings.shape_model, settings.orientation_model)
    )
    if shape is None and orientation is None:
        return detect
    return with_frames(detect, shape, orientation, settings.region, chosen)


def _bare_detector(
    networks: Mapping[str, Network], settings: KeypointFeatures, chosen: torch.device, backend: Backend
) -> Detector:
    """What finds keypoints."""
    if settings.detector == "hessian":
        return hessian_detector(settings.threshold, settings.max_features, settings.region, chosen)
    if settings.detector == "hesaff":
        return hesaff_detector(settings.threshold, settings.max_features)
    if settings.detector_model is None:
        return opencv_detector(settings.detector, settings.max_features)
    found = _load_point_network(networks[settings.detector_model], chosen, backend)
    # A network that describes what it finds is not asked again.
    described = settings.model == settings.detector_model
    return network_detector(found, settings.max_features, chosen, described=described)


def build_describer(
    networks: Mapping[str, Network], settings: KeypointFeatures, device: str, backend: Backend = "torch"
) -> KeypointDescriber:
    """What describes keypoints, as the block says."""
    if settings.model is None:
        return patch_describer(classical_describer(settings.describe), settings.region)
    checkpoint, model = networks[settings.model]
    if model.DESCRIBES_PATCHES:
        return patch_describer(network_describer(checkpoint, model, device=device), settings.region)
    chosen = pick_device(device, backend)
    return point_describer(_load_point_network(networks[settings.model], chosen, backend), chosen)


def patch_describer(describer: Describer, region: float) -> KeypointDescriber:
    """Descriptors of patches that are cut around keypoints, so many times as wide as their sizes."""

    def describe(pixels: np.ndarray, keypoints: Keypoints, grey: np.ndarray | None = None) -> np.ndarray:
        patches = cut_patches(to_grey(pixels, grey), keypoints, region)
        none = np.zeros((0, describer.maker.dim), np.float32)
        return np.concatenate([none, *in_blocks(describer, patches)])

    return KeypointDescriber(describer.maker.dim, describer.maker.device, describe)


def point_describer(network: PointNetwork, device: torch.device) -> KeypointDescriber:
    """Descriptors of a network over the whole image, at the places of keypoints; those that it gave with them stay.

    Args:
        network: one that describes points.
        device: where the network is.
    """

    def describe(pixels: np.ndarray, keypoints: Keypoints, grey: np.ndarray | None = None) -> np.ndarray:
        if keypoints.descriptors is not None:
            return keypoints.descriptors
        points = torch.from_numpy(keypoints.points.astype(np.float32)).to(device)
        found = network.describe_points(image_tensor(pixels, network, device, grey), points)
        return found.float().cpu().numpy()

    return KeypointDescriber(network.dim, device_name(device), describe)


def describe_keypoints(image: LoadedImage, path: str, detect: Detector, describer: KeypointDescriber) -> Described:
    """Features of an image, strongest first; ``scales`` are sizes of keypoints in pixels of the original image.

    Raises:
        DataError: the image is too small for a network.
    """
    try:
        found = detect(image.pixels, image.grey)
        descriptors = describer.describe(image.pixels, found, image.grey)
    except ImageTooSmallError as error:
        raise DataError(f"{path}: too small for the network ({error}); leave this image out.") from error
    # The middle of the original's first pixel is 0.5, 0.5, as for other features.
    centres = image.to_original((found.points + 0.5).astype(np.float32))
    return Described(
        descriptors=descriptors,
        keypoints=centres,
        scales=(found.sizes * np.mean(image.ratio)).astype(np.float32),
        strengths=found.strengths.astype(np.float32),
        orientations=found.angles.astype(np.float32),
    )
