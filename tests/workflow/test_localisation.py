"""Localisation through the workflow's own rules on a tiny square: poses, their scores, and what each key changes."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from in_process import Bench, RefusedError, merged

from descbench.cli import main
from descbench.config.load import load_config_files
from descbench.datasets.manifest import read_manifest
from descbench.datasets.pose_files import pose_names
from descbench.datasets.pose_labels import read_pose_labels, write_pose_labels
from descbench.errors import ConfigError
from descbench.io.digests import sha256_file
from descbench.localization.estimated_poses import read_estimated
from descbench.localization.select_pairs import read_pairs
from descbench.matching.matches import read_matches
from descbench.metrics.remarks import rule_of
from descbench.metrics.scores import read_scores

SIFT = {"kind": "keypoints", "describe": "rootsift", "max_features": 600, "image_size": 320}
FOLDER = "toytown/relocalisation"
SQUARE = {
    "format": "aachen",
    "generator": "toytown",
    "images": f"{FOLDER}/images_upright",
    "model": f"{FOLDER}/3D-models/model",
    "queries": [f"{FOLDER}/queries/{name}_time_queries_with_intrinsics.txt" for name in ("day", "dusk")],
    "conditions": ["day", "dusk"],
    "pairs": f"{FOLDER}/image_pairs.txt",
    "poses": f"{FOLDER}/queries/poses.txt",
}
TOWN = {
    "toytown": {"relocalisation": {"map": 10, "day": 3, "dusk": 1}},
    "datasets": {"square": SQUARE},
    "features": {"sift": SIFT, "few": {**SIFT, "max_features": 300}},
    "methods": {"sift": {"localise": "pnp", "match": {"ratio": 0.85}}},
}
POSES, SCORES = "results/poses/sift/square.txt", "results/scores/sift/square.json"
MAP, QUERY = "results/matches/sift/square.map.h5", "results/matches/sift/square.query.h5"
RECORD, PAIRS = "results/reconstructions/sift/square.json", "results/pairs/sift/square.csv"
PAGE = "results/pages/sift/square.html"


def changing(**keys) -> dict:
    return merged(TOWN, {"methods": {"sift": keys}})


@pytest.fixture(scope="module")
def square(base) -> Bench:
    """A bench where the drawn square was localised in once."""
    bench = base.copy("localisation")
    ran = bench.make(SCORES, overlay=TOWN, anew=["draw_toytown"])
    assert [ran.count(rule) for rule in ("select_pairs", "match_images", "reconstruct", "localise_queries")] == [
        1,
        2,
        1,
        1,
    ]
    return bench


@pytest.mark.parametrize(("role", "other"), [("map", "query"), ("query", "map")])
def test_features_of_other_images_are_refused(square, role, other):
    """Settings are the right ones."""
    bench = square.copy(f"localise-images-{role}")
    files = [f"results/features/sift/square/{name}/00000.h5" for name in (role, other)]
    told = bench.refused(*files, SCORES, rule="match_images", overlay=TOWN)
    assert re.search(rf"ERROR {files[0]}: .*the list of images changed", told)


def record(bench: Bench) -> dict:
    return json.loads((bench.folder / RECORD).read_text())


def poses(bench: Bench):
    return read_estimated(bench.folder / POSES, "sift on square")


def test_queries_are_localised(square):
    scores = read_scores(square.folder / SCORES, "sift on square")
    assert scores.metrics["within_5m_10deg_day"].value >= 2 / 3
    assert scores.metrics["median_position_day"].value < 0.5
    names = ["day/q000.jpg", "day/q001.jpg", "day/q002.jpg", "dusk/q000.jpg"]
    assert [name.split("query/")[1] for name in scores.facts["names"]] == names
    assert scores.facts["scored_by"] == "true poses"
    assert (square.folder / "results/provenance/sift/square.json").is_file()
    assert record(square)["points"] > 50


def test_queries_are_localised_by_keypoints_of_ones_own(square, project):
    """The example's detector and descriptor, and both in one, which is the same."""
    bench = square.copy("localisation-own-points")
    shutil.copytree(project / "examples/custom_points", bench.folder / "examples/custom_points")
    example = yaml.safe_load((project / "examples/custom_points/config.yaml").read_text())
    names = ("corners_pixels", "corners_with_pixels")
    features = {name: {**example["features"][name], "image_size": 320} for name in names}
    methods = {name: {"localise": "pnp", "match": {"ratio": 0.9}} for name in names}
    overlay = merged(TOWN, {"models": example["models"], "features": features, "methods": methods})
    cells = [f"results/scores/{name}/square.json" for name in names]
    bench.make(*cells, overlay=overlay)
    found = [read_scores(bench.folder / cell).metrics for cell in cells]
    assert found[0]["within_5m_10deg_day"].value >= 2 / 3
    assert found[0]["median_position_day"].value == found[1]["median_position_day"].value < 1


