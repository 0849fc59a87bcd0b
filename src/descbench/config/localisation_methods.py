"""Blocks of section `methods` that say how queries are localised."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from descbench.config.base import (
    SCORING,
    DatasetName,
    FeaturesName,
    Label,
    MethodName,
    Problem,
    Several,
    Strict,
    left_out,
)
from descbench.config.matching_methods import Matching
from descbench.config.method_base import USED_FEATURES, MethodBase

Share = Annotated[float, Field(ge=0, le=100)]


class ServerFigures(Strict):
    """What the benchmark's server says of a file of poses."""

    poses: str = Field(pattern=r"^[0-9a-f]{64}$", description="SHA-256 of the file of poses that was uploaded.")
    shares: dict[Label, tuple[Share, Share, Share]] = Field(
        min_length=1,
        description="Percent of queries within each of the three thresholds, by condition (`day`, `night`, `all`).",
    )


class LocaliseMethod(MethodBase):
    """Poses of queries by their matches with a map of points."""

    family: ClassVar[str] = "localisation"
    stage: ClassVar[str] = "localise_queries"
    summary: ClassVar[str] = "poses by matches with a map of points"
    model_config = left_out("features")

    localise: Literal["pnp"] = Field(description="How: RANSAC over 2-D to 3-D correspondences, and refinement.")
    features: FeaturesName = Field(description=USED_FEATURES)
    match: Matching = Field(Matching(), description="How two images are matched.")
    pairs: Literal["exhaustive", "listed", "ranked"] = Field(
        "exhaustive",
        description="Map images that a query is matched with: all, the official list's, or the first of `ranking`.",
    )
    ranking: MethodName | None = Field(
        None, description="Method of search inner_product or euclidean that ranks the map for `pairs: ranked`."
    )
    top_k: Several = Field(20, description="Map images of a query, of `pairs: ranked`.")
    map_pairs: Literal["exhaustive", "listed", "nearest"] = Field(
        "exhaustive",
        description="Pairs of map images that points are made of: all, the official list, or the nearest by pose.",
    )
    map_neighbours: Several = Field(20, description="Nearest map images of each, of `map_pairs: nearest`.")
    keypoint_origin: Literal["corner", "centre"] = Field(
        "corner",
        description="Where keypoints have 0, 0 on their way to COLMAP: the corner of the first pixel, as in COLMAP, "
        "or its middle, as the original of HNDesc (half a pixel off).",
    )
    verification: Literal["two_view", "known_poses"] = Field(
        "two_view",
        description="What verifies matches of map images: a geometry that RANSAC finds for each pair, or the known "
        "poses, as in hloc.",
    )
    verify_error: float = Field(
        4.0, gt=0, le=1000, description="Pixels that a match of a verified pair may be off its epipolar line."
    )
    min_pair_inliers: int = Field(15, ge=8, le=100_000, description="Fewest inliers of a verified pair of map images.")
    reprojection_error: float = Field(
        4.0, gt=0, le=1000, description="Pixels that a point may be off its place; others are removed at the end."
    )
    min_angle: float = Field(1.5, ge=0, lt=90, description="Least angle in degrees of two rays to a point.")
    two_view_points: bool = Field(
        True,
        description="Whether points that only two images see are kept, as most of a small map; COLMAP's default: no.",
    )
    max_error: float = Field(12.0, gt=0, le=1000, description="Pixels that an inlier of a query may be off its place.")
    min_inliers: int = Field(4, ge=4, le=100_000, description="Fewest inliers of a query that counts as localised.")
    min_inlier_ratio: float = Field(0.05, ge=0, le=1, description="Least share of inliers that RANSAC expects.")
    fallback: Literal["none", "first_image"] = Field(
        "none",
        description="Pose of a query that is not localised: none, or that of the first map image that it is matched "
        "with, as in hloc; not with exhaustive `pairs`, which have no order.",
    )
    server: Annotated[dict[DatasetName, ServerFigures], SCORING] = Field(
        {}, description="Figures of the benchmark's server, by dataset whose true poses are kept there."
    )

    @property
    def pair_matching(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """As images are matched with the map; homographies, which it has none of, have the defaults."""
        return self.match.matching(), {}

    @property
    def all_features(self) -> tuple[str, ...]:
        """The features that are matched."""
        return (self.features,)

    @property
    def based_on(self) -> str | None:
        """The method whose ranking pairs queries with the map."""
        return self.ranking

    def unfit(self, scored_on: str, config: Any) -> str | None:
        """A map with poses is needed, and what pairs are taken of."""
        if why := super().unfit(scored_on, config):
            return why
        if "listed" in (self.pairs, self.map_pairs) and not config.datasets[scored_on].lists_pairs:
            return f"{scored_on!r} lists no pairs of images; take `exhaustive` ones, or others"
        return None

    def fits(self, name: str, config: Any) -> Iterator[Problem]:
        """Local features, as many as are matched; a ranking of global ones."""
        features = config.features[self.features]
        if features.IS_LOCAL is False:
            yield ("features",), f"localisation needs local features, {self.features!r} are global"
        elif self.match.n is not None and (why := features.too_few(self.match.n)):
            yield ("match", "n"), why
        if self.ranking is not None and config.methods[self.ranking].stage != "search_flat":
            yield ("ranking",), f"{self.ranking!r} does not search by inner_product or euclidean"

    @model_validator(mode="after")
    def _ranking_is_used(self) -> LocaliseMethod:
        if (self.pairs == "ranked") != (self.ranking is not None):
            raise ValueError("`ranking` and `pairs: ranked` belong together")
        if self.fallback == "first_image" and self.pairs == "exhaustive":
            raise ValueError("`fallback: first_image` needs `pairs` that are ranked or listed, best first")
        return self
