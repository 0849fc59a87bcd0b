"""The whole configuration as data: every key of config.yaml and of the catalogue, typed and described.

Unknown keys are refused everywhere. The JSON schemas in ``config/schemas/`` are generated from
these classes (``python -m descbench.config.schemas``) and a test fails when they drift.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from descbench.config.sources import Name, Source, Strict

Role = Literal["query", "database", "train", "val"]
Backend = Literal["torch", "onnxruntime", "openvino"]
HOW_SCALES = (2.0, 1.414, 1.0, 0.707, 0.5, 0.353, 0.25)


def _parse_count(value: Any) -> Any:
    """Read "64k" as 65536 and "1M" as 1048576, as the original asmk package does."""
    units = {"k": 1024, "M": 1024**2}
    if isinstance(value, str) and value[-1:] in units and value[:-1].isdigit():
        return int(value[:-1]) * units[value[-1]]
    return value


Count = Annotated[int, BeforeValidator(_parse_count), Field(gt=0)]


# --- datasets ----------------------------------------------------------------------------------


class DatasetBase(Strict):
    """What all datasets share."""

    sources: tuple[Name, ...] = Field((), description="Sources of lists and ground truth, needed by the manifest.")
    image_sources: tuple[Name, ...] = Field((), description="Sources of the images, needed by extraction only.")
    generator: Literal["toytown"] | None = Field(None, description="Drawn by a generator instead of downloaded.")
    counts: dict[Role, int] = Field(
        {}, description="Number of images of each role; a role that is left out makes one shard."
    )
    counts_verified: bool = Field(True, description="false: the counts are hearsay, and other ones only a warning.")
    shard_size: int | None = Field(None, gt=0, description="Images in a shard; null = the site's `shard_size`.")
    note: str | None = Field(None, description="What a reader of the results must know about this dataset.")


class RevisitopDataset(DatasetBase):
    """Oxford / Paris in the revisited or the classic protocol: a jpg folder and a ground-truth pickle."""

    format: Literal["revisitop"]
    images: str = Field(description="Image folder below <data_dir>/datasets.")
    ground_truth: str = Field(description="Ground-truth pickle below <data_dir>/datasets.")
    protocol: Literal["revisited", "classic"] = Field("revisited", description="easy/hard/junk, or ok/junk.")


class Sfm120kDataset(DatasetBase):
    """SfM-120k training images: an ims tree and the db pickle with cids, cluster, qidxs, pidxs."""

    format: Literal["sfm120k"]
    images: str = Field(description="The `ims` folder below <data_dir>/datasets.")
    database: str = Field(description="The db pickle below <data_dir>/datasets.")
    split: Literal["train", "val"] = Field("train", description="Which half of the db pickle.")


class SfmValDataset(DatasetBase):
    """Validation list of HOW (val_eccv20): a pickle with cids, qidx, gnd over the ims tree."""

    format: Literal["sfm_val"]
    images: str = Field(description="The `ims` folder below <data_dir>/datasets.")
    ground_truth: str = Field(description="The pickle below <data_dir>/datasets.")


class ImageListDataset(DatasetBase):
    """Images named by a text file, one path a line (R1M): database only, no ground truth."""

    format: Literal["image_list"]
    images: str = Field(description="Image folder below <data_dir>/datasets.")
    list: str = Field(description="Text file below <data_dir>/datasets.")


class FolderDataset(DatasetBase):
    """Your own photographs: a folder of database images, with or without queries and ground truth."""

    format: Literal["folder"]
    database: Path = Field(description="Folder of database images (searched in depth).")
    queries: Path | None = Field(None, description="Folder of query images; null = every database image queries.")
    ground_truth: Path | None = Field(
        None,
        description="gnd.json as in ROxford (imlist, qimlist, gnd with bbx/easy/hard/junk or ok/junk).",
    )


class DescriptorBagDataset(DatasetBase):
    """Descriptors without images (the released SfM-120k subset): serves a codebook, nothing else."""

    format: Literal["descriptor_bag"]


class WithDistractorsDataset(DatasetBase):
    """A dataset searched together with distractor images, whose ids come out negative."""

    format: Literal["with_distractors"]
    base: Name = Field(description="The dataset that has queries and ground truth.")
    distractors: Name = Field(description="The dataset whose database images are added as distractors.")


Dataset = Annotated[
    RevisitopDataset
    | Sfm120kDataset
    | SfmValDataset
    | ImageListDataset
    | FolderDataset
    | DescriptorBagDataset
    | WithDistractorsDataset,
    Field(discriminator="format"),
]


# --- models ------------------------------------------------------------------------------------


class OfficialWeights(Strict):
    """Weights published by the authors."""

    source: Literal["official"]
    file: Name = Field(description="Name of the source that holds them.")


class RandomWeights(Strict):
    """Untrained weights drawn from a seed: for tests and toytown."""

    source: Literal["random"]
    seed: int | None = Field(None, description="Seed of the draw; null = the site's.")


class ImagenetWeights(Strict):
    """A backbone learned on ImageNet; the layers beyond it are drawn, for whitening or training to replace."""

    source: Literal["imagenet"]
    file: Name = Field(description="Name of the source that holds the backbone.")


class WhitenedWeights(Strict):
    """Weights of another model with its reduction set to a PCA-whitening: the off-the-shelf network."""

    source: Literal["whitened"]
    start: Name = Field(description="Model of the same architecture.")
    dataset: Name = Field(description="Training images that the whitening is learned from.")
    role: Role = Field("train", description="Role of those images.")
    images: int = Field(5000, gt=0, description="First images of the list that are used.")
    n: int = Field(1000, gt=0, description="Strongest descriptors of an image.")
    image_size: int = Field(1024, gt=0, description="Longer side in pixels.")


class TrainedWeights(Strict):
    """Weights trained here, from those of another model."""

    source: Literal["train"]
    start: Name = Field(description="Model of the same architecture that training starts from.")
    training: Name = Field(description="Block of section `training`.")


Weights = Annotated[
    OfficialWeights | RandomWeights | ImagenetWeights | WhitenedWeights | TrainedWeights,
    Field(discriminator="source"),
]


class HowModel(Strict):
    """HOW network: ResNet, attention by feature norm, smoothing, 1x1 reduction."""

    architecture: Literal["how"]
    backbone: Literal["resnet18", "resnet50", "resnet101"] = Field(description="torchvision ResNet.")
    skip_layer: int = Field(0, ge=0, le=2, description="Stages cut from the end of the backbone.")
    dim: int = Field(128, gt=0, description="Dimensions after the reduction.")
    smoothing: int = Field(3, ge=0, description="Side of the average pooling; 0 = none.")
    weights: Weights = Field(description="Where the weights come from.")


class FireModel(Strict):
    """FIRe network: ResNet, super-features by a transformer (LIT), 1x1 reduction."""

    architecture: Literal["fire"]
    backbone: Literal["resnet18", "resnet50", "resnet101"] = Field("resnet50", description="torchvision ResNet.")
    skip_layer: int = Field(1, ge=0, le=2, description="Stages cut from the end of the backbone.")
    templates: int = Field(256, gt=0, le=32767, description="Super-features of each scale (N).")
    iterations: int = Field(6, gt=0, description="Iterations of LIT (T).")
    dim_lit: int = Field(1024, gt=1, description="Dimensions of a super-feature before the reduction.")
    dim: int = Field(128, gt=0, description="Dimensions after the reduction.")
    weights: Weights = Field(description="Where the weights come from.")


class GemModel(Strict):
    """Generalised-mean pooling global descriptor (cirtorch networks)."""

    architecture: Literal["gem"]
    backbone: Literal["vgg16", "resnet50", "resnet101", "resnet152"] = Field(description="Convolutional part.")
    whitening: Literal["none", "network", "learned"] = Field(
        "none",
        description="`network`: a linear layer of the checkpoint; `learned`: the Lw matrices of its metadata.",
    )
    weights: Weights = Field(description="Where the weights come from.")


Model = Annotated[HowModel | FireModel | GemModel, Field(discriminator="architecture")]


# --- features ----------------------------------------------------------------------------------


class LocalFeatures(Strict):
    """Local features of an image pyramid, strongest first."""

    kind: Literal["local"]
    model: Name = Field(description="Model of the catalogue.")
    image_size: int = Field(1024, gt=0, description="Longer side in pixels that images are reduced to.")
    scales: tuple[float, ...] = Field(HOW_SCALES, min_length=1, description="Pyramid, in the order of evaluation.")
    max_features: int = Field(1000, gt=0, description="Strongest features kept per image; methods read a prefix.")
    dtype: Literal["float32", "float16"] = Field("float32", description="Storage type of the descriptors.")
    on_bad_image: Literal["stop", "skip"] = Field("stop", description="`skip` records a broken image and goes on.")


class GlobalFeatures(Strict):
    """One descriptor per image."""

    kind: Literal["global"]
    model: Name = Field(description="Model of the catalogue.")
    image_size: int = Field(1024, gt=0, description="Longer side in pixels that images are reduced to.")
    scales: tuple[float, ...] = Field((1.0,), min_length=1, description="Pyramid.")
    dtype: Literal["float32", "float16"] = Field("float32", description="Storage type of the descriptors.")
    on_bad_image: Literal["stop", "skip"] = Field("stop", description="`skip` records a broken image and goes on.")


class ReleasedFeatures(Strict):
    """Ready descriptors published by the authors, imported instead of extracted."""

    kind: Literal["released"]
    files: dict[Name, Name] = Field(
        description="Dataset -> source with keys vecs, imids, qvecs, qimids (or vecs alone)."
    )


Features = Annotated[LocalFeatures | GlobalFeatures | ReleasedFeatures, Field(discriminator="kind")]


# --- methods -----------------------------------------------------------------------------------


class Codebook(Strict):
    """k-means codebook: which descriptors it is learned from, and how many words."""

    features: Name = Field(description="Features block of the training descriptors.")
    dataset: Name = Field(description="Dataset of the training images.")
    role: Role = Field("train", description="Role of the training images.")
    images: int | None = Field(20000, gt=0, description="First images of the list that are used; null = all.")
    n: int | None = Field(None, gt=0, description="Strongest descriptors per image; null = the method's n.")
    size: Count = Field(65536, description='Number of visual words ("64k" = 65536).')
    iterations: int = Field(10, gt=0, description="k-means iterations.")
    seed: int = Field(1234, description="Seed of the subsample and of the initial centroids.")
    assignment: Literal["exact", "two_level"] = Field(
        "exact",
        description="`two_level` is approximate: a point sees the words of its 8 nearest cells of words only.",
    )


class IndexSettings(Strict):
    """Inverted file: how database images are aggregated."""

    binary: bool = Field(True, description="Binarise aggregated residuals (ASMK*).")
    multiple_assignment: int = Field(1, gt=0, description="Words per database descriptor.")


class IdfSettings(Strict):
    """Inverse document frequency."""

    use_idf: bool = Field(False, description="Weight words by squared idf.")
    stale: bool = Field(
        False,
        description="The original's idf after chunked adding: words the last chunk does not touch keep an old one.",
    )


class QuerySettings(Strict):
    """Search: query aggregation and the similarity of two aggregated vectors."""

    multiple_assignment: int = Field(5, gt=0, description="Words per query descriptor.")
    similarity_threshold: float = Field(0.0, description="Entries below it do not vote (inclusive).")
    alpha: float = Field(3.0, description="Power of the similarity.")
    top_k: int | None = Field(None, gt=0, description="Length of the ranking; null = all images.")


class AsmkMethod(Strict):
    """ASMK search over local features."""

    search: Literal["asmk"]
    features: Name = Field(description="Features block.")
    n: int = Field(1000, gt=0, description="Strongest features used per image; at most the block's max_features.")
    codebook: Codebook
    index: IndexSettings = IndexSettings()
    idf: IdfSettings = IdfSettings()
    query: QuerySettings = QuerySettings()


class FlatMethod(Strict):
    """Exact search over global features."""

    search: Literal["inner_product", "euclidean"]
    features: Name = Field(description="Features block of kind `global`.")
    top_k: int | None = Field(None, gt=0, description="Length of the ranking; null = all images.")


Method = Annotated[AsmkMethod | FlatMethod, Field(discriminator="search")]


# --- training ----------------------------------------------------------------------------------


class Validation(Strict):
    """Validation: the whole ASMK search of a dataset, with a codebook learned anew each time."""

    dataset: Name = Field(description="Dataset with queries and ground truth.")
    metric: str = Field("map", description="Key of the scores that decides which epoch is the best.")
    every: int = Field(5, gt=0, description="Epochs between two validations.")
    image_size: int = Field(1024, gt=0, description="Longer side in pixels.")
    scales: tuple[float, ...] = Field(HOW_SCALES, min_length=1, description="Pyramid of queries and database.")
    n: int = Field(1000, gt=0, description="Strongest features of an image.")
    codebook_images: int = Field(20000, gt=0, description="First training images, at scale 1, behind the codebook.")
    codebook_size: Count = Field(65536, description='Number of visual words ("64k" = 65536).')
    index: IndexSettings = Field(IndexSettings(), description="How the database is aggregated.")
    query: QuerySettings = Field(QuerySettings(), description="How it is searched.")


class HowTraining(Strict):
    """HOW: mined tuples, contrastive loss on global descriptors."""

    recipe: Literal["how"]
    dataset: Name = Field(description="Training images and pairs (format sfm120k).")
    image_size: int = Field(1024, gt=0, description="Longer side in pixels.")
    epochs: int = Field(20, gt=0, description="Passes; each mines its own tuples.")
    learning_rate: float = Field(gt=0, description="Of Adam; the reduction has 0.")
    weight_decay: float = Field(1e-4, ge=0, description="Coupled L2 of Adam.")
    gamma: float = Field(0.99, gt=0, description="Factor of the learning rate after each epoch.")
    margin: float = Field(0.8, gt=0, description="Distance beyond which a negative costs nothing.")
    negatives: int = Field(5, gt=0, description="Hard negatives of a tuple.")
    queries: int = Field(2000, gt=0, description="Tuples drawn for an epoch.")
    pool: int = Field(20000, gt=0, description="Images drawn for an epoch, among which negatives are sought.")
    batch: int = Field(5, gt=0, description="Tuples of a step; their gradients add up.")
    validation: Validation | None = Field(None, description="null: the epoch of the smallest training loss is kept.")
    patience: int | None = Field(None, gt=0, description="End after so many validations in a row without a gain.")
    amp: bool = Field(False, description="Mixed precision on a GPU.")
    workers: int = Field(6, ge=0, description="Processes that load images; no effect on the result.")


Training = HowTraining


# --- tables ------------------------------------------------------------------------------------


class Figure(Strict):
    """One published figure, with where it was read."""

    dataset: Name
    metric: str
    paper: float | None = Field(None, description="Figure printed in the paper.")
    released: float | None = Field(None, description="Figure stated by the authors for the released weights.")
    source: str = Field(description="Where the figure was read.")
    tolerance: float | None = Field(None, ge=0, description="Largest difference called a match; null = the table's.")


class TableRow(Strict):
    """One method of a table."""

    label: str = Field(description="Name of the row as the paper writes it.")
    method: Name
    figures: tuple[Figure, ...] = ()


class Column(Strict):
    """One column of a table: a metric of a dataset."""

    dataset: Name
    metric: str = Field(description="Key of the scores file, such as map_medium.")
    label: str = Field(description="Heading as the paper writes it.")
    when_asked: bool = Field(
        False, description="Shown where its scores are there already, else empty; this table never has them computed."
    )


class Table(Strict):
    """One table: rows of methods, columns of metrics, published figures beside ours."""

    title: str
    columns: tuple[Column, ...] = Field(min_length=1)
    rows: tuple[TableRow, ...] = Field(min_length=1)
    tolerance: float = Field(
        0.5, ge=0, description="Largest difference from the published figure called a match, in points."
    )
    synthetic: bool = Field(False, description="Made of drawn images: no published figures belong beside it.")
    note: str | None = Field(None, description="Printed under the table.")
    when_asked: bool = Field(
        False, description="Built only when its own file is asked for: no part of `all` and of the report."
    )


# --- toytown and the site ----------------------------------------------------------------------


class Toytown(Strict):
    """The drawn town."""

    seed: int = Field(0, description="Everything follows from it: the same seed draws the same bytes.")
    width: int = Field(320, ge=64, description="Image width in pixels.")
    height: int = Field(240, ge=64, description="Image height in pixels.")
    cities: tuple[Name, ...] = Field(
        ("alderford", "brackwell"), min_length=1, description="Names of the retrieval cities."
    )
    landmarks_per_city: int = Field(8, ge=2, description="Buildings that are asked for.")
    database_per_city: int = Field(72, ge=8, description="Database images of a city.")
    queries_per_city: int = Field(16, ge=1, description="Query images of a city.")
    clusters: int = Field(12, ge=6, description="3-D models (buildings) of the training set.")
    images_per_cluster: int = Field(10, ge=4, description="Training images of each.")


class Config(Strict):
    """Everything: the site's own settings and the catalogue."""

    data_dir: Path = Field(Path("data"), description="Downloads and datasets.")
    results_dir: Path = Field(Path("results"), description="All that is computed.")
    catalog: tuple[Path, ...] = Field((), description="Catalogue files, later ones overlay earlier ones.")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="Where networks run; auto = CUDA when present.")
    backend: Backend = Field(
        "torch", description="What runs networks on the CPU; the others are in requirements/backends.txt."
    )
    seed: int = Field(0, description="Seed of everything random that has no seed of its own.")
    shard_size: int = Field(5000, gt=0, description="Images in a shard: the unit of parallel work.")
    offline: bool = Field(False, description="Never touch the network: a missing file is an error at once.")
    mirrors: dict[str, str] = Field({}, description="Address prefix -> prefix of your own mirror, tried first.")
    keep_raw: bool = Field(True, description="Keep archives after unpacking.")
    toytown: Toytown = Field(Toytown(), description="The drawn town.")
    sources: dict[Name, Source] = Field({}, description="Files on the internet, by file name.")
    datasets: dict[Name, Dataset] = Field({}, description="Datasets by name.")
    models: dict[Name, Model] = Field({}, description="Networks by name.")
    training: dict[Name, Training] = Field({}, description="How networks are trained, by name.")
    features: dict[Name, Features] = Field({}, description="What is extracted once, by name.")
    methods: dict[Name, Method] = Field({}, description="What is searched how, by name: a row of a table.")
    tables: dict[Name, Table] = Field({}, description="Tables by name.")
