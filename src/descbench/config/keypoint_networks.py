"""Blocks of section `models`: networks that find keypoints, or the shape and orientation of the patches around them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from descbench.config.network_base import ModelBase
from descbench.config.weights import Weights


class KeypointModel(ModelBase):
    """A network of keypoints, which describes nothing."""

    HAS_LOCAL_FEATURES = False
    HAS_BACKBONE_WEIGHTS = False
    RUNS_BY_BACKENDS = False
    NO_IMAGES = "describes nothing; features of `kind: keypoints` have a place for it"

    def default_features(self) -> dict[str, Any]:
        """A kind, for a features block to be refused with the reason why."""
        return {"kind": "global"}


class KeyNetModel(KeypointModel):
    """Key.Net: keypoints of a grey image pyramid, by handcrafted and learned filters."""

    DETECTS_KEYPOINTS = True

    architecture: Literal["keynet"]
    weights: Weights = Field(description="Where the weights come from.")


class AffNetModel(KeypointModel):
    """AffNet: the affine shape of a patch."""

    ESTIMATES_SHAPE = True

    architecture: Literal["affnet"]
    weights: Weights = Field(description="Where the weights come from.")


class OriNetModel(KeypointModel):
    """OriNet: the orientation of a patch."""

    ESTIMATES_ORIENTATION = True

    architecture: Literal["orinet"]
    weights: Weights = Field(description="Where the weights come from.")


class DedodeDetectorModel(KeypointModel):
    """DeDoDe's detector (L): the pixels that are most likely keypoints."""

    DETECTS_KEYPOINTS = True

    architecture: Literal["dedode_detector"]
    weights: Weights = Field(description="Where the weights come from.")


KeypointModels = KeyNetModel | AffNetModel | OriNetModel | DedodeDetectorModel
