"""Blocks of section `datasets`: two folders of the user's, and which images of one are right for those of the other."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from descbench.config.base import Metrics, UserPath
from descbench.config.dataset_base import PLACES_RANKED, RECALL_DEPTHS, DatasetBase, OnBadFile


class LabelledFolders(DatasetBase):
    """What datasets share whose right images are listed or counted, and scored by recall@N."""

    IS_LISTED = True
    database: UserPath = Field(description="Folder of database images (searched in depth).")
    queries: UserPath = Field(description="Folder of query images (searched in depth).")
    on_bad_file: OnBadFile = "stop"

    def metrics(self) -> Metrics:
        """Recall at each depth."""
        return Metrics(tuple(f"recall@{depth}" for depth in RECALL_DEPTHS), "recall@N")

    def ranked(self) -> int:
        """As of places."""
        return PLACES_RANKED


class FramesDataset(LabelledFolders):
    """Two traverses of a route, labelled by frame number, as in SLAM."""

    format: Literal["frames"]
    tolerance: int = Field(
        ge=0, le=1_000_000, description="Frames that a right image may be off its place (inclusive)."
    )
    numbers: Literal["names", "order"] = Field(
        "names",
        description="What the number of a frame is: the last number in the name of its file, or its place among the "
        "names of its folder, from 0.",
    )
    pairs: UserPath | None = Field(
        None,
        description="Text file of frames that show the same place, a line `query, database` each; null: equal numbers.",
    )

    def label_file(self) -> str | None:
        """Its `pairs`."""
        return self.pairs


class PositivesDataset(LabelledFolders):
    """Two folders of images with a list of what is right for each query."""

    format: Literal["positives"]
    positives: UserPath = Field(
        description='positives.json: `{"positives": {"query.jpg": ["database.jpg", ...]}}`, names within the folders.'
    )

    def label_file(self) -> str | None:
        """Its `positives`."""
        return self.positives
