"""Blocks of section `training`: how networks are trained here."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from descbench.config.base import HOW_SCALES, Count, Name, Strict
from descbench.config.search import IndexSettings, QuerySettings


class Validation(Strict):
    """Validation: the whole ASMK search of a dataset, with a codebook learned anew each time."""

    dataset: Name = Field(description="Dataset with queries and ground truth.")
    metric: str = Field("map", description="Key of the scores that decides which epoch is the best.")
    every: int = Field(5, gt=0, description="Epochs between two validations.")
    image_size: int = Field(1024, gt=0, description="Longer side in pixels.")
    scales: tuple[float, ...] = Field(HOW_SCALES, min_length=1, description="Pyramid of queries and database.")
    n: int = Field(1000, gt=0, description="Strongest features of an image.")
    codebook_images: int = Field(20000, gt=0, description="First training images, at scale 1, behind the codebook.")
    codebook_size: Count = Field(65536, description='Number of visual words ("64k" = 65536).')
    index: IndexSettings = Field(IndexSettings(), description="How the database is aggregated.")
    query: QuerySettings = Field(QuerySettings(), description="How it is searched.")


class TupleTraining(Strict):
    """What trainings on mined tuples share."""

    dataset: Name = Field(description="Training images and pairs (format sfm120k).")
    image_size: int = Field(1024, gt=0, description="Longer side in pixels.")
    epochs: int = Field(20, gt=0, description="Passes; each mines its own tuples.")
    learning_rate: float = Field(gt=0, description="Of Adam; the reduction has 0.")
    weight_decay: float = Field(1e-4, ge=0, description="Coupled L2 of Adam.")
    gamma: float = Field(0.99, gt=0, description="Factor of the learning rate after each epoch.")
    margin: float = Field(0.8, gt=0, description="Distance beyond which a negative costs nothing.")
    negatives: int = Field(5, gt=0, description="Hard negatives of a tuple.")
    queries: int = Field(2000, gt=0, description="Tuples drawn for an epoch.")
    pool: int = Field(20000, gt=0, description="Images drawn for an epoch, among which negatives are sought.")
    batch: int = Field(5, gt=0, description="Tuples of a step; their gradients add up.")
    validation: Validation | None = Field(None, description="null: the epoch of the smallest training loss is kept.")
    patience: int | None = Field(None, gt=0, description="End after so many validations in a row without a gain.")
    amp: bool = Field(False, description="Mixed precision (bfloat16) on a GPU.")
    workers: int = Field(6, ge=0, description="Processes that load images; no effect on the result.")


class HowTraining(TupleTraining):
    """HOW: contrastive loss on global descriptors."""

    recipe: Literal["how"]


class FireTraining(TupleTraining):
    """FIRe: contrastive loss on matched super-features, decorrelation of attention maps, mirrored images."""

    recipe: Literal["fire"]
    epochs: int = Field(200, gt=0, description="Passes; each mines its own tuples.")
    learning_rate: float = Field(3e-5, gt=0, description="Of Adam; the reduction has 0.")
    margin: float = Field(1.1, gt=0, description="Distance beyond which a negative costs nothing.")
    superfeature_weight: float = Field(0.02, ge=0, description="Weight of the loss on super-features.")
    attention_weight: float = Field(0.1, ge=0, description="Weight of the decorrelation.")
    ratio: Literal["second_index", "genuine"] = Field(
        "second_index",
        description="What the ratio test divides by: as the released training (an index), or the second distance.",
    )
    ratio_threshold: float = Field(0.9, gt=0, description="Largest quotient that passes the ratio test.")
    flip: float = Field(0.5, ge=0, le=1, description="Probability that an image is mirrored, in mining too.")


Training = Annotated[HowTraining | FireTraining, Field(discriminator="recipe")]
