"""Blocks of section `features`: what is extracted from images, or imported, once."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from descbench.config.base import (
    HOW_SCALES,
    DatasetName,
    ImageSize,
    ModelName,
    Problem,
    Scales,
    Several,
    SourceName,
    left_out,
)
from descbench.config.checks import no_role
from descbench.config.features_base import (
    DeepImages,
    ExifOrientation,
    ExtractedFeatures,
    FeaturesBase,
    OnBadImage,
    Resize,
    Storage,
    TruncatedImages,
    more_than_extracted,
)
from descbench.config.keypoint_features import KeypointFeatures


def _any_of(schema: dict[str, Any]) -> None:
    """A block that leaves out its kind fits more than one of them, which ``oneOf`` would refuse."""
    schema.pop("discriminator")
    schema["anyOf"] = schema.pop("oneOf")


class LocalFeatures(ExtractedFeatures):
    """Local features of an image pyramid, strongest first."""

    IS_LOCAL = True
    resize: ClassVar[None] = None  # a pyramid keeps the shape of an image
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
    exif_orientation: ExifOrientation = "ignore"

    def fits(self, name: str, config: Any) -> Iterator[Problem]:
        """The network has local features."""
        yield from super().fits(name, config)
        model = config.models[self.model]
        if not model.HAS_LOCAL_FEATURES and not model.NO_IMAGES:
            yield ("kind",), f"model {self.model!r} ({model.architecture}) has no local features"

    def most_dimensions(self, config: Any) -> int | None:
        """Those of the network."""
        return config.models[self.model].most_dimensions()

    def too_few(self, n: int) -> str | None:
        """No more than are extracted."""
        return more_than_extracted(n, self.max_features)


class GlobalFeatures(ExtractedFeatures):
    """One descriptor per image."""

    IS_LOCAL = False
    model_config = left_out("kind", "model")

    kind: Literal["global"] = Field(description="Left out: that of the model.")
    model: ModelName = Field(description="Model of the catalogue; left out: the one that has the block's name.")
    image_size: ImageSize = Field(
        1024, description="Longer side in pixels that images are reduced to; 640 for architecture netvlad."
    )
    resize: Resize = None
    scales: Scales = Field(
        (1.0,), description="Pyramid; for architecture gem, that of its whitening (docs/protocols/gem.md, Options)."
    )
    dtype: Storage = "float32"
    on_bad_image: OnBadImage = "stop"
    truncated_images: TruncatedImages = "refuse"
    deep_images: DeepImages = "scale"
    exif_orientation: ExifOrientation = "ignore"

    @property
    def longer_side(self) -> int:
        """That of the height and width, where these are given."""
        return max(self.resize or [self.image_size])

    def most_dimensions(self, config: Any) -> int | None:
        """Those of the network."""
        return config.models[self.model].most_dimensions()


class ReleasedFeatures(FeaturesBase):
    """Ready descriptors published by the authors, imported instead of extracted."""

    stage: ClassVar[str] = "import_features"
    READS_IMAGES: ClassVar[bool] = False
    kind: Literal["released"]
    files: dict[DatasetName, SourceName] = Field(
        min_length=1, description="Dataset -> source with keys vecs, imids, qvecs, qimids (or vecs alone)."
    )

    @property
    def networks(self) -> tuple[str, ...]:
        """No network."""
        return ()

    def released_for(self, datasets: Collection[str]) -> list[str]:
        """Sources that hold features of these datasets."""
        return [source for dataset, source in self.files.items() if dataset in datasets]

    def missing(self, name: str, config: Any, dataset: str, role: str) -> Problem | None:
        """There is a file of each dataset."""
        if dataset not in self.files:
            return ("dataset",), f"features {name!r} have no released file for {dataset!r}"
        return no_role(config, dataset, role)


Features = Annotated[
    LocalFeatures | GlobalFeatures | KeypointFeatures | ReleasedFeatures,
    Field(discriminator="kind", json_schema_extra=_any_of),
]
