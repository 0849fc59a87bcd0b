"""Folders of the user's own photographs, from the block of configuration to scores: tiny networks, executed."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import numpy as np
from PIL import Image

from descbench.features.store import ShardReader
from descbench.retrieval.ranking import read_ranking


def draw(path: Path, seed: int, **options) -> Path:
    """A small image that only its seed decides."""
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse = np.random.default_rng(seed).integers(0, 255, (5, 6, 3), np.uint8)
    Image.fromarray(coarse).resize((48, 40), Image.Resampling.BICUBIC).save(path, **options)
    return path


VLAD = {
    "models": {
        "drawn": {"architecture": "netvlad", "backbone": "alexnet", "clusters": 4, "weights": {"source": "random"}}
    },
    "features": {"vlad": {"kind": "global", "model": "drawn", "image_size": 64}},
    "methods": {"vlad": {"search": "inner_product", "features": "vlad"}},
}


def with_datasets(**datasets) -> dict:
    return VLAD | {"datasets": datasets}


def test_scores_without_ground_truth_are_refused_while_planning(workplace, bench, tmp_path):
    draw(tmp_path / "photos/a.png", 1)
    overlay = with_datasets(mine={"format": "folder", "database": str(tmp_path / "photos")})
    for target in ("results/scores/vlad/mine.json", "results/scores/vlad/toytown_sfm.json"):
        result = workplace.run("-n", target, overlay=overlay, check=False)
        assert result.returncode != 0
        assert "rankings of it cannot be scored" in result.stdout + result.stderr
    assert bench.planned("results/rankings/vlad/mine.h5", overlay=overlay)["merge_rankings"] == 1


def test_edited_labels_are_scored_again_and_nothing_else(bench, tmp_path):
    photos, truth = tmp_path / "photos", tmp_path / "gnd.json"
    names = [f"{number}.png" for number in range(5)]
    for number, name in enumerate(names):
        draw(photos / name, number)
    block = {"format": "folder", "database": str(photos)}
    ranking, scores = "results/rankings/vlad/mine.h5", "results/scores/vlad/mine.json"
    bench.make(ranking, overlay=with_datasets(mine=block))
    assert extracted(bench, "mine") == 5
    overlay = with_datasets(mine=block | {"ground_truth": str(truth)})

    def label(easy):
        gnd = [{"easy": easy, "hard": [], "junk": []}]
        truth.write_text(json.dumps({"imlist": names[1:], "qimlist": names[:1], "gnd": gnd}))

    label([0])
    bench.make(scores, overlay=overlay)
    before = read_scores(bench, "mine")["metrics"]["map_medium"]["value"]
    label([0, 1, 2, 3])
    assert not {"extract_features", "search_flat"} & set(bench.planned(scores, overlay=overlay))
    bench.make(scores, overlay=overlay)
    after = read_scores(bench, "mine")["metrics"]["map_medium"]["value"]
    assert (before, after) == (before, 1.0)
    assert before < 1
    assert bench.planned(scores, overlay=overlay) == {}


def streets(folder: Path, count: int = 4, **options) -> dict:
    """Photographs 100 m apart, each of which is a query too, as the same file under another folder."""
    for number in range(count):
        name = f"@{500000 + 100 * number}@4000000@.png"
        for role in ("database", "queries"):
            draw(folder / role / name, number)
    block = {"format": "utm_names", "database": str(folder / "database"), "queries": str(folder / "queries")}
    return with_datasets(streets=block | options)


def read_scores(bench, dataset: str) -> dict:
    return json.loads((bench.folder / f"results/scores/vlad/{dataset}.json").read_text())


def extracted(bench, dataset: str) -> int:
    """Images that went through the network in the jobs whose logs are there, which are then taken away."""
    total = 0
    for log in bench.folder.glob(f"logs/extract_features/*/{dataset}/**/*.log"):
        text = log.read_text()
        found = re.search(r"(\d+) of (\d+) images were described before", text)
        total += int(found[2]) - int(found[1]) if found else shard_of(bench, log)
        log.unlink()
    return total


def shard_of(bench, log: Path) -> int:
    path = bench.folder / "results/features" / log.relative_to(bench.folder / "logs/extract_features")
    with ShardReader(path.with_suffix(".h5")) as shard:
        return shard.num_images


def test_replaced_photographs_are_noticed(bench, tmp_path):
    """Two files change places, with the sizes and dates they had: only what the kernel keeps tells."""
    overlay = streets(tmp_path, shard_size=3)
    target = "results/scores/vlad/streets.json"
    bench.make(target, overlay=overlay)
    assert read_scores(bench, "streets")["metrics"]["recall@1"]["value"] == 1.0
    assert bench.planned(target, overlay=overlay) == {}
    # A photograph that both folders hold is described once.
    assert extracted(bench, "streets") == 4
    one, two = (tmp_path / f"database/@{500000 + 100 * n}@4000000@.png" for n in (0, 1))
    contents, before = [one.read_bytes(), two.read_bytes()], one.stat()
    size = max(map(len, contents))
    one.write_bytes(contents[1].ljust(size, b"\0"))
    two.write_bytes(contents[0].ljust(size, b"\0"))
    for path in (one, two):
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    planned = bench.planned(target, overlay=overlay)
    assert planned["extract_features"] == 1
    bench.make(target, overlay=overlay)
    assert read_scores(bench, "streets")["metrics"]["recall@1"]["value"] == 0.5
    # One of them is byte for byte what was described before under another name.
    assert extracted(bench, "streets") == 1


def test_a_folder_is_described_once_and_only_what_is_new_again(bench, tmp_path):
    photos = tmp_path / "photos"
    for number in range(7):
        draw(photos / f"{number}.png", number)
    overlay = with_datasets(mine={"format": "folder", "database": str(photos), "shard_size": 3})
    overlay["methods"] = {"vlad": VLAD["methods"]["vlad"] | {"top_k": 4}}
    target = "results/rankings/vlad/mine.h5"
    bench.make(target, overlay=overlay)
    assert extracted(bench, "mine") == 7
    ranking = read_ranking(bench.folder / target)
    assert ranking.image_ids.shape == (7, 4)
    assert all(query not in ids for query, ids in zip(ranking.query_ids, ranking.image_ids, strict=True))
    # Three more in front, one less, one under another name.
    for number in range(3):
        draw(photos / f"0{number}.png", 10 + number)
    (photos / "5.png").unlink()
    (photos / "6.png").rename(photos / "zz 6.png")
    bench.make(target, overlay=overlay)
    assert extracted(bench, "mine") == 3
    assert bench.planned(target, overlay=overlay) == {}
    # The same as of a folder that was always so, in shards of another size.
    overlay["datasets"]["other"] = overlay["datasets"]["mine"] | {"shard_size": 100}
    other = "results/rankings/vlad/other.h5"
    bench.make(other, overlay=overlay)
    found, expected = (read_ranking(bench.folder / path) for path in (target, other))
    assert np.array_equal(found.image_ids, expected.image_ids)
    assert np.array_equal(found.scores, expected.scores)
    # No file is kept that belongs to no shard.
    kept = list((bench.folder / "results/features/vlad/mine/.kept").glob("*.h5"))
    assert len(kept) == 3
    assert all(path.stat().st_nlink == 2 for path in kept)


def test_files_that_are_left_out_are_said(workplace, bench, tmp_path):
    overlay = streets(tmp_path, count=3)
    queries = tmp_path / "queries"
    (queries / "@500900@4000000@.jpg").symlink_to(tmp_path / "nowhere")
    (queries / "@500800@4000000@.cr2").write_bytes(b"raw")
    target = "results/scores/vlad/streets.json"
    result = workplace.run("-n", target, overlay=overlay, check=False)
    assert result.returncode != 0
    text = result.stdout + result.stderr
    assert "@500900@4000000@.jpg (link to nowhere)" in text
    assert "@500800@4000000@.cr2 (.cr2 is not a format that is read here)" in text
    overlay["datasets"]["streets"]["on_bad_file"] = "skip"
    column = {"dataset": "streets", "metric": "recall@1", "label": "R@1"}
    row = {"label": "ours", "method": "vlad"}
    overlay["tables"] = {"mine": {"title": "Mine", "synthetic": True, "columns": [column], "rows": [row]}}
    bench.make("results/mine.csv", overlay=overlay)
    listed = read_scores(bench, "streets")["left_out"]
    assert [Path(item["path"]).name for item in listed] == ["@500800@4000000@.cr2", "@500900@4000000@.jpg"]
    assert "streets: 2 files of its folders are left out" in (bench.folder / "results/mine.md").read_text()
