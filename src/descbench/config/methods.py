"""Blocks of section `methods`: what is searched how, or how patches are described; a row of a table each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from descbench.config.base import (
    FeaturesName,
    Problem,
    Several,
    left_out,
)
from descbench.config.hamming_methods import HammingExpandMethod, HammingMethod
from descbench.config.localisation_methods import LocaliseMethod
from descbench.config.matching_methods import MatchMethod
from descbench.config.method_base import USED_FEATURES, Codebook, CodebookMethod, RetrievalMethod
from descbench.config.patch_methods import DescribedPatches
from descbench.config.reranking import ExpandMethod, VerifyMethod
from descbench.config.search import RANKING_LENGTH, IdfSettings, IndexSettings, QuerySettings
from descbench.config.shortlist_methods import ListedMethod, ShortlistMethod
from descbench.config.visual_index import VisualIndexMethod


class AsmkMethod(CodebookMethod):
    """ASMK search over local features."""

    stage: ClassVar[str] = "search_index"
    summary: ClassVar[str] = "ASMK of local descriptors"
    model_config = left_out("features")

    search: Literal["asmk"]
    features: FeaturesName = Field(description=USED_FEATURES)
    n: Several = Field(1000, description="Strongest features used per image; at most the block's max_features.")
    codebook: Codebook
    index: IndexSettings = IndexSettings()
    idf: IdfSettings = IdfSettings()
    query: QuerySettings = QuerySettings()

    @property
    def uses_statistics(self) -> bool:
        """Whether it weights words by statistics of the whole index."""
        return self.idf.use_idf

    @property
    def stale_statistics(self) -> bool:
        """As the block says."""
        return self.idf.stale

    @property
    def top_k(self) -> int | None:
        """Length of the ranking; None = what the dataset's protocol needs."""
        return self.query.top_k

    @model_validator(mode="after")
    def _enough_words(self) -> AsmkMethod:
        for key, part in (("index", self.index), ("query", self.query)):
            if part.multiple_assignment > self.codebook.size:
                raise ValueError(
                    f"{key}.multiple_assignment {part.multiple_assignment} is more than the "
                    f"{self.codebook.size} words of the codebook"
                )
        return self


class FlatMethod(RetrievalMethod):
    """Exact search over global features."""

    stage: ClassVar[str] = "search_flat"
    summary: ClassVar[str] = "exact search of global descriptors"
    model_config = left_out("features")

    search: Literal["inner_product", "euclidean"]
    features: FeaturesName = Field(description=USED_FEATURES)
    top_k: Several | None = Field(None, description=RANKING_LENGTH)
    dim: Several | None = Field(
        None, description="First dimensions of the descriptors that are used, normalised again; null = all."
    )

    def fits(self, name: str, config: Any) -> Iterator[Problem]:
        """Global features, of as many dimensions as are used."""
        features = config.features[self.features]
        if features.IS_LOCAL is not False:
            yield ("features",), f"{self.search} needs features of kind global, {self.features!r} are not"
            return
        most = features.most_dimensions(config)
        if self.dim is not None and most is not None and self.dim > most:
            yield ("dim",), f"{self.dim} is more than the {most} dimensions of {self.features!r}"


class BowMethod(CodebookMethod):
    """Search by bags of visual words over local features, weighted by tf-idf."""

    HAS_WORDS: ClassVar[bool] = True
    stage: ClassVar[str] = "search_bow"
    summary: ClassVar[str] = "bags of visual words"
    model_config = left_out("features")

    search: Literal["bow"]
    features: FeaturesName = Field(description=USED_FEATURES)
    n: Several = Field(2500, description="Strongest features used per image; at most the block's max_features.")
    codebook: Codebook
    multiple_assignment: Several = Field(1, description="Words per query feature; those of the database have one.")
    top_k: Several | None = Field(None, description=RANKING_LENGTH)

    @property
    def uses_statistics(self) -> bool:
        """Always."""
        return True

    def fits(self, name: str, config: Any) -> Iterator[Problem]:
        """No more words of a feature than there are."""
        yield from super().fits(name, config)
        if self.multiple_assignment > self.codebook.size:
            why = f"{self.multiple_assignment} is more than the {self.codebook.size} words of the codebook"
            yield ("multiple_assignment",), why


def _family(block: Any) -> str:
    """By the key that says what a method does."""
    keys = block if isinstance(block, dict) else getattr(block, "model_fields_set", ())
    return next((family for key, family in _FAMILIES.items() if key in keys), RETRIEVAL)


RETRIEVAL = "retrieval"
# `match` of a method that ranks says how, so that `search` is looked for before.
_FAMILIES = {"search": RETRIEVAL, "localise": "localisation", "describe": "patches", "match": "matching"}
# Keys of which a method has one, which says what kind it is.
KINDS = tuple(_FAMILIES)


Retrieval = Annotated[
    AsmkMethod
    | FlatMethod
    | BowMethod
    | HammingMethod
    | VisualIndexMethod
    | VerifyMethod
    | ExpandMethod
    | HammingExpandMethod
    | ListedMethod
    | ShortlistMethod,
    Field(discriminator="search"),
]
Method = Annotated[
    Annotated[Retrieval, Tag(RETRIEVAL)]
    | Annotated[DescribedPatches, Tag("patches")]
    | Annotated[MatchMethod, Tag("matching")]
    | Annotated[LocaliseMethod, Tag("localisation")],
    Discriminator(_family),
]
