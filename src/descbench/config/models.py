"""The whole configuration as data: every key of config.yaml and of the catalogue, typed and described.

Unknown keys are refused everywhere. The JSON schemas in ``config/schemas/`` are generated from
these classes (``python -m descbench.config.schemas``) and a test fails when they drift.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field, model_validator

from descbench.config.base import (
    HOW_SCALES,
    Count,
    ImageSize,
    Label,
    Name,
    Role,
    Scales,
    Seed,
    Several,
    Strict,
    Text,
    UserPath,
    WorkflowPath,
)
from descbench.config.datasets import Dataset
from descbench.config.examples import EXAMPLES
from descbench.config.networks import Model
from descbench.config.patch_sets import PatchSet
from descbench.config.search import RANKING_LENGTH, IdfSettings, IndexSettings, QuerySettings
from descbench.config.sources import Source
from descbench.config.toytown import Toytown
from descbench.config.training import Training

Backend = Literal["torch", "winograd", "onnxruntime", "openvino"]


def _derived(*keys: str) -> ConfigDict:
    """Keys that files may leave out, because :mod:`descbench.config.derive` knows them: not required by the schema."""

    def leave_out(schema: dict[str, Any]) -> None:
        schema["required"] = [key for key in schema["required"] if key not in keys]

    return ConfigDict(json_schema_extra=leave_out)


def _any_of(schema: dict[str, Any]) -> None:
    """A block that leaves out its kind fits more than one of them, which ``oneOf`` would refuse."""
    schema.pop("discriminator")
    schema["anyOf"] = schema.pop("oneOf")


# --- features ----------------------------------------------------------------------------------


class ExtractedFeatures(Strict):
    """What features of a network share."""

    stage: ClassVar[str] = "extract_features"

    @property
    def extracted_by(self) -> str:
        """Model whose network they come from."""
        return self.model

    def released_for(self, datasets: Collection[str]) -> list[str]:
        """Sources that hold features of these datasets: none."""
        return []


class LocalFeatures(ExtractedFeatures):
    """Local features of an image pyramid, strongest first."""

    model_config = _derived("kind", "model")

    kind: Literal["local"] = Field(description="Left out: that of the model.")
    model: Name = Field(description="Model of the catalogue; left out: the one that has the block's name.")
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


class GlobalFeatures(ExtractedFeatures):
    """One descriptor per image."""

    model_config = _derived("kind", "model")

    kind: Literal["global"] = Field(description="Left out: that of the model.")
    model: Name = Field(description="Model of the catalogue; left out: the one that has the block's name.")
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


class ReleasedFeatures(Strict):
    """Ready descriptors published by the authors, imported instead of extracted."""

    stage: ClassVar[str] = "import_features"
    kind: Literal["released"]
    files: dict[Name, Name] = Field(
        min_length=1, description="Dataset -> source with keys vecs, imids, qvecs, qimids (or vecs alone)."
    )

    @property
    def extracted_by(self) -> None:
        """No network."""
        return None

    def released_for(self, datasets: Collection[str]) -> list[str]:
        """Sources that hold features of these datasets."""
        return [source for dataset, source in self.files.items() if dataset in datasets]


Features = Annotated[
    LocalFeatures | GlobalFeatures | ReleasedFeatures, Field(discriminator="kind", json_schema_extra=_any_of)
]


# --- methods -----------------------------------------------------------------------------------


class Codebook(Strict):
    """k-means codebook: which descriptors it is learned from, and how many words."""

    model_config = _derived("features")

    features: Name = Field(
        description="Features block of the training descriptors; left out: the method's own local features at scale 1, "
        "which are called `<features>_single`."
    )
    dataset: Name = Field(description="Dataset of the training images.")
    role: Role = Field("train", description="Role of the training images.")
    images: Several | None = Field(20000, description="First images of the list that are used; null = all.")
    n: Several | None = Field(None, description="Strongest descriptors per image; null = the method's n.")
    size: Count = Field(65536, description='Number of visual words ("64k" = 65536).')
    iterations: Several = Field(10, description="k-means iterations.")
    seed: Seed = Field(1234, description="Seed of the subsample and of the initial centroids.")
    assignment: Literal["exact", "two_level"] = Field(
        "exact",
        description="`two_level` is approximate: a point sees the words of its 8 nearest cells of words only.",
    )


USED_FEATURES = (
    "Features block, or a model, whose features then have their defaults; left out: the one of the method's own name."
)


class AsmkMethod(Strict):
    """ASMK search over local features."""

    family: ClassVar[str] = "retrieval"
    needs_codebook: ClassVar[bool] = True
    stage: ClassVar[str] = "search_index"
    model_config = _derived("features")

    search: Literal["asmk"]
    features: Name = Field(description=USED_FEATURES)
    n: Several = Field(1000, description="Strongest features used per image; at most the block's max_features.")
    codebook: Codebook
    index: IndexSettings = IndexSettings()
    idf: IdfSettings = IdfSettings()
    query: QuerySettings = QuerySettings()

    @property
    def all_features(self) -> tuple[str, ...]:
        """Features blocks that it uses."""
        return self.features, self.codebook.features

    @property
    def learned_from(self) -> tuple[str, ...]:
        """Datasets that it learns from."""
        return (self.codebook.dataset,)

    @property
    def uses_statistics(self) -> bool:
        """Whether it weights words by statistics of the whole index."""
        return self.idf.use_idf

    @property
    def top_k(self) -> int | None:
        """Length of the ranking; None = what the dataset's protocol needs."""
        return self.query.top_k

    @model_validator(mode="after")
    def _enough_words(self) -> AsmkMethod:
        for key, part in (("index", self.index), ("query", self.query)):
            if part.multiple_assignment > self.codebook.size:
                raise ValueError(
                    f"{key}.multiple_assignment {part.multiple_assignment} is more than the "
                    f"{self.codebook.size} words of the codebook"
                )
        return self


