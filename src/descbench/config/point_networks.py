"""Blocks of section `models`: networks that describe points of an image, or find them too."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from descbench.config.base import Problem
from descbench.config.network_base import ModelBase
from descbench.config.weights import Weights

Share = Annotated[float, Field(ge=0, le=1)]
_MCHAN = 4  # of published networks


class PointModel(ModelBase):
    """A network that describes points: its descriptors are those of keypoints, and no features of whole images."""

    HAS_LOCAL_FEATURES = False
    HAS_BACKBONE_WEIGHTS = False
    DESCRIBES_POINTS = True
    NO_IMAGES = "describes points; use `kind: keypoints`"

    def default_features(self) -> dict[str, Any]:
        """A kind, for a features block to be refused with the reason why."""
        return {"kind": "global"}


class HNDescModel(PointModel):
    """HNDesc: 128 numbers of a point (fewer with `mchan`), read from a map of the whole image; it finds no points."""

    HAS_BACKBONE_WEIGHTS = True

    architecture: Literal["hndesc"]
    backbone: Literal["caps", "r2d2"] = Field(
        "caps", description="`caps`: ResNet-50 and a decoder, as CAPS; `r2d2`: dilated convolutions, as R2D2."
    )
    mchan: int = Field(
        _MCHAN,
        ge=1,
        le=64,
        description="Layers of `r2d2` have 8, 16 and 32 times so many channels, descriptors 32 times as many numbers.",
    )
    weights: Weights = Field(description="Where the weights come from.")

    def fits(self, name: str, config: Any) -> Iterator[Problem]:
        """One of its two backbones is a ResNet, which weights of ImageNet exist of; the other one has `mchan`."""
        yield from super().fits(name, config)
        if self.backbone == "caps" and self.mchan != _MCHAN:
            yield ("mchan",), "backbone caps has no `mchan`; leave it out, or use backbone r2d2"
        if self.backbone == "r2d2" and self.weights.source == "imagenet":
            yield ("weights", "source"), "imagenet: backbone r2d2 is not a network of ImageNet; use source random"


class SuperPointModel(PointModel):
    """SuperPoint: keypoints of a grey image, and 256 numbers of each; settings as HNDesc has them for every task."""

    DETECTS_KEYPOINTS = True

    architecture: Literal["superpoint"]
    nms_radius: int = Field(3, ge=0, le=100, description="Pixels within which a keypoint has the highest score.")
    keypoint_threshold: Share = Field(0.005, description="Scores of keypoints are above it.")
    remove_borders: int = Field(4, ge=0, le=1000, description="Pixels along the borders that have no keypoints.")
    sampling: Literal["aligned", "edges", "swapped"] = Field(
        "aligned",
        description="How descriptors are read between cells; `edges` and `swapped`: as HNDesc's copy of SuperPoint "
        "would with recent versions of torch.",
    )
    weights: Weights = Field(description="Where the weights come from.")


class R2D2Model(PointModel):
    """R2D2: keypoints of an image pyramid, with 128 numbers of each read at its own level."""

    DETECTS_KEYPOINTS = True
    LEVELS = ("min_size", "max_size", "min_scale", "max_scale")

    architecture: Literal["r2d2"]
    mchan: int = Field(
        _MCHAN, ge=1, le=64, description="Layers have 8, 16 and 32 times so many channels (N16: 4, N8: 6)."
    )
    min_size: int = Field(256, ge=0, le=100_000, description="Smallest longer side of a level in pixels.")
    max_size: int = Field(1024, ge=1, le=100_000, description="Largest longer side of a level in pixels.")
    min_scale: Share = Field(0.0, description="Smallest scale of a level.")
    max_scale: Share = Field(1.0, description="Largest scale of a level.")
    scale_factor: float = Field(2**0.25, ge=1.01, le=16, description="Each level is smaller by.")
    reliability: Share = Field(0.7, description="Least reliability of a keypoint.")
    repeatability: Share = Field(0.7, description="Least repeatability of a keypoint.")
    weights: Weights = Field(description="Where the weights come from.")

    @model_validator(mode="after")
    def _levels(self) -> R2D2Model:
        if self.min_size > self.max_size or self.min_scale > self.max_scale:
            raise ValueError(
                f"levels of {self.min_size} to {self.max_size} pixels at scales {self.min_scale} to {self.max_scale}: "
                "there are none; the smaller limit comes first"
            )
        return self


class TorchPointModel(PointModel):
    """A network of points that torch runs, whatever the backend."""

    RUNS_BY_BACKENDS = False


class CapsModel(TorchPointModel):
    """CAPS: 256 numbers of a point, read from a coarse and a fine map; it finds no points."""

    architecture: Literal["caps"]
    statistics: Literal["image", "training"] = Field(
        "image",
        description="Statistics of BatchNorm: those of the very image, as in HNDesc's evaluation, or of the training.",
    )
    weights: Weights = Field(description="Where the weights come from.")


class DiskModel(TorchPointModel):
    """DISK: keypoints of an image, and 128 numbers of each."""

    DETECTS_KEYPOINTS = True

    architecture: Literal["disk"]
    window: int = Field(5, ge=3, le=99, description="Side of the window with one keypoint, the highest; odd.")
    keypoint_threshold: float = Field(0.0, ge=-1e6, le=1e6, description="Scores of keypoints are above it.")
    weights: Weights = Field(description="Where the weights come from.")

    @model_validator(mode="after")
    def _odd(self) -> DiskModel:
        if self.window % 2 == 0:
            raise ValueError(f"window {self.window}: an even window has no middle; take an odd number")
        return self


class AlikedModel(TorchPointModel):
    """ALIKED: keypoints between the pixels of an image, and 128 numbers of each (variant t16: 64)."""

    DETECTS_KEYPOINTS = True

    architecture: Literal["aliked"]
    variant: Literal["t16", "n16", "n16rot", "n32"] = Field("n16", description="Which of the published networks.")
    nms_radius: int = Field(2, ge=1, le=100, description="Pixels within which a keypoint has the highest score.")
    keypoint_threshold: float = Field(0.2, gt=0, le=1, description="Scores of keypoints are above it.")
    weights: Weights = Field(description="Where the weights come from.")


class DedodeDescriptorModel(TorchPointModel):
    """DeDoDe's descriptor (B): 256 numbers of a point; it finds no points."""

    architecture: Literal["dedode_descriptor"]
    weights: Weights = Field(description="Where the weights come from.")


PointModels = HNDescModel | SuperPointModel | R2D2Model | CapsModel | DiskModel | AlikedModel | DedodeDescriptorModel
