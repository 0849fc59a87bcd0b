"""Blocks of section `methods`: what is searched how, or how patches are described; a row of a table each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from descbench.config.base import (
    SCORING,
    Block,
    Count,
    DatasetName,
    FeaturesName,
    MethodName,
    ModelName,
    Problem,
    Role,
    Seed,
    Several,
    Strict,
    UserPath,
    left_out,
)
from descbench.config.features import fits_describer
from descbench.config.search import RANKING_LENGTH, IdfSettings, IndexSettings, QuerySettings


class Codebook(Strict):
    """k-means codebook: which descriptors it is learned from, and how many words."""

    model_config = left_out("features")

    features: FeaturesName = Field(
        description="Features block of the training descriptors; left out: the method's own local features at scale 1, "
        "which are called `<features>_single`."
    )
    dataset: DatasetName = Field(description="Dataset of the training images.")
    role: Role = Field("train", description="Role of the training images.")
    images: Several | None = Field(20000, description="First images of the list that are used; null = all.")
    n: Several | None = Field(None, description="Strongest descriptors per image; null = the method's n.")
    size: Count = Field(65536, description='Number of visual words ("64k" = 65536).')
    iterations: Several = Field(10, description="k-means iterations.")
    seed: Seed = Field(1234, description="Seed of the subsample and of the initial centroids.")
    assignment: Literal["exact", "two_level"] = Field(
        "exact",
        description="`two_level` is approximate: a point sees the words of its 8 nearest cells of words only.",
    )

    def problems(self, n: int, config: Any) -> Iterator[Problem]:
        """Yield ``(path below the block, message)`` for what does not fit; ``n`` is the method's own."""
        training = config.features[self.features]
        if why := training.too_few(self.n or n):
            yield ("n",) if self.n else (), why
        if (problem := training.missing(self.features, config, self.dataset, self.role)) is not None:
            yield problem


USED_FEATURES = (
    "Features block, or a model, whose features then have their defaults; left out: the one of the method's own name."
)


class MethodBase(Block):
    """What all methods answer.

    Attributes:
        family: of evaluation, which decides the stages before its scores and the rule that scores it.
        SCORED_ON: section of the configuration that has what it is scored on.
        needs_codebook: whether it searches an inverted file of visual words.
        stage: rule and library function that search, or describe patches or read their descriptors.
        ranks_shards: whether it ranks shard by shard, so that partial rankings are merged; others need whole rankings.
        HAS_WORDS: whether its ranking comes from bags of visual words.
        HAS_INLIERS: whether it tells which images were verified.
    """

    family: ClassVar[str]
    SCORED_ON: ClassVar[str] = "datasets"
    needs_codebook: ClassVar[bool] = False
    ranks_shards: ClassVar[bool] = False
    HAS_WORDS: ClassVar[bool] = False
    HAS_INLIERS: ClassVar[bool] = False
    stage: ClassVar[str]

    @property
    def based_on(self) -> str | None:
        """Method whose ranking it starts from, if it starts from one."""
        return None

    @property
    def all_features(self) -> tuple[str, ...]:
        """Features blocks that it uses."""
        return ()

    def described_by(self, config: Any) -> tuple[str, ...]:
        """Models whose networks describe images or patches."""
        models = (config.block("features", name).extracted_by for name in self.all_features)
        return tuple(dict.fromkeys(model for model in models if model is not None))

    @property
    def learned_from(self) -> tuple[tuple[str, str], ...]:
        """Section and name of what it learns from itself."""
        return ()

    @property
    def own_folders(self) -> tuple[Path, ...]:
        """Folders of the user's that its descriptors are read from."""
        return ()

    @property
    def uses_statistics(self) -> bool:
        """Whether it weights words by statistics of the whole index."""
        return False

    @property
    def stale_statistics(self) -> bool:
        """Whether these are those of the original after chunked adding."""
        return False

    def unfit(self, scored_on: str, config: Any) -> str | None:
        """Why it cannot be scored on a dataset or patch set of its section, if it cannot."""
        return None


