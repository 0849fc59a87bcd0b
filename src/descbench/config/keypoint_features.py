"""Block of section `features`: keypoints of a detector, and a descriptor of each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from pydantic import Field

from descbench.config.base import ImageSize, ModelName, Problem, Several
from descbench.config.features_base import (
    DeepImages,
    ExtractedFeatures,
    OnBadImage,
    Storage,
    TruncatedImages,
    more_than_extracted,
)


class KeypointFeatures(ExtractedFeatures):
    """Keypoints of a detector and their descriptors, strongest keypoints first."""

    IS_LOCAL = True
    HAS_FRAMES = True

    kind: Literal["keypoints"]
    detector: Literal["sift", "orb", "akaze", "network"] = Field(
        "sift", description="What finds keypoints: a detector of OpenCV, or a network."
    )
    detector_model: ModelName | None = Field(None, description="Model of `detector: network`, which finds keypoints.")
    describe: Literal["network", "pixels", "sift", "rootsift"] = Field(
        description="What describes keypoints: a network, the pixels around them, or SIFT and RootSIFT of OpenCV."
    )
    model: ModelName | None = Field(
        None, description="Model of `describe: network`, which describes patches or points of an image."
    )
    region: float = Field(
        5.2, gt=0.1, le=100, description="Width of a patch over the size of its keypoint, as the detector gives it."
    )
    image_size: ImageSize | None = Field(
        1024, description="Longer side in pixels that images are reduced to; null = their full size."
    )
    max_features: Several | None = Field(
        2500, description="Strongest keypoints kept per image, of which methods read a prefix; null = all."
    )
    dtype: Storage = "float32"
    on_bad_image: OnBadImage = "stop"
    truncated_images: TruncatedImages = "refuse"
    deep_images: DeepImages = "scale"

    @property
    def networks(self) -> tuple[str, ...]:
        """The one that describes first, then the one that detects."""
        return tuple(dict.fromkeys(name for name in (self.model, self.detector_model) if name is not None))

    def described_as(self) -> str | None:
        """Their network, or rule."""
        return self.model or self.describe

    def fits(self, name: str, config: Any) -> Iterator[Problem]:
        """Networks that detect and describe, where they are asked for and nowhere else."""
        yield from fits_describer(self, config, points=True)
        yield from self._fits_detector(config)

    def _fits_detector(self, config: Any) -> Iterator[Problem]:
        path = ("detector_model",)
        if (self.detector == "network") == (self.detector_model is None):
            needs = "needs" if self.detector_model is None else "has no"
            yield path, f"detector: {self.detector} {needs} `detector_model`"
        elif self.detector_model is not None and not config.models[self.detector_model].DETECTS_KEYPOINTS:
            architecture = config.models[self.detector_model].architecture
            yield path, f"{self.detector_model!r} ({architecture}) detects no keypoints"

    def too_few(self, n: int) -> str | None:
        """No more than are extracted."""
        return None if self.max_features is None else more_than_extracted(n, self.max_features)


def fits_describer(block: Any, config: Any, *, points: bool = False) -> Iterator[Problem]:
    """Whether ``describe`` of a block has the ``model`` that it needs, and no other.

    Args:
        block: with ``describe`` and ``model``.
        config: the whole configuration.
        points: whether a network may also describe points of whole images, instead of patches.
    """
    if (block.describe == "network") == (block.model is None):
        yield ("model",), f"describe: {block.describe} {'needs' if block.model is None else 'has no'} `model`"
    elif block.model is not None:
        model = config.models[block.model]
        if not (model.DESCRIBES_PATCHES or (points and model.DESCRIBES_POINTS)):
            what = "neither patches nor points of images" if points else "no patches"
            yield ("model",), f"{block.model!r} ({model.architecture}) describes {what}"
