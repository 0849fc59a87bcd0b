"""Blocks of section `methods` that read a published ranking, or order the first images of one by local matching."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from descbench.config.base import DatasetName, FeaturesName, MethodName, Problem, Several, SourceName, left_out
from descbench.config.checks import no_images
from descbench.config.matching_methods import Matching
from descbench.config.method_base import USED_FEATURES, RetrievalMethod

# Endings of files of published rankings: HNDesc's for Oxford and Paris, and NetVLAD's for Tokyo 24/7.
LIST_SUFFIXES = (".pkl", ".mat")


class ListedMethod(RetrievalMethod):
    """A ranking that was published: nearest neighbours of each query, by the names of images."""

    ranks_shards: ClassVar[bool] = False
    stage: ClassVar[str] = "import_ranking"
    summary: ClassVar[str] = "a published ranking"
    top_k: ClassVar[None] = None

    search: Literal["listed"]
    files: dict[DatasetName, SourceName] = Field(
        min_length=1,
        description="Dataset -> source: a pickle with q_images, db_images and ranks (.pkl), or a MATLAB file with "
        "ImgList (.mat).",
    )

    @property
    def all_features(self) -> tuple[str, ...]:
        """None."""
        return ()

    def released_for(self, datasets: Collection[str]) -> list[str]:
        """Sources that hold rankings of these datasets."""
        return [source for dataset, source in self.files.items() if dataset in datasets]

    def unfit(self, scored_on: str, config: Any) -> str | None:
        """There is a file of each dataset."""
        if scored_on in self.files:
            return super().unfit(scored_on, config)
        return f"no list of {scored_on!r} is in `files`"

    def fits(self, name: str, config: Any) -> Iterator[Problem]:
        """Queries and images that names lead to."""
        for dataset in self.files:
            for role in ("query", "database"):
                if (found := no_images(config, dataset, role)) is not None:
                    yield ("files", dataset), found[1]
                    break

    @model_validator(mode="after")
    def _known_kinds(self) -> ListedMethod:
        for source in self.files.values():
            if not source.lower().endswith(LIST_SUFFIXES):
                raise ValueError(f"{source!r} ends in none of {', '.join(LIST_SUFFIXES)}, which say what a list is")
        return self


class ShortlistMethod(RetrievalMethod):
    """The first images of a ranking, in the order of how many local features match by one homography."""

    ranks_shards: ClassVar[bool] = False
    stage: ClassVar[str] = "rerank_shortlist"
    summary: ClassVar[str] = "re-ranking by local matching"
    top_k: ClassVar[None] = None
    model_config = left_out("features")

    search: Literal["rerank"]
    ranking: MethodName = Field(description="Method whose ranking is put into another order.")
    features: FeaturesName = Field(description=USED_FEATURES)
    first: Several | None = Field(
        100, description="Images of a query that are matched, the others keep their order behind them; null = all."
    )
    match: Matching = Field(Matching(), description="How two images are matched.")
    threshold: float = Field(
        5.0, gt=0, le=1000, description="Pixels of the database image that an inlier may be off its place."
    )

    @property
    def based_on(self) -> str:
        """The method whose ranking it starts from."""
        return self.ranking

    @property
    def shortlist(self) -> dict[str, Any]:
        """The settings of its own keys."""
        return {"settings": self.match.matching(), "threshold": self.threshold, "first": self.first}

    def unfit(self, scored_on: str, config: Any) -> str | None:
        """What its ranking can be made of."""
        return super().unfit(scored_on, config) or config.methods[self.ranking].unfit(scored_on, config)

    def fits(self, name: str, config: Any) -> Iterator[Problem]:
        """A ranking, and local features, as many as are matched."""
        features = config.features[self.features]
        if config.methods[self.ranking].family != self.family:
            yield ("ranking",), f"{self.ranking!r} ranks no images"
        if features.IS_LOCAL is False:
            yield ("features",), f"local matching needs local features, {self.features!r} are global"
        elif self.match.n is not None and (why := features.too_few(self.match.n)):
            yield ("match", "n"), why
