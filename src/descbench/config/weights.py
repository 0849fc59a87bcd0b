"""Where the weights of a network come from: the block `weights` of a model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from descbench.config.base import (
    NOTE,
    DatasetName,
    ImageSize,
    Label,
    ModelName,
    Problem,
    Role,
    Seed,
    Several,
    SourceName,
    Strict,
    TrainingName,
    UserPath,
)
from descbench.config.checks import images_of, no_images


class WeightsBase(Strict):
    """What all weights answer: what they start from, which files they are read from, and what they learned from."""

    @property
    def seeded(self) -> bool:
        """Whether the seed of the site decides them, beside what they start from."""
        return False

    @property
    def starts_from(self) -> str | None:
        """Model whose weights these are made from."""
        return None

    @property
    def learned_from(self) -> tuple[str, ...]:
        """Datasets that they are learned from, but for those of a training."""
        return ()

    @property
    def trained_by(self) -> str | None:
        """Block of section `training`."""
        return None

    @property
    def named_sources(self) -> tuple[str, ...]:
        """Sources of the catalogue that hold them."""
        return ()

    @property
    def own_files(self) -> tuple[Path, ...]:
        """Files of the user's that hold them."""
        return ()

    @property
    def own_licence(self) -> str | None:
        """Licence that the block itself states; None: those of the sources count."""
        return None

    def fits(self, name: str, model: Any, config: Any) -> Iterator[Problem]:
        """Yield ``(path below the model, message)`` for what keeps them from being those of a model called ``name``."""
        yield from ()


class PublishedWeights(WeightsBase):
    """Weights in a file of the catalogue."""

    file: SourceName

    @property
    def named_sources(self) -> tuple[str, ...]:
        """The source that holds them."""
        return (self.file,)


class OfficialWeights(PublishedWeights):
    """Weights published by the authors."""

    source: Literal["official"]
    file: SourceName = Field(description="Name of the source that holds them.")


class RandomWeights(WeightsBase):
    """Untrained, random weights of a seed: for tests and toytown."""

    source: Literal["random"]
    seed: Seed | None = Field(None, description="Of the random weights; null = the site's.")

    @property
    def seeded(self) -> bool:
        """Without a seed of their own."""
        return self.seed is None


class ImagenetWeights(PublishedWeights):
    """A backbone learned on ImageNet; other layers have random weights, for whitening or training to replace."""

    source: Literal["imagenet"]
    file: SourceName = Field(description="Name of the source that holds the backbone.")

    @property
    def seeded(self) -> bool:
        """The layers beyond it are random."""
        return True

    def fits(self, name: str, model: Any, config: Any) -> Iterator[Problem]:
        """Some networks are published whole."""
        if not model.HAS_BACKBONE_WEIGHTS:
            own = f"{model.architecture} has its own published checkpoints"
            yield ("weights", "source"), f"imagenet: {own}; use source official or random"


class StartedWeights(WeightsBase):
    """Weights that are made from those of another model.

    Attributes:
        ADDS: keys of the model that the one they start from has otherwise, with the value it has.
    """

    ADDS: ClassVar[Mapping[str, Any]] = {}

    source: str
    start: ModelName = Field(description="Model of the same architecture.")

    @property
    def starts_from(self) -> str:
        """The model they are made from."""
        return self.start

    def fits(self, name: str, model: Any, config: Any) -> Iterator[Problem]:
        """They start from the same network, and not from themselves."""
        start, path = config.models[self.start], ("weights", "start")
        if start.model_dump(exclude={"weights"}) != {**model.model_dump(exclude={"weights"}), **self.ADDS}:
            without = "".join(f", and it has no `{key}`" for key in self.ADDS)
            yield path, f"{self.start!r} is another network; only `weights` may differ{without}"
        seen, following = [name], self.start
        while following is not None:
            if following in seen:
                yield path, f"starts from itself: {' <- '.join([*seen, following])}"
                return
            seen.append(following)
            following = config.models[following].weights.starts_from


class WeightsFromImages(StartedWeights):
    """What weights share that are another model's, but for one layer learned from descriptors of images."""

    dataset: DatasetName = Field(
        description="Images that the layer is learned from: of training, never those of a test."
    )
    role: Role = Field("database", description="Role of those images.")
    images: Several = Field(description="First images of the list that are used.")

    @property
    def learned_from(self) -> tuple[str, ...]:
        """The dataset of the images."""
        return (self.dataset,)

    def fits(self, name: str, model: Any, config: Any) -> Iterator[Problem]:
        """The dataset has images of that role."""
        yield from super().fits(name, model, config)
        if why := no_images(config, self.dataset, self.role):
            yield ("weights", *why[0]), why[1]


