"""Blocks of section `models`: networks; where their weights come from is in :mod:`descbench.config.weights`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from descbench.config.base import Label, Several
from descbench.config.custom_contracts import PatchContract, PointContract
from descbench.config.keypoint_networks import KeypointModel, KeypointModels
from descbench.config.network_base import ModelBase
from descbench.config.point_networks import PointModel, PointModels
from descbench.config.weights import CustomWeights, Weights


class LocalModel(ModelBase):
    """A network of local features, of ``dim`` dimensions."""

    def most_dimensions(self) -> int:
        """Those after the reduction."""
        return self.dim

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
        return self

    def dimensions_before_reduction(self) -> int:
        """Channels of the last stage that is kept."""
        return _RESNETS[self.backbone] // 2**self.skip_layer


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

    def dimensions_before_reduction(self) -> int:
        """Dimensions of a super-feature."""
        return self.dim_lit


class GemModel(ModelBase):
    """Generalised-mean pooling global descriptor (cirtorch networks)."""

    HAS_LOCAL_FEATURES = False
    HAS_BACKBONE_WEIGHTS = False

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
        if self.whitening == "learned" and self.weights.source != "official":
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

    HAS_LOCAL_FEATURES = False

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
        return self

    def default_features(self) -> dict[str, Any]:
        """Pictures of Pittsburgh have 640 x 480 pixels and stay as they are."""
        return {"kind": "global", "image_size": 640}

    def cluster_layer(self) -> int | None:
        """That of pooling netvlad."""
        return self.clusters if self.pooling == "netvlad" else None

    def descriptor_whitening(self) -> int | None:
        """``whitening``."""
        return self.whitening

    def _pooled(self) -> int:
        return _CHANNELS[self.backbone] * (self.clusters if self.pooling == "netvlad" else 1)

    def most_dimensions(self) -> int:
        """Dimensions of a descriptor."""
        return self.whitening or self._pooled()


def _plain_values(value: Any) -> Any:
    """What a factory is called with: plain YAML, as JSON has it too."""
    if isinstance(value, dict):
        for item in value.values():
            _plain_values(item)
    elif isinstance(value, list | tuple):
        for item in value:
            _plain_values(item)
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value} is not a finite number")
    elif not isinstance(value, str | bool | int | float | None):
        raise ValueError(f"{value} was read as a {type(value).__name__}; put it in quotes")
    return value


class PatchModel(ModelBase):
    """A network of cut-out patches: its descriptors are those of patch sets, and no features of images."""

    HAS_LOCAL_FEATURES = False
    HAS_BACKBONE_WEIGHTS = False
    DESCRIBES_PATCHES = True
    NO_IMAGES = "describes cut-out patches of patch sets, no images"

    def default_features(self) -> dict[str, Any]:
        """A kind, for a features block to be refused with the reason why."""
        return {"kind": "global"}


_DROPOUT, _CLASSICAL_DROPOUT = 0.3, 0.1


class HardNetModel(PatchModel):
    """HardNet, its variant with biases, and HardNetPS: 128 numbers of a patch of 32 x 32 pixels."""

    architecture: Literal["hardnet"]
    variant: Literal["hardnet", "classical", "ps"] = Field(
        "hardnet",
        description="`classical`: the network that the original trains by classical mining, with biases; `ps`: the "
        "layers of HardNetPS, which has biases and no dropout.",
    )
    dropout: float = Field(
        _DROPOUT,
        ge=0,
        lt=1,
        description="Probability of dropout in training, but of variant ps (NIPS paper: 0.1, and so variant classical "
        "where nothing else is said).",
    )
    weights: Weights = Field(description="Where the weights come from.")

    @model_validator(mode="before")
    @classmethod
    def _with_its_dropout(cls, values: Any) -> Any:
        classical = isinstance(values, Mapping) and values.get("variant") == "classical"
        return {"dropout": _CLASSICAL_DROPOUT, **values} if classical else values

    @model_validator(mode="after")
    def _fitting(self) -> HardNetModel:
        if self.variant == "ps" and self.dropout != _DROPOUT:
            raise ValueError("variant ps has no dropout; leave `dropout` out")
        return self


class TFeatModel(PatchModel):
    """TFeat, and HardTFeat of its size: 128 numbers of a patch of 32 x 32 pixels."""

    architecture: Literal["tfeat"]
    variant: Literal["tfeat", "hardtfeat"] = Field("tfeat", description="Whose layers and normalisation.")
    weights: Weights = Field(description="Where the weights come from.")


class SosNetModel(PatchModel):
    """SOSNet: 128 numbers of a patch of 32 x 32 pixels."""

    architecture: Literal["sosnet"]
    weights: Weights = Field(description="Where the weights come from.")


class HyNetModel(PatchModel):
    """HyNet: 128 numbers of a patch of 32 x 32 pixels."""

    architecture: Literal["hynet"]
    weights: Weights = Field(description="Where the weights come from.")


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
    mean: Annotated[tuple[float, ...], Field(min_length=1, max_length=3)] | None = Field(
        None,
        description="Subtracted from pixels in 0..1, a number a channel; null: ImageNet's, of a network of points 0.",
    )
    std: Annotated[tuple[Positive, ...], Field(min_length=1, max_length=3)] | None = Field(
        None, description="What pixels are then divided by; null: ImageNet's, of a network of points 1."
    )
    patches: PatchContract | None = Field(
        None, description="Of a network that describes patches, and no images; null: it describes images."
    )
    points: PointContract | None = Field(
        None, description="Of a network that finds keypoints of an image, or describes points of it."
    )
    weights: CustomWeights = Field(CustomWeights(source="custom"), description="Where the weights come from.")

    @model_validator(mode="after")
    def _fitting(self) -> CustomModel:
        given = {key: values for key in ("mean", "std") if (values := getattr(self, key)) is not None}
        if self.patches is not None and self.points is not None:
            raise ValueError("a network takes `patches` or `points`; give each a block of its own")
        if self.patches is not None and given:
            raise ValueError("`mean` and `std` are of images; a network of patches is given pixels in 0..1")
        channels = self.points.channels if self.points else 3
        for key, values in given.items():
            if len(values) != channels:
                raise ValueError(f"`{key}` has {len(values)} numbers, and the network's images {channels} channels")
        return self

    @property
    def DESCRIBES_PATCHES(self) -> bool:
        """Where it says which."""
        return self.patches is not None

    @property
    def DESCRIBES_POINTS(self) -> bool:
        """Where it says so."""
        return self.points is not None and self.points.describes is not None

    @property
    def DETECTS_KEYPOINTS(self) -> bool:
        """Where it says so."""
        return self.points is not None and self.points.detects

    @property
    def DESCRIBES_ITS_OWN(self) -> bool:
        """Where it says so."""
        return self.points is not None and self.points.describes == "found"

    @property
    def RUNS_BY_BACKENDS(self) -> bool:
        """Points are no tensors of height and width, which backends give."""
        return self.points is None

    @property
    def NO_IMAGES(self) -> str:
        """What it does instead."""
        if self.points is not None:
            return PointModel.NO_IMAGES if self.points.describes else KeypointModel.NO_IMAGES
        return PatchModel.NO_IMAGES if self.patches else ""

    def default_features(self) -> dict[str, Any]:
        """Of a network of patches or points as of those of the catalogue."""
        return {"kind": "global"} if self.patches or self.points else {}

    def most_dimensions(self) -> int | None:
        """As a contract says."""
        contract = self.patches or self.points
        return contract.dim if contract else None

    @property
    def own_code(self) -> str:
        """The factory."""
        return self.factory


Model = Annotated[
    HowModel
    | FireModel
    | GemModel
    | NetVladModel
    | HardNetModel
    | TFeatModel
    | SosNetModel
    | HyNetModel
    | PointModels
    | KeypointModels
    | CustomModel,
    Field(discriminator="architecture"),
]
