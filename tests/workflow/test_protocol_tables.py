"""Tables under other choices of scoring, through the workflow's own rules on a tiny town, one table of each family."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from in_process import Bench, RefusedError, merged
from validated_crate import PROFILES, problems, unpacked

from descbench.bundle.bundle_table import bundle_table
from descbench.bundle.verify import verify
from descbench.cli import main
from descbench.config.load import load_config_files
from descbench.errors import ConfigError
from descbench.io.jsonfiles import read_json, write_checked_json
from descbench.metrics.scores import read_scores

SIFT = {"kind": "keypoints", "describe": "rootsift", "max_features": 600, "image_size": 48}
FOLDER = "toytown/relocalisation"


def table(method: str, columns: list[tuple[str, str]], **row) -> dict:
    shown = [{"dataset": dataset, "metric": metric, "label": f"{dataset} {metric}"} for dataset, metric in columns]
    return {"title": "Choices", "columns": shown, "rows": [{"label": "ours", "method": method, **row}]}


TOWN = {
    "toytown": {
        "relocalisation": {"map": 10, "day": 3, "dusk": 1},
        "strips": {"width": 240, "height": 180, "illumination": 2, "viewpoint": 2, "patches": 20},
    },
    "datasets": {
        "square": {
            "format": "aachen",
            "generator": "toytown",
            "images": f"{FOLDER}/images_upright",
            "model": f"{FOLDER}/3D-models/model",
            "queries": [f"{FOLDER}/queries/{name}_time_queries_with_intrinsics.txt" for name in ("day", "dusk")],
            "conditions": ["day", "dusk"],
            "pairs": f"{FOLDER}/image_pairs.txt",
            "poses": f"{FOLDER}/queries/poses.txt",
        }
    },
    "patch_sets": {
        "walls": {
            "format": "hpatches_patches",
            "generator": "toytown",
            "folder": "toytown/strips",
            "parts": ["i_walls00", "i_walls01", "v_walls00", "v_walls01"],
            "split": "a",
            "pairs": 200,
            "queries": 10,
            "distractors": 30,
        }
    },
    "features": {"sift": SIFT, "scene": {**SIFT, "image_size": 320}},
    "methods": {
        "sift": {"match": "nearest"},
        "scene": {"localise": "pnp", "match": {"ratio": 0.85}},
        "pixels": {"describe": "pixels"},
    },
    "tables": {
        "labels": table(
            "own_asmk",
            [("alderford", "map_medium"), ("alderford", "map_hard"), ("alderford", "mp@10_medium")],
            reference_results=[{"dataset": "alderford", "metric": "map_medium", "paper": 0, "source": "a test"}],
        ),
        "places": table("own", [("streets_test", "recall@1"), ("streets_test", "recall@5")]),
        "pairs": table("sift", [("facades", "mma@3"), ("facades", "homography@3")]),
        "parts": table("pixels", [("drawn", "fpr95_quay"), ("walls", "matching"), ("walls", "verification")]),
        "poses": table("scene", [("square", "within_5m_10deg"), ("square", "median_position")]),
    },
}
# What is varied, as options.yaml and tiny.yaml have it.
VARIED = {
    "alderford": {
        "generator": "toytown",
        "images": "toytown/test/alderford/jpg",
        "ground_truth": "toytown/test/alderford/gnd_alderford.pkl",
        "counts": {"query": 3, "database": 14},
    },
    "own_asmk": {
        "search": "asmk",
        "features": "own_local",
        "codebook": {"features": "own_local", "dataset": "toytown_sfm", "size": 16},
    },
}
TABLES = tuple(TOWN["tables"])


def target(name: str) -> str:
    return f"results/protocols/{name}.csv"


@pytest.fixture(scope="module")
def town(base) -> Bench:
    """A bench where the protocol tables of all families were made once."""
    bench = base.copy("protocols")
    ran = bench.make(*map(target, TABLES), overlay=TOWN, anew=["draw_toytown"])
    rescored = ("rescore_ranking", "rescore_patches", "rescore_matches", "rescore_poses", "build_protocol_table")
    assert [ran.count(rule) for rule in rescored] == [2, 2, 1, 1, len(TABLES)]
    return bench


@pytest.fixture
def why(town, monkeypatch, capsys) -> Callable[..., str]:
    """Runs ``descbench why`` with the same configuration; what it prints, and with ``refused`` what it says."""

    def run(*arguments: str, refused: bool = False) -> str:
        monkeypatch.chdir(town.folder)
        Path("town.yaml").write_text(yaml.safe_dump(merged(town.config, TOWN)))
        status = main(["why", *arguments, "--configfile", "town.yaml"])
        shown = capsys.readouterr()
        assert status == (1 if refused else 0), shown.err
        return shown.err if refused else shown.out

    return run


def rows(bench: Bench, name: str) -> list[dict[str, str]]:
    with (bench.folder / target(name)).open() as stream:
        return list(csv.DictReader(stream))


def values(bench: Bench, name: str, dataset: str, metric: str, *, used: bool = False) -> dict[str, float]:
    """Values of a cell by choice, ours first; with ``used`` those that some code base is known to make."""
    chosen = [row for row in rows(bench, name) if (row["dataset"], row["metric"]) == (dataset, metric)]
    chosen = [row for row in chosen if not used or row["used_by"] or row["choice"] == "ours"]
    return {row["choice"]: float(row["value"]) for row in chosen}


@pytest.mark.parametrize(
    ("name", "dataset", "metric", "fewest", "expected"),
    [
        ("labels", "alderford", "map_medium", 7, {"ap_sum", "ap_100_points", "map_cut_100", "map_at_r"}),
        ("labels", "alderford", "mp@10_medium", 1, {"full_precision"}),
        ("places", "streets_test", "recall@1", 4, {"radius_10m", "radius_100m", "farther_ignored", "share_of_right"}),
        ("pairs", "facades", "mma@3", 8, {"mean_over_pairs", "shared_points", "colmap", "distance_0.7", "one_way"}),
        ("pairs", "facades", "homography@3", 15, {"estimator_usac_magsac", "threshold_2", "corners_first"}),
        ("parts", "drawn", "fpr95_quay", 5, {"roc_interpolated", "nearest_recall", "false_discovery", "equal_passes"}),
        ("parts", "walls", "matching", 6, {"ap_sum", "success", "decimals_5", "second_nearest", "distance_L1"}),
        ("parts", "walls", "verification", 4, {"ap_sum", "auc", "decimals_5", "distance_L1"}),
        ("poses", "square", "within_5m_10deg", 6, {"below", "position_only", "limits_inloc", "centimetres_5_5deg"}),
        ("poses", "square", "median_position", 2, {"mean_errors", "localised_only"}),
    ],
)
def test_every_family_has_its_choices(town, name, dataset, metric, fewest, expected):
    """So many at least that some code base makes."""
    found = values(town, name, dataset, metric)
    assert next(iter(found)) == "ours"
    used = values(town, name, dataset, metric, used=True)
    assert expected <= set(used)
    assert len(used) - 1 >= fewest
    method = TOWN["tables"][name]["rows"][0]["method"]
    scored = read_scores(town.folder / f"results/scores/{method}/{dataset}.json").metrics[metric]
    assert found["ours"] == pytest.approx(scored.value * scored.factor, abs=0.006)


@pytest.mark.parametrize("name", TABLES)
def test_differences_distances_and_spread(town, name):
    """The spread is that of choices which somebody makes; the last table tells of columns with few of them."""
    for row in rows(town, name):
        cell = name, row["dataset"], row["metric"]
        every, used = values(town, *cell), values(town, *cell, used=True)
        assert float(row["difference"]) == pytest.approx(float(row["value"]) - every["ours"], abs=0.006)
        assert (float(row["lowest"]), float(row["highest"])) == (min(used.values()), max(used.values()))
        known = row["metric"] == "map_medium"
        assert row["published"] == ("0" if known else "") or float(row["published"]) == 0
        assert (row["distance"] != "") == known
        if known:
            assert float(row["distance"]) == float(row["value"])
    text = (town.folder / target(name).replace(".csv", ".md")).read_text()
    columns = {(row["dataset"], row["metric"]) for row in rows(town, name)}
    few = [column for column in columns if len(values(town, name, *column, used=True)) <= 6]
    assert ("of other code" in text) == bool(few)


def test_choices_that_say_nothing_are_named_with_the_reason(town):
    text = (town.folder / "results/protocols/pairs.md").read_text()
    assert "`sequences_108` (the dataset has none of the eight sequences" in text
    assert "- On facades, nothing is said by " in text
    assert "| ours | facades mma@3 |" in text


def test_choices_lead_to_pages_and_name_licences(town, monkeypatch):
    """In the Markdown, which alone is written again; it is verified and bundled as it was written."""
    bench = town.copy("protocols-notes")
    page = bench.folder / "results/pages/own/streets_test.html"
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text("a page")
    stated = {"models": {"own_local": {"weights": {"source": "custom", "licence": "CC BY-NC 4.0"}}}}
    before = {name: (bench.folder / target(name)).read_bytes() for name in ("places", "labels")}
    ran = bench.make(*map(target, before), overlay=merged(TOWN, stated))
    assert ran == ["build_protocol_table"] * 2
    assert {name: (bench.folder / target(name)).read_bytes() for name in before} == before
    places, labels = ((bench.folder / target(name)).with_suffix(".md").read_text() for name in before)
    assert set(re.findall(r"\]\((.*?)\)", places)) == {"../pages/own/streets_test.html"}
    assert places.count("](") == len(TOWN["tables"]["places"]["columns"])
    assert "- No commercial use of own_local (CC BY-NC 4.0), which these rows rest on: ours." in labels.splitlines()
    monkeypatch.chdir(bench.folder)
    Path("town.yaml").write_text(yaml.safe_dump(merged(bench.config, merged(TOWN, stated))))
    assert all(verify(target(name), configfiles=["town.yaml"]).differences == [] for name in before)


def test_why_of_a_cell(why, town):
    shown = why(target("labels").replace("protocols/", ""), "ours", "alderford", "map_medium")
    found = values(town, "labels", "alderford", "map_medium")
    used = values(town, "labels", "alderford", "map_medium", used=True)
    best = min(used, key=lambda choice: abs(used[choice]))
    assert f"{best} comes closest: {found[best]:.2f}" in shown
    assert "a hint, not a proof" in shown
    assert all(choice in shown for choice in found if choice != "ours")
    assert why("labels", "own_asmk", "alderford", "map_medium") == shown  # the row by its method


def test_why_of_a_table_and_of_scores(why):
    assert "nothing published" in why("places")
    shown = why("results/scores/own_asmk/alderford.json")
    assert "labels, ours, map_hard of alderford" in shown or "map_medium of alderford" in shown
    assert "beside, ours" in shown


def test_why_takes_every_file_of_a_table_and_of_a_cell(why, town):
    """Of the table and of its choices, from wherever one points at it."""
    shown = why("places")
    files = ("results/places.csv", "results/places.md", target("places"), target("places").replace(".csv", ".md"))
    for file in (*files, str(town.folder / files[0]), f"./results/../{files[0]}"):
        assert why(file) == shown, file
    shown = why("results/scores/own_asmk/alderford.json")
    assert why(str(town.folder / "results/protocols/own_asmk/alderford.json")) == shown


def test_why_names_what_makes_choices_that_are_gone(why, town):
    gone = town.folder / "results/protocols/own/streets_test.json"
    content = gone.read_bytes()
    gone.unlink()
    try:
        said = why("places", refused=True)
    finally:
        gone.write_bytes(content)
    assert "results/protocols/own/streets_test.json: not there yet; `snakemake" in said
    assert "town.yaml -- results/protocols/own/streets_test.json` makes it" in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("results/table2.csv",), "results/protocols/table2.csv: not there yet; `snakemake"),
        (("labels", "nobody"), "there is no row in these cells 'nobody'"),
        (("labels", "ours", "alderford", "map_easy"), "there is no metric in these cells 'map_easy'"),
        (("results/scores/own/nowhere.json",), "no table, and no scores file that a table shows"),
    ],
)
def test_what_why_refuses(why, arguments, message):
    assert message in why(*arguments, refused=True)


def test_keys_of_scoring_change_what_is_a_choice(town):
    """With another threshold the old one is a choice, and the new one is none."""
    bench = town.copy("protocols-threshold")
    overlay = merged(TOWN, {"methods": {"sift": {"threshold": 5.0}}})
    ran = bench.make(target("pairs"), overlay=overlay)
    assert ran == ["score_matches", "rescore_matches", "build_protocol_table"]
    one, other = values(town, "pairs", "facades", "homography@3"), values(bench, "pairs", "facades", "homography@3")
    assert (set(one) - set(other), set(other) - set(one)) == ({"threshold_5"}, {"threshold_3"})
    assert other["threshold_3"] == one["ours"]
    assert other["ours"] == one["threshold_5"]


@pytest.mark.parametrize(
    ("name", "choice", "method", "keys", "cell"),
    [
        ("parts", "distance_L1", "pixels", {"distance": "L1"}, ("walls", "matching")),
        ("pairs", "one_way", "sift", {"mutual": False}, ("facades", "mma@3")),
        ("pairs", "ratio_0.8", "sift", {"ratio": 0.8}, ("facades", "mma@3")),
        ("pairs", "pixels_resized", "sift", {"pixels": "resized"}, ("facades", "mma@3")),
    ],
)
def test_a_choice_is_what_the_key_of_a_method_does(town, name, choice, method, keys, cell):
    """Choices that methods have as keys: the other method's scores are those of the choice."""
    bench = town.copy(f"key-{choice}-{cell[0]}")
    block = {**TOWN["methods"][method], **({"features": "sift"} if method == "sift" else {}), **keys}
    scores = f"results/scores/another/{cell[0]}.json"
    bench.make(scores, overlay=merged(TOWN, {"methods": {"another": block}}))
    metric, found = read_scores(bench.folder / scores).metrics[cell[1]], values(town, name, *cell)
    assert found[choice] == pytest.approx(metric.factor * metric.value, abs=0.006)
    assert found[choice] != found["ours"]


