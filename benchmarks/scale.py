"""Build and search synthetic indexes of up to one million images, and check that cost grows with the images.

Every size runs in a process of its own: binary codes are drawn a block of images at a time, index
shards written by the stage's own writer, all queries searched shard by shard with the stage's own
searcher, and the partial rankings merged. Nothing is quantised: words are drawn as well, common ones
several times as often as rare ones. Needs about 15.5 GB of disk for one million images.
"""

from __future__ import annotations

from benchmarks import one_thread  # noqa: F401 - before the libraries that count threads

# isort: split

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.bench import machine
from descbench.io.atomic import write_json
from descbench.retrieval.asmk import Aggregated, Searcher
from descbench.retrieval.index import IndexInfo, read_index, write_index
from descbench.retrieval.ranking import PartInfo, merge_rankings, rank_scores, ranking_writer

CODE_BYTES = 16
# Smaller sizes only show that everything works: their times and bytes are not judged.
JUDGED_IMAGES = 10_000
MOST_SECONDS, MOST_BYTES, MOST_BYTES_AN_ENTRY, MOST_BUILD_BYTES_AN_ENTRY = 1.0, 13.5e9, 20.5, 45.0
MOST_MEMORY, MOST_GROWTH = 24 * 2**30, 1.15


@dataclass(frozen=True)
class Scale:
    """One size.

    Attributes:
        images, queries: how many.
        shard_images: images of a shard, a multiple of ``block_images``.
        block_images: images drawn at once; the images do not depend on the shards, but on this.
        num_words: of the codebook.
        image_words: mean number of words drawn for an image.
        query_words: words drawn for a query; a few fall together.
        threads: of the search.
    """

    images: int
    queries: int = 70
    shard_images: int = 10_000
    block_images: int = 500
    num_words: int = 65536
    image_words: int = 645
    query_words: int = 4750
    threads: int = len(os.sched_getaffinity(0))

    @property
    def disk(self) -> int:
        """Bytes that a run needs at most: the index, the partial rankings and the merged one."""
        return int(1.05 * self.images * (20.5 * self.image_words + 32 * self.queries))


@dataclass(frozen=True)
class Result:
    """What one size took.

    Attributes:
        images, shards, entries, index_bytes: what was built.
        build_seconds: ordering and writing; drawing is not counted.
        build_bytes_an_entry: growth of the resident memory by building the first shard, for each of its entries.
        query_seconds: searching, ranking and merging, for each query.
        peak_bytes: largest resident memory of the process, mapped pages of the index included.
        threads: of the search.
    """

    images: int
    shards: int
    entries: int
    index_bytes: int
    build_seconds: float
    build_bytes_an_entry: float
    query_seconds: float
    peak_bytes: int
    threads: int


