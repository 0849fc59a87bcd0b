"""HPatches patches against what the Python benchmark gave (docs/protocols/hpatches_patches.md, What was checked)."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from goldens import golden_cases, golden_files

from descbench.datasets.descriptor_csv import read_descriptor_csv, write_descriptor_csv
from descbench.datasets.hpatches_patches import STRIPS
from descbench.datasets.hpatches_tasks import (
    Retrieval,
    Split,
    Verification,
    draw_retrieval,
    draw_verification,
    file_names,
    list_text,
    pairs_text,
    read_retrieval,
    read_verification,
)
from descbench.datasets.patch_sets import PatchLabels
from descbench.metrics.hpatches import Columns, matching_columns, retrieval_columns, verification_columns
from descbench.metrics.hpatches_curves import count_hits, precision_recall, roc
from descbench.metrics.hpatches_distances import NOISES, nearest, pair_distances, view_of
from descbench.metrics.hpatches_matching import score_matching
from descbench.metrics.hpatches_normalisation import whiten_and_root
from descbench.metrics.hpatches_retrieval import score_retrieval
from descbench.metrics.hpatches_verification import KINDS, score_verification
from descbench.metrics.score_patches import HPatches, score_patches
from descbench.metrics.scores import read_scores

EXACT = 1e-9
SETS = golden_files("hpatches_patches", "tasks*.json")
PRIMITIVES = [
    pytest.param(case, id=f"{path.stem}-{number}")
    for number, (path, case) in enumerate(
        golden_cases("hpatches_patches", "metrics*.json", lambda path: json.loads(path.read_text()))
    )
]
Table = dict[str, np.ndarray]


class Golden:
    """Lists, descriptors and results that belong to one file of tasks: the others have its name with another word."""

    def __init__(self, path: Path) -> None:
        self.path, self.tasks = path, json.loads(path.read_text())
        split = self.tasks["split"]
        self.split = Split(split["name"], tuple(split["test"]), tuple(split.get("train", ())))
        self.lengths: dict[str, int] = self.tasks["lengths"]
        with np.load(self.beside("descriptors", ".npz")) as found:
            self.descriptors = {name: np.stack([found[f"{name}__{view}"] for view in STRIPS]) for name in self.lengths}
        self.expected = json.loads(self.beside("expected", ".json").read_text())

    def beside(self, word: str, suffix: str) -> Path:
        return self.path.with_name(self.path.name.replace("tasks", word)).with_suffix(suffix)

    def lists(self, folder: Path) -> tuple[Verification, Retrieval]:
        """By way of the files that the original generators wrote."""
        for name, text in self.tasks["files"].items():
            (folder / name).write_text(text)
        return read_verification(folder, self.split, self.lengths), read_retrieval(folder, self.split, self.lengths)

    def prepared(self, run: str) -> tuple[Table, str]:
        """Descriptors of the test sequences, and distance, of a run such as ``L1`` or ``L2_pcapl``."""
        distance = run.removesuffix("_pcapl")
        if distance != run:
            return whiten_and_root(self.descriptors, self.split.train, self.split.test), distance
        return {name: self.descriptors[name] for name in self.split.test}, distance


@pytest.fixture(scope="module", params=SETS, ids=lambda path: path.stem)
def golden(request) -> Golden:
    return Golden(request.param)


def close(found, expected, atol=EXACT):
    np.testing.assert_allclose(np.asarray(found, float), np.asarray(expected, float), rtol=0, atol=atol)


@pytest.mark.parametrize("case", PRIMITIVES)
def test_curves(case):
    scores = np.array([-np.inf if score is None else score for score in case["scores"]])
    arguments = scores, np.array(case["labels"]), case["numpos"]
    counts, one, other = count_hits(*arguments), precision_recall(*arguments), roc(*arguments)
    assert (counts.tp.tolist(), counts.fp.tolist()) == (case["tp"], case["fp"])
    assert (counts.positives, counts.negatives) == (case["p"], case["n"])
    # The original's order goes on with what is never retrieved.
    assert counts.order.tolist() == case["perm"][: len(counts.order)]
    for found, name in (
        (one, "precision"),
        (one, "recall"),
        (one, "ap"),
        (other, "fpr"),
        (other, "tpr"),
        (other, "auc"),
    ):
        close(getattr(found, name), case[name], 1e-12)


def test_lists_are_drawn_as_by_the_original(golden):
    tasks = golden.tasks
    contrasts = {name: np.array(values) for name, values in tasks["patch_std_of_ref"].items()}
    pairs = draw_verification(golden.split, golden.lengths, tasks["N_pos"])
    found = draw_retrieval(golden.split, contrasts, tasks["N_queries"], tasks["N_distractors"])
    texts = {kind: pairs_text(getattr(pairs, kind)) for kind in ("positives", "intra", "inter")}
    texts |= {kind: list_text(getattr(found, kind)) for kind in ("queries", "distractors")}
    names = file_names(golden.split.name)
    assert {names[kind]: text for kind, text in texts.items()} == tasks["files"]


def test_results(golden, tmp_path):
    pairs, queries = golden.lists(tmp_path)
    for run, expected in golden.expected.items():
        descriptors, distance = golden.prepared(run)
        found = score_verification(descriptors, pairs, distance)
        for noise, letter in NOISES.items():
            for kind in KINDS:
                for name, value in expected["verification"][letter][kind].items():
                    close(getattr(found[noise, kind], name).mean, value)
        matched = score_matching(descriptors, golden.split.test, distance)
        for row, sequence in enumerate(golden.split.test):
            for column, letter in enumerate(NOISES.values()):
                for image, values in expected["matching"][sequence][letter].items():
                    close(matched.ap[row, column, int(image) - 1], values["ap"])
                    close(matched.success[row, column, int(image) - 1], values["sr"])
        pools = expected["retrieval"]["ranks"]
        retrieved = score_retrieval(descriptors, queries, distance, pools)
        close(retrieved.ap, np.stack([expected["retrieval"][letter] for letter in NOISES.values()], axis=1))
        count = len(golden.split.test)
        columns = verification_columns(found) | matching_columns(matched)
        columns |= retrieval_columns(retrieved, queries.queries.sequences, count, pools)
        check_summary(columns, expected["summary"])


def check_summary(columns: Columns, expected: dict) -> None:
    means = {name: column.mean for name, column in columns.items()}
    for task in ("verification", "matching", "retrieval"):
        close(100 * means[task], expected[f"{task}_figure"], 100 * EXACT)
    printed = expected["matching_python_printout"]
    for noise, letter in NOISES.items():
        close(means[f"matching_{noise}"], printed[letter])
        for pool, value in expected["retrieval_python_printout"][letter].items():
            close(means[f"retrieval_{noise}@{pool}"], value)
    close(np.mean([means[f"matching_{noise}"] for noise in NOISES]), printed["mean"])


def test_scores_file(golden, tmp_path):
    """From descriptors of parts to the file, whose metrics are those of the figure."""
    pairs, queries = golden.lists(tmp_path)
    flat = {name: array.reshape(-1, array.shape[2]) for name, array in golden.descriptors.items()}
    labels = {name: labels_of(array.shape[1]) for name, array in golden.descriptors.items()}
    for run, expected in golden.expected.items():
        distance, power = run.removesuffix("_pcapl"), run.endswith("_pcapl")
        settings = {"normalisation": "pca_power" if power else "none", "pools": expected["retrieval"]["ranks"]}
        protocol = HPatches(golden.split, pairs, queries, distance, **settings)
        score_patches(flat, labels, protocol, tmp_path / "scores.json", cell="d on toy")
        scores = read_scores(tmp_path / "scores.json", "d on toy")
        for task in ("verification", "matching", "retrieval"):
            close(100 * scores.metrics[task].value, expected["summary"][f"{task}_figure"], 100 * EXACT)
        assert scores.facts["sequences"] == list(golden.split.test)


def labels_of(count: int) -> PatchLabels:
    views = len(STRIPS)
    points, numbers = np.tile(np.arange(count), views), np.repeat(np.arange(views), count)
    return PatchLabels(points, numbers, STRIPS, np.empty((0, 2), np.int64), np.empty(0, np.uint8))


def test_example_curves(golden, tmp_path):
    pairs, _ = golden.lists(tmp_path)
    with np.load(golden.beside("curves", ".npz")) as expected:
        curves = [found for key in expected.files if (found := CURVE.fullmatch(key))]
        assert curves
        for curve in curves:
            noise = {letter: noise for noise, letter in NOISES.items()}[curve["noise"]]
            if curve["image"]:
                found = matching_curve(
                    golden.descriptors[str(expected["match_seq"])], view_of(noise, int(curve["image"]))
                )
            else:
                found = verification_curve(golden.descriptors, pairs, noise, curve["kind"], curve["balance"] == "bal")
            close(getattr(found, AXES[curve["axis"]]), expected[curve[0]], 1e-6)
        if whitened := [key for key in expected.files if key.startswith("pcapl_")]:
            turned = whiten_and_root(golden.descriptors, golden.split.train, golden.split.test)[golden.split.test[0]]
            for key in whitened:
                close(turned[STRIPS.index(key.removeprefix("pcapl_"))], expected[key], 1e-6)


# Names of curves: of verification by noise, kind of wrong pairs and balance, of matching by noise and image.
CURVE = re.compile(
    r"(?:verif|match)_(?P<noise>[eht])(?:(?P<image>\d)|_(?P<kind>inter|intra)_(?P<balance>bal|imb))_(?P<axis>fpr|tpr|pr|rc)"
)
AXES = {"fpr": "fpr", "tpr": "tpr", "pr": "precision", "rc": "recall"}


def matching_curve(views: np.ndarray, view: int):
    rows, distances = nearest(views[0], views[view], "L2")
    return precision_recall(-distances, rows == np.arange(len(rows)), len(rows))


def verification_curve(descriptors: Table, pairs: Verification, noise: str, kind: str, balanced: bool):
    """Of all pairs, or of all wrong ones with a fifth as many right ones."""
    scores, labels = verification_list(descriptors, pairs, noise, kind)
    if balanced:
        return roc(scores, labels)
    count = len(getattr(pairs, kind)[0]) + int(0.2 * len(pairs.positives[0]))
    return precision_recall(scores[:count], labels[:count])


def verification_list(descriptors: Table, tasks: Verification, noise: str, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Scores and labels, the wrong pairs first."""
    scores, labels = [], []
    for label, (first, second) in enumerate((getattr(tasks, kind), tasks.positives)):
        for row in range(len(first)):
            a, b = (
                descriptors[side.names[side.sequences[row]]][view_of(noise, int(side.images[row])), side.patches[row]]
                for side in (first, second)
            )
            scores.append(-pair_distances(np.stack([a, b]), np.array([0]), [np.array([1])], "L2")[0, 0])
            labels.append(label)
    return np.array(scores), np.array(labels)


@pytest.mark.parametrize(
    ("path", "delimiter", "style"),
    [
        pytest.param(path, delimiter, style, id=path.stem)
        for dialect, delimiter, style in (("comma", ",", "fixed"), ("semicolon", ";", "general"))
        for path in golden_files("hpatches_patches", f"csv_example_{dialect}*.csv")
    ],
)
def test_descriptor_files(tmp_path, path, delimiter, style):
    """The first row of e1 of the first test sequence, in the two dialects of the benchmark's files."""
    found = read_descriptor_csv(path, delimiter)
    known = [Golden(tasks) for tasks in SETS]
    rows = [golden.descriptors[golden.split.test[0]][STRIPS.index("e1")][:1] for golden in known]
    assert any(np.array_equal(found, row) for row in rows)
    write_descriptor_csv(tmp_path / "e1.csv", found, delimiter, style)
    assert (tmp_path / "e1.csv").read_bytes() == path.read_bytes()