@pytest.mark.parametrize("place", ["scores", "protocols"])
def test_scores_of_something_else_are_refused(town, place):
    bench = town.copy(f"protocols-{place}")
    path = bench.folder / f"results/{place}/sift/facades.json"
    value = read_json(path)
    if place == "scores":
        value["metrics"]["mma@3"]["value"], value["per_query"]["mma@3"] = 0.5, [0.5] * 10
    else:
        value["scores"] = "0" * 64
    path.unlink()  # files of a copied bench are linked
    write_checked_json(path, value)
    rule = "rescore_matches" if place == "scores" else "build_protocol_table"
    job = next(job for job in bench.jobs(target("pairs"), overlay=TOWN, anew=[rule]) if job.rule.name == rule)
    message = "but the results that it was made from give" if place == "scores" else "compared with other scores"
    with pytest.raises(RefusedError, match=message):
        bench.run(job)


@pytest.mark.parametrize(
    ("name", "folder", "suffix"),
    [
        ("pairs", "matches", ".h5"),
        ("parts", "descriptors", ".h5"),
        ("parts", "patches", ".h5"),
        ("poses", "poses", ".txt"),
        ("poses", "reconstructions", ".bin"),
        ("poses", "reconstructions", ".json"),
        ("poses", "matches", ".h5"),
    ],
)
def test_verify_names_damage_in_every_family(town, monkeypatch, name, folder, suffix):
    bench = town.copy(f"verify-{name}-{folder}{suffix}")
    bench.make(f"results/{name}.csv", overlay=TOWN)
    monkeypatch.chdir(bench.folder)
    Path("town.yaml").write_text(yaml.safe_dump(merged(bench.config, TOWN)))
    whole = verify(name, configfiles=["town.yaml"])
    assert whole.differences == []
    cells = [
        (column["dataset"], TOWN["tables"][name]["rows"][0]["method"]) for column in TOWN["tables"][name]["columns"]
    ]
    of_cells = {part for cell in cells for part in cell}
    files = {
        path
        for path in Path("results", folder).rglob(f"*{suffix}")
        if of_cells & {*path.parts, path.parts[-1].partition(".")[0]}
    }
    assert files
    for path in files:
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.unlink()  # files of a copied bench are linked
        path.write_bytes(content)
    found = verify(name, configfiles=["town.yaml"])
    assert {one.name for one in found.differences} == {str(path) for path in files}