class WhitenedWeights(WeightsFromImages):
    """Weights of another model with its reduction set to a PCA-whitening: the off-the-shelf network."""

    source: Literal["whitened"]
    role: Role = Field("train", description="Role of those images.")
    images: Several = Field(5000, description="First images of the list that are used.")
    n: Several = Field(1000, description="Strongest descriptors of an image.")
    image_size: ImageSize = Field(1024, description="Longer side in pixels.")
    flip: float = Field(0, ge=0, le=1, description="Probability that an image is mirrored (FIRe: 0.5).")

    @property
    def seeded(self) -> bool:
        """Which images are mirrored is drawn, unless all are or none."""
        return 0 < self.flip < 1

    def fits(self, name: str, model: Any, config: Any) -> Iterator[Problem]:
        """The network has a reduction, of more dimensions to fewer."""
        found = model.dimensions_before_reduction()
        if found is None:
            why = f"whitened: {model.architecture} has no reduction of local descriptors"
            yield ("weights", "source"), why
        elif model.dim > found:
            why = f"a whitening of the {found} dimensions before it gives no more than {found}, not {model.dim}"
            yield ("dim",), why
        yield from super().fits(name, model, config)


class ClusteredWeights(WeightsFromImages):
    """Weights of another model with its NetVLAD layer replaced by one set from clusters of training descriptors."""

    source: Literal["clustered"]
    images: Several = Field(500, description="Images that are drawn.")
    descriptors: Several = Field(
        100, description="Locations drawn in each image; their descriptors are normalised, with bias too."
    )
    iterations: Several = Field(100, description="k-means iterations.")
    seed: Seed = Field(123, description="Seed of the drawn images and locations.")
    image_size: ImageSize = Field(640, description="Longer side in pixels.")
    alpha: Literal["paper", "pytorch"] = Field(
        "paper",
        description="Sharpness and bias of a layer with bias (vladv2): the paper's, or as pytorch-NetVlad has them "
        "(from indices of neighbours). A layer without bias has one rule only.",
    )

    def fits(self, name: str, model: Any, config: Any) -> Iterator[Problem]:
        """The network has clusters, no more than there are descriptors."""
        wanted = model.cluster_layer()
        if wanted is None:
            yield ("weights", "source"), "clustered: only architecture netvlad with pooling netvlad has clusters"
        elif (found := images_of(config, self.dataset, self.role, self.images) * self.descriptors) < wanted:
            why = f"{wanted} clusters need at least as many descriptors (images x descriptors), there are {found}"
            yield ("clusters",), why
        yield from super().fits(name, model, config)


class PcaWeights(WeightsFromImages):
    """Weights of another model with a PCA-whitening of its descriptors behind it."""

    ADDS: ClassVar[Mapping[str, Any]] = {"whitening": None}

    source: Literal["pca"]
    start: ModelName = Field(description="Model of the same architecture without `whitening`.")
    images: Several = Field(10000, description="First images of the list that are used.")
    image_size: ImageSize = Field(640, description="Longer side in pixels.")

    def fits(self, name: str, model: Any, config: Any) -> Iterator[Problem]:
        """The network has such a whitening, of fewer dimensions than there are images."""
        wanted = model.descriptor_whitening()
        if wanted is None:
            why = "pca: only architecture netvlad has such a whitening; set `whitening` of the model"
            yield ("weights", "source"), why
        elif self.images <= wanted:
            why = f"a whitening of {wanted} dimensions needs more than {wanted} images, not {self.images}"
            yield ("weights", "images"), why
        yield from super().fits(name, model, config)


class TrainedWeights(StartedWeights):
    """Weights trained here, from those of another model."""

    source: Literal["train"]
    start: ModelName = Field(description="Model of the same architecture that training starts from.")
    training: TrainingName = Field(description="Block of section `training`.")

    @property
    def trained_by(self) -> str:
        """Block of section `training`."""
        return self.training

    def fits(self, name: str, model: Any, config: Any) -> Iterator[Problem]:
        """The training is for this architecture."""
        recipe = config.training[self.training].recipe
        if recipe != model.architecture:
            yield ("weights", "training"), f"trains {recipe}, this model is {model.architecture}"
        yield from super().fits(name, model, config)


class CustomWeights(WeightsBase):
    """Weights that come with a network of your own."""

    source: Literal["custom"]
    file: UserPath | None = Field(
        None, description="torch file of a state dict; null: as the factory gives the network."
    )
    licence: Annotated[Label | None, NOTE] = Field(
        None, description="Under which you give them, such as MIT: what `descbench bundle --commercial` goes by."
    )

    @property
    def seeded(self) -> bool:
        """The factory may draw what no file gives."""
        return self.file is None

    @property
    def own_files(self) -> tuple[Path, ...]:
        """The file, if there is one."""
        return () if self.file is None else (self.file,)

    @property
    def own_licence(self) -> str | None:
        """As the user gives them."""
        return self.licence


Weights = Annotated[
    OfficialWeights
    | RandomWeights
    | ImagenetWeights
    | WhitenedWeights
    | ClusteredWeights
    | PcaWeights
    | TrainedWeights,
    Field(discriminator="source"),
]
