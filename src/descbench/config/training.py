"""Blocks of section `training`: how networks are trained here."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from descbench.config.base import (
    ENDING,
    HOW_SCALES,
    SPEED,
    Count,
    DatasetName,
    ImageSize,
    Label,
    Names,
    PatchSetName,
    Problem,
    Role,
    Scales,
    Seed,
    Several,
    Strict,
    close_names,
)
from descbench.config.checks import no_metric, no_role, too_deep, too_many_words
from descbench.config.crop_training import HNDescTraining
from descbench.config.search import IndexSettings, QuerySettings
from descbench.config.training_base import TrainingBase


class Validation(Strict):
    """Validation: the whole ASMK search of a dataset, with a codebook learned anew each time."""

    dataset: DatasetName = Field(description="Dataset with queries and ground truth.")
    metric: Label = Field("map", description="Key of the scores that decides which epoch is the best.")
    every: Annotated[Several, ENDING] = Field(5, description="Epochs between two validations.")
    image_size: ImageSize = Field(1024, description="Longer side in pixels.")
    scales: Scales = Field(HOW_SCALES, description="Pyramid of queries and database.")
    n: Several = Field(1000, description="Strongest features of an image.")
    codebook_images: Several = Field(20000, description="First training images, at scale 1, behind the codebook.")
    codebook_size: Count = Field(65536, description='Number of visual words ("64k" = 65536).')
    index: IndexSettings = Field(IndexSettings(), description="How the database is aggregated.")
    query: QuerySettings = Field(QuerySettings(), description="How it is searched.")

    @model_validator(mode="after")
    def _enough_words(self) -> Validation:
        for part in (self.index, self.query):
            if part.multiple_assignment > self.codebook_size:
                raise ValueError(
                    f"multiple_assignment {part.multiple_assignment} is more than the {self.codebook_size} words"
                )
        return self


class ImageTraining(TrainingBase):
    """What trainings on images share.

    Attributes:
        LEARNS_FROM: section of the configuration that has what it is trained and validated on.
        FORMATS: of the datasets that it takes.
        ROLE: that the images of these must have; None where images of several roles are learned from.
    """

    LEARNS_FROM: ClassVar[str] = "datasets"
    FORMATS: ClassVar[tuple[str, ...]]
    ROLE: ClassVar[Role | None] = None

    @model_validator(mode="after")
    def _decided_by_validation(self) -> ImageTraining:
        if self.validation is None and self.patience is not None:
            raise ValueError("`patience` counts validations, and there is no `validation`")
        if self.pool < self.least_pool():
            raise ValueError(f"a pool of {self.pool} is too small for {self.negatives} negatives: {self.least_pool()}")
        return self

    @property
    def datasets(self) -> tuple[str, ...]:
        """Its dataset, and that of the validation."""
        return self.dataset, *((self.validation.dataset,) if self.validation else ())

    def least_pool(self) -> int:
        """Images that a pool must have at least."""
        return self.negatives

    def fits(self, name: str, config: Any) -> Iterator[Problem]:
        """Its images and its validation are there."""
        found = config.datasets[self.dataset].format
        if found not in self.FORMATS:
            why = f"{self.dataset!r} is of format {found}; {self.recipe} is trained on {' or '.join(self.FORMATS)}"
            yield ("dataset",), why
        elif self.ROLE is not None and (why := no_role(config, self.dataset, self.ROLE)):
            yield ("dataset",), why[1]
        if self.validation is not None:
            yield from self._validation_fits(config, self.validation.dataset)

    def _validation_fits(self, config: Any, dataset: str) -> Iterator[Problem]:
        metric = self.validation.metric
        if config.datasets[dataset].base_of(dataset) != dataset:
            yield ("validation", "dataset"), f"{dataset!r} has no images of its own; name its base"
        elif why := no_metric(config, dataset, metric) or too_deep(config, dataset, metric):
            yield ("validation", "metric"), why


class TupleTraining(ImageTraining):
    """What trainings on mined tuples share."""

    FORMATS = ("sfm120k",)
    ROLE: ClassVar[Role] = "train"

    dataset: DatasetName = Field(description="Training images and pairs (format sfm120k).")
    image_size: ImageSize = Field(1024, description="Longer side in pixels.")
    epochs: Annotated[Several, ENDING] = Field(20, description="Passes; each mines its own tuples.")
    learning_rate: float = Field(gt=0, le=10, description="Of Adam; the reduction has 0.")
    weight_decay: float = Field(1e-4, ge=0, le=10, description="Coupled L2 of Adam.")
    gamma: float = Field(0.99, gt=0, le=10, description="Factor of the learning rate after each epoch.")
    margin: float = Field(0.8, gt=0, le=1e6, description="Distance beyond which a negative costs nothing.")
    negatives: Several = Field(5, description="Hard negatives of a tuple.")
    queries: Several = Field(2000, description="Tuples drawn for an epoch.")
    pool: Several = Field(20000, description="Images drawn for an epoch, among which negatives are sought.")
    batch: Several = Field(5, description="Tuples of a step; their gradients add up.")
    validation: Validation | None = Field(None, description="null: the epoch of the smallest training loss is kept.")
    patience: Annotated[Several | None, ENDING] = Field(
        None, description="End after so many validations in a row without a gain."
    )
    amp: bool = Field(False, description="Mixed precision (bfloat16) on a GPU; on the CPU it has no effect.")
    workers: Annotated[int, SPEED] = Field(
        6, ge=0, le=256, description="Processes that load images; no effect on the result."
    )

    def _validation_fits(self, config: Any, dataset: str) -> Iterator[Problem]:
        """Its codebook is learned from the training images."""
        yield from super()._validation_fits(config, dataset)
        words, images, each = (getattr(self.validation, key) for key in ("codebook_size", "codebook_images", "n"))
        if why := too_many_words(words, config, self.dataset, self.ROLE, images=images, each=each):
            yield ("validation", "codebook_size"), why


class HowTraining(TupleTraining):
    """HOW: contrastive loss on global descriptors."""

    recipe: Literal["how"]


class FireTraining(TupleTraining):
    """FIRe: contrastive loss on matched super-features, decorrelation of attention maps, mirrored images."""

    recipe: Literal["fire"]
    epochs: Annotated[Several, ENDING] = Field(200, description="Passes; each mines its own tuples.")
    learning_rate: float = Field(3e-5, gt=0, le=10, description="Of Adam; the reduction has 0.")
    margin: float = Field(1.1, gt=0, le=1e6, description="Distance beyond which a negative costs nothing.")
    superfeature_weight: float = Field(0.02, ge=0, le=1e6, description="Weight of the loss on super-features.")
    attention_weight: float = Field(0.1, ge=0, le=1e6, description="Weight of the decorrelation.")
    ratio: Literal["second_index", "genuine"] = Field(
        "second_index",
        description="What the ratio test divides by: as the released training (an index), or the second distance.",
    )
    ratio_threshold: float = Field(0.9, gt=0, le=1e6, description="Largest quotient that passes the ratio test.")
    flip: float = Field(0.5, ge=0, le=1, description="Probability that an image is mirrored, in mining too.")


class PlaceValidation(Strict):
    """Validation: exact search of a place-recognition dataset."""

    dataset: DatasetName = Field(description="Dataset with queries and positions.")
    metric: Literal["recall@1", "recall@5", "recall@10", "recall@20", "recall@50", "recall@100"] = Field(
        "recall@5", description="Key of the scores that decides which epoch is the best."
    )
    every: Annotated[Several, ENDING] = Field(1, description="Epochs between two validations.")
    image_size: ImageSize = Field(640, description="Longer side in pixels.")


class NetVladTraining(ImageTraining):
    """NetVLAD: triplet loss on a query, its nearest positive and hard negatives by position."""

    FORMATS = ("dbstruct", "utm_names")

    recipe: Literal["netvlad"]
    dataset: DatasetName = Field(description="Training images and positions (format dbstruct or utm_names).")
    image_size: ImageSize = Field(640, description="Longer side in pixels.")
    first_layer: Literal["conv1", "conv2", "conv3", "conv4", "conv5", "pool"] = Field(
        "conv5", description="Lowest block of layers that is trained, up to the pooling."
    )
    epochs: Annotated[Several, ENDING] = Field(30, description="Passes over the queries.")
    optimiser: Literal["sgd", "adam"] = Field("sgd", description="adam: without weight decay, momentum and schedule.")
    learning_rate: float = Field(1e-4, gt=0, le=10, description="Before the first step of the schedule.")
    momentum: float = Field(0.9, ge=0, lt=1, description="Of SGD.")
    weight_decay: float = Field(1e-3, ge=0, le=10, description="Coupled L2 of SGD.")
    step: Several = Field(
        5, description="Epochs between two steps of the schedule: epoch e has rate * gamma^(e // step)."
    )
    gamma: float = Field(0.5, gt=0, le=10, description="Factor of the learning rate at each step.")
    margin: float = Field(
        0.1, gt=0, le=1e6, description="Squared margin of the triplets: distances are compared by its root."
    )
    negatives: Several = Field(10, description="Hard negatives of a query; ten times as many are looked at.")
    pool: Several = Field(1000, description="Negatives drawn for a query, among which hard ones are sought.")
    cache_negatives: bool = Field(
        True, description="Negatives of the last epoch are candidates again; false: as the released training, by a bug."
    )
    refresh: int = Field(1000, ge=0, description="Queries between two extractions of all descriptors; 0: one an epoch.")
    batch: Several = Field(4, description="Queries of a step.")
    seed: Seed = Field(123, description="Of what is drawn.")
    validation: PlaceValidation | None = Field(None, description="null: the epoch of the smallest loss is kept.")
    patience: Annotated[Several | None, ENDING] = Field(
        None, description="End after so many validations in a row without a gain."
    )
    amp: bool = Field(False, description="Mixed precision (bfloat16) on a GPU; on the CPU it has no effect.")
    workers: Annotated[int, SPEED] = Field(
        8, ge=0, le=256, description="Processes that load images; no effect on the result."
    )

    def least_pool(self) -> int:
        """Ten times the negatives are looked at (:mod:`descbench.training.hard_negatives`)."""
        return 10 * self.negatives


PatchParts = Annotated[dict[PatchSetName, Annotated[Names, Field(min_length=1)]], Field(min_length=1)]


class PatchValidation(Strict):
    """Validation: FPR95 of the pairs that patch sets list, the mean over their parts."""

    patches: PatchParts = Field(description="Patch sets with lists of pairs, and the parts that are scored.")
    every: Annotated[Several, ENDING] = Field(1, description="Epochs between two validations.")


class HardNetTraining(TrainingBase):
    """HardNet: pairs of patches, each with the hardest negative of the batch. Defaults are the published networks'."""

    stage = "train_on_patches"

    recipe: Literal["hardnet"]
    patches: PatchParts = Field(description="Patch sets, and the parts that are trained on; several are joined.")
    sampling: Literal["min", "average", "random", "random_global", "l2net", "classical", "classical_sift"] = Field(
        "min",
        description="Negatives of a pair: the hardest, all or a random one of its batch; a random one of all patches; "
        "all, as L2-Net has them (loss `softmax` only); one of the 12 nearest of all patches, sought before each epoch "
        "(loss `triplet_margin` only); one of the 7 nearest, each once, those of the first epoch by SIFT.",
    )
    loss: Literal["triplet_margin", "softmax", "contrastive"] = Field("triplet_margin", description="Of distances.")
    margin: float = Field(1.0, gt=0, le=1e6, description="Of losses triplet_margin and contrastive.")
    anchor_swap: bool = Field(True, description="Negatives of the positive count too, and the nearer one is taken.")
    spread_out: float = Field(0, ge=0, le=1e6, description="Weight of the global orthogonal regularisation (GOR).")
    decorrelation: float = Field(0, ge=0, le=1e6, description="Weight of the correlation penalty (CPR).")
    triplets: Several = Field(5_000_000, description="Pairs drawn for an epoch, each with a random negative.")
    redraw: bool = Field(True, description="Draw them anew for each epoch; false: once, as for several training sets.")
    bounds: Literal["all", "all_but_last"] = Field(
        "all", description="all_but_last: the last point, and the last patch of a point, are never drawn (a bug)."
    )
    epochs: Several = Field(10, description="Passes; the learning rate falls to 0 over all of them.")
    batch: Annotated[Several, Field(ge=2)] = Field(1024, description="Pairs of a step, no two of the same point.")
    optimiser: Literal["sgd", "adam"] = Field("sgd", description="adam: without momentum and dampening.")
    learning_rate: float = Field(10.0, gt=0, le=1000, description="At the first step (NIPS paper: 0.1).")
    momentum: float = Field(0.9, ge=0, lt=1, description="Of SGD.")
    dampening: float = Field(0.9, ge=0, lt=1, description="Of SGD: of the gradient in the momentum.")
    weight_decay: float = Field(1e-4, ge=0, le=10, description="Coupled L2.")
    fliprot: bool = Field(
        True, description="Mirror and transpose both patches of a pair at random (networks with `+` in their name)."
    )
    augmentation: bool = Field(
        False, description="Rotate and crop every patch a little at random; no published network used it."
    )
    keep: Annotated[Literal["last", "best"], ENDING] = Field(
        "last", description="best: the epoch of the best validation, without one of the smallest training loss."
    )
    seed: Seed = Field(0, description="Of all that is drawn.")
    validation: PatchValidation | None = Field(None, description="null: no epoch is scored.")

    @model_validator(mode="after")
    def _fitting(self) -> HardNetTraining:
        only = {"l2net": "softmax", "classical": "triplet_margin"}.get(self.sampling, self.loss)
        if self.loss != only:
            raise ValueError(f"sampling {self.sampling} has loss {only} only, not {self.loss}")
        if self.triplets % self.batch == 1:
            raise ValueError(
                f"{self.triplets} triplets in batches of {self.batch} leave one that is a batch of its own"
            )
        return self

    @property
    def patch_parts(self) -> tuple[tuple[str, str], ...]:
        """Those of the training, then those of the validation, each once."""
        named = (self.patches, self.validation.patches if self.validation else {})
        return tuple(dict.fromkeys((name, part) for sets in named for name, parts in sets.items() for part in parts))

    def fits(self, name: str, config: Any) -> Iterator[Problem]:
        """All parts are there, and those of the validation have pairs."""
        yield from _no_parts(config, self.patches, ("patches",))
        if self.validation is None:
            return
        yield from _no_parts(config, self.validation.patches, ("validation", "patches"))
        for patch_set in self.validation.patches:
            if not config.patch_sets[patch_set].LISTS_PAIRS:
                yield ("validation", "patches", patch_set), "lists no test pairs, which FPR95 is measured on"


def _no_parts(config: Any, patches: PatchParts, path: tuple[Any, ...]) -> Iterator[Problem]:
    """Parts that their patch sets do not have."""
    for name, parts in patches.items():
        known = config.patch_sets[name].parts
        for number, part in enumerate(parts):
            if part not in known:
                yield (*path, name, number), f"patch set {name!r} has no part {part!r}; {close_names(part, known)}"


Training = Annotated[
    HowTraining | FireTraining | NetVladTraining | HardNetTraining | HNDescTraining, Field(discriminator="recipe")
]