@pytest.mark.parametrize(("name", "rescoring"), [("labels", "rescore_ranking"), ("parts", "rescore_patches")])
def test_a_bundle_of_a_protocol_table(town, monkeypatch, tmp_path, name, rescoring):
    """With the scores under other choices that it was written from; checked by the validator of RO-Crates."""
    monkeypatch.chdir(town.folder)
    Path("town.yaml").write_text(yaml.safe_dump(merged(town.config, TOWN)))
    written = bundle_table(target(name), tmp_path / "b.zip", configfiles=["town.yaml"])
    names, wrote = unpacked(written, tmp_path / "b")
    assert wrote[-1] == [f"protocols/{name}.csv", f"protocols/{name}.md"]
    method = TOWN["tables"][name]["rows"][0]["method"]
    choices = {f"protocols/{method}/{column['dataset']}.json" for column in TOWN["tables"][name]["columns"]}
    assert choices < names
    assert choices == {one for results in wrote[:-1] for one in results if one.startswith("protocols/")}
    assert rescoring in (tmp_path / "b/ro-crate-metadata.json").read_text()
    assert [problems(tmp_path / "b", profile) for profile in PROFILES] == [[], []]
    assert verify(written).differences == []
    assert verify(target(name), configfiles=["town.yaml"]).differences == []


