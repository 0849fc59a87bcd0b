"""Block of section `training` for networks that learn from two crops of each image."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from descbench.config.base import ENDING, SPEED, DatasetName, FeaturesName, Problem, Seed, Several, Strict
from descbench.config.training_base import TrainingBase


class CropValidation(Strict):
    """Validation: the loss on crops of the validation images, the same ones each time."""

    every: Annotated[Several, ENDING] = Field(1, description="Epochs between two validations.")
    images: Several | None = Field(None, description="First validation images that are used; null = all.")


class HNDescTraining(TrainingBase):
    """HNDesc: keypoints that two crops of an image share, against those of other images. Defaults as published."""

    stage = "train_on_crops"

    recipe: Literal["hndesc"]
    dataset: DatasetName = Field(description="Training and validation images (format megadepth).")
    keypoints: FeaturesName | None = Field(
        None, description="Local features whose keypoints are used; null: those in the dataset's own files."
    )
    crop: int = Field(256, ge=16, le=4096, description="Side of the crops in pixels.")
    points: Several = Field(200, description="Keypoints of a pair at most, the first of its image.")
    stylised: float = Field(0.7, ge=0, le=1, description="Probability that a second crop is of the stylised copy.")
    colours: bool = Field(True, description="Change colours, blur and add noise at random, on each crop by itself.")
    fallback: Literal["unrelated", "same_crop"] = Field(
        "unrelated",
        description="Where ten attempts find no two crops that overlap: two that have nothing to do with each other, "
        "labelled as the same (a bug of the original), or one crop twice.",
    )
    loss: Literal["average_precision", "triplet_margin"] = Field(
        "average_precision", description="triplet_margin: with the nearest other keypoint of the same image."
    )
    negatives: Literal["in_batch", "all", "in_pair", "random"] = Field(
        "in_batch",
        description="Of the average precision: the hardest of other images, all, the hardest of the same image, or "
        "random ones (as the original joins them).",
    )
    hardest: Several = Field(20, description="Negatives of a keypoint (`random`: drawn for each image).")
    bins: Annotated[Several, Field(ge=2)] = Field(20, description="Of similarities, for the average precision.")
    euclidean: bool = Field(False, description="Compare by distances in the average precision; no published network.")
    margin: float = Field(1.0, gt=0, le=1e6, description="Of the loss triplet_margin.")
    epochs: Annotated[Several, ENDING] = Field(36, description="Times `steps`; published: 216,000 steps that count.")
    steps: Several = Field(6000, description="Optimiser steps of an epoch, after which validation comes.")
    batch: Annotated[Several, Field(ge=2)] = Field(16, description="Images of a step, each with two crops.")
    learning_rate: float = Field(1e-4, gt=0, le=10, description="Of Adam, at the first step.")
    decay_every: Several = Field(50_000, description="Steps between two decays of the learning rate.")
    decay: float = Field(0.5, gt=0, le=1, description="Factor of the learning rate at each decay.")
    seed: Seed = Field(1984, description="Of all that is drawn.")
    validation: CropValidation | None = Field(
        CropValidation(), description="null: the epoch of the smallest training loss is kept."
    )
    patience: Annotated[Several | None, ENDING] = Field(
        None, description="End after so many validations in a row without a gain."
    )
    workers: Annotated[int, SPEED] = Field(
        8, ge=0, le=256, description="Processes that load images; no effect on the result."
    )

    @model_validator(mode="after")
    def _decided_by_validation(self) -> HNDescTraining:
        if self.validation is None and self.patience is not None:
            raise ValueError("`patience` counts validations, and there is no `validation`")
        return self

    @property
    def datasets(self) -> tuple[str, ...]:
        """Its dataset, which has the validation's images too."""
        return (self.dataset,)

    @property
    def learned_features(self) -> tuple[str, ...]:
        """Those whose keypoints are used."""
        return () if self.keypoints is None else (self.keypoints,)

    @property
    def roles(self) -> tuple[Literal["train", "val"], ...]:
        """Roles of the images that are used."""
        return ("train",) if self.validation is None else ("train", "val")

    def fits(self, name: str, config: Any) -> Iterator[Problem]:
        """Its images have keypoints."""
        found = config.datasets[self.dataset]
        if found.format != "megadepth":
            yield ("dataset",), f"{self.dataset!r} is of format {found.format}; hndesc is trained on megadepth"
        elif self.keypoints is None and found.keypoints is None:
            yield ("keypoints",), f"{self.dataset!r} has no `keypoints` of its own; name features that find them"
        elif self.keypoints is not None and config.features[self.keypoints].IS_LOCAL is not True:
            yield ("keypoints",), f"features {self.keypoints!r} have no keypoints"
