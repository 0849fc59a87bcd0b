"""Blocks of section `models`: networks, and where their weights come from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from descbench.config.base import Name, Role, Strict


class OfficialWeights(Strict):
    """Weights published by the authors."""

    source: Literal["official"]
    file: Name = Field(description="Name of the source that holds them.")


class RandomWeights(Strict):
    """Untrained weights drawn from a seed: for tests and toytown."""

    source: Literal["random"]
    seed: int | None = Field(None, description="Seed of the draw; null = the site's.")


class ImagenetWeights(Strict):
    """A backbone learned on ImageNet; the layers beyond it are drawn, for whitening or training to replace."""

    source: Literal["imagenet"]
    file: Name = Field(description="Name of the source that holds the backbone.")


class WhitenedWeights(Strict):
    """Weights of another model with its reduction set to a PCA-whitening: the off-the-shelf network."""

    source: Literal["whitened"]
    start: Name = Field(description="Model of the same architecture.")
    dataset: Name = Field(description="Training images that the whitening is learned from.")
    role: Role = Field("train", description="Role of those images.")
    images: int = Field(5000, gt=0, description="First images of the list that are used.")
    n: int = Field(1000, gt=0, description="Strongest descriptors of an image.")
    image_size: int = Field(1024, gt=0, description="Longer side in pixels.")
    flip: float = Field(0, ge=0, le=1, description="Probability that an image is mirrored (FIRe: 0.5).")


class TrainedWeights(Strict):
    """Weights trained here, from those of another model."""

    source: Literal["train"]
    start: Name = Field(description="Model of the same architecture that training starts from.")
    training: Name = Field(description="Block of section `training`.")


Weights = Annotated[
    OfficialWeights | RandomWeights | ImagenetWeights | WhitenedWeights | TrainedWeights,
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


class OwnWeights(Strict):
    """Weights that come with a network of your own."""

    source: Literal["own"]
    file: Path | None = Field(None, description="torch file of a state dict; null: as the factory gives the network.")


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


Model = Annotated[HowModel | FireModel | GemModel | OwnModel, Field(discriminator="architecture")]
