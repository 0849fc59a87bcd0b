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


class FeaturesBase(Block):
    """What all features answer.

    Attributes:
        IS_LOCAL: whether they are many descriptors of an image; None where only their files tell.
    """

    IS_LOCAL: ClassVar[bool | None] = None

    def missing(self, name: str, config: Any, dataset: str, role: str) -> Problem | None:
        """Why there are none of a role of a dataset, if there are none: ``(path beside the name, message)``."""
        return no_images(config, dataset, role)

    def too_few(self, n: int) -> str | None:
        """Why an image cannot have ``n`` of them, if it cannot."""
        return None

    def most_dimensions(self, config: Any) -> int | None:
        """Dimensions of a descriptor, or more than it has; None where only the network or the files tell."""
        return None


class ExtractedFeatures(FeaturesBase):
    """What features of a network share."""

    stage: ClassVar[str] = "extract_features"

    @property
    def extracted_by(self) -> str:
        """Model whose network they come from."""
        return self.model

    def released_for(self, datasets: Collection[str]) -> list[str]:
        """Sources that hold features of these datasets: none."""
        return []

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
    dtype: Literal["float32", "float16"] = Field("float32", description="Storage type of the descriptors.")
    on_bad_image: Literal["stop", "skip"] = Field("stop", description="`skip` records a broken image and goes on.")
    truncated_images: Literal["refuse", "read"] = Field(
        "refuse", description="Files that end early: bad images, or (as the originals do) read as far as they go."
    )
    deep_images: Literal["scale", "clip"] = Field(
        "scale",
        description="Grey of 16 or 32 bits or floats: scaled to 8 bits, or (as the originals do) clipped.",
    )

    def fits(self, name: str, config: Any) -> Iterator[Problem]:
        """The network has local features."""
        yield from super().fits(name, config)
        model = config.models[self.model]
        if not model.HAS_LOCAL_FEATURES and not model.DESCRIBES_PATCHES:
            yield ("kind",), f"model {self.model!r} ({model.architecture}) has no local features"

    def too_few(self, n: int) -> str | None:
        """No more than are extracted."""
        extracted = f"the {self.max_features} features an image that were extracted"
        return f"{n} is more than {extracted}; raise `max_features`" if n > self.max_features else None


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
    dtype: Literal["float32", "float16"] = Field("float32", description="Storage type of the descriptors.")
    on_bad_image: Literal["stop", "skip"] = Field("stop", description="`skip` records a broken image and goes on.")
    truncated_images: Literal["refuse", "read"] = Field(
        "refuse", description="Files that end early: bad images, or (as the originals do) read as far as they go."
    )
    deep_images: Literal["scale", "clip"] = Field(
        "scale",
        description="Grey of 16 or 32 bits or floats: scaled to 8 bits, or (as the originals do) clipped.",
    )

    def most_dimensions(self, config: Any) -> int | None:
        """Those of the network."""
        return config.models[self.model].most_dimensions()


class ReleasedFeatures(FeaturesBase):
    """Ready descriptors published by the authors, imported instead of extracted."""

    stage: ClassVar[str] = "import_features"
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
    LocalFeatures | GlobalFeatures | ReleasedFeatures, Field(discriminator="kind", json_schema_extra=_any_of)
]
