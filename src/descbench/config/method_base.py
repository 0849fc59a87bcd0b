"""What blocks of section `methods` share: what a method answers, and the codebook of those that have one."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from descbench.config.base import (
    Block,
    Count,
    DatasetName,
    FeaturesName,
    Problem,
    Role,
    Seed,
    Several,
    Strict,
    left_out,
)
from descbench.config.checks import too_many_words


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
        training, each = config.features[self.features], self.n or n
        if why := training.too_few(each):
            yield ("n",) if self.n else (), why
        # Published descriptors are those of many images in one list.
        if training.READS_IMAGES and (
            why := too_many_words(self.size, config, self.dataset, self.role, images=self.images, each=each)
        ):
            yield ("size",), why
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
        summary: what it is, in the words of the field, for lists.
        ranks_shards: whether it ranks shard by shard, so that partial rankings are merged; others need whole rankings.
        HAS_WORDS: whether its ranking comes from bags of visual words.
        HAS_SIGNATURES: whether its words have binary signatures, so that its inverted file is none of counts.
        HAS_INLIERS: whether it tells which images were verified.
    """

    family: ClassVar[str]
    SCORED_ON: ClassVar[str] = "datasets"
    needs_codebook: ClassVar[bool] = False
    ranks_shards: ClassVar[bool] = False
    HAS_WORDS: ClassVar[bool] = False
    HAS_SIGNATURES: ClassVar[bool] = False
    HAS_INLIERS: ClassVar[bool] = False
    stage: ClassVar[str]
    summary: ClassVar[str]

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
        models = (model for name in self.all_features for model in config.block("features", name).networks)
        return tuple(dict.fromkeys(models))

    @property
    def learned_from(self) -> tuple[tuple[str, str], ...]:
        """Section and name of what it learns from itself."""
        return ()

    def released_for(self, datasets: Collection[str]) -> list[str]:
        """Sources that hold its published rankings of these datasets: none."""
        return []

    @property
    def own_folders(self) -> tuple[Path, ...]:
        """Folders of the user's that its descriptors are read from."""
        return ()

    @property
    def pair_matching(self) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """Settings of its matching of two images, and of the homography that tells inliers; None: it matches none."""
        return None

    @property
    def shortlist(self) -> dict[str, Any] | None:
        """How it matches the first images of a ranking by local features: ``settings`` of matching, ``threshold`` in
        pixels, and ``first``, how many (None: all); None where it matches none."""
        return None

    def inliers_from(self, name: str) -> str | None:
        """Method whose verified images its ranking rests on, itself if it verifies any; None: nothing was verified.

        Args:
            name: of the method itself.
        """
        return name if self.HAS_INLIERS else None

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
        block = config.block(self.SCORED_ON, scored_on)
        family = config.block(self.SCORED_ON, block.base_of(scored_on)).FAMILY
        if family == self.family:
            return None
        return f"{scored_on!r} scores methods of family {family}, and this one is of family {self.family}"


class RetrievalMethod(MethodBase):
    """What all ways of searching share."""

    family: ClassVar[str] = "retrieval"
    ranks_shards: ClassVar[bool] = True

    @property
    def all_features(self) -> tuple[str, ...]:
        """The features that are searched."""
        return (self.features,)


class CodebookMethod(RetrievalMethod):
    """What searches by visual words of local features share; their blocks have ``features``, ``n`` and ``codebook``."""

    needs_codebook: ClassVar[bool] = True

    @property
    def all_features(self) -> tuple[str, ...]:
        """Those that are searched, and those that the codebook is learned from."""
        return self.features, self.codebook.features

    @property
    def learned_from(self) -> tuple[tuple[str, str], ...]:
        """The dataset of the codebook."""
        return (("datasets", self.codebook.dataset),)

    @property
    def signatures(self) -> dict[str, int] | None:
        """Bits and seed of binary signatures that are learned with the codebook; None = none are."""
        return None

    def fits(self, name: str, config: Any) -> Iterator[Problem]:
        """Local features in search and codebook, described alike, as many as are extracted."""
        features, training = config.features[self.features], config.features[self.codebook.features]
        for path, block in ((("features",), features), (("codebook", "features"), training)):
            if block.IS_LOCAL is False:
                yield path, f"{self.search} needs local features, these are global"
        if why := features.too_few(self.n):
            yield ("n",), why
        ours, learned = features.described_as(), training.described_as()
        if None not in (ours, learned) and ours != learned:
            why = f"learned with descriptors of {learned!r}, but the method searches those of {ours!r}"
            yield ("codebook", "features"), why
        for path, why in self.codebook.problems(self.n, config):
            yield ("codebook", *path), why
