"""Blocks of section `toytown`: what is drawn, and how much of it."""

from __future__ import annotations

from pydantic import Field, model_validator

from descbench.config.base import Names, Seed, Strict


class StreetSplit(Strict):
    """Sizes of one split of the drawn streets."""

    panoramas: int = Field(
        40, ge=8, le=1000, description="Points along the streets where the database was photographed."
    )
    queries: int = Field(
        48, ge=4, le=1000, description="Query images; at least one, or one in 20, has no database image near it."
    )


class Streets(Strict):
    """A drawn place-recognition dataset, in the layout of Pittsburgh: every split is a town of its own."""

    width: int = Field(160, ge=64, le=4096, description="Image width in pixels.")
    height: int = Field(120, ge=48, le=4096, description="Image height in pixels.")
    yaws: int = Field(4, ge=1, le=12, description="Views of a panorama, all around; one looks back along the street.")
    train: StreetSplit = Field(StreetSplit(), description="What networks are trained on.")
    val: StreetSplit = Field(StreetSplit(panoramas=32, queries=24), description="What training is validated on.")
    test: StreetSplit = Field(StreetSplit(panoramas=36, queries=40), description="What tables show.")


class Sequences(Strict):
    """Drawn sequences of six images with true homographies, in the layout of HPatches: facades in one plane."""

    width: int = Field(240, ge=64, le=4096, description="Image width in pixels.")
    height: int = Field(180, ge=48, le=4096, description="Image height in pixels.")
    illumination: int = Field(2, ge=1, le=1000, description="Sequences `i_*`: one camera, six lights.")
    viewpoint: int = Field(2, ge=1, le=1000, description="Sequences `v_*`: six cameras.")


class PhotoTour(Strict):
    """Drawn patches in the layout of Brown PhotoTour: every part is a town of its own."""

    parts: Names = Field(("harbour", "market", "quarry"), min_length=1, description="Names of the parts.")
    width: int = Field(480, ge=128, le=4096, description="Width in pixels of the photographs that are cut.")
    height: int = Field(360, ge=128, le=4096, description="Height of these in pixels.")
    buildings: int = Field(6, ge=1, le=1000, description="Buildings of a part that points are taken from.")
    photographs: int = Field(4, ge=2, le=100, description="Of each building: a point has at most so many patches.")
    points: int = Field(40, ge=2, le=10_000, description="Points of a building at most.")
    pairs: int = Field(400, ge=2, le=1_000_000, description="Test pairs of a part; every second one matches.")


class Strips(Strict):
    """Drawn strips of patches in the layout of HPatches, cut from sequences of facades, with a file of splits."""

    width: int = Field(240, ge=128, le=4096, description="Width in pixels of the images that are cut.")
    height: int = Field(180, ge=128, le=4096, description="Height of these in pixels.")
    illumination: int = Field(3, ge=2, le=1000, description="Sequences `i_*`: one camera, six lights.")
    viewpoint: int = Field(3, ge=2, le=1000, description="Sequences `v_*`: six cameras.")
    train: int = Field(1, ge=1, le=999, description="Of each kind, how many split `a` trains on; it tests on the rest.")
    patches: int = Field(120, ge=2, le=2000, description="Patches of a sequence at most.")

    @model_validator(mode="after")
    def _some_are_tested(self) -> Strips:
        if self.train >= min(self.illumination, self.viewpoint):
            raise ValueError("`train` leaves no sequence of a kind to test on; lower it, or raise the other two")
        return self

    def sequences(self) -> tuple[str, ...]:
        """Names of all sequences."""
        kinds = (("i", self.illumination), ("v", self.viewpoint))
        return tuple(f"{letter}_walls{number:02d}" for letter, count in kinds for number in range(count))

    def splits(self) -> dict[str, tuple[tuple[str, ...], tuple[str, ...]]]:
        """Test and training sequences of each split, named as the published ones."""
        names = self.sequences()
        kinds = names[: self.illumination], names[self.illumination :]
        train = tuple(name for kind in kinds for name in kind[: self.train])
        test = tuple(name for name in names if name not in train)
        return {"a": (test, train), "illum": (kinds[0], ()), "view": (kinds[1], ()), "full": (names, ())}


class Singles(Strict):
    """Drawn single images to train on, with stylised copies and keypoints, in the layout of HNDesc's MegaDepth."""

    width: int = Field(320, ge=64, le=4096, description="Image width in pixels.")
    height: int = Field(240, ge=48, le=4096, description="Image height in pixels.")
    train: int = Field(60, ge=1, le=100_000, description="Training images, each with a stylised copy.")
    val: int = Field(12, ge=1, le=100_000, description="Validation images, of other facades.")
    keypoints: int = Field(400, ge=1, le=100_000, description="Keypoints of an image at most.")


class Relocalisation(Strict):
    """A drawn square in the layout of Aachen Day-Night: a map with true poses, and queries by day and after sunset."""

    width: int = Field(320, ge=64, le=4096, description="Image width in pixels.")
    height: int = Field(240, ge=64, le=4096, description="Image height in pixels.")
    map: int = Field(12, ge=4, le=1000, description="Images of the map.")
    day: int = Field(8, ge=1, le=1000, description="Queries by day.")
    dusk: int = Field(4, ge=1, le=1000, description="Queries after sunset.")


class Toytown(Strict):
    """The drawn town."""

    seed: Seed = Field(0, description="Everything follows from it: the same seed draws the same bytes.")
    width: int = Field(320, ge=64, le=4096, description="Image width in pixels.")
    height: int = Field(240, ge=64, le=4096, description="Image height in pixels.")
    cities: Names = Field(("alderford", "brackwell"), min_length=1, description="Names of the retrieval cities.")
    landmarks_per_city: int = Field(8, ge=2, le=100, description="Buildings that are asked for.")
    database_per_city: int = Field(72, ge=8, le=10_000, description="Database images of a city.")
    queries_per_city: int = Field(16, ge=1, le=10_000, description="Query images of a city.")
    clusters: int = Field(12, ge=6, le=1000, description="3-D models (buildings) of the training set.")
    images_per_cluster: int = Field(10, ge=4, le=1000, description="Training images of each.")
    streets: Streets | None = Field(None, description="Streets for place recognition; null: none are drawn.")
    sequences: Sequences | None = Field(None, description="Sequences for image matching; null: none are drawn.")
    phototour: PhotoTour | None = Field(None, description="Patches of points; null: none are cut.")
    relocalisation: Relocalisation | None = Field(
        None, description="A square for camera localisation; null: none is drawn."
    )
    strips: Strips | None = Field(None, description="Strips of patches of sequences; null: none are cut.")
    singles: Singles | None = Field(None, description="Single images to train on; null: none are drawn.")
