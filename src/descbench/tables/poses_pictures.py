"""Pictures of localised queries for a page: each beside the map images that it should be seen with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from descbench.datasets.cameras import Pose
from descbench.matching.matches import Matches
from descbench.metrics.poses import position_error, rotation_error
from descbench.tables.listed_queries import size_of
from descbench.tables.thumbnails import Picture


@dataclass(frozen=True)
class MapImage:
    """An image of the map beside a query.

    Attributes:
        reason: why it stands there, in words.
        path: of the image in the manifest.
        matches: with the query; None: the two were not matched.
        away: how far its camera is from the query's true one, in words; empty where that is not known.
        picture: of the image.
    """

    reason: str
    path: str
    matches: int | None
    away: str
    picture: Picture


@dataclass(frozen=True)
class PicturedQuery:
    """A query with pictures: what became of it, and images of the map beside it."""

    number: int
    name: str
    outcome: str
    picture: Picture
    images: tuple[MapImage, ...]

    @property
    def size(self) -> int:
        """Number of characters of its pictures on the page."""
        return size_of([self.picture, *(image.picture for image in self.images)])


@dataclass(frozen=True)
class MapPictures:
    """Finds the images of the map that stand beside a query.

    Attributes:
        paths, poses: of the images of the map.
        true: poses of the queries; empty where they are not known.
        matches: of each query with images of the map, by image.
        picture: of an image below the root of the dataset.
    """

    paths: Sequence[str]
    poses: Sequence[Pose]
    true: Sequence[Pose]
    matches: Sequence[dict[int, int]]
    picture: Callable[[str], Picture]

    def beside(self, query: int) -> tuple[MapImage, ...]:
        """The image with the most matches, and the one whose camera truly is the nearest."""
        found = self.matches[query]
        # Of equal numbers the image that comes first.
        most = min(found, key=lambda image: (-found[image], image)) if found else None
        nearest = nearest_camera(self.poses, self.true[query]) if self.true else None
        if most is None and nearest is None:
            return ()
        if most == nearest:
            return (self._image(query, most, "most matches, and the nearest camera"),)
        reasons = {most: "most matches", nearest: "nearest camera"}
        return tuple(self._image(query, image, reason) for image, reason in reasons.items() if image is not None)

    def _image(self, query: int, image: int, reason: str) -> MapImage:
        away = ""
        if self.true:
            metres, degrees = (of(self.poses[image], self.true[query]) for of in (position_error, rotation_error))
            away = f"{metres:.2f} m and {degrees:.1f} degrees from the true camera"
        path = self.paths[image]
        return MapImage(reason, path, self.matches[query].get(image), away, self.picture(path))


def nearest_camera(poses: Sequence[Pose], true: Pose) -> int:
    """Camera of the map that is nearest to a true one, among those that look less than 90 degrees elsewhere.

    Where none does, it is the nearest of all; equal distances go to the first.
    """
    distances = np.array([position_error(pose, true) for pose in poses])
    axis = np.array(true.matrix[2])
    same_way = np.array([np.dot(pose.matrix[2], axis) > 0 for pose in poses])
    return int(np.argmin(np.where(same_way, distances, np.inf) if same_way.any() else distances))


def matches_by_query(found: Matches, queries: int) -> list[dict[int, int]]:
    """Number of matches of each query with each image of the map that it was matched with."""
    counts: list[dict[int, int]] = [{} for _ in range(queries)]
    for (query, image), number in zip(found.pairs.tolist(), np.diff(found.pair_offsets).tolist(), strict=True):
        counts[query][image] = number
    return counts
