"""Blocks of section `remeasured`: numbers that authors published, measured again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import Field, model_validator

from descbench.config.base import Block, DatasetName, Label, ModelName, Problem, ReferenceName, Several, Strict
from descbench.config.checks import no_images

Count = Annotated[int, Field(ge=0, le=2**31 - 1)]


class PublishedCounts(Strict):
    """What the authors counted on the images of a sequence."""

    features: tuple[Count, ...] = Field(min_length=2, max_length=6, description="Features of images 1, 2 and so on.")
    matches: tuple[Count, ...] = Field(description="Mutual nearest neighbours of images 1 and 2, 1 and 3 and so on.")

    @model_validator(mode="after")
    def _paired(self) -> PublishedCounts:
        if len(self.matches) != len(self.features) - 1:
            pairs, images = len(self.matches), len(self.features)
            raise ValueError(f"{pairs} pairs of {images} images; there is one of the first with each of the others")
        return self


class MatchCounts(Block):
    """Features and matches of a sequence of HPatches, counted by the published networks on the published images."""

    dataset: DatasetName = Field(description="Dataset of format hpatches_sequences.")
    sequence: Label = Field(description="Its sequence, such as v_churchill.")
    max_features: Several = Field(5000, description="Strongest keypoints kept of an image.")
    counts: dict[ModelName, PublishedCounts] = Field(
        min_length=1, description="Model that finds and describes keypoints -> what its authors counted."
    )
    reference: ReferenceName = Field(description="Key of section `references`: where the numbers were published.")

    @model_validator(mode="after")
    def _same_images(self) -> MatchCounts:
        if len({len(counts.features) for counts in self.counts.values()}) > 1:
            raise ValueError("the models of `counts` have features of different numbers of images; make two blocks")
        return self

    @property
    def images(self) -> int:
        """How many images of the sequence are looked at, from the first one on."""
        return len(next(iter(self.counts.values())).features)

    def fits(self, name: str, config: Any) -> Iterator[Problem]:
        """There are such images, and networks that find keypoints."""
        block = config.datasets[self.dataset]
        if block.format != "hpatches_sequences":
            yield ("dataset",), f"{self.dataset!r} ({block.format}) has no sequences of HPatches"
        elif problem := no_images(config, self.dataset, "database"):
            yield problem
        for model in self.counts:
            found = config.models[model]
            if not (found.DETECTS_KEYPOINTS and found.DESCRIBES_POINTS):
                yield ("counts", model), f"{model!r} ({found.architecture}) does not find and describe keypoints"
