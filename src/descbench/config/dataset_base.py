"""What every block of section `datasets` answers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from descbench.config.base import NOTE, Block, Metrics, Problem, Role, Several, SourceNames, Text
from descbench.config.checks import not_drawn, not_unpacked

# Depths of recall@N.
RECALL_DEPTHS = (1, 5, 10, 20, 50, 100)
# Images that place recognition ranks of each query: enough for recall@20 where a place has twelve views of which one
# counts (Tokyo 24/7), and for recall@100 where every image is a place of its own.
PLACES_RANKED = 240

OnBadFile = Annotated[
    Literal["stop", "skip"],
    Field(
        description="A file of the folders that cannot be an image (a link to nowhere, a format that is not read): "
        "`stop` names it and ends, `skip` leaves it out, and scores and tables say so."
    ),
]
# More jobs than Snakemake can plan.
_MOST_SHARDS = 100_000


def _listed(names: tuple[str, ...]) -> str:
    return " and ".join(names) or "none"


class DatasetBase(Block):
    """What all datasets share."""

    ROLES: ClassVar[tuple[Role, ...]] = ("database", "query")
    # Of the methods that are scored on it.
    FAMILY: ClassVar[str] = "retrieval"
    # One bag of descriptors in place of images: it is never cut into shards.
    IS_BAG: ClassVar[bool] = False
    # Positions in metres decide what is right.
    HAS_PLACES: ClassVar[bool] = False
    # Labels are in pixels of the files as they are stored: homographies, cameras, keypoints to train on.
    HAS_PIXEL_LABELS: ClassVar[bool] = False
    # Whether images of it come in pairs with a known relation.
    HAS_IMAGE_PAIRS: ClassVar[bool] = False
    # Folders of the user's: their images can be listed, and counted, before anything has run.
    IS_LISTED: ClassVar[bool] = False

    sources: SourceNames = Field((), description="Sources of lists and ground truth, needed by the manifest.")
    image_sources: SourceNames = Field((), description="Sources of the images, needed by extraction only.")
    generator: Literal["toytown"] | None = Field(None, description="Drawn by a generator instead of downloaded.")
    counts: dict[Role, Annotated[int, Field(gt=0, le=100_000_000)]] = Field(
        {}, description="Number of images of each role; a role that is left out makes one shard."
    )
    counts_verified: bool = Field(True, description="false: the counts are hearsay, and other ones only a warning.")
    shard_size: Several | None = Field(
        None, description="Images, or image pairs, in a shard; null = the site's `shard_size`."
    )
    note: Annotated[Text | None, NOTE] = Field(
        None, description="What a reader of the results must know about this dataset."
    )

    @model_validator(mode="after")
    def _counts_of_roles(self) -> DatasetBase:
        for role in self.counts:
            if self.roles() and role not in self.roles():
                raise ValueError(f"`counts` of {role}: format {self.format} has {_listed(self.roles())} only")
        return self

    def base_of(self, name: str) -> str:
        """Name of the dataset that holds images and queries of this one, which is called ``name``."""
        return name

    def searched_as(self, name: str) -> tuple[str, ...]:
        """Names of the datasets whose database images are searched, distractors first."""
        return (name,)

    def roles(self) -> tuple[Role, ...]:
        """Roles that the images of this dataset have; those of another block for ``with_distractors``."""
        return self.ROLES

    def searched_role(self) -> Role:
        """Role of the images that rankings are of."""
        return "database"

    def metrics(self) -> Metrics:
        """Keys that scores on this dataset have."""
        return Metrics()

    def ranked(self) -> int | None:
        """Images of each query that the protocol looks at; None = all, as average precision does."""
        return None

    def label_file(self) -> str | None:
        """File that says which images are right for a query; None where there is none, or positions say it."""
        return None

    def pairs_of(self, images: int) -> int | None:
        """Image pairs of so many images; None where only the list of pairs can tell."""
        return None

    def without_images(self, name: str) -> str | None:
        """Why there are no images of its own in this dataset, which is called ``name``; None: there are."""
        return None

    def fits(self, name: str, config: Any) -> Iterator[Problem]:
        """Its sources are unpacked, its shards are not too many, and no name of a file is taken twice."""
        if f"{name}.h5" in config.datasets:
            yield (), f"files of {name!r} and {name + '.h5'!r} would have the same names; rename one"
        if self.HAS_IMAGE_PAIRS and f"{name}.pairs" in config.datasets:
            yield (), f"its pairs and the manifest of {name + '.pairs'!r} would have the same name; rename one"
        yield from not_unpacked(config, self, "sources")
        yield from not_unpacked(config, self, "image_sources")
        for role, count in self.counts.items():
            shards = -(-count // (self.shard_size or config.shard_size))
            if shards > _MOST_SHARDS:
                yield ("counts", role), f"{shards} shards are more than {_MOST_SHARDS}; raise `shard_size`"
        yield from not_drawn(config, self)