def test_the_page_of_poses(square):
    """The map from above with what the scores say; where a server has the true poses, estimated cameras alone."""
    bench = square.copy("localisation-page")
    assert bench.make(PAGE, overlay=TOWN) == ["show_poses"]
    page, scores = (bench.folder / PAGE).read_text(), read_scores(bench.folder / SCORES)
    assert {"map: 10", "true: 4"} <= set(re.findall(r">((?:map|true): \d+)<", page))
    for name, metres in zip(scores.facts["names"], scores.per_query["median_position"], strict=True):
        assert f'<td class="text">{name}</td>' in page
        assert f"<strong>query</strong> {name}</figcaption>" in page
        assert metres is None or f"<td>{metres:.3f}</td>" in page
    assert f"<td>{scores.metrics['median_position_day'].value:.3f} m</td>" in page
    matches = read_matches(bench.folder / QUERY)
    counts = np.diff(matches.pair_offsets)
    for query in range(4):
        section = re.search(rf'<section id="query-{query}">.*?</section>', page, re.S)[0]
        told = re.search(r"<strong>most matches.*?</strong>, (\d+) match", section)
        assert int(told[1]) == counts[matches.pairs[:, 0] == query].max()
        assert section.count('<img src="data:image/jpeg') == (2 if "and the nearest camera" in section else 3)


def test_same_bytes_again(square):
    again = square.copy("localisation-again")
    again.make(SCORES, overlay=TOWN, anew=["match_images"])
    for target in (POSES, SCORES, RECORD, MAP, QUERY):
        assert sha256_file(again.folder / target) == sha256_file(square.folder / target)


def test_matches_of_hloc_take_the_place_of_ours(square, monkeypatch):
    """Features and matches go to hloc's files and come back: the workflow goes on with them."""
    swapped = square.copy("localisation-hloc")
    monkeypatch.chdir(swapped.folder)
    files = ["--below", f"{FOLDER}/images_upright", "--configfile", "bench.yaml", "overlay.yaml"]
    for command in ("export", "import"):
        replace = ["--replace"] if command == "import" else []
        assert main([f"{command}-features", "hloc", "sift", "square", "f.h5", *replace, *files]) == 0
        given = ["--features-file", "f.h5"] if command == "import" else []
        assert main([f"{command}-matches", "hloc", "sift", "square", "m.h5", *replace, *given, *files]) == 0
    ran = swapped.make(SCORES, overlay=TOWN)
    assert ran[:2] == ["reconstruct", "localise_queries"]
    assert sha256_file(swapped.folder / POSES) == sha256_file(square.folder / POSES)