def test_verify_names_damaged_and_stale_choices(town, monkeypatch):
    bench = town.copy("verify-choices")
    monkeypatch.chdir(bench.folder)
    Path("town.yaml").write_text(yaml.safe_dump(merged(bench.config, TOWN)))
    path = Path("results/protocols/own_asmk/alderford.json")
    value, text = read_json(path), path.read_text()
    path.unlink()  # files of a copied bench are linked
    path.write_text(text.replace("0", "1", 1))
    (one,) = verify(target("labels"), configfiles=["town.yaml"]).differences
    assert (one.name, "damaged or edited" in one.told) == (str(path), True)
    write_checked_json(path, {**value, "scores": "0" * 64})
    (one,) = verify(target("labels"), configfiles=["town.yaml"]).differences
    assert (one.name, "compared with other scores" in one.told) == (str(path), True)


def otherwise(**keys) -> dict:
    """The town with results that were made otherwise: whole queries, or features of fewer descriptors."""
    whole = {**VARIED["alderford"], "format": "revisitop_whole"}
    variant = {"choice": "other", "text": "something else", "used_by": "somebody", **keys}
    table = {**TOWN["tables"]["labels"], "variants": [variant]}
    fewer = {**VARIED["own_asmk"], "n": 5}
    return merged(TOWN, {"datasets": {"whole": whole}, "methods": {"fewer": fewer}, "tables": {"labels": table}})


