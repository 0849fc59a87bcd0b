"""What every block of section `models` answers, whatever its network."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from descbench.config.base import Block, Problem


class ModelBase(Block):
    """What all networks answer: which features they have, which layers are learned apart, and whose code makes them.

    Attributes:
        HAS_LOCAL_FEATURES: whether features of kind local can be extracted.
        HAS_BACKBONE_WEIGHTS: whether weights of its backbone alone, learned on ImageNet, are a start.
        DESCRIBES_PATCHES: whether it describes cut-out patches of a patch set, and no whole images.
        DESCRIBES_POINTS: whether it describes given points of an image.
        DESCRIBES_ITS_OWN: whether the points that it describes are those alone that it finds itself.
        DETECTS_KEYPOINTS: whether it finds keypoints of an image.
        RUNS_BY_BACKENDS: whether `backend` may run it; else torch does.
        ESTIMATES_SHAPE: whether it finds the affine shape of the patch around a keypoint.
        ESTIMATES_ORIENTATION: whether it finds the orientation of such a patch.
        NO_IMAGES: what it does instead of describing whole images; empty where it describes them.
        LEVELS: keys that only say which levels of an image pyramid are looked at.
    """

    HAS_LOCAL_FEATURES: ClassVar[bool] = True
    HAS_BACKBONE_WEIGHTS: ClassVar[bool] = True
    DESCRIBES_PATCHES: ClassVar[bool] = False
    DESCRIBES_POINTS: ClassVar[bool] = False
    DESCRIBES_ITS_OWN: ClassVar[bool] = False
    DETECTS_KEYPOINTS: ClassVar[bool] = False
    RUNS_BY_BACKENDS: ClassVar[bool] = True
    ESTIMATES_SHAPE: ClassVar[bool] = False
    ESTIMATES_ORIENTATION: ClassVar[bool] = False
    NO_IMAGES: ClassVar[str] = ""
    LEVELS: ClassVar[tuple[str, ...]] = ()

    @property
    def own_code(self) -> str | None:
        """``module:callable`` of the user's that makes the network."""
        return None

    def default_features(self) -> dict[str, Any]:
        """Kind and settings of a features block, as they stand in YAML; others have the block's own defaults."""
        return {}

    def dimensions_before_reduction(self) -> int | None:
        """Dimensions that a reduction of local descriptors starts from; None without a reduction."""
        return None

    def cluster_layer(self) -> int | None:
        """Clusters of a NetVLAD layer; None without such a layer."""
        return None

    def descriptor_whitening(self) -> int | None:
        """Dimensions of a PCA-whitening of the descriptor; None without one."""
        return None

    def most_dimensions(self) -> int | None:
        """Dimensions of a descriptor, or more than it has; None where only the network can tell."""
        return None

    def fits(self, name: str, config: Any) -> Iterator[Problem]:
        """Its weights are those of such a network."""
        yield from self.weights.fits(name, self, config)