@pytest.mark.parametrize(
    ("key", "value", "target"),
    [
        ("match", {"ratio": 0.7}, MAP),
        ("features", "few", MAP),
        ("keypoint_origin", "centre", RECORD),
        ("verification", "known_poses", RECORD),
        ("verify_error", 0.3, RECORD),
        ("min_pair_inliers", 40, RECORD),
        ("reprojection_error", 0.3, RECORD),
        ("min_angle", 8.0, RECORD),
        ("two_view_points", False, RECORD),
        ("max_error", 0.5, POSES),
    ],
)
def test_keys_of_methods_change_results(square, key, value, target):
    changed = square.copy(f"localise-{key}")
    rule = {MAP: "match_images", RECORD: "reconstruct", POSES: "localise_queries"}[target]
    changed.make(SCORES, overlay=changing(**{key: value}), anew=[rule])
    assert sha256_file(changed.folder / target) != sha256_file(square.folder / target)
    before, after = record(square), record(changed)
    if key in ("verify_error", "min_pair_inliers", "reprojection_error", "min_angle", "two_view_points"):
        assert after["observations"] < before["observations"]
    if key == "keypoint_origin":
        assert abs(after["points"] - before["points"]) < 0.2 * before["points"]
    if key == "max_error":
        assert sum(poses(changed)[1].inliers) < sum(poses(square)[1].inliers)


def test_queries_of_few_inliers_are_not_localised(square):
    inliers = poses(square)[1].inliers
    changed = square.copy("localise-few-inliers")
    changed.make(SCORES, overlay=changing(min_inliers=max(inliers)), anew=["localise_queries"])
    found, beside = poses(changed)
    assert beside.inliers == [n if n == max(inliers) else 0 for n in inliers]
    assert 0 < len(found) < len(poses(square)[0])
    assert read_scores(changed.folder / SCORES).facts["localised"] == len(found)


def test_a_map_without_points_localises_nobody(square):
    """It is a result of its method, with a warning under the table, and stops nothing."""
    bench = square.copy("localise-no-map")
    ran = bench.make(SCORES, PAGE, overlay=changing(min_pair_inliers=1000), anew=["reconstruct"])
    assert ran[-1] == "show_poses"
    assert record(bench)["points"] == 0
    found, beside = poses(bench)
    assert (found, set(beside.inliers)) == ({}, {0})
    scores = read_scores(bench.folder / SCORES)
    assert scores.metrics["within_5m_10deg_day"].value == 0
    assert scores.metrics["median_position_day"].value is None
    assert scores.warnings == ["no point of the map was triangulated from its matches, so no query can be localised"]
    log = (bench.folder / "logs/reconstruct/sift/square.log").read_text()
    assert "has 1000 matches that one geometry explains" in log


def test_queries_that_are_not_localised_have_the_pose_of_their_first_image(square):
    """The first of their pairs; scores, the note of a table and the page say how many these are."""
    inliers = poses(square)[1].inliers
    changed = square.copy("localise-fallback")
    overlay = changing(min_inliers=max(inliers), pairs="ranked", ranking="globally", top_k=8, fallback="first_image")
    overlay = merged(overlay, {"methods": {"globally": {"search": "inner_product", "features": "own"}}})
    page = "results/pages/sift/square.html"
    changed.make(page, overlay=overlay, anew=["select_pairs"])
    found, beside = poses(changed)
    scores = read_scores(changed.folder / SCORES)
    assert len(found) == len(inliers)
    assert 0 < len(beside.filled) == scores.facts["filled"] == len(inliers) - scores.facts["localised"]
    first = dict(reversed(read_pairs(changed.folder / PAIRS, "query")))
    known = read_pose_labels(changed.folder / "results/manifests/square.gt.json")
    names = pose_names(scores.facts["names"])
    for query in beside.filled:
        assert found[names[query]].centre == pytest.approx(known.map_poses[first[query]].centre)
        assert beside.inliers[query] == 0
    told = f"{len(beside.filled)} others have the pose of the first map image that they were matched with"
    assert told in rule_of("square", scores)
    assert f"{len(beside.filled)} others have the pose of their first map image" in (changed.folder / page).read_text()


def test_ransac_expects_a_share_of_inliers(square):
    """The share only says how long RANSAC tries; with one it stops at once."""
    changed = square.copy("localise-ratio")
    changed.make(POSES, overlay=changing(min_inlier_ratio=1.0), anew=["localise_queries"])
    assert poses(changed)[1].correspondences == poses(square)[1].correspondences
    assert poses(changed)[0] != poses(square)[0]


