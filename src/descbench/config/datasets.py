"""Blocks of section `datasets`: where a dataset's lists, labels and images lie, by official format."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from descbench.config.base import (
    Below,
    DatasetName,
    Metrics,
    Names,
    Problem,
    Role,
    UserPath,
)
from descbench.config.checks import no_images
from descbench.config.dataset_base import PLACES_RANKED, RECALL_DEPTHS, DatasetBase, OnBadFile
from descbench.config.labelled_datasets import FramesDataset, PositivesDataset
from descbench.config.posed_datasets import AachenDataset, ColmapDataset, KaptureMapDataset

KAPPAS = (1, 5, 10)


def _precisions(suffixes: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for s in suffixes for name in (f"map{s}", *(f"mp@{kappa}{s}" for kappa in KAPPAS)))


REVISITED = Metrics(_precisions(("_easy", "_medium", "_hard")), "the revisited protocol")
CLASSIC = Metrics(_precisions(("",)), "the classic protocol")


def _homography_metrics() -> Iterator[str]:
    """Metrics of image pairs with known homographies (docs/protocols/hpatches_sequences.md, Summaries)."""
    for threshold in range(1, 11):
        yield from (f"mma@{threshold}{suffix}" for suffix in ("", "_v", "_i", "_micro"))
    names = [f"homography@{threshold}" for threshold in (1, 3, 5, 10)]
    names += [f"homography_640x480@{threshold}" for threshold in (1, 3, 5)]
    yield from (f"{name}{suffix}" for name in (*names, "matching_score_640x480") for suffix in ("", "_v", "_i"))


HOMOGRAPHIES = Metrics(tuple(_homography_metrics()), "matching of image pairs")


class RevisitopDataset(DatasetBase):
    """Oxford / Paris in the revisited or the classic protocol: a jpg folder and a ground-truth pickle."""

    CROPS: ClassVar[bool] = True
    format: Literal["revisitop"]
    images: Below = Field(description="Image folder below <data_dir>/datasets.")
    ground_truth: Below = Field(description="Ground-truth pickle below <data_dir>/datasets.")
    protocol: Literal["revisited", "classic"] = Field("revisited", description="easy/hard/junk, or ok/junk.")

    def label_file(self) -> str | None:
        """Its `ground_truth`."""
        return self.ground_truth

    def metrics(self) -> Metrics:
        """By protocol."""
        return REVISITED if self.protocol == "revisited" else CLASSIC


class RevisitopWholeDataset(RevisitopDataset):
    """The same, with queries that are whole images, whatever boxes the ground truth has."""

    CROPS = False
    format: Literal["revisitop_whole"]


class Sfm120kDataset(DatasetBase):
    """SfM-120k training images: an ims tree and the db pickle with cids, cluster, qidxs, pidxs."""

    format: Literal["sfm120k"]
    images: Below = Field(description="The `ims` folder below <data_dir>/datasets.")
    database: Below = Field(description="The db pickle below <data_dir>/datasets.")
    split: Literal["train", "val"] = Field("train", description="Which half of the db pickle.")

    def roles(self) -> tuple[Role, ...]:
        """The split is the role."""
        return (self.split,)


class SfmValDataset(DatasetBase):
    """Validation list of HOW (val_eccv20): a pickle with cids, qidx, gnd over the ims tree."""

    format: Literal["sfm_val"]
    images: Below = Field(description="The `ims` folder below <data_dir>/datasets.")
    ground_truth: Below = Field(description="The pickle below <data_dir>/datasets.")

    def label_file(self) -> str | None:
        """Its `ground_truth`."""
        return self.ground_truth

    def metrics(self) -> Metrics:
        """The classic protocol."""
        return CLASSIC


class ImageListDataset(DatasetBase):
    """Images named by a text file, one path a line (R1M): database only, no ground truth."""

    ROLES = ("database",)
    format: Literal["image_list"]
    images: Below = Field(description="Image folder below <data_dir>/datasets.")
    list: Below = Field(description="Text file below <data_dir>/datasets.")


class FolderDataset(DatasetBase):
    """Your own photographs: a folder of database images, with or without queries and ground truth."""

    IS_LISTED = True
    format: Literal["folder"]
    database: UserPath = Field(description="Folder of database images (searched in depth).")
    queries: UserPath | None = Field(None, description="Folder of query images; null = every database image queries.")
    ground_truth: UserPath | None = Field(
        None,
        description="gnd.json as in ROxford (imlist, qimlist, gnd with bbx/easy/hard/junk or ok/junk).",
    )
    on_bad_file: OnBadFile = "stop"

    def label_file(self) -> str | None:
        """Its `ground_truth`."""
        return self.ground_truth

    def metrics(self) -> Metrics:
        """Those of both protocols: which one it is, stands in the ground truth."""
        if self.ground_truth is None:
            return Metrics(why="it names no `ground_truth`")
        return Metrics(REVISITED.names + CLASSIC.names, "the revisited or the classic protocol")


class PlaceDataset(DatasetBase):
    """What place-recognition datasets share: positions in metres decide what is right."""

    HAS_PLACES = True
    radius: float | None = Field(
        None,
        gt=0,
        le=1e7,
        description="Metres within which an image is right (inclusive); null: what the lists say, or 25.",
    )
    training_radius: float | None = Field(
        None,
        gt=0,
        le=1e7,
        description="Metres within which training takes an image as positive; null: what the lists say, or 10.",
    )
    positives: Literal["pytorch", "matlab"] = Field(
        "pytorch",
        description="Positives of training: all within the radius, or (MATLAB) also more than 1 m away and of "
        "another time stamp.",
    )
    views_per_panorama: int | None = Field(
        None,
        gt=1,
        le=10_000,
        description="Consecutive database images of a panorama, of which only the first hit counts.",
    )
    exclude_same_time: bool = Field(False, description="Database images of the query's own time stamp are left out.")
    conditions: Names = Field(
        (), description="Conditions that the queries go through in turn (Tokyo 24/7: day, sunset, night)."
    )

    def metrics(self) -> Metrics:
        """Recall at each depth: of all queries, of each condition, and of all conditions but the first together."""
        suffixes = ["", *(f"_{name}" for name in self.conditions)]
        if len(self.conditions) > 2:
            suffixes.append("_" + "_".join(self.conditions[1:]))
        return Metrics(tuple(f"recall@{n}{suffix}" for suffix in suffixes for n in RECALL_DEPTHS), "place recognition")

    def ranked(self) -> int:
        """Enough for all depths of recall (:data:`PLACES_RANKED`)."""
        return PLACES_RANKED

    @model_validator(mode="after")
    def _radii(self) -> PlaceDataset:
        if self.radius and self.training_radius and self.training_radius > self.radius:
            raise ValueError("`training_radius` is more than `radius`: training would take wrong images as right")
        return self


class DbStructDataset(PlaceDataset):
    """Pittsburgh or Tokyo as published with NetVLAD: a .mat with `dbStruct`, and image folders."""

    format: Literal["dbstruct"]
    struct: Below = Field(description="The .mat file below <data_dir>/datasets.")
    images: Below = Field(description="Folder of the database images below <data_dir>/datasets.")
    queries: Below = Field(description="Folder of the query images below <data_dir>/datasets.")
    suffix: str | None = Field(
        None,
        pattern=r"^\.[A-Za-z0-9]+$",
        description="Suffix of the database files, where it is another one than in the list (Tokyo 24/7: .png).",
    )


class UtmNamesDataset(PlaceDataset):
    """Images that carry their position in their names: `@utm_east@utm_north@...@.jpg`."""

    IS_LISTED = True
    format: Literal["utm_names"]
    database: UserPath = Field(description="Folder of database images (searched in depth).")
    queries: UserPath = Field(description="Folder of query images (searched in depth).")
    on_bad_file: OnBadFile = "stop"

    @model_validator(mode="after")
    def _no_times(self) -> UtmNamesDataset:
        if self.exclude_same_time:
            raise ValueError("time stamps are not read from names, so `exclude_same_time` has nothing to go by")
        return self


class KaptureDataset(DatasetBase):
    """The camera records of a kapture folder: a map, or the queries to one, for image pairs."""

    ROLES = ("database",)
    IS_LISTED = True
    format: Literal["kapture"]
    folder: UserPath = Field(description="Kapture folder, with sensors/sensors.txt and sensors/records_camera.txt.")


class HPatchesSequencesDataset(DatasetBase):
    """HPatches sequences, which give image pairs: a folder for each, with six images and five homographies.

    The manifest lists the folder, so `sources` must name the source of the images too.
    """

    ROLES = ("database",)
    HAS_IMAGE_PAIRS = True
    HAS_PIXEL_LABELS = True
    FAMILY = "matching"
    format: Literal["hpatches_sequences"]
    images: Below = Field(description="Folder of the sequences below <data_dir>/datasets.")
    exclude: Names = Field((), description="Sequences that are left out; each must be there.")
    layout: Literal["hpatches", "vgg"] = Field(
        "hpatches",
        description="Names of files: 1.ppm and H_1_2, or those of VGG's affine sequences, img1.png (or another suffix) "
        "and H1to2p, whose folders have any name.",
    )
    incomplete: Literal["refuse", "take"] = Field(
        "refuse", description="Sequences that lack files: refused, or taken with the pairs that are whole."
    )

    def metrics(self) -> Metrics:
        """Matching accuracy and homography accuracy."""
        return HOMOGRAPHIES

    def pairs_of(self, images: int) -> int | None:
        """Five of the six images of a sequence."""
        return images // 6 * 5 if self.incomplete == "refuse" else None


class MegaDepthDataset(DatasetBase):
    """Single images to train on, as prepared for HNDesc: `train` and `test` folders of .jpg, searched in depth.

    The manifest lists the folders, so `sources` must name the source of the images too.
    """

    ROLES = ("train", "val")
    HAS_PIXEL_LABELS = True
    format: Literal["megadepth"]
    images: Below = Field(description="Folder with `train`, and `test` for the validation, below <data_dir>/datasets.")
    stylised: Below | None = Field(None, description="The same of stylised copies, which images of `train` may lack.")
    keypoints: Below | None = Field(
        None, description="Folder of pickles of keypoints, named as the images are within `train` and `test`."
    )


class DescriptorBagDataset(DatasetBase):
    """Descriptors without images (the released SfM-120k subset): serves a codebook, nothing else."""

    ROLES = ("train",)
    IS_BAG = True
    format: Literal["descriptor_bag"]

    def without_images(self, name: str) -> str:
        """Descriptors are all it has."""
        return f"{name!r} is a bag of descriptors without images"


class WithDistractorsDataset(DatasetBase):
    """A dataset searched together with distractor images, whose ids come out negative."""

    ROLES = ()
    format: Literal["with_distractors"]
    base: DatasetName = Field(description="The dataset that has queries and ground truth.")
    distractors: DatasetName = Field(description="The dataset whose database images are added as distractors.")

    def base_of(self, name: str) -> str:
        """The dataset with the queries."""
        return self.base

    def searched_as(self, name: str) -> tuple[str, ...]:
        """Both datasets."""
        return self.distractors, self.base

    def without_images(self, name: str) -> str:
        """They are the two datasets'."""
        return f"{name!r} has no images of its own; name its base, {self.base!r}"

    def fits(self, name: str, config: Any) -> Iterator[Problem]:
        """Both datasets have images, and distractors are counted."""
        yield from super().fits(name, config)
        for key, role in (("base", "query"), ("base", "database"), ("distractors", "database")):
            if (why := no_images(config, getattr(self, key), role)) is not None:
                yield (key,), why[1]
                return
        added = config.datasets[self.distractors]
        if "database" not in added.counts and not added.IS_LISTED:
            why = f"{self.distractors!r} needs `counts: {{database: ...}}`: distractors are numbered from their end"
            yield ("distractors",), why

    @model_validator(mode="after")
    def _nothing_of_its_own(self) -> WithDistractorsDataset:
        own = sorted(self.model_fields_set - {"format", "base", "distractors", "note"})
        if own:
            raise ValueError(f"{', '.join(own)} belong to the two datasets that this one joins")
        if self.base == self.distractors:
            raise ValueError("`base` and `distractors` are the same dataset")
        return self


Dataset = Annotated[
    RevisitopDataset
    | RevisitopWholeDataset
    | Sfm120kDataset
    | SfmValDataset
    | ImageListDataset
    | FolderDataset
    | DbStructDataset
    | UtmNamesDataset
    | FramesDataset
    | PositivesDataset
    | KaptureDataset
    | AachenDataset
    | ColmapDataset
    | KaptureMapDataset
    | HPatchesSequencesDataset
    | MegaDepthDataset
    | DescriptorBagDataset
    | WithDistractorsDataset,
    Field(discriminator="format"),
]
