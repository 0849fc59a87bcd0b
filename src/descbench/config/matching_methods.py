"""Blocks of section `methods` that say how the features of image pairs are matched, and how matches are scored."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from descbench.config.base import SCORING, FeaturesName, Problem, Several, Strict, left_out
from descbench.config.method_base import USED_FEATURES, MethodBase

# Height and width of the images of SuperPoint's own evaluation.
FIXED_SIZE = (480, 640)


class Matching(Strict):
    """How two images are matched."""

    n: Several | None = Field(None, description="Strongest features used per image; null = all.")
    mutual: bool = Field(True, description="Whether each of two features must be the other's nearest.")
    ratio: float | None = Field(
        None,
        gt=0,
        le=1,
        description="Largest distance of the nearest over that of the second nearest (exclusive; with `mutual` of both "
        "images); null = no ratio test.",
    )
    max_distance: float | None = Field(
        None, gt=0, le=4, description="Largest distance of a match (inclusive); null = any."
    )
    distance: Literal["euclidean", "angle"] = Field(
        "euclidean",
        description="What the two are measured in: distance of descriptors of length 1, or the angle between them in "
        "radians.",
    )

    def matching(self) -> dict[str, Any]:
        """These keys as plain values, those of :class:`descbench.matching.matcher.MatchSettings`."""
        return {key: getattr(self, key) for key in Matching.model_fields}


class MatchMethod(MethodBase, Matching):
    """Features of image pairs, matched by the nearest descriptors."""

    family: ClassVar[str] = "matching"
    stage: ClassVar[str] = "match_features"
    summary: ClassVar[str] = "nearest descriptors of image pairs"
    model_config = left_out("features")

    match: Literal["nearest"] = Field(description="What matches: nearest descriptors.")
    features: FeaturesName = Field(description=USED_FEATURES)
    pixels: Annotated[Literal["original", "resized"], SCORING] = Field(
        "original",
        description="Pixels that errors are measured in: of the original images, or of the resized ones of features.",
    )
    estimator: Annotated[Literal["ransac", "usac_magsac", "poselib"], SCORING] = Field(
        "ransac", description="What estimates homographies: RANSAC or USAC_MAGSAC of OpenCV, or PoseLib."
    )
    threshold: Annotated[float, SCORING] = Field(
        3.0, gt=0, le=1000, description="Pixels that an inlier of the estimator may be off its place."
    )
    corners: Annotated[Literal["second", "first", "swapped"], SCORING] = Field(
        "second",
        description="Corners whose displacement is the error of a homography: of the second image (HNDesc), of the "
        "first, or of the second with height and width in each other's place.",
    )

    fixed_features: Annotated[FeaturesName | None, SCORING] = Field(
        None,
        description="Features of `resize: [480, 640]`, for homography_640x480@t and matching_score_640x480; null: "
        "these are left out.",
    )

    @property
    def pair_matching(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """As it scores pairs."""
        return self.matching(), {"estimator": self.estimator, "threshold": self.threshold}

    @property
    def all_features(self) -> tuple[str, ...]:
        """The features that are matched, and those at 640 x 480."""
        return (self.features,) if self.fixed_features is None else (self.features, self.fixed_features)

    def fits(self, name: str, config: Any) -> Iterator[Problem]:
        """Local features, as many as are extracted."""
        features = config.features[self.features]
        if self.fixed_features is not None:
            fixed = config.features[self.fixed_features]
            if not fixed.HAS_FRAMES or fixed.resize != FIXED_SIZE:
                yield ("fixed_features",), f"{self.fixed_features!r} has no `resize: {list(FIXED_SIZE)}`"
        if features.IS_LOCAL is False:
            yield ("features",), f"matching needs local features, {self.features!r} are global"
        elif self.n is not None and (why := features.too_few(self.n)):
            yield ("n",), why
