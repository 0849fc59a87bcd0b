"""Blocks of section `methods` that start from the ranking of another method."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Literal

from pydantic import Field

from descbench.config.base import (
    FeaturesName,
    MethodName,
    Problem,
    Several,
    left_out,
)
from descbench.config.method_base import RetrievalMethod


class RerankMethod(RetrievalMethod):
    """What methods share that start from the ranking of another method.

    Attributes:
        top_k: none of its own; that of the method it rests on.
    """

    ranks_shards: ClassVar[bool] = False
    top_k: ClassVar[None] = None
    model_config = left_out("features")

    features: FeaturesName = Field(description="Left out: those of the ranking.")

    @property
    def based_on(self) -> str:
        """The method whose ranking it starts from."""
        return self.ranking

    def fits(self, name: str, config: Any) -> Iterator[Problem]:
        """The ranking is of the features that it names."""
        if self.features != (used := getattr(config.methods[self.ranking], "features", None)):
            yield ("features",), f"{self.ranking!r} ranks by features {used!r}; leave `features` out"


class VerifyMethod(RerankMethod):
    """Spatial verification of the first images of a ranking by visual words."""

    HAS_INLIERS: ClassVar[bool] = True
    stage: ClassVar[str] = "verify_geometry"
    summary: ClassVar[str] = "spatial verification"

    search: Literal["verify"]
    ranking: MethodName = Field(
        description="Method whose ranking is verified: one of search bow, hamming, expand or expand_hamming."
    )
    first: Several = Field(1000, description="Images of a query that are verified; the others keep their order.")
    error: float = Field(
        15.0, gt=0, le=10_000, description="Pixels of the database image that an inlier may be off its place."
    )
    min_inliers: int = Field(6, ge=3, le=10_000, description="Fewest inliers of a verified image.")

    def fits(self, name: str, config: Any) -> Iterator[Problem]:
        """A ranking by words of features that have geometry."""
        yield from super().fits(name, config)
        if not config.methods[self.ranking].HAS_WORDS:
            yield ("ranking",), f"{self.ranking!r} does not rank by visual words, which correspondences are found by"
        elif not config.features[self.features].HAS_FRAMES:
            yield ("ranking",), f"features {self.features!r} have no orientations; geometry needs `kind: keypoints`"


class ExpandMethod(RerankMethod):
    """Average query expansion: a second search with what was verified."""

    HAS_WORDS: ClassVar[bool] = True
    stage: ClassVar[str] = "expand_query"
    summary: ClassVar[str] = "average query expansion"

    search: Literal["expand"]
    ranking: MethodName = Field(description="Method that verified images: one of search verify.")
    images: Several = Field(50, description="Most verified images that are averaged with the query.")
    min_inliers: int = Field(
        0,
        ge=0,
        le=10_000,
        description="Fewest inliers of an image that is averaged; what is verified with less keeps its place in the "
        "ranking that is expanded, and is not averaged.",
    )

    def inliers_from(self, name: str) -> str | None:
        """The method whose verified images are averaged."""
        return self.ranking

    def fits(self, name: str, config: Any) -> Iterator[Problem]:
        """A ranking that was verified."""
        yield from super().fits(name, config)
        if not config.methods[self.ranking].HAS_INLIERS:
            yield ("ranking",), f"{self.ranking!r} verifies no images; name a method of `search: verify`"
        elif any(block.HAS_SIGNATURES for block in _behind(self.ranking, config)):
            yield ("ranking",), f"{self.ranking!r} rests on signatures, which `search: expand_hamming` expands"


def _behind(name: str | None, config: Any) -> Iterator[RetrievalMethod]:
    """A method, the one whose ranking it starts from, and so on."""
    while name is not None:
        yield config.methods[name]
        name = config.methods[name].based_on