class RetrievalMethod(MethodBase):
    """What all ways of searching share."""

    family: ClassVar[str] = "retrieval"
    ranks_shards: ClassVar[bool] = True

    @property
    def all_features(self) -> tuple[str, ...]:
        """The features that are searched."""
        return (self.features,)


class AsmkMethod(RetrievalMethod):
    """ASMK search over local features."""

    needs_codebook: ClassVar[bool] = True
    stage: ClassVar[str] = "search_index"
    model_config = left_out("features")

    search: Literal["asmk"]
    features: FeaturesName = Field(description=USED_FEATURES)
    n: Several = Field(1000, description="Strongest features used per image; at most the block's max_features.")
    codebook: Codebook
    index: IndexSettings = IndexSettings()
    idf: IdfSettings = IdfSettings()
    query: QuerySettings = QuerySettings()

    @property
    def all_features(self) -> tuple[str, ...]:
        """Features blocks that it uses."""
        return self.features, self.codebook.features

    @property
    def learned_from(self) -> tuple[tuple[str, str], ...]:
        """The dataset of the codebook."""
        return (("datasets", self.codebook.dataset),)

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

    def fits(self, name: str, config: Any) -> Iterator[Problem]:
        """Local features of one model in search and codebook, as many as are extracted."""
        features, training = config.features[self.features], config.features[self.codebook.features]
        for path, block in ((("features",), features), (("codebook", "features"), training)):
            if block.IS_LOCAL is False:
                yield path, "asmk needs local features, these are global"
        if why := features.too_few(self.n):
            yield ("n",), why
        models = features.extracted_by, training.extracted_by
        if None not in models and models[0] != models[1]:
            learned = f"learned with model {models[1]!r}"
            yield ("codebook", "features"), f"{learned}, but the method searches features of {models[0]!r}"
        for path, why in self.codebook.problems(self.n, config):
            yield ("codebook", *path), why


class FlatMethod(RetrievalMethod):
    """Exact search over global features."""

    stage: ClassVar[str] = "search_flat"
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


class BowMethod(RetrievalMethod):
    """Search by bags of visual words over local features, weighted by tf-idf."""

    needs_codebook: ClassVar[bool] = True
    HAS_WORDS: ClassVar[bool] = True
    stage: ClassVar[str] = "search_bow"
    model_config = left_out("features")

    search: Literal["bow"]
    features: FeaturesName = Field(description=USED_FEATURES)
    n: Several = Field(2500, description="Strongest features used per image; at most the block's max_features.")
    codebook: Codebook
    multiple_assignment: Several = Field(1, description="Words per query feature; those of the database have one.")
    top_k: Several | None = Field(None, description=RANKING_LENGTH)

    @property
    def all_features(self) -> tuple[str, ...]:
        """Features blocks that it uses."""
        return self.features, self.codebook.features

    @property
    def learned_from(self) -> tuple[tuple[str, str], ...]:
        """The dataset of the codebook."""
        return (("datasets", self.codebook.dataset),)

    @property
    def uses_statistics(self) -> bool:
        """Always."""
        return True

    def fits(self, name: str, config: Any) -> Iterator[Problem]:
        """Local features in search and codebook, described alike, as many as are extracted."""
        features, training = config.features[self.features], config.features[self.codebook.features]
        for path, block in ((("features",), features), (("codebook", "features"), training)):
            if block.IS_LOCAL is False:
                yield path, "bow needs local features, these are global"
        if why := features.too_few(self.n):
            yield ("n",), why
        if self.multiple_assignment > self.codebook.size:
            why = f"{self.multiple_assignment} is more than the {self.codebook.size} words of the codebook"
            yield ("multiple_assignment",), why
        ours, learned = features.described_as(), training.described_as()
        if None not in (ours, learned) and ours != learned:
            why = f"learned with descriptors {learned!r}, but the method searches {ours!r}"
            yield ("codebook", "features"), why
        for path, why in self.codebook.problems(self.n, config):
            yield ("codebook", *path), why