def main(arguments: Sequence[str] | None = None) -> int:
    """Run all sizes; returns 1 if a goal is missed or the disk is too small."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("--images", type=int, nargs="+", default=[10_000, 100_000, 1_000_000], help="sizes to run")
    parser.add_argument(
        "--folder", type=Path, default=Path("results/bench_scale"), help="for shards; emptied afterwards"
    )
    parser.add_argument("--output", type=Path, default=Path("results/bench_scale.json"), help="where the JSON goes")
    for field in fields(Scale)[1:]:
        parser.add_argument(f"--{field.name.replace('_', '-')}", type=int, default=field.default)
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    more = {field.name: getattr(options, field.name) for field in fields(Scale)[1:]}
    scales = [Scale(images, **more) for images in sorted(options.images)]
    if options.measure is not None:
        write_json(options.measure, asdict(run(scales[0], options.folder)))
        return 0
    options.folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(options.folder).free
    if free < scales[-1].disk:
        print(
            f"{options.folder}: {scales[-1].images} images need {scales[-1].disk / 1e9:.1f} GB of disk, "
            f"{free / 1e9:.1f} GB are free. Name another --folder, or fewer --images.",
            file=sys.stderr,
        )
        return 1
    results = [_run_apart(scale, options.folder) for scale in scales]
    checks = judge(results)
    write_json(
        options.output, {"machine": machine(), "sizes": [asdict(result) for result in results], "checks": checks}
    )
    print(table(results, checks))
    return int(any(check["met"] is False for check in checks))


def run(scale: Scale, folder: Path) -> Result:
    """Build and search one size in this process; the ranking stays in ``folder`` as ``ranking.h5``."""
    shards = [folder / f"{start:08d}.h5" for start in range(0, scale.images, scale.shard_images)]
    entries, build_seconds, build_bytes = 0, 0.0, 0.0
    for number, path in enumerate(shards):
        before = resident_bytes("VmRSS")
        first = number * scale.shard_images
        images = min(scale.shard_images, scale.images - first)
        drawing = _Timed(draw_images(scale, first, images))
        start = time.perf_counter()
        write_index(drawing, scale.num_words, _info(first, images), path)
        build_seconds += time.perf_counter() - start - drawing.seconds
        entries += drawing.entries
        if number == 0:
            build_bytes = (resident_bytes("VmHWM") - before) / drawing.entries
    queries = draw_queries(scale)
    seconds = []
    # Small sizes are over before a clock means much.
    for _ in range(1 if scale.images > 100_000 else 3):
        start = time.perf_counter()
        search(shards, queries, folder, scale.threads)
        seconds.append(time.perf_counter() - start)
    return Result(
        images=scale.images,
        shards=len(shards),
        entries=entries,
        index_bytes=sum(path.stat().st_size for path in shards),
        build_seconds=build_seconds,
        build_bytes_an_entry=build_bytes,
        query_seconds=float(np.median(seconds)) / scale.queries,
        peak_bytes=resident_bytes("VmHWM"),
        threads=scale.threads,
    )


def search(shards: Sequence[Path], queries: Aggregated, folder: Path, threads: int) -> None:
    """Rank all images for all queries: shard by shard, then merged, as the stages do."""
    parts = []
    count = len(queries.offsets) - 1
    for path in shards:
        info, lists = read_index(path)
        scores = Searcher(lists, similarity_threshold=0.0, alpha=3.0, threads=threads).search(queries)
        ids = np.arange(info.first_image, info.first_image + info.num_images)
        parts.append(path.with_name(f"part-{path.name}"))
        with ranking_writer(parts[-1], PartInfo(info.first_image, len(ids), {}), np.arange(count), len(ids)) as writer:
            writer.write(0, *rank_scores(ids, scores, None))
    merge_rankings(parts, folder / "ranking.h5", top_k=None, num_queries=count)


def draw_images(scale: Scale, first: int, images: int) -> Iterator[Aggregated]:
    """Codes of the images from ``first`` on, a block at a time; between half and 3/2 of ``image_words`` each."""
    for start in range(first, first + images, scale.block_images):
        generator = np.random.Generator(np.random.SFC64([1, start]))
        count = min(scale.block_images, first + images - start)
        wanted = generator.integers(scale.image_words // 2, 3 * scale.image_words // 2 + 1, count)
        yield _draw(generator, wanted, scale.num_words)


def draw_queries(scale: Scale) -> Aggregated:
    """Codes of the queries."""
    generator = np.random.Generator(np.random.SFC64([2]))
    return _draw(generator, np.full(scale.queries, scale.query_words), scale.num_words)


def _draw(generator: np.random.Generator, wanted: np.ndarray, num_words: int) -> Aggregated:
    """Rows of images with so many draws each: the frequency of word w is as (w / num_words) ** (-1 / 3)."""
    uniform = generator.random((len(wanted), int(wanted.max())), np.float32)
    words = np.minimum(num_words * uniform * np.sqrt(uniform), num_words - 1).astype(np.uint32)
    words[np.arange(words.shape[1]) >= wanted[:, None]] = num_words
    words.sort(axis=1)
    kept = words < num_words
    kept[:, 1:] &= words[:, 1:] != words[:, :-1]
    offsets = np.concatenate(([0], np.cumsum(kept.sum(axis=1))))
    codes = generator.integers(0, 2**64, (int(offsets[-1]), CODE_BYTES // 8), np.uint64, endpoint=False)
    return Aggregated(codes.view(np.uint8), words[kept].astype(np.int64), offsets)


class _Timed:
    """Passes blocks on, and keeps how long they took to draw and what they held."""

    def __init__(self, blocks: Iterator[Aggregated]) -> None:
        self._blocks, self.seconds, self.entries = blocks, 0.0, 0

    def __iter__(self) -> Iterator[Aggregated]:
        return self

    def __next__(self) -> Aggregated:
        start = time.perf_counter()
        block = next(self._blocks)
        self.seconds += time.perf_counter() - start
        self.entries += len(block.words)
        return block


def judge(results: Sequence[Result]) -> list[dict[str, Any]]:
    """What was promised against what was found, sizes ascending; ``met`` is None where it is not judged."""
    last = results[-1]
    checks = [
        ("seconds a query", last.query_seconds, MOST_SECONDS, last),
        ("index GB", last.index_bytes / 1e9, MOST_BYTES / 1e9 * last.images / 1e6, last),
        ("index bytes an entry", last.index_bytes / last.entries, MOST_BYTES_AN_ENTRY, last),
        ("build memory, bytes an entry", last.build_bytes_an_entry, MOST_BUILD_BYTES_AN_ENTRY, last),
        ("peak memory GiB", last.peak_bytes / 2**30, MOST_MEMORY / 2**30, last),
    ]
    for small, large in pairwise(results):
        times = f"from {small.images} to {large.images} images, over linear"
        for what in ("build_seconds", "query_seconds", "index_bytes"):
            growth = (getattr(large, what) / large.entries) / (getattr(small, what) / small.entries)
            checks.append((f"{what.replace('_', ' ')} {times}", growth, MOST_GROWTH, small))
    return [
        {"name": name, "value": value, "goal": goal, "met": value <= goal if of.images >= JUDGED_IMAGES else None}
        for name, value, goal, of in checks
    ]


def table(results: Sequence[Result], checks: Sequence[dict[str, Any]]) -> str:
    """The results as text."""
    lines = [
        f"{'images':>9}{'shards':>8}{'entries':>12}{'index GB':>10}{'B/entry':>9}{'build s':>9}{'build B/entry':>15}"
        f"{'s/query':>9}{'peak GiB':>10}  threads"
    ]
    for r in results:
        lines.append(
            f"{r.images:9}{r.shards:8}{r.entries:12}{r.index_bytes / 1e9:10.3f}{r.index_bytes / r.entries:9.2f}"
            f"{r.build_seconds:9.1f}{r.build_bytes_an_entry:15.1f}{r.query_seconds:9.4f}{r.peak_bytes / 2**30:10.2f}"
            f"  {r.threads:7}"
        )
    words = {True: "met", False: "MISSED", None: "not judged"}
    for check in checks:
        lines.append(f"{check['name']}: {check['value']:.3g} (at most {check['goal']:.3g}) {words[check['met']]}")
    return "\n".join(lines)


def resident_bytes(what: str) -> int:
    """Resident memory of this process (``VmRSS``), or the most it ever was (``VmHWM``).

    Not ``getrusage``: its peak begins with that of the process that started this one.
    """
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{what}:"):
            return 1024 * int(line.split()[1])
    raise RuntimeError(f"/proc/self/status has no {what}")


def _run_apart(scale: Scale, folder: Path) -> Result:
    """Run one size in a process of its own, so that its peak memory is its own."""
    with tempfile.TemporaryDirectory(dir=folder) as inside:
        measured = Path(inside) / "result.json"
        more = [f"--{name.replace('_', '-')}={value}" for name, value in asdict(scale).items()]
        command = [sys.executable, "-m", "benchmarks.scale", *more, "--folder", inside, "--measure", str(measured)]
        subprocess.run(command, check=True)
        print(f"{scale.images} images done", file=sys.stderr)
        return Result(**json.loads(measured.read_text()))


def _info(first: int, images: int) -> IndexInfo:
    return IndexInfo(
        codebook="drawn",
        features="drawn",
        images=f"drawn from {first} on",
        checkpoint="drawn",
        n=1000,
        multiple_assignment=1,
        dim=8 * CODE_BYTES,
        first_image=first,
        num_images=images,
    )


if __name__ == "__main__":
    sys.exit(main())
