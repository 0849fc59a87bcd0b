"""Settings of an ASMK search."""

from __future__ import annotations

from pydantic import Field

from descbench.config.base import Strict


class IndexSettings(Strict):
    """Inverted file: how database images are aggregated."""

    binary: bool = Field(True, description="Binarise aggregated residuals (ASMK*).")
    multiple_assignment: int = Field(1, gt=0, description="Words per database descriptor.")


class IdfSettings(Strict):
    """Inverse document frequency."""

    use_idf: bool = Field(False, description="Weight words by squared idf.")
    stale: bool = Field(
        False,
        description="The original's idf after chunked adding: words the last chunk does not touch keep an old one.",
    )


class QuerySettings(Strict):
    """Search: query aggregation and the similarity of two aggregated vectors."""

    multiple_assignment: int = Field(5, gt=0, description="Words per query descriptor.")
    similarity_threshold: float = Field(0.0, description="Entries below it do not vote (inclusive).")
    alpha: float = Field(3.0, description="Power of the similarity.")
    top_k: int | None = Field(None, gt=0, description="Length of the ranking; null = all images.")
