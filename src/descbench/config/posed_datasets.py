"""Blocks of section `datasets` that queries are localised in: a map of images with poses, queries with intrinsics."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from descbench.config.base import Below, Metrics, Names, Role, UserPath
from descbench.config.dataset_base import DatasetBase

# Largest errors in metres and degrees of a localised query, both inclusive.
THRESHOLDS = ((0.25, 2.0), (0.5, 5.0), (5.0, 10.0))
WITHIN = tuple(f"within_{metres:g}m_{degrees:g}deg" for metres, degrees in THRESHOLDS)
MEDIANS = ("median_position", "median_rotation")


class PosedDataset(DatasetBase):
    """What they share."""

    ROLES = ("map", "query")
    HAS_PIXEL_LABELS = True
    FAMILY = "localisation"

    @property
    def lists_pairs(self) -> bool:
        """Whether it has official pairs of images."""
        return False

    @property
    def conditions_named(self) -> tuple[str, ...]:
        """Conditions of the queries that have scores of their own."""
        return ()

    def searched_role(self) -> Role:
        """The map."""
        return "map"

    def metrics(self) -> Metrics:
        """Of all queries, and of each condition."""
        suffixes = ("", *(f"_{name}" for name in self.conditions_named))
        names = tuple(name + suffix for suffix in suffixes for name in (*WITHIN, *MEDIANS))
        return Metrics(names, "camera localisation")


class AachenDataset(PosedDataset):
    """Aachen Day-Night in one of its official layouts."""

    format: Literal["aachen"]
    images: Below = Field(description="Folder of all images below <data_dir>/datasets; names in the lists are of it.")
    model: Below | None = Field(
        None, description="COLMAP model of the database images (hloc's archive); null: `nvm` and `intrinsics` say it."
    )
    nvm: Below | None = Field(None, description="NVM file with the poses of the database images.")
    intrinsics: Below | None = Field(None, description="Intrinsics of the database images, one a line.")
    queries: tuple[Below, ...] = Field(min_length=1, description="Lists of queries with intrinsics.")
    conditions: Names = Field(
        (), description="Folders in the names of queries, such as `day` and `night`, that have scores of their own."
    )
    pairs: Below | None = Field(
        None, description="Official pairs of images, two names a line: of database images, and of queries and these."
    )
    poses: Below | None = Field(
        None, description="True poses of the queries, `name qw qx qy qz tx ty tz` a line; null: a server keeps them."
    )

    @property
    def lists_pairs(self) -> bool:
        """Where a file is named."""
        return self.pairs is not None

    @property
    def conditions_named(self) -> tuple[str, ...]:
        """As the block says."""
        return self.conditions

    @model_validator(mode="after")
    def _one_model(self) -> AachenDataset:
        text = (self.nvm is not None, self.intrinsics is not None)
        if (self.model is None) != all(text) or (self.model is not None and any(text)):
            raise ValueError("needs `model`, or `nvm` and `intrinsics`, which say the poses of the database images")
        return self


class ColmapDataset(PosedDataset):
    """A COLMAP model of yours with its images, some of which are taken as queries with known poses."""

    IS_LISTED = True
    format: Literal["colmap"]
    model: UserPath = Field(
        description="Folder of the model: cameras and images, .txt or .bin; its points don't matter."
    )
    images: UserPath = Field(description="Folder of the images that the model names.")
    query_list: UserPath | None = Field(
        None,
        description="Text file with the names of the queries, one a line; null: every second image in order of names, "
        "beginning with the second.",
    )


class KaptureMapDataset(PosedDataset):
    """Kapture folders with trajectories: a map, and queries."""

    IS_LISTED = True
    format: Literal["kapture_map"]
    map: UserPath = Field(description="Kapture folder of the map, with trajectories.")
    queries: UserPath | None = Field(
        None,
        description="Kapture folder of the queries, with trajectories where they are to be scored; null: images of the "
        "map are, those of `query_list`.",
    )
    query_list: UserPath | None = Field(
        None,
        description="Text file with the names of the queries, one a line, as their folder has them; null: all of "
        "`queries`, or every second image of the map, beginning with the second.",
    )