def test_pairs_are_listed_near_or_ranked(square):
    of_map, of_queries = (read_pairs(square.folder / PAIRS, role) for role in ("map", "query"))
    assert (len(of_map), len(of_queries)) == (45, 40)
    listed = square.copy("localise-listed")
    listed.make(PAIRS, overlay=changing(pairs="listed", map_pairs="listed"), anew=["select_pairs"])
    assert set(read_pairs(listed.folder / PAIRS, "map")) <= set(of_map)
    near = square.copy("localise-near")
    near.make(PAIRS, overlay=changing(map_pairs="nearest", map_neighbours=1), anew=["select_pairs"])
    assert 5 <= len(read_pairs(near.folder / PAIRS, "map")) <= 9


def test_ranking_pairs_queries_with_the_map(square):
    ranked = square.copy("localise-ranked")
    overlay = merged(
        changing(pairs="ranked", ranking="globally", top_k=2),
        {"methods": {"globally": {"search": "inner_product", "features": "own"}}},
    )
    ran = ranked.make(SCORES, overlay=overlay, anew=["select_pairs"])
    assert ran.count("search_flat") == 1
    pairs = read_pairs(ranked.folder / PAIRS, "query")
    assert np.bincount([query for query, _ in pairs]).tolist() == [2, 2, 2, 2]
    assert read_matches(ranked.folder / QUERY).pairs.tolist() == [list(pair) for pair in pairs]


def test_both_layouts_of_the_map_are_the_same(square):
    other = square.copy("localise-nvm")
    files = {"nvm": f"{FOLDER}/3D-models/toytown.nvm", "intrinsics": f"{FOLDER}/3D-models/database_intrinsics.txt"}
    other.make(
        SCORES, overlay=merged(TOWN, {"datasets": {"square": {"model": None, **files}}}), anew=["build_manifest"]
    )
    one, two = (read_pose_labels(b.folder / "results/manifests/square.gt.json") for b in (square, other))
    assert one.map_cameras == two.map_cameras
    for ours, theirs in zip(one.map_poses, two.map_poses, strict=True):
        np.testing.assert_allclose(ours.centre, theirs.centre, atol=1e-9)
    median = "median_position"
    assert read_scores(other.folder / SCORES).metrics[median].value == pytest.approx(
        read_scores(square.folder / SCORES).metrics[median].value, abs=0.05
    )


def test_conditions_and_pairs_may_be_absent(square):
    """Without conditions there are no scores of them, without pairs none can be listed."""
    other = square.copy("localise-plain")
    overlay = merged(TOWN, {"datasets": {"square": {"conditions": [], "pairs": None}}})
    other.make(SCORES, overlay=overlay, anew=["build_manifest"])
    assert not any(name.endswith("_day") for name in read_scores(other.folder / SCORES).metrics)


def test_poses_of_a_server(square):
    """Without true poses scores wait for the server's figures, which are for one file of poses."""
    away = square.copy("localise-server")
    hidden = merged(TOWN, {"datasets": {"square": {"poses": None}}})
    away.make(SCORES, overlay=hidden, anew=["build_manifest"])
    scores = read_scores(away.folder / SCORES)
    assert (scores.metrics, scores.facts["scored_by"]) == ({}, "nobody yet")
    assert scores.facts["poses"] == sha256_file(away.folder / POSES)
    page = "results/pages/sift/square.html"
    assert away.make(page, overlay=hidden) == ["show_poses"]
    assert "only estimated cameras are drawn" in (away.folder / page).read_text()
    figures = {"poses": scores.facts["poses"], "shares": {"day": [66.7, 100.0, 100.0]}}
    stated = merged(hidden, {"methods": {"sift": {"server": {"square": figures}}}})
    assert away.make(SCORES, overlay=stated, anew=["score_poses"]) == ["score_poses"]
    scores = read_scores(away.folder / SCORES)
    assert scores.metrics["within_0.25m_2deg_day"].value == pytest.approx(0.667)
    assert scores.facts["scored_by"] == "the benchmark's server"
    figures["poses"] = "0" * 64
    with pytest.raises(RefusedError, match="upload this file"):
        away.make(
            SCORES, overlay=merged(hidden, {"methods": {"sift": {"server": {"square": figures}}}}), anew=["score_poses"]
        )
    known = merged(TOWN, {"methods": {"sift": {"server": {"square": figures}}}})
    with pytest.raises(RefusedError, match="remove `server`"):
        square.copy("localise-known").make(SCORES, overlay=known, anew=["score_poses"])


