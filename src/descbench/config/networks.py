"""Blocks of section `models`: networks, and where their weights come from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from descbench.config.base import Name, Role, Strict


class WeightsBase(Strict):
    """What all weights answer: which files they are read from."""

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

    source: Literal["official"]
    file: Name = Field(description="Name of the source that holds them.")


class RandomWeights(WeightsBase):
    """Untrained weights drawn from a seed: for tests and toytown."""

    source: Literal["random"]
    seed: int | None = Field(None, description="Seed of the draw; null = the site's.")


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
    images: int = Field(gt=0, description="First images of the list that are used.")


class WhitenedWeights(WeightsFromImages):
    """Weights of another model with its reduction set to a PCA-whitening: the off-the-shelf network."""

    source: Literal["whitened"]
    role: Role = Field("train", description="Role of those images.")
    images: int = Field(5000, gt=0, description="First images of the list that are used.")
    n: int = Field(1000, gt=0, description="Strongest descriptors of an image.")
    image_size: int = Field(1024, gt=0, description="Longer side in pixels.")
    flip: float = Field(0, ge=0, le=1, description="Probability that an image is mirrored (FIRe: 0.5).")


class ClusteredWeights(WeightsFromImages):
    """Weights of another model with its NetVLAD layer replaced by one set from clusters of training descriptors."""

    source: Literal["clustered"]
    images: int = Field(500, gt=0, description="Images that are drawn.")
    descriptors: int = Field(
        100, gt=0, description="Locations drawn in each image; their descriptors are normalised, with bias too."
    )
    iterations: int = Field(100, gt=0, description="k-means iterations.")
    seed: int = Field(123, description="Seed of the drawn images and locations.")
    image_size: int = Field(640, gt=0, description="Longer side in pixels.")
    alpha: Literal["paper", "pytorch"] = Field(
        "paper",
        description="Sharpness and bias of a layer with bias (vladv2): the paper's, or as pytorch-NetVlad has them "
        "(from indices of neighbours). A layer without bias has one rule only.",
    )


class PcaWeights(WeightsFromImages):
    """Weights of another model with a PCA-whitening of its descriptors behind it."""

    source: Literal["pca"]
    start: Name = Field(description="Model of the same architecture without `whitening`.")
    images: int = Field(10000, gt=0, description="First images of the list that are used.")
    image_size: int = Field(640, gt=0, description="Longer side in pixels.")


class TrainedWeights(WeightsBase):
    """Weights trained here, from those of another model."""

    source: Literal["train"]
    start: Name = Field(description="Model of the same architecture that training starts from.")
    training: Name = Field(description="Block of section `training`.")


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


class HowModel(Strict):
    """HOW network: ResNet, attention by feature norm, smoothing, 1x1 reduction."""

    architecture: Literal["how"]
    backbone: Literal["resnet18", "resnet50", "resnet101"] = Field(description="torchvision ResNet.")
    skip_layer: int = Field(0, ge=0, le=2, description="Stages cut from the end of the backbone.")
    dim: int = Field(128, gt=0, description="Dimensions after the reduction.")
    smoothing: int = Field(3, ge=0, description="Side of the average pooling; 0 = none.")
    weights: Weights = Field(description="Where the weights come from.")


class FireModel(Strict):
    """FIRe network: ResNet, super-features by a transformer (LIT), 1x1 reduction."""

    architecture: Literal["fire"]
    backbone: Literal["resnet18", "resnet50", "resnet101"] = Field("resnet50", description="torchvision ResNet.")
    skip_layer: int = Field(1, ge=0, le=2, description="Stages cut from the end of the backbone.")
    templates: int = Field(256, gt=0, le=32767, description="Super-features of each scale (N).")
    iterations: int = Field(6, gt=0, description="Iterations of LIT (T).")
    dim_lit: int = Field(1024, gt=1, description="Dimensions of a super-feature before the reduction.")
    dim: int = Field(128, gt=0, description="Dimensions after the reduction.")
    weights: Weights = Field(description="Where the weights come from.")


class GemModel(Strict):
    """Generalised-mean pooling global descriptor (cirtorch networks)."""

    architecture: Literal["gem"]
    backbone: Literal["vgg16", "resnet50", "resnet101", "resnet152"] = Field(description="Convolutional part.")
    whitening: Literal["none", "network", "learned"] = Field(
        "none",
        description="`network`: a linear layer of the checkpoint; `learned`: the Lw matrices of its metadata.",
    )
    weights: Weights = Field(description="Where the weights come from.")


class NetVladModel(Strict):
    """NetVLAD: a convolutional part cut before its last ReLU and pooling, and one pooled descriptor."""

    architecture: Literal["netvlad"]
    backbone: Literal["vgg16", "alexnet"] = Field("vgg16", description="torchvision network, up to conv5.")
    pooling: Literal["netvlad", "max", "avg"] = Field("netvlad", description="How the map becomes one descriptor.")
    clusters: int = Field(64, gt=0, description="Clusters of the NetVLAD layer (K).")
    bias: bool = Field(False, description="Whether the soft assignment has a bias (`vladv2`).")
    whitening: int | None = Field(None, gt=0, description="Dimensions of a PCA-whitening of the descriptor.")
    weights: Weights = Field(description="Where the weights come from.")

    @model_validator(mode="after")
    def _fitting(self) -> NetVladModel:
        if self.pooling != "netvlad" and self.bias:
            raise ValueError(f"`bias` belongs to pooling netvlad, not to {self.pooling}")
        return self


class OwnWeights(WeightsBase):
    """Weights that come with a network of your own."""

    source: Literal["own"]
    file: Path | None = Field(None, description="torch file of a state dict; null: as the factory gives the network.")

    @property
    def own_files(self) -> tuple[Path, ...]:
        """The file, if there is one."""
        return () if self.file is None else (self.file,)


class OwnModel(Strict):
    """A network of your own, from any function that gives a torch module."""

    architecture: Literal["own"]
    factory: str = Field(
        pattern=r"^\w+(\.\w+)*:\w+$", description="`module:callable`; modules of the folder you are in too."
    )
    arguments: dict[str, Any] = Field({}, description="Keyword arguments of the factory.")
    mean: tuple[float, float, float] = Field((0.485, 0.456, 0.406), description="Subtracted from pixels in 0..1.")
    std: tuple[float, float, float] = Field((0.229, 0.224, 0.225), description="What pixels are then divided by.")
    weights: OwnWeights = Field(OwnWeights(source="own"), description="Where the weights come from.")


Model = Annotated[HowModel | FireModel | GemModel | NetVladModel | OwnModel, Field(discriminator="architecture")]
