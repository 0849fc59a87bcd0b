"""What makes features of one image, whatever it is: a network over the whole image, or descriptors of keypoints."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from descbench.config.networks import Model
from descbench.features.images import LoadedImage
from descbench.io.digests import digest_of
from descbench.models.checkpoints import checkpoint_digest


class Network(NamedTuple):
    """A network that features come from.

    Attributes:
        checkpoint: checkpoint of ours.
        model: its block of the configuration.
    """

    checkpoint: Path
    model: Model


def digest_networks(networks: Mapping[str, Network]) -> str:
    """What a shard says of the weights behind it: SHA-256 of the one network's, or of all, in order; empty without."""
    digests = [checkpoint_digest(network.checkpoint) for network in networks.values()]
    return digests[0] if len(digests) == 1 else digest_of(digests) if digests else ""


@dataclass(frozen=True)
class Described:
    """Features of one image, as the store takes them (:class:`descbench.features.store.Block`); None: it has none."""

    descriptors: np.ndarray
    keypoints: np.ndarray | None = None
    scales: np.ndarray | None = None
    strengths: np.ndarray | None = None
    orientations: np.ndarray | None = None


@dataclass(frozen=True)
class Extractor:
    """Something that describes images.

    Attributes:
        scope: whether it gives many descriptors of an image, or one.
        dim: dimensions of a descriptor.
        checkpoint: digest of the weights (:func:`digest_networks`).
        device: where it runs, in words.
        backend: what runs it, with its version.
        describe: from an image and its path, for messages. Raises DataError for one that cannot be described.
    """

    scope: Literal["local", "global"]
    dim: int
    checkpoint: str
    device: str
    backend: str
    describe: Callable[[LoadedImage, str], Described]