class FlatMethod(Strict):
    """Exact search over global features."""

    family: ClassVar[str] = "retrieval"
    needs_codebook: ClassVar[bool] = False
    stage: ClassVar[str] = "search_flat"
    model_config = _derived("features")

    search: Literal["inner_product", "euclidean"]
    features: Name = Field(description=USED_FEATURES)
    top_k: Several | None = Field(None, description=RANKING_LENGTH)
    dim: Several | None = Field(
        None, description="First dimensions of the descriptors that are used, normalised again; null = all."
    )

    @property
    def all_features(self) -> tuple[str, ...]:
        """Features blocks that it uses."""
        return (self.features,)

    @property
    def learned_from(self) -> tuple[str, ...]:
        """Datasets that it learns from: none."""
        return ()

    @property
    def uses_statistics(self) -> bool:
        """Whether it weights words by statistics of the whole index."""
        return False


Method = Annotated[AsmkMethod | FlatMethod, Field(discriminator="search")]


# --- tables ------------------------------------------------------------------------------------


class ReferenceResult(Strict):
    """One published figure, with where it was read."""

    dataset: Name
    metric: Label
    paper: float | None = Field(None, description="Figure printed in the paper.")
    released: float | None = Field(None, description="Figure stated by the authors for the released weights.")
    source: Label = Field(description="Where the figure was read.")
    tolerance: float | None = Field(None, ge=0, description="Largest difference called a match; null = the table's.")


class TableRow(Strict):
    """One method of a table."""

    label: Label = Field(description="Name of the row as the paper writes it.")
    method: Name
    reference: Name | None = Field(
        None, description="Result whose published figures stand beside ours (column `result` of references.csv)."
    )
    reference_results: tuple[ReferenceResult, ...] = Field(
        (),
        description="Published figures that are in no such file; in their cells they go before those of `reference`.",
    )
    tolerance: float | None = Field(
        None, ge=0, description="Largest difference called a match in this row; null = that of each figure."
    )


