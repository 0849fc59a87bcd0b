"""What a network of the user's own takes and gives, as blocks of configuration."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from descbench.config.base import Several, Strict

_SIZE = 8.0


class PatchContract(Strict):
    """What a network of your own takes and gives that describes patches: pixels in 0..1, one row a patch."""

    side: Annotated[Several, Field(le=4096)] = Field(32, description="Side of the patches in pixels.")
    channels: Literal[1, 3] = Field(1, description="Of its input; 3: the grey ones of patches, three times.")
    dim: Several = Field(description="Dimensions of a descriptor; checked once, on a batch of two black patches.")


class PointContract(Strict):
    """What a network of your own takes and gives that finds keypoints of an image, describes points of it, or both."""

    channels: Literal[1, 3] = Field(3, description="Of the image that it is given; 1: grey.")
    detects: bool = Field(True, description="Whether `forward(image)` gives points and their strengths.")
    describes: Literal["found", "given"] | None = Field(
        None,
        description="`found`: `forward(image)` gives descriptors of its points too; `given`: `describe(image, points)` "
        "(or `forward(image, points)`, if it detects nothing) gives those of any points; null: it describes nothing.",
    )
    dim: Several | None = Field(None, description="Dimensions of a descriptor, where it describes.")
    size: float = Field(
        _SIZE,
        gt=0,
        le=10_000,
        description="Pixels that a point stands for where `forward` gives no `sizes`: what patches are cut by.",
    )

    @model_validator(mode="after")
    def _fitting(self) -> PointContract:
        if self.describes is None and not self.detects:
            raise ValueError("it neither detects nor describes; set `detects: true`, or `describes: given` and `dim`")
        if self.describes == "found" and not self.detects:
            raise ValueError("`describes: found` is of points that it detects; set `describes: given`")
        if (self.describes is None) != (self.dim is None):
            found = "`dim` is of descriptors; set `describes` too" if self.dim else "`describes` needs `dim`"
            raise ValueError(found)
        if not self.detects and self.size != _SIZE:
            raise ValueError("`size` is of points that it detects; leave it out")
        return self