def test_damage_is_noticed(square):
    hurt = square.copy("localise-damage")
    path = hurt.folder / "results/reconstructions/sift/square/points3D.bin"
    content = bytearray(path.read_bytes())
    path.unlink()
    content[40] ^= 1
    path.write_bytes(content)
    with pytest.raises(RefusedError, match=r"points3D\.bin"):
        hurt.make(POSES, overlay=TOWN, anew=["localise_queries"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"methods": {"sift": {"features": "own"}}}, "needs local features"),
        ({"methods": {"sift": {"match": {"n": 601}}}}, "raise `max_features`"),
        ({"methods": {"sift": {"pairs": "ranked"}}}, "belong together"),
        ({"methods": {"sift": {"fallback": "first_image"}}}, "that are ranked or listed"),
        ({"methods": {"sift": {"ranking": "own_asmk", "pairs": "ranked"}}}, "does not search by"),
        ({"datasets": {"square": {"model": None}}}, "needs `model`"),
        ({"toytown": {"relocalisation": None}}, "are drawn"),
        ({"methods": {"sift": {"localise": "magic"}}}, "pnp"),
    ],
)
def test_what_does_not_fit_is_refused_while_planning(base, change, message, monkeypatch):
    monkeypatch.chdir(base.folder)
    path = base.folder.parent / "refused-localisation.yaml"
    path.write_text(yaml.safe_dump(merged(merged(base.config, TOWN), change)))
    with pytest.raises(ConfigError, match=message):
        load_config_files(path, home=base.project)


@pytest.mark.parametrize(
    ("row", "dataset", "message"),
    [("sift", "alderford", "of family retrieval"), ("own", "square", "of family localisation")],
)
def test_tables_of_other_families_are_refused(base, row, dataset, message, monkeypatch):
    monkeypatch.chdir(base.folder)
    metric = "map_medium" if dataset == "alderford" else "within_5m_10deg"
    table = {"title": "T", "synthetic": True, "columns": [{"dataset": dataset, "metric": metric, "label": "x"}]}
    table["rows"] = [{"label": row, "method": row}]
    path = base.folder.parent / "refused-table.yaml"
    path.write_text(yaml.safe_dump(merged(merged(base.config, TOWN), {"tables": {"t": table}})))
    with pytest.raises(ConfigError, match=message):
        load_config_files(path, home=base.project)


def test_listed_pairs_must_be_there(base, monkeypatch):
    monkeypatch.chdir(base.folder)
    column = {"dataset": "square", "metric": "within_5m_10deg", "label": "x"}
    table = {"title": "T", "synthetic": True, "columns": [column], "rows": [{"label": "a", "method": "sift"}]}
    config = merged(changing(pairs="listed"), {"datasets": {"square": {"pairs": None}}, "tables": {"t": table}})
    path = base.folder.parent / "refused-pairs.yaml"
    path.write_text(yaml.safe_dump(merged(base.config, config)))
    with pytest.raises(ConfigError, match="lists no pairs"):
        load_config_files(path, home=base.project)


