"""Blocks of section `models`: networks, and where their weights come from."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field, model_validator

from descbench.config.base import ImageSize, Label, Name, Role, Seed, Several, Strict, UserPath


class WeightsBase(Strict):
    """What all weights answer: what they start from, which files they are read from, and what they learned from.

    Attributes:
        seeded: whether the seed of the site decides them, where no other model is their start.
    """

    seeded: ClassVar[bool] = True

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


class PublishedWeights(WeightsBase):
    """Weights in a file of the catalogue."""

    file: Name

    @property
    def named_sources(self) -> tuple[str, ...]:
        """The source that holds them."""
        return (self.file,)


class OfficialWeights(PublishedWeights):
    """Weights published by the authors."""

    seeded: ClassVar[bool] = False
    source: Literal["official"]
    file: Name = Field(description="Name of the source that holds them.")


class RandomWeights(WeightsBase):
    """Untrained weights drawn from a seed: for tests and toytown."""

    source: Literal["random"]
    seed: Seed | None = Field(None, description="Seed of the draw; null = the site's.")


class ImagenetWeights(PublishedWeights):
    """A backbone learned on ImageNet; the layers beyond it are drawn, for whitening or training to replace."""

    source: Literal["imagenet"]
    file: Name = Field(description="Name of the source that holds the backbone.")


class WeightsFromImages(WeightsBase):
    """What weights share that are another model's, but for one layer learned from descriptors of images."""

    source: str
    start: Name = Field(description="Model of the same architecture.")
    dataset: Name = Field(description="Images that the layer is learned from: of training, never those of a test.")
    role: Role = Field("database", description="Role of those images.")
    images: Several = Field(description="First images of the list that are used.")

    @property
    def starts_from(self) -> str:
        """Model whose layer is replaced."""
        return self.start

    @property
    def learned_from(self) -> tuple[str, ...]:
        """The dataset of the images."""
        return (self.dataset,)


class WhitenedWeights(WeightsFromImages):
    """Weights of another model with its reduction set to a PCA-whitening: the off-the-shelf network."""

    source: Literal["whitened"]
    role: Role = Field("train", description="Role of those images.")
    images: Several = Field(5000, description="First images of the list that are used.")
    n: Several = Field(1000, description="Strongest descriptors of an image.")
    image_size: ImageSize = Field(1024, description="Longer side in pixels.")
    flip: float = Field(0, ge=0, le=1, description="Probability that an image is mirrored (FIRe: 0.5).")


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


class PcaWeights(WeightsFromImages):
    """Weights of another model with a PCA-whitening of its descriptors behind it."""

    source: Literal["pca"]
    start: Name = Field(description="Model of the same architecture without `whitening`.")
    images: Several = Field(10000, description="First images of the list that are used.")
    image_size: ImageSize = Field(640, description="Longer side in pixels.")


class TrainedWeights(WeightsBase):
    """Weights trained here, from those of another model."""

    source: Literal["train"]
    start: Name = Field(description="Model of the same architecture that training starts from.")
    training: Name = Field(description="Block of section `training`.")

    @property
    def starts_from(self) -> str:
        """Model that training starts from."""
        return self.start

    @property
    def trained_by(self) -> str:
        """Block of section `training`."""
        return self.training


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


class ModelBase(Strict):
    """What all networks answer: how their features are extracted by default, and whose code makes them."""

    @property
    def own_code(self) -> str | None:
        """``module:callable`` of the user's that makes the network."""
        return None

    def default_features(self) -> dict[str, Any]:
        """Kind and settings of a features block, as they stand in YAML; others have the block's own defaults."""
        return {}


class LocalModel(ModelBase):
    """A network of local features."""

    def default_features(self) -> dict[str, Any]:
        """Those of HOW, which FIRe shares (docs/protocols/how.md, Image pyramid)."""
        return {"kind": "local"}


