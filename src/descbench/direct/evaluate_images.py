"""Score a method on a folder of the user's own with ground truth, in one call."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from descbench.command_files import read_configuration
from descbench.config.datasets import Dataset
from descbench.config.methods import Method
from descbench.datasets.build import build_manifest
from descbench.datasets.manifest import read_manifest
from descbench.datasets.own import own_root
from descbench.direct.search_images import OnBadFile, work_folder
from descbench.direct.searched import check_searches, find_codebook
from descbench.direct.work_features import WorkFeatures
from descbench.direct.work_place import hold_folder
from descbench.errors import ConfigError
from descbench.io.outputs import check_output, check_page
from descbench.metrics.score import score_ranking
from descbench.metrics.scores import Scores, read_scores
from descbench.retrieval.run_search import prepare_database, rank_queries
from descbench.tables.ranking_page import RankingFiles, show_ranking


def evaluate_images(
    images: str | Path,
    method: str,
    *,
    queries: str | Path | None = None,
    ground_truth: str | Path | None = None,
    positives: str | Path | None = None,
    frames: int | None = None,
    frame_pairs: str | Path | None = None,
    output: str | Path | None = None,
    html: str | Path | None = None,
    work: str | Path | None = None,
    configfiles: Sequence[str | Path] = (),
    on_bad_file: OnBadFile = "stop",
) -> Scores:
    """Search a folder for every query, and score what is found.

    What is right says one of ``ground_truth``, ``positives`` and ``frames``; the formats are those of datasets
    ``folder``, ``positives`` and ``frames`` (docs/data.md).

    Args:
        images: folder that is searched, in depth.
        method: of the configuration, with its own way of searching.
        queries: folder of the queries; None, with ``ground_truth`` only: ``images`` itself.
        ground_truth: gnd.json, scored by mean average precision.
        positives: positives.json, scored by recall@N.
        frames: tolerance in frames of two traverses, scored by recall@N.
        frame_pairs: with ``frames``, the list of frames that show the same place; None: equal numbers.
        output: scores file to write; None: it stays in the work folder.
        html: page of the rankings to write, as of the workflow's rule ``show_ranking``; None: none.
        work: folder that features stay in; None: one of this method and these images below ``<results_dir>/direct``.
        configfiles: overlays of the configuration.
        on_bad_file: ``stop`` at a file in the folders that is not an image or cannot be read, or ``skip`` it.

    Returns:
        The scores, as of the workflow's rule ``score_ranking``.

    Raises:
        ConfigError: none or several of the three, no such method, or one that searches no images by itself.
        DataError: a checkpoint or codebook that is not there (the message names the command that makes it), labels that
            are malformed, or an image that cannot be read.
    """
    files = [Path(file) for file in configfiles]
    config = read_configuration(files)
    check_searches(config, method)
    labels = _labels(ground_truth, positives, frames, frame_pairs, queries)
    dataset = _dataset({"database": images, "queries": queries or images, "on_bad_file": on_bad_file, **labels})
    inputs = [ground_truth, positives, frame_pairs, *files]
    check_output(output, inputs, endings=[".json"], read=read_scores)
    check_page(html, inputs)
    folder = work_folder(config, "evaluate", method, Path(images)) if work is None else Path(work)
    scores = folder / "scores.json" if output is None else Path(output)
    codebook = find_codebook(config, method, files)
    features = WorkFeatures(config, config.methods[method].features, folder, files, on_bad_file == "skip")
    with hold_folder("the work folder", folder, [Path(images), Path(queries or images)]):
        made = _score(config.methods[method], dataset, features, codebook, scores)
        if html is not None:
            reading = features.block.reading_options
            title = f"{method} on {Path(images).resolve().name}"
            show_ranking(made, Path(html), title=title, reading=reading, on_bad_image=features.block.on_bad_image)
        return read_scores(scores)


def _score(
    block: Method, dataset: Dataset, features: WorkFeatures, codebook: Path | None, scores: Path
) -> RankingFiles:
    """Search and score in the work folder of the features."""
    folder = features.work
    manifest, truth, left_out = folder / "manifest.csv", folder / "labels.json", folder / "left_out.json"
    build_manifest("images", dataset, folder, manifest, truth, left_out)
    listed = read_manifest(manifest)
    described = {role: features.describe(role, listed, own_root(dataset), role) for role in ("database", "query")}
    database = prepare_database(block, described["database"].shards, folder, codebook)
    length = {"top_k": block.top_k or dataset.ranked(), "num_queries": len(listed.of_role("query"))}
    rank_queries(block, described["query"].shards, database, folder, folder / "ranking.h5", **length)
    shards = {"query_shards": described["query"].shards, "manifest": described["query"].manifest}
    score_ranking(folder / "ranking.h5", truth, scores, left_out=left_out, **shards)
    return RankingFiles(folder / "ranking.h5", manifest, truth, scores, own_root(dataset))


def _labels(
    ground_truth: str | Path | None,
    positives: str | Path | None,
    frames: int | None,
    frame_pairs: str | Path | None,
    queries: str | Path | None,
) -> dict[str, object]:
    """Keys of a dataset that say which images are correct."""
    ways: dict[str, dict[str, object]] = {}
    if ground_truth is not None:
        ways["ground_truth"] = {"format": "folder", "ground_truth": ground_truth}
    if positives is not None:
        ways["positives"] = {"format": "positives", "positives": positives}
    if frames is not None:
        ways["frames"] = {"format": "frames", "tolerance": frames, "pairs": frame_pairs}
    if len(ways) != 1 or (frame_pairs is not None and frames is None):
        raise ConfigError(
            f"which images are correct? {' and '.join(ways) or 'No labels'} given; give one of `ground_truth` "
            "(--ground-truth, a gnd.json), `positives` (--positives, a positives.json) and `frames` (--frames, a "
            "tolerance, with or without `frame_pairs`, --frame-pairs)."
        )
    if ground_truth is None and queries is None:
        raise ConfigError("positives and frames need queries in a folder of their own: give `queries` (--queries).")
    return next(iter(ways.values()))


def _dataset(block: dict[str, object]) -> Dataset:
    try:
        return TypeAdapter(Dataset).validate_python(block)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise ConfigError(f"{first['loc'][-1]} {first['input']!r}: {first['msg']}.") from error