@pytest.mark.parametrize("role", ["map", "query"])
def test_intrinsics_of_a_smaller_copy_are_refused(square, role):
    """Nothing else finds them for a query."""
    bench = square.copy(f"localise-size-{role}")
    path = bench.folder / "results/manifests/square.gt.json"
    labels = read_pose_labels(path)
    key = f"{role}_cameras"
    halves = [replace(camera, width=camera.width // 2, height=camera.height // 2) for camera in getattr(labels, key)]
    write_pose_labels(replace(labels, **{key: tuple(halves)}), path)
    half = f"{halves[0].width} x {halves[0].height}"
    with pytest.raises(
        RefusedError, match=rf"its camera is of {half} pixels, and keypoints lie at up to \d+, \d+: intrin"
    ):
        bench.make(SCORES, overlay=TOWN, anew=["reconstruct"])


def own_model(bench: Bench) -> dict:
    """The drawn square as a model of the user's own."""
    folder = bench.folder / "data/datasets" / FOLDER
    return {"format": "colmap", "model": str(folder / "3D-models/model"), "images": str(folder / "images_upright")}


def test_a_model_of_the_users_own(square):
    """Every second image asks, or those of a list; a new list makes what follows from it anew."""
    bench = square.copy("localise-own")
    own = merged(TOWN, {"datasets": {"mine": own_model(bench)}})
    scores = "results/scores/sift/mine.json"
    bench.make(scores, overlay=own)
    assert read_scores(bench.folder / scores).facts["names"] == [f"000{number}.jpg" for number in (1, 3, 5, 7, 9)]
    names = bench.folder / "queries.txt"
    names.write_text("db/0004.jpg\n")
    listed = merged(own, {"datasets": {"mine": {"query_list": str(names)}}})
    bench.make(scores, overlay=listed, anew=["build_manifest", "extract_features"])
    assert read_scores(bench.folder / scores).facts["names"] == ["0004.jpg"]
    rows = read_manifest(bench.folder / "results/manifests/mine.csv")
    assert len(rows.of_role("map")) == 9


def write_kapture(bench: Bench, folder: Path, images: list[int]) -> Path:
    """Some map images of the square as a kapture folder."""
    labels = read_pose_labels(bench.folder / "results/manifests/square.gt.json")
    rows = read_manifest(bench.folder / "results/manifests/square.csv").of_role("map").rows
    (folder / "sensors/records_data").mkdir(parents=True)
    tables = {name: ["# kapture format: 1.1"] for name in ("sensors", "records_camera", "trajectories")}
    for i in images:
        camera, pose = labels.map_cameras[i], labels.map_poses[i]
        name = Path(rows[i].path).name
        source = bench.folder / "data/datasets" / rows[i].path
        (folder / "sensors/records_data" / name).write_bytes(source.read_bytes())
        params = ", ".join(map(repr, camera.params))
        tables["sensors"].append(f"cam{i}, , camera, {camera.model}, {camera.width}, {camera.height}, {params}")
        tables["records_camera"].append(f"{i}, cam{i}, {name}")
        tables["trajectories"].append(f"{i}, cam{i}, {', '.join(map(repr, (*pose.rotation, *pose.translation)))}")
    for name, lines in tables.items():
        (folder / "sensors" / f"{name}.txt").write_text("\n".join(lines) + "\n")
    return folder


def test_kapture_folders_of_the_users_own(square):
    bench = square.copy("localise-kapture")
    mapped = write_kapture(bench, bench.folder / "kapture/mapping", [2, 3, 5, 6])
    asked = write_kapture(bench, bench.folder / "kapture/query", [4, 7])
    both = {"format": "kapture_map", "map": str(mapped), "queries": str(asked)}
    own = {"two": both, "one": {**both, "queries": None}}
    overlay = merged(TOWN, {"datasets": own})
    bench.make("results/scores/sift/two.json", "results/manifests/one.csv", overlay=overlay)
    scores = read_scores(bench.folder / "results/scores/sift/two.json")
    assert scores.facts["names"] == ["0004.jpg", "0007.jpg"]
    queries = read_manifest(bench.folder / "results/manifests/one.csv").of_role("query").rows
    assert [row.path for row in queries] == ["0003.jpg", "0006.jpg"]
    rows = read_manifest(bench.folder / "results/manifests/two.csv").rows
    assert rows[0].path == "mapping/sensors/records_data/0002.jpg"
    names = bench.folder / "asking.txt"
    names.write_text("0007.jpg\n")
    listed = merged(overlay, {"datasets": {"two": {"query_list": str(names)}}})
    ran = bench.make("results/scores/sift/two.json", overlay=listed)
    assert {"build_manifest", "localise_queries"} <= set(ran)
    assert read_scores(bench.folder / "results/scores/sift/two.json").facts["names"] == ["0007.jpg"]
