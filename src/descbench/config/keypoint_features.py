"""Block of section `features`: keypoints of a detector, and a descriptor of each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from pydantic import Field

from descbench.config.base import ImageSize, ModelName, Problem, Several
from descbench.config.features_base import (
    DeepImages,
    ExifOrientation,
    ExtractedFeatures,
    OnBadImage,
    Resize,
    Storage,
    TruncatedImages,
    more_than_extracted,
)


class KeypointFeatures(ExtractedFeatures):
    """Keypoints of a detector and their descriptors, strongest keypoints first."""

    IS_LOCAL = True
    HAS_FRAMES = True

    kind: Literal["keypoints"]
    detector: Literal["sift", "orb", "akaze", "hessian", "hesaff", "network"] = Field(
        "sift",
        description="What finds keypoints: a detector of OpenCV, kornia's Hessian, Hessian-Affine of pyhesaff "
        "(`pip install -r requirements/hesaff.txt`), or a network.",
    )
    detector_model: ModelName | None = Field(None, description="Model of `detector: network`, which finds keypoints.")
    threshold: float | None = Field(
        None,
        ge=0,
        le=1e6,
        description="Least strength of keypoints of `detector: hessian` and `hesaff`, in grey values of 0 to 255 "
        "(HesAff's scale: 5.33); null = none, and with `hesaff` 16/3.",
    )
    shape_model: ModelName | None = Field(
        None, description="Model that gives patches their affine shape (AffNet); null = squares."
    )
    orientation_model: ModelName | None = Field(
        None, description="Model that turns patches (OriNet); null = the detector's orientation, upright without one."
    )
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
    resize: Resize = None
    reading: Literal["toolbox", "hndesc"] = Field(
        "toolbox",
        description="Whose way of reading and reducing images: the retrieval toolbox's (Lanczos), or HNDesc's (colours "
        "bicubically, grey as OpenCV reads it bilinearly, a crop before it is reduced).",
    )
    max_features: Several | None = Field(
        2500, description="Strongest keypoints kept per image, of which methods read a prefix; null = all."
    )
    dtype: Storage = "float32"
    on_bad_image: OnBadImage = "stop"
    truncated_images: TruncatedImages = "refuse"
    deep_images: DeepImages = "scale"
    exif_orientation: ExifOrientation = "ignore"

    @property
    def networks(self) -> tuple[str, ...]:
        """The one that describes first, then those that detect, shape and turn."""
        names = (self.model, self.detector_model, self.shape_model, self.orientation_model)
        return tuple(dict.fromkeys(name for name in names if name is not None))

    @property
    def longer_side(self) -> int | None:
        """That of the height and width, where these are given."""
        return max(self.resize) if self.resize else self.image_size

    @property
    def read_as(self) -> str:
        """``reading``."""
        return self.reading

    def described_as(self) -> str | None:
        """Their network, or rule."""
        return self.model or self.describe

    def fits(self, name: str, config: Any) -> Iterator[Problem]:
        """Networks that detect and describe, where they are asked for and nowhere else."""
        yield from fits_describer(self, config, points=True)
        yield from self._fits_detector(config)
        yield from self._fits_its_own(config)
        yield from self._fits_frames(config)

    def _fits_detector(self, config: Any) -> Iterator[Problem]:
        path = ("detector_model",)
        if (self.detector == "network") == (self.detector_model is None):
            needs = "needs" if self.detector_model is None else "has no"
            yield path, f"detector: {self.detector} {needs} `detector_model`"
        elif self.detector_model is not None and not config.models[self.detector_model].DETECTS_KEYPOINTS:
            architecture = config.models[self.detector_model].architecture
            yield path, f"{self.detector_model!r} ({architecture}) detects no keypoints"

    def _fits_its_own(self, config: Any) -> Iterator[Problem]:
        other = self.model is not None and self.model != self.detector_model
        if other and config.models[self.model].DESCRIBES_ITS_OWN:
            yield (
                ("model",),
                f"{self.model!r} describes the points alone that it finds itself; set `detector: network` and "
                f"`detector_model: {self.model}`",
            )

    def _fits_frames(self, config: Any) -> Iterator[Problem]:
        if self.threshold is not None and self.detector not in ("hessian", "hesaff"):
            yield ("threshold",), f"detector: {self.detector} has no `threshold`"
        for key, answer, what in (
            ("shape_model", "ESTIMATES_SHAPE", "estimates no affine shape"),
            ("orientation_model", "ESTIMATES_ORIENTATION", "estimates no orientation"),
        ):
            name = getattr(self, key)
            if name is not None and not getattr(config.models[name], answer):
                yield (key,), f"{name!r} ({config.models[name].architecture}) {what}"
        if self.shape_model is not None and self.detector == "hesaff":
            yield ("shape_model",), "detector: hesaff gives patches their shape itself"
        if self.shape_model is not None and self.model is not None and config.models[self.model].DESCRIBES_POINTS:
            yield ("shape_model",), f"{self.model!r} describes points, no patches that would have a shape"

    def most_dimensions(self, config: Any) -> int | None:
        """Those of SIFT, rooted or not, or of a network whose block tells."""
        if self.model is not None:
            return config.models[self.model].most_dimensions()
        return 128 if self.describe in ("sift", "rootsift") else None

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
