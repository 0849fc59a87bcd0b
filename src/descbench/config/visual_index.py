"""Block of section `methods` that searches with COLMAP's visual index."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Literal

from pydantic import Field

from descbench.config.base import DatasetName, FeaturesName, Problem, Role, Seed, Several, Strict, left_out
from descbench.config.method_base import USED_FEATURES, RetrievalMethod
from descbench.config.search import RANKING_LENGTH


class Vocabulary(Strict):
    """Visual words of COLMAP: which descriptors they are learned from, and how many."""

    dataset: DatasetName = Field(description="Dataset of the training images.")
    role: Role = Field("train", description="Role of the training images.")
    images: Several | None = Field(None, description="First images of the list that are used; null = all.")
    size: Several = Field(65536, description="Number of visual words.")
    iterations: Several = Field(100, description="Iterations of a round of k-means, as COLMAP has it.")
    rounds: Several = Field(3, description="Rounds of k-means, each from other centroids; the best is kept.")
    seed: Seed = Field(0, description="Seed of COLMAP's random numbers.")


class VisualIndexMethod(RetrievalMethod):
    """Search by COLMAP's visual index: words, signatures of 64 bits, and spatial verification by votes."""

    ranks_shards: ClassVar[bool] = False
    stage: ClassVar[str] = "search_visual_index"
    summary: ClassVar[str] = "COLMAP's visual index"
    model_config = left_out("features")

    search: Literal["visual_index"]
    features: FeaturesName = Field(description=USED_FEATURES)
    n: Several = Field(2500, description="Strongest features used per image; at most the block's max_features.")
    vocabulary: Vocabulary
    neighbours: Several = Field(5, description="Words per query feature; those of the database have one.")
    checks: Several = Field(64, description="Words that COLMAP's approximate search of the nearest one compares.")
    verified: int = Field(
        0, ge=0, le=10**6, description="First images of a query that COLMAP verifies spatially and orders anew."
    )
    top_k: Several | None = Field(None, description=RANKING_LENGTH)

    @property
    def learned_from(self) -> tuple[tuple[str, str], ...]:
        """The dataset of the vocabulary."""
        return (("datasets", self.vocabulary.dataset),)

    def fits(self, name: str, config: Any) -> Iterator[Problem]:
        """Features with geometry, as many as are extracted, and training images that are there."""
        features = config.features[self.features]
        if not features.HAS_FRAMES:
            yield ("features",), f"features {self.features!r} have no orientations, which COLMAP's index stores"
        if why := features.too_few(self.n):
            yield ("n",), why
        learned = self.vocabulary
        if (problem := features.missing(self.features, config, learned.dataset, learned.role)) is not None:
            path, why = problem
            yield ("vocabulary", *path), why
