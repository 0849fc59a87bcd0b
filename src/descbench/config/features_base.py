"""What blocks of section `features` share."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from descbench.config.base import Block, ImageSize, Problem
from descbench.config.checks import no_images

Storage = Annotated[Literal["float32", "float16"], Field(description="Storage type of the descriptors.")]
Resize = Annotated[
    tuple[ImageSize, ImageSize] | None,
    Field(description="Height and width that every image is brought to, whatever its shape, instead of image_size."),
]
OnBadImage = Annotated[Literal["stop", "skip"], Field(description="`skip` records a broken image and goes on.")]
TruncatedImages = Annotated[
    Literal["refuse", "read"],
    Field(description="Files that end early: bad images, or (as the originals do) read as far as they go."),
]
DeepImages = Annotated[
    Literal["scale", "clip"],
    Field(description="Grey of 16 or 32 bits or floats: scaled to 8 bits, or (as the originals do) clipped."),
]

ExifOrientation = Annotated[
    Literal["ignore", "apply"],
    Field(
        description="Photographs that EXIF says are to be turned: read as they are stored (as the originals do), or "
        "turned; boxes of queries and keypoints are then pixels of the upright image."
    ),
]
# Keys that say how the files of images are read.
READING = ("truncated_images", "deep_images", "exif_orientation")


class FeaturesBase(Block):
    """What all features answer.

    Attributes:
        IS_LOCAL: whether they are many descriptors of an image; None where only their files tell.
        HAS_FRAMES: whether each has a place, a size and an orientation, which geometry can be verified with.
        READS_IMAGES: whether they are made from images, and not from what the authors released.
    """

    IS_LOCAL: ClassVar[bool | None] = None
    HAS_FRAMES: ClassVar[bool] = False
    READS_IMAGES: ClassVar[bool] = True

    @property
    def turns_images(self) -> bool:
        """Whether photographs are turned as EXIF says, so that places in them are not those in the files."""
        return self.reading_options.get("exif_orientation") == "apply"

    @property
    def reading_options(self) -> dict[str, str]:
        """How the files of images are read; empty where none are."""
        return {key: getattr(self, key) for key in READING} if self.READS_IMAGES else {}

    def missing(self, name: str, config: Any, dataset: str, role: str) -> Problem | None:
        """Why there are none of a role of a dataset, if there are none: ``(path beside the name, message)``."""
        return no_images(config, dataset, role)

    def too_few(self, n: int) -> str | None:
        """Why an image cannot have ``n`` of them, if it cannot."""
        return None

    def described_as(self) -> str | None:
        """What makes their descriptors, which two blocks must share to be compared; None where only files tell."""
        return None

    def most_dimensions(self, config: Any) -> int | None:
        """Dimensions of a descriptor, or more than it has; None where only the network or the files tell."""
        return None


class ExtractedFeatures(FeaturesBase):
    """What features of a network share."""

    stage: ClassVar[str] = "extract_features"

    @property
    def networks(self) -> tuple[str, ...]:
        """Models whose networks they come from: the one."""
        return (self.model,)

    @property
    def longer_side(self) -> int | None:
        """Pixels of the longer side of the largest images that are looked at; None: as large as they come."""
        return self.image_size

    @property
    def read_as(self) -> str:
        """Whose way of reading and reducing images it is."""
        return "toolbox"

    def released_for(self, datasets: Collection[str]) -> list[str]:
        """Sources that hold features of these datasets: none."""
        return []

    def described_as(self) -> str | None:
        """Their network."""
        return self.model

    def fits(self, name: str, config: Any) -> Iterator[Problem]:
        """The network describes images."""
        model = config.models[self.model]
        if model.NO_IMAGES:
            yield ("model",), f"model {self.model!r} ({model.architecture}) {model.NO_IMAGES}"


def more_than_extracted(n: int, most: int) -> str | None:
    """Why an image has no ``n`` features of the ``most`` that are kept, if it has not."""
    extracted = f"the {most} features an image that are kept"
    return f"{n} is more than {extracted}; raise `max_features`, or give a smaller `n`" if n > most else None
