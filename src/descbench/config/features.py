"""Blocks of section `features`: what is extracted from images, or imported, once."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from descbench.config.base import (
    HOW_SCALES,
    Block,
    DatasetName,
    ImageSize,
    ModelName,
    Problem,
    Scales,
    Several,
    SourceName,
    left_out,
)
from descbench.config.checks import no_images, no_role


def _any_of(schema: dict[str, Any]) -> None:
    """A block that leaves out its kind fits more than one of them, which ``oneOf`` would refuse."""
    schema.pop("discriminator")
    schema["anyOf"] = schema.pop("oneOf")


Storage = Annotated[Literal["float32", "float16"], Field(description="Storage type of the descriptors.")]
OnBadImage = Annotated[Literal["stop", "skip"], Field(description="`skip` records a broken image and goes on.")]
TruncatedImages = Annotated[
    Literal["refuse", "read"],
    Field(description="Files that end early: bad images, or (as the originals do) read as far as they go."),
]
DeepImages = Annotated[
    Literal["scale", "clip"],
    Field(description="Grey of 16 or 32 bits or floats: scaled to 8 bits, or (as the originals do) clipped."),
]


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
    def extracted_by(self) -> str | None:
        """Model whose network they come from, if they come from one."""
        return self.model

    def released_for(self, datasets: Collection[str]) -> list[str]:
        """Sources that hold features of these datasets: none."""
        return []

    def described_as(self) -> str | None:
        """Their network."""
        return self.model

    def fits(self, name: str, config: Any) -> Iterator[Problem]:
        """The network describes images."""
        model = config.models[self.model]
        if model.DESCRIBES_PATCHES:
            why = f"model {self.model!r} ({model.architecture}) describes cut-out patches of patch sets, no images"
            yield ("model",), why


class LocalFeatures(ExtractedFeatures):
    """Local features of an image pyramid, strongest first."""

    IS_LOCAL = True
    model_config = left_out("kind", "model")

    kind: Literal["local"] = Field(description="Left out: that of the model.")
    model: ModelName = Field(description="Model of the catalogue; left out: the one that has the block's name.")
    image_size: ImageSize = Field(1024, description="Longer side in pixels that images are reduced to.")
    scales: Scales = Field(HOW_SCALES, description="Pyramid, in the order of evaluation.")
    max_features: Several = Field(1000, description="Strongest features kept per image; methods read a prefix.")
    dtype: Storage = "float32"
    on_bad_image: OnBadImage = "stop"
    truncated_images: TruncatedImages = "refuse"
    deep_images: DeepImages = "scale"

    def fits(self, name: str, config: Any) -> Iterator[Problem]:
        """The network has local features."""
        yield from super().fits(name, config)
        model = config.models[self.model]
        if not model.HAS_LOCAL_FEATURES and not model.DESCRIBES_PATCHES:
            yield ("kind",), f"model {self.model!r} ({model.architecture}) has no local features"

    def too_few(self, n: int) -> str | None:
        """No more than are extracted."""
        return _more_than_extracted(n, self.max_features)


class GlobalFeatures(ExtractedFeatures):
    """One descriptor per image."""

    IS_LOCAL = False
    model_config = left_out("kind", "model")

    kind: Literal["global"] = Field(description="Left out: that of the model.")
    model: ModelName = Field(description="Model of the catalogue; left out: the one that has the block's name.")
    image_size: ImageSize = Field(
        1024, description="Longer side in pixels that images are reduced to; 640 for architecture netvlad."
    )
    resize: tuple[ImageSize, ImageSize] | None = Field(
        None, description="Height and width that every image is brought to, whatever its shape, instead of image_size."
    )
    scales: Scales = Field(
        (1.0,), description="Pyramid; for architecture gem, that of its whitening (docs/protocols/gem.md, Options)."
    )
    dtype: Storage = "float32"
    on_bad_image: OnBadImage = "stop"
    truncated_images: TruncatedImages = "refuse"
    deep_images: DeepImages = "scale"

    def most_dimensions(self, config: Any) -> int | None:
        """Those of the network."""
        return config.models[self.model].most_dimensions()


class PatchFeatures(ExtractedFeatures):
    """Descriptors of patches that are cut around keypoints, strongest keypoints first."""

    IS_LOCAL = True
    HAS_FRAMES = True

    kind: Literal["patches"]
    detector: Literal["sift", "orb"] = Field("sift", description="What finds keypoints: detectors of OpenCV.")
    describe: Literal["network", "pixels", "sift", "rootsift"] = Field(
        description="What describes patches: a network, the pixels themselves, or SIFT and RootSIFT of OpenCV."
    )
    model: ModelName | None = Field(None, description="Model of `describe: network`, which describes patches.")
    region: float = Field(
        5.2, gt=0.1, le=100, description="Width of a patch over the size of its keypoint, as the detector gives it."
    )
    image_size: ImageSize = Field(1024, description="Longer side in pixels that images are reduced to.")
    max_features: Several = Field(2500, description="Strongest keypoints kept per image; methods read a prefix.")
    dtype: Storage = "float32"
    on_bad_image: OnBadImage = "stop"
    truncated_images: TruncatedImages = "refuse"
    deep_images: DeepImages = "scale"

    def described_as(self) -> str | None:
        """Their network, or rule."""
        return self.model or self.describe

    def fits(self, name: str, config: Any) -> Iterator[Problem]:
        """A network that describes patches, and no other descriptor has one."""
        yield from fits_describer(self, config)

    def too_few(self, n: int) -> str | None:
        """No more than are extracted."""
        return _more_than_extracted(n, self.max_features)


def fits_describer(block: Any, config: Any) -> Iterator[Problem]:
    """Whether ``describe`` of a block has the ``model`` that it needs, and no other."""
    if (block.describe == "network") == (block.model is None):
        yield ("model",), f"describe: {block.describe} {'needs' if block.model is None else 'has no'} `model`"
    elif block.model is not None and not config.models[block.model].DESCRIBES_PATCHES:
        yield ("model",), f"{block.model!r} ({config.models[block.model].architecture}) describes images, no patches"


def _more_than_extracted(n: int, most: int) -> str | None:
    extracted = f"the {most} features an image that were extracted"
    return f"{n} is more than {extracted}; raise `max_features`" if n > most else None


class ReleasedFeatures(FeaturesBase):
    """Ready descriptors published by the authors, imported instead of extracted."""

    stage: ClassVar[str] = "import_features"
    READS_IMAGES: ClassVar[bool] = False
    kind: Literal["released"]
    files: dict[DatasetName, SourceName] = Field(
        min_length=1, description="Dataset -> source with keys vecs, imids, qvecs, qimids (or vecs alone)."
    )

    @property
    def extracted_by(self) -> None:
        """No network."""
        return None

    def released_for(self, datasets: Collection[str]) -> list[str]:
        """Sources that hold features of these datasets."""
        return [source for dataset, source in self.files.items() if dataset in datasets]

    def missing(self, name: str, config: Any, dataset: str, role: str) -> Problem | None:
        """There is a file of each dataset."""
        if dataset not in self.files:
            return ("dataset",), f"features {name!r} have no released file for {dataset!r}"
        return no_role(config, dataset, role)


Features = Annotated[
    LocalFeatures | GlobalFeatures | PatchFeatures | ReleasedFeatures,
    Field(discriminator="kind", json_schema_extra=_any_of),
]
