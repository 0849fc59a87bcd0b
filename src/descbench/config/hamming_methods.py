"""Blocks of section `methods` that compare binary signatures of features within their visual words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Literal

from pydantic import Field

from descbench.config.base import FeaturesName, MethodName, Problem, Seed, Several, left_out
from descbench.config.method_base import USED_FEATURES, Codebook, CodebookMethod
from descbench.config.reranking import RerankMethod
from descbench.config.search import RANKING_LENGTH


class HammingMethod(CodebookMethod):
    """Search by visual words and binary signatures: Hamming embedding."""

    HAS_WORDS: ClassVar[bool] = True
    HAS_SIGNATURES: ClassVar[bool] = True
    stage: ClassVar[str] = "search_hamming"
    summary: ClassVar[str] = "Hamming embedding"
    model_config = left_out("features")

    search: Literal["hamming"]
    features: FeaturesName = Field(description=USED_FEATURES)
    n: Several = Field(2500, description="Strongest features used per image; at most the block's max_features.")
    codebook: Codebook
    bits: int = Field(64, ge=8, le=4096, description="Bits of a signature; at most the dimensions of a descriptor.")
    seed: Seed = Field(0, description="Seed of the random projection.")
    threshold: int | None = Field(
        None, ge=0, description="Most bits that the signatures of a match differ in; null = three eighths of the bits."
    )
    weighting: Literal["gaussian", "none"] = Field(
        "gaussian", description="What a match counts by its distance: `exp(-(distance / (bits / 4)) ** 2)`, or 1."
    )
    burstiness: bool = Field(
        True, description="Divide the matches of one query feature in one image by the root of their number."
    )
    multiple_assignment: Several = Field(1, description="Words per query feature; those of the database have one.")
    top_k: Several | None = Field(None, description=RANKING_LENGTH)

    @property
    def uses_statistics(self) -> bool:
        """Always."""
        return True

    @property
    def signatures(self) -> dict[str, int]:
        """What the thresholds of signatures are learned for."""
        return {"bits": self.bits, "seed": self.seed}

    @property
    def matching(self) -> dict[str, Any]:
        """What matches count."""
        threshold = 3 * self.bits // 8 if self.threshold is None else self.threshold
        return {"threshold": threshold, "weighting": self.weighting, "burstiness": self.burstiness}

    def fits(self, name: str, config: Any) -> Iterator[Problem]:
        """No more words of a feature than there are, no more bits than dimensions."""
        yield from super().fits(name, config)
        if self.multiple_assignment > self.codebook.size:
            why = f"{self.multiple_assignment} is more than the {self.codebook.size} words of the codebook"
            yield ("multiple_assignment",), why
        most = config.features[self.features].most_dimensions(config)
        if most is not None and self.bits > most:
            yield ("bits",), f"{self.bits} is more than the {most} dimensions of {self.features!r}"
        if self.threshold is not None and self.threshold > self.bits:
            yield ("threshold",), f"{self.threshold} is more than the {self.bits} bits of a signature"


class HammingExpandMethod(RerankMethod):
    """Hamming query expansion: a second search with what matched reliably in the first one."""

    HAS_WORDS: ClassVar[bool] = True
    HAS_SIGNATURES: ClassVar[bool] = True
    stage: ClassVar[str] = "expand_hamming"
    summary: ClassVar[str] = "Hamming query expansion"

    search: Literal["expand_hamming"]
    ranking: MethodName = Field(description="Method that found images by signatures: one of search hamming.")
    images: Several = Field(100, description="First images of a query that are looked at.")
    strong: int | None = Field(
        None,
        ge=0,
        description="Most bits that signatures of a strong match differ in; null = a quarter of the bits.",
    )
    matches: Several = Field(5, description="Fewest query features with a strong match in a reliable image.")
    growth: float = Field(0.5, ge=0, le=100, description="Most new words, as a share of the query's own.")
    seed: Seed = Field(0, description="Seed of the bits on which features are even.")

    def expansion(self, bits: int) -> dict[str, Any]:
        """What a query is expanded with, for signatures of so many bits."""
        strong = bits // 4 if self.strong is None else self.strong
        kept = {"images": self.images, "matches": self.matches, "growth": self.growth, "seed": self.seed}
        return {**kept, "strong": strong}

    def fits(self, name: str, config: Any) -> Iterator[Problem]:
        """A search by signatures."""
        yield from super().fits(name, config)
        if config.methods[self.ranking].stage != HammingMethod.stage:
            yield ("ranking",), f"{self.ranking!r} compares no signatures; name a method of `search: hamming`"
        elif self.strong is not None and self.strong > (bits := config.methods[self.ranking].bits):
            yield ("strong",), f"{self.strong} is more than the {bits} bits of the signatures of {self.ranking!r}"
