"""Settings of an ASMK search."""

from __future__ import annotations

from pydantic import Field, model_validator

from descbench.config.base import Several, Strict
from descbench.config.datasets import PLACES_RANKED

RANKING_LENGTH = (
    f"Length of the ranking; null = what the dataset's protocol needs: {PLACES_RANKED} images for places, all images "
    "otherwise."
)


class IndexSettings(Strict):
    """Inverted file: how database images are aggregated."""

    binary: bool = Field(True, description="Binarise aggregated residuals (ASMK*).")
    multiple_assignment: Several = Field(1, description="Words per database descriptor.")


class IdfSettings(Strict):
    """Inverse document frequency."""

    use_idf: bool = Field(False, description="Weight words by squared idf.")
    stale: bool = Field(
        False,
        description="The original's idf after chunked adding: words the last chunk does not touch keep an old one.",
    )


class QuerySettings(Strict):
    """Search: query aggregation and the similarity of two aggregated vectors."""

    multiple_assignment: Several = Field(5, description="Words per query descriptor.")
    similarity_threshold: float = Field(0.0, ge=-1, le=1, description="Entries below it do not vote (inclusive).")
    alpha: float = Field(3.0, ge=0, le=100, description="Power of the similarity.")
    top_k: Several | None = Field(None, description=RANKING_LENGTH)

    @model_validator(mode="after")
    def _real_votes(self) -> QuerySettings:
        if self.similarity_threshold < 0 and self.alpha != int(self.alpha):
            raise ValueError(
                f"alpha {self.alpha} of a negative similarity is not a number: take a whole alpha, or a "
                "similarity_threshold of 0 or more"
            )
        return self
