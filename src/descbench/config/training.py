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


class PlaceValidation(Strict):
    """Validation: exact search of a place-recognition dataset."""

    dataset: Name = Field(description="Dataset with queries and positions.")
    metric: str = Field(
        "recall@5", pattern=r"^recall@\d+$", description="Key of the scores that decides which epoch is the best."
    )
    every: int = Field(1, gt=0, description="Epochs between two validations.")
    image_size: int = Field(640, gt=0, description="Longer side in pixels.")


class NetVladTraining(Strict):
    """NetVLAD: triplet loss on a query, its nearest positive and hard negatives by position."""

    recipe: Literal["netvlad"]
    dataset: Name = Field(description="Training images and positions (format dbstruct or utm_names).")
    image_size: int = Field(640, gt=0, description="Longer side in pixels.")
    first_layer: Literal["conv1", "conv2", "conv3", "conv4", "conv5", "pool"] = Field(
        "conv5", description="Lowest block of layers that is trained, up to the pooling."
    )
    epochs: int = Field(30, gt=0, description="Passes over the queries.")
    optimiser: Literal["sgd", "adam"] = Field("sgd", description="adam: without weight decay, momentum and schedule.")
    learning_rate: float = Field(1e-4, gt=0, description="Before the first step of the schedule.")
    momentum: float = Field(0.9, ge=0, description="Of SGD.")
    weight_decay: float = Field(1e-3, ge=0, description="Coupled L2 of SGD.")
    step: int = Field(
        5, gt=0, description="Epochs between two steps of the schedule: epoch e has rate * gamma^(e // step)."
    )
    gamma: float = Field(0.5, gt=0, description="Factor of the learning rate at each step.")
    margin: float = Field(0.1, gt=0, description="Squared margin of the triplets: distances are compared by its root.")
    negatives: int = Field(10, gt=0, description="Hard negatives of a query; ten times as many are looked at.")
    pool: int = Field(1000, gt=0, description="Negatives drawn for a query, among which hard ones are sought.")
    remember_negatives: bool = Field(
        True, description="Negatives of the last epoch are candidates again; false: as the released training, by a bug."
    )
    refresh: int = Field(1000, ge=0, description="Queries between two extractions of all descriptors; 0: one an epoch.")
    batch: int = Field(4, gt=0, description="Queries of a step.")
    seed: int = Field(123, description="Of what is drawn.")
    validation: PlaceValidation | None = Field(None, description="null: the epoch of the smallest loss is kept.")
    patience: int | None = Field(None, gt=0, description="End after so many validations in a row without a gain.")
    amp: bool = Field(False, description="Mixed precision (bfloat16) on a GPU.")
    workers: int = Field(8, ge=0, description="Processes that load images; no effect on the result.")


Training = Annotated[HowTraining | FireTraining | NetVladTraining, Field(discriminator="recipe")]