@pytest.mark.parametrize(
    ("keys", "cell"),
    [
        ({"datasets": {"alderford": "whole"}}, ("own_asmk", "whole")),
        ({"methods": {"own_asmk": "fewer"}}, ("fewer", "alderford")),
    ],
)
def test_results_that_were_made_otherwise(town, keys, cell):
    """On demand they are shown once they are there; otherwise they are computed."""
    bench = town.copy(f"otherwise-{cell[0]}")
    scores = f"results/scores/{cell[0]}/{cell[1]}.json"
    overlay = otherwise(**keys)
    assert bench.make(target("labels"), overlay=overlay) == ["build_protocol_table"]
    assert "other" not in values(bench, "labels", "alderford", "map_medium")
    text = (bench.folder / "results/protocols/labels.md").read_text()
    assert f"`other` ({cell[0]} on {cell[1]} was not scored)" in text
    wanted = otherwise(**keys, on_demand=False)
    assert bench.planned(target("labels"), overlay=wanted)["score_ranking"] == 1
    bench.make(scores, overlay=overlay)
    assert bench.make(target("labels"), overlay=overlay) == ["build_protocol_table"]
    found = values(bench, "labels", "alderford", "map_medium")
    scored = read_scores(bench.folder / scores).metrics["map_medium"]
    assert found["other"] == pytest.approx(100 * scored.value, abs=0.006)
    assert found["other"] != found["ours"]
    assert {row["used_by"] for row in rows(bench, "labels") if row["choice"] == "other"} == {"somebody"}
    assert bench.make(target("labels"), overlay=wanted) == ["build_protocol_table"]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({}, "has neither `datasets` nor `methods`"),
        ({"datasets": {"photos": "alderford"}}, "'photos' is in no column of this table"),
        ({"datasets": {"alderford": "streets_test"}}, "map_medium"),
        ({"methods": {"own_asmk": "sift"}}, "scores methods of family retrieval, and this one is of family matching"),
    ],
)
def test_variants_that_do_not_fit(town, monkeypatch, keys, message):
    monkeypatch.chdir(town.folder)
    Path("wrong.yaml").write_text(yaml.safe_dump(merged(town.config, otherwise(**keys))))
    with pytest.raises(ConfigError, match=re.escape(message)):
        load_config_files(Path("wrong.yaml"), home=town.project)