_RESNETS = {"resnet18": 512, "resnet50": 2048, "resnet101": 2048, "resnet152": 2048}
_CHANNELS = {**_RESNETS, "vgg16": 512, "alexnet": 256}
_GEM_SCALES = {
    "none": [1.0],
    "learned": [1.0, 0.7071067811865476, 0.5],
    "network": [1.0, 1.4142135623730951, 0.7071067811865476],
}


class HowModel(LocalModel):
    """HOW network: ResNet, attention by feature norm, smoothing, 1x1 reduction."""

    architecture: Literal["how"]
    backbone: Literal["resnet18", "resnet50", "resnet101"] = Field(description="torchvision ResNet.")
    skip_layer: int = Field(0, ge=0, le=2, description="Stages cut from the end of the backbone.")
    dim: int = Field(128, gt=0, le=2**20, description="Dimensions after the reduction.")
    smoothing: int = Field(3, ge=0, le=31, description="Side of the average pooling, odd; 0 = none.")
    weights: Weights = Field(description="Where the weights come from.")

    @model_validator(mode="after")
    def _fitting(self) -> HowModel:
        if self.smoothing and self.smoothing % 2 == 0:
            raise ValueError(f"smoothing {self.smoothing}: an even window shifts the map; take an odd number, or 0")
        _check_reduction(self.dim, _RESNETS[self.backbone] // 2**self.skip_layer, self.weights)
        return self


class FireModel(LocalModel):
    """FIRe network: ResNet, super-features by a transformer (LIT), 1x1 reduction."""

    architecture: Literal["fire"]
    backbone: Literal["resnet18", "resnet50", "resnet101"] = Field("resnet50", description="torchvision ResNet.")
    skip_layer: int = Field(1, ge=0, le=2, description="Stages cut from the end of the backbone.")
    templates: int = Field(256, gt=0, le=32767, description="Super-features of each scale (N).")
    iterations: int = Field(6, gt=0, le=1000, description="Iterations of LIT (T).")
    dim_lit: int = Field(1024, gt=1, le=2**20, description="Dimensions of a super-feature before the reduction.")
    dim: int = Field(128, gt=0, le=2**20, description="Dimensions after the reduction.")
    weights: Weights = Field(description="Where the weights come from.")

    @model_validator(mode="after")
    def _fitting(self) -> FireModel:
        _check_reduction(self.dim, self.dim_lit, self.weights)
        return self


class GemModel(ModelBase):
    """Generalised-mean pooling global descriptor (cirtorch networks)."""

    architecture: Literal["gem"]
    backbone: Literal["vgg16", "resnet50", "resnet101", "resnet152"] = Field(description="Convolutional part.")
    whitening: Literal["none", "network", "learned"] = Field(
        "none",
        description="`network`: a linear layer of the checkpoint; `learned`: the Lw matrices of its metadata.",
    )
    whitening_set: str = Field(
        "retrieval-SfM-120k", min_length=1, description="Training set whose Lw matrices `whitening: learned` takes."
    )
    weights: Weights = Field(description="Where the weights come from.")

    @model_validator(mode="after")
    def _fitting(self) -> GemModel:
        if self.whitening == "learned" and not isinstance(self.weights, OfficialWeights):
            raise ValueError("whitening `learned` is in published checkpoints (weights of source official) only")
        return self

    def default_features(self) -> dict[str, Any]:
        """Scales of the toolbox's own evaluation, by the kind of whitening."""
        return {"kind": "global", "scales": _GEM_SCALES[self.whitening]}

    def most_dimensions(self) -> int:
        """Dimensions of a descriptor, or more than it has."""
        return _CHANNELS[self.backbone]


class NetVladModel(ModelBase):
    """NetVLAD: a convolutional part cut before its last ReLU and pooling, and one pooled descriptor."""

    architecture: Literal["netvlad"]
    backbone: Literal["vgg16", "alexnet"] = Field("vgg16", description="torchvision network, up to conv5.")
    pooling: Literal["netvlad", "max", "avg"] = Field("netvlad", description="How the map becomes one descriptor.")
    clusters: int = Field(64, ge=2, le=2**16, description="Clusters of the NetVLAD layer (K).")
    bias: bool = Field(False, description="Whether the soft assignment has a bias (`vladv2`).")
    whitening: Several | None = Field(None, description="Dimensions of a PCA-whitening of the descriptor.")
    weights: Weights = Field(description="Where the weights come from.")

    @model_validator(mode="after")
    def _fitting(self) -> NetVladModel:
        if self.pooling != "netvlad" and self.bias:
            raise ValueError(f"`bias` belongs to pooling netvlad, not to {self.pooling}")
        if self.whitening and self.whitening > self._pooled():
            raise ValueError(f"whitening {self.whitening}: the descriptor has {self._pooled()} dimensions")
        weights = self.weights
        if isinstance(weights, PcaWeights) and self.whitening and weights.images <= self.whitening:
            raise ValueError(
                f"a whitening of {self.whitening} dimensions needs more than {self.whitening} images, "
                f"weights.images is {weights.images}"
            )
        if isinstance(weights, ClusteredWeights) and weights.images * weights.descriptors < self.clusters:
            raise ValueError(f"{self.clusters} clusters need at least as many descriptors (images x descriptors)")
        return self

    def default_features(self) -> dict[str, Any]:
        """Pictures of Pittsburgh have 640 x 480 pixels and stay as they are."""
        return {"kind": "global", "image_size": 640}

    def _pooled(self) -> int:
        return _CHANNELS[self.backbone] * (self.clusters if self.pooling == "netvlad" else 1)

    def most_dimensions(self) -> int:
        """Dimensions of a descriptor."""
        return self.whitening or self._pooled()


def _check_reduction(dim: int, found: int, weights: Weights) -> None:
    if isinstance(weights, WhitenedWeights) and dim > found:
        raise ValueError(f"dim {dim}: a whitening of the {found} dimensions before it gives no more than {found}")


class CustomWeights(WeightsBase):
    """Weights that come with a network of your own."""

    source: Literal["custom"]
    file: UserPath | None = Field(
        None, description="torch file of a state dict; null: as the factory gives the network."
    )

    @property
    def own_files(self) -> tuple[Path, ...]:
        """The file, if there is one."""
        return () if self.file is None else (self.file,)


def _plain_values(value: Any) -> Any:
    """What a factory is called with: plain YAML, as JSON has it too."""
    if isinstance(value, dict):
        for item in value.values():
            _plain_values(item)
    elif isinstance(value, list | tuple):
        for item in value:
            _plain_values(item)
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value} is no finite number")
    elif not isinstance(value, str | bool | int | float | None):
        raise ValueError(f"{value} was read as a {type(value).__name__}; put it in quotes")
    return value


Positive = Annotated[float, Field(gt=0)]


class CustomModel(ModelBase):
    """A network of your own, from any function that gives a torch module."""

    architecture: Literal["custom"]
    factory: str = Field(
        pattern=r"^\w+(\.\w+)*:\w+$",
        description="`module:callable`; modules of the folder you are in too. Jobs run its code, with your rights.",
    )
    arguments: Annotated[dict[Label, Any], AfterValidator(_plain_values)] = Field(
        {}, description="Keyword arguments of the factory."
    )
    mean: tuple[float, float, float] = Field((0.485, 0.456, 0.406), description="Subtracted from pixels in 0..1.")
    std: tuple[Positive, Positive, Positive] = Field(
        (0.229, 0.224, 0.225), description="What pixels are then divided by."
    )
    weights: CustomWeights = Field(CustomWeights(source="custom"), description="Where the weights come from.")

    @property
    def own_code(self) -> str:
        """The factory."""
        return self.factory


Model = Annotated[HowModel | FireModel | GemModel | NetVladModel | CustomModel, Field(discriminator="architecture")]
