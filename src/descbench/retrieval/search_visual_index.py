"""Stage search_visual_index: COLMAP ranks the database for every query.

pycolmap 4.2 returns nothing from ``VisualIndex.query``; its generator of image pairs runs the same search and returns
the images of each query in order. Definition: docs/protocols/oxford_bow.md, COLMAP's visual index.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pycolmap

from descbench.errors import DataError
from descbench.features.checks import check_finite
from descbench.features.store import ShardReader, check_shard
from descbench.io.atomic import work_folder
from descbench.localization.colmap import refusing_errors
from descbench.retrieval.ranking import PartInfo, merge_rankings, rank_scores, ranking_writer
from descbench.retrieval.vocabulary import DIMENSIONS, FLOATS, VocabularyInfo, read_vocabulary


@dataclass(frozen=True)
class VisualSearch:
    """How COLMAP searches.

    Attributes:
        n: strongest features used of an image.
        neighbours: words of a query feature.
        checks: words that the approximate search compares.
        verified: first images of a query that are verified spatially.
        seed: of COLMAP's random numbers.
    """

    n: int
    neighbours: int
    checks: int
    verified: int
    seed: int


def search_visual_index(
    vocabulary: Path,
    queries: Sequence[Path],
    database: Sequence[Path],
    output: Path,
    settings: VisualSearch,
    *,
    top_k: int | None,
    num_distractors: int,
    num_queries: int,
    asks_itself: bool,
    cell: str | None = None,
) -> None:
    """Rank by COLMAP's index, on one thread: equal inputs give equal rankings.

    The score of an image is the number of images behind it that COLMAP found, plus 1; 0 of those that it did not find.

    Args:
        vocabulary: COLMAP's visual words.
        queries: feature shards of the queries, in order.
        database: feature shards of all that is searched, distractors first.
        output: the ranking to write.
        settings: how COLMAP searches.
        top_k: length of the ranking; None = all images.
        num_distractors: of the first shards; these images have negative ids.
        num_queries: of the dataset.
        asks_itself: the queries are the searched images, and each is left out of its own ranking.
        cell: method and dataset that the ranking is of, for its readers to compare.

    Raises:
        StaleFileError: features of other weights or settings than the vocabulary's.
        DataError: damaged files, features without place, size and orientation, or what COLMAP refuses.
    """
    info, content = read_vocabulary(vocabulary)
    with work_folder(output) as folder:
        words = folder / "words.bin"
        words.write_bytes(content.tobytes())
        with refusing_errors(str(vocabulary)), _Images(folder / "images.db", info, settings.n) as images:
            searched, absent = images.add(database)
            unturned = images.unturned
            asked, unread = (searched, absent) if asks_itself else images.add(queries)
            told = images.unturned - unturned, unturned
            pycolmap.set_random_seed(settings.seed)
            options = pycolmap.VocabTreePairingOptions(
                num_images=len(searched) + len(asked),
                num_nearest_neighbors=settings.neighbours,
                num_checks=settings.checks,
                num_images_after_verification=settings.verified,
                vocab_tree_path=words,
                num_threads=1,
            )
            found = images.search(options, [number for number in asked if number not in images.empty])
        made_from = {"features": info.features, **asdict(settings)} | ({"cell": cell} if cell else {})
        without = tuple(i - num_distractors for i in sorted(absent))
        about = PartInfo(-num_distractors, len(searched), made_from, without, unturned=told)
        ids = np.arange(len(searched)) - num_distractors
        part, width = folder / "part.h5", None if top_k is None else top_k + asks_itself
        query_ids = np.arange(len(asked))
        with ranking_writer(part, about, query_ids, min(width or len(ids), len(ids))) as writer:
            for row, number in enumerate(asked):
                scores = np.full(len(ids), np.nan) if row in unread else _scores(found.get(number, []), len(ids))
                scores[list(absent)] = np.nan
                writer.write(row, *rank_scores(ids, scores[None], width))
        merge_rankings([part], output, top_k=top_k, num_queries=num_queries, asks_itself=asks_itself)


def _scores(found: Sequence[int], count: int) -> np.ndarray:
    """Scores (count,) of database images, of which ``found`` are COLMAP's numbers in order, queries among them."""
    places = np.array([number - 1 for number in found if number <= count], np.int64)
    scores = np.zeros(count)
    scores[places] = np.arange(len(places), 0, -1)
    return scores


class _Images:
    """Images in a database of COLMAP's, numbered from 1 as they come.

    Attributes:
        empty: numbers of images without features.
    """

    def __init__(self, path: Path, info: VocabularyInfo, n: int) -> None:
        self._info, self._n, self._count = info, n, 0
        self._database = pycolmap.Database.open(path)
        self.empty: set[int] = set()
        self.unturned = 0

    def __enter__(self) -> _Images:
        camera = pycolmap.Camera(model="SIMPLE_PINHOLE", width=1, height=1, params=[1.0, 0.5, 0.5])
        self._camera = self._database.write_camera(camera)
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    def add(self, shards: Sequence[Path]) -> tuple[list[int], set[int]]:
        """Add the images of shards; their numbers, and the positions of those that could not be read."""
        numbers: list[int] = []
        absent: set[int] = set()
        for path in shards:
            with ShardReader(path) as reader:
                check_shard(reader, features=self._info.features, checkpoint=self._info.checkpoint)
                self.unturned += len(reader.unturned)
                absent |= {len(numbers) + int(np.searchsorted(reader.image_ids, i)) for i in reader.skipped}
                numbers += [self._write(*features) for features in _features(reader, self._n)]
        return numbers, absent

    def _write(self, keypoints: np.ndarray, descriptors: np.ndarray) -> int:
        self._count += 1
        image = pycolmap.Image(name=str(self._count), camera_id=self._camera, image_id=self._count)
        self._database.write_image(image, True)
        self._database.write_keypoints(self._count, keypoints)
        stored = np.ascontiguousarray(descriptors, np.float32).view(np.uint8).reshape(len(descriptors), 4 * DIMENSIONS)
        self._database.write_descriptors(
            self._count, pycolmap.FeatureDescriptors(type=getattr(pycolmap.FeatureExtractorType, FLOATS), data=stored)
        )
        if not len(descriptors):
            self.empty.add(self._count)
        return self._count

    def search(self, options: pycolmap.VocabTreePairingOptions, queries: Sequence[int]) -> dict[int, list[int]]:
        """Images of each query, best first."""
        found: dict[int, list[int]] = {}
        if not queries:
            return found
        generator = pycolmap.VocabTreePairGenerator(options, self._database, list(queries))
        while not generator.has_finished():
            for query, image in generator.next():
                found.setdefault(query, []).append(image)
        return found


def _features(reader: ShardReader, n: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Keypoints (m, 6) float32 as COLMAP has them, and descriptors (m, 128), of each image."""
    for position in range(reader.num_images):
        block = reader.read(position, position + 1, n)
        check_finite(reader.path, block.descriptors, block.image_ids)
        if not len(block.descriptors):
            yield np.zeros((0, 6), np.float32), np.zeros((0, DIMENSIONS), np.float32)
            continue
        if block.keypoints is None or block.scales is None or block.orientations is None:
            raise DataError(f"{reader.path}: features without place, size or orientation, which COLMAP's index stores.")
        cos, sin = block.scales * np.cos(block.orientations), block.scales * np.sin(block.orientations)
        yield np.column_stack([block.keypoints, cos, -sin, sin, cos]).astype(np.float32), block.descriptors