class Column(Strict):
    """One column of a table: a metric of a dataset."""

    dataset: Name
    metric: Label = Field(description="Key of the scores file, such as map_medium.")
    label: Label = Field(description="Heading as the paper writes it.")
    on_demand: bool = Field(
        False, description="Shown where its scores are there already, else empty; this table never has them computed."
    )


class Table(Strict):
    """One table: rows of methods, columns of metrics, published figures beside ours."""

    title: Label
    columns: tuple[Column, ...] = Field(min_length=1)
    rows: tuple[TableRow, ...] = Field(min_length=1)
    tolerance: float = Field(
        0.5, ge=0, description="Largest difference from the published figure called a match, in points."
    )
    synthetic: bool = Field(False, description="Made of drawn images: no published figures belong beside it.")
    note: Text | None = Field(None, description="Printed under the table.")
    on_demand: bool = Field(
        False, description="Built only when its own file is asked for: no part of `all` and of the report."
    )


# --- toytown and the site ----------------------------------------------------------------------


class Config(Strict):
    """Everything: the site's own settings and the catalogue."""

    data_dir: WorkflowPath = Field(Path("data"), description="Downloads and datasets.")
    results_dir: WorkflowPath = Field(Path("results"), description="All that is computed.")
    catalog: tuple[UserPath, ...] = Field(
        (),
        description="Catalogue files, later ones overlay earlier ones; published figures are files with suffix .csv.",
    )
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="Where networks run; auto = CUDA when present.")
    backend: Backend = Field(
        "torch",
        description="What runs networks on the CPU; winograd: torch with another convolution, faster for VGG16; the "
        "last two are in requirements/backends.txt.",
    )
    training_gpus: int = Field(
        1,
        gt=0,
        le=1024,
        description="GPUs that share each training, by torchrun on one node (with `device: cpu`: processes).",
    )
    seed: Seed = Field(0, description="Seed of everything random that has no seed of its own.")
    shard_size: Several = Field(5000, description="Images in a shard: the unit of parallel work.")
    offline: bool = Field(False, description="Never touch the network: a missing file is an error at once.")
    mirrors: dict[Label, Label] = Field({}, description="Address prefix -> prefix of your own mirror, tried first.")
    keep_raw: bool = Field(True, description="Keep archives after unpacking.")
    pairs_top_k: Several = Field(50, description="Pairs of each query in a pairs file.")
    toytown: Toytown = Field(
        Toytown(), description="The town that `generator: toytown` draws.", examples=[EXAMPLES["toytown"]]
    )
    sources: dict[Name, Source] = Field(
        {}, description="Files on the internet, by file name.", examples=[EXAMPLES["sources"]]
    )
    datasets: dict[Name, Dataset] = Field({}, description="Datasets by name.", examples=[EXAMPLES["datasets"]])
    patch_sets: dict[Name, PatchSet] = Field({}, description="Patch sets by name.", examples=[EXAMPLES["patch_sets"]])
    models: dict[Name, Model] = Field({}, description="Networks by name.", examples=[EXAMPLES["models"]])
    training: dict[Name, Training] = Field(
        {}, description="How networks are trained, by name.", examples=[EXAMPLES["training"]]
    )
    features: dict[Name, Features] = Field(
        {},
        description="What is extracted once, by name; a model's features need no block where its defaults do.",
        examples=[EXAMPLES["features"]],
    )
    methods: dict[Name, Method] = Field(
        {}, description="What is searched how, by name: a row of a table.", examples=[EXAMPLES["methods"]]
    )
    tables: dict[Name, Table] = Field({}, description="Tables by name.", examples=[EXAMPLES["tables"]])
    references: dict[Name, Label] = Field(
        {},
        description="Where published figures were read, by the key that column `source` of references.csv names.",
        examples=[EXAMPLES["references"]],
    )
