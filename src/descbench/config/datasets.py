"""Blocks of section `datasets`: where a dataset's lists, labels and images lie, by official format."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from descbench.config.base import Name, Role, Strict


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


class PlaceDataset(DatasetBase):
    """What place-recognition datasets share: positions in metres decide what is right."""

    radius: float | None = Field(
        None, gt=0, description="Metres within which an image is right (inclusive); null: what the lists say, or 25."
    )
    training_radius: float | None = Field(
        None,
        gt=0,
        description="Metres within which training takes an image as positive; null: what the lists say, or 10.",
    )
    positives: Literal["pytorch", "matlab"] = Field(
        "pytorch",
        description="Positives of training: all within the radius, or (MATLAB) also more than 1 m away and of "
        "another time stamp.",
    )
    one_per: int | None = Field(
        None, gt=1, description="Consecutive database images of a panorama, of which only the first hit counts."
    )
    other_time: bool = Field(False, description="Database images of the query's own time stamp are left out.")
    conditions: tuple[Name, ...] = Field(
        (), description="Conditions that the queries go through in turn (Tokyo 24/7: day, sunset, night)."
    )

    @model_validator(mode="after")
    def _distinct_conditions(self) -> PlaceDataset:
        if len(set(self.conditions)) < len(self.conditions):
            raise ValueError("a name in `conditions` is written twice")
        return self


class DbStructDataset(PlaceDataset):
    """Pittsburgh or Tokyo as published with NetVLAD: a .mat with `dbStruct`, and image folders."""

    format: Literal["dbstruct"]
    struct: str = Field(description="The .mat file below <data_dir>/datasets.")
    images: str = Field(description="Folder of the database images below <data_dir>/datasets.")
    queries: str = Field(description="Folder of the query images below <data_dir>/datasets.")
    suffix: str | None = Field(
        None,
        pattern=r"^\.[A-Za-z0-9]+$",
        description="Suffix of the database files, where it is another one than in the list (Tokyo 24/7: .png).",
    )


class UtmNamesDataset(PlaceDataset):
    """Images that carry their position in their names: `@utm_east@utm_north@...@.jpg`."""

    format: Literal["utm_names"]
    database: Path = Field(description="Folder of database images (searched in depth).")
    queries: Path = Field(description="Folder of query images (searched in depth).")

    @model_validator(mode="after")
    def _no_times(self) -> UtmNamesDataset:
        if self.other_time:
            raise ValueError("time stamps are not read from names, so `other_time` has nothing to go by")
        return self


class KaptureDataset(DatasetBase):
    """The camera records of a kapture folder: a map, or the queries to one, for image pairs."""

    format: Literal["kapture"]
    folder: Path = Field(description="Kapture folder, with sensors/sensors.txt and sensors/records_camera.txt.")


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
    | DbStructDataset
    | UtmNamesDataset
    | KaptureDataset
    | DescriptorBagDataset
    | WithDistractorsDataset,
    Field(discriminator="format"),
]