class RerankMethod(RetrievalMethod):
    """What methods share that start from the ranking of another method.

    Attributes:
        top_k: none of its own; that of the method it rests on.
    """

    ranks_shards: ClassVar[bool] = False
    top_k: ClassVar[None] = None

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
    model_config = left_out("features")

    search: Literal["verify"]
    ranking: MethodName = Field(description="Method whose ranking is verified: one of search bow or expand.")
    features: FeaturesName = Field(description="Left out: those of the ranking.")
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
            yield ("ranking",), f"features {self.features!r} have no orientations; geometry needs `kind: patches`"


class ExpandMethod(RerankMethod):
    """Average query expansion: a second search with what was verified."""

    HAS_WORDS: ClassVar[bool] = True
    stage: ClassVar[str] = "expand_query"
    model_config = left_out("features")

    search: Literal["expand"]
    ranking: MethodName = Field(description="Method that verified images: one of search verify.")
    features: FeaturesName = Field(description="Left out: those of the ranking.")
    images: Several = Field(50, description="Most verified images that are averaged with the query.")

    def fits(self, name: str, config: Any) -> Iterator[Problem]:
        """A ranking that was verified."""
        yield from super().fits(name, config)
        if not config.methods[self.ranking].HAS_INLIERS:
            yield ("ranking",), f"{self.ranking!r} verifies no images; name a method of `search: verify`"


class PatchMethodBase(MethodBase):
    """Descriptors of patches, compared by their distance."""

    family: ClassVar[str] = "patches"
    SCORED_ON: ClassVar[str] = "patch_sets"

    distance: Annotated[Literal["L2", "L1"], SCORING] = Field("L2", description="Distance of two descriptors.")
    normalisation: Annotated[Literal["none", "pca_power"], SCORING] = Field(
        "none",
        description="HPatches: PCA-whitening learned on the training sequences of the split, then power law (`+`).",
    )

    def unfit(self, scored_on: str, config: Any) -> str | None:
        """A normalisation needs something to be learned on."""
        if self.normalisation == "none" or config.patch_sets[scored_on].learns_from_split():
            return None
        return f"{scored_on!r} has no training sequences, which normalisation {self.normalisation} is learned on"


class PatchMethod(PatchMethodBase):
    """Descriptors that are made here."""

    stage: ClassVar[str] = "describe_patches"

    describe: Literal["network", "pixels", "sift", "rootsift"] = Field(
        description="What makes descriptors: a network, the pixels themselves, or SIFT and RootSIFT of OpenCV."
    )
    model: ModelName | None = Field(
        None, description="Model of `describe: network`; left out: the one of the method's own name."
    )
    decimals: int | None = Field(
        None, ge=0, le=9, description="Decimals that numbers are rounded to (HPatches' text files: 5); null: all kept."
    )

    def described_by(self, config: Any) -> tuple[str, ...]:
        """Its model."""
        return () if self.model is None else (self.model,)

    def fits(self, name: str, config: Any) -> Iterator[Problem]:
        """A network that describes patches, and no other descriptor has one."""
        yield from fits_describer(self, config)


class FilesMethod(PatchMethodBase):
    """Anyone's descriptors, read from files in the layout of the HPatches benchmark."""

    stage: ClassVar[str] = "import_descriptors"

    describe: Literal["files"] = Field(description="Descriptors are read, and not made here.")
    folder: UserPath = Field(
        description="Folder of descriptors: `<folder>/<sequence>/<view>.csv`, a row a patch, for `ref`, `e1` to `t5`."
    )
    delimiter: Literal[",", ";"] = Field(",", description="What stands between the numbers of a row.")

    @property
    def own_folders(self) -> tuple[Path, ...]:
        """The folder of the descriptors."""
        return (self.folder,)


def _family(block: Any) -> str:
    """By the key that says what a method does."""
    keys = block if isinstance(block, dict) else getattr(block, "model_fields_set", ())
    return "patches" if "describe" in keys else "retrieval"


Retrieval = Annotated[AsmkMethod | FlatMethod | BowMethod | VerifyMethod | ExpandMethod, Field(discriminator="search")]
DescribedPatches = Annotated[PatchMethod | FilesMethod, Field(discriminator="describe")]
Method = Annotated[
    Annotated[Retrieval, Tag("retrieval")] | Annotated[DescribedPatches, Tag("patches")], Discriminator(_family)
]
