"""The shape of the DAG: what a target needs, and what a change reruns."""

import csv
import json
import shutil
from dataclasses import replace

import pytest

from descbench.config.load import load_config_files
from descbench.plan import Plan
from descbench.tables.table import SYNTHETIC_COLUMNS

CELL = "results/scores/how_n30/alderford.json"
TABLE = "results/table2.csv"


def method(**changes):
    return {"methods": {"how_n30": changes}}


def test_nothing_is_left_to_do(finished):
    assert finished.planned(TABLE) == {}


def test_a_bare_snakemake_builds_everything(workplace):
    assert {"draw_toytown", "build_table", "build_report"} <= workplace.planned().keys()


def test_alpha_reruns_search_and_scores_only(finished):
    jobs = finished.planned(TABLE, overlay=method(query={"alpha": 2.0}))
    # 14 images in shards of 10: two shards are searched again.
    assert jobs == {"search_index": 2, "merge_rankings": 1, "score_ranking": 1, "build_table": 1}


def test_n_reuses_features(finished):
    jobs = finished.planned(TABLE, overlay=method(n=20))
    assert "extract_features" not in jobs
    assert {"train_codebook", "build_index", "search_index"} <= jobs.keys()


def test_scales_extract_again(finished):
    jobs = finished.planned(TABLE, overlay={"features": {"how": {"scales": [1.0, 0.5]}}})
    # Database in two shards, queries in one; the codebook's own features are another block.
    assert jobs["extract_features"] == 3
    assert "train_codebook" not in jobs


def test_label_of_a_table_reruns_the_table_only(finished):
    overlay = {"tables": {"table2": {"title": "Another title"}}}
    assert finished.planned(TABLE, overlay=overlay) == {"build_table": 1}


@pytest.mark.parametrize(
    ("target", "last"),
    [
        ("results/manifests/alderford.csv", "build_manifest"),
        ("results/checkpoints/how_r18.pt", "convert_checkpoint"),
        ("results/features/how/alderford/query/00000.h5", "extract_features"),
        ("results/codebooks/how_n30.h5", "train_codebook"),
        ("results/indexes/how_n30/alderford/00001.h5", "build_index"),
        ("results/rankings/how_n30/alderford.h5", "merge_rankings"),
        (CELL, "score_ranking"),
        ("results/table2.csv", "build_table"),
        ("results/report.html", "build_report"),
    ],
)
def test_every_intermediate_file_is_a_target(workplace, target, last):
    assert last in workplace.planned(target)


def test_official_table_plans_offline(workplace):
    """The real thing: downloads by archive, one codebook a method, two shards of RParis."""
    jobs = workplace.planned("results/table2.csv", config="config/config.yaml")
    assert jobs["train_codebook"] == 3
    assert jobs["build_index"] == 9
    assert jobs["convert_checkpoint"] == 2
    # Two ROxford/RParis queries and three database shards for each of two networks, four training shards.
    assert jobs["extract_features"] == 2 * (2 + 3 + 4)
    # Oxford, two of Paris, two ground truths, SfM images and list, two networks.
    assert jobs["download_source"] == 9


def test_weights_of_netvlad_are_a_chain(workplace):
    """Published backbone, clusters of training images, the layer set from them, a whitening behind it."""
    target = "results/checkpoints/netvlad_vgg16_clustered_pca4096.pt"
    jobs = workplace.planned(target, config="config/config.yaml")
    chain = ("convert_checkpoint", "cluster_descriptors", "initialise_checkpoint", "pca_checkpoint")
    assert [jobs[rule] for rule in chain] == [1, 1, 1, 1]
    assert jobs["build_manifest"] == 1


def test_fire_table_plans_offline_and_without_distractors(workplace):
    jobs = workplace.planned("results/table3.csv", config="config/config.yaml")
    # The released network, its start, and what is made of that: off the shelf, trained here.
    assert (jobs["convert_checkpoint"], jobs["whiten_checkpoint"], jobs["train_checkpoint"]) == (2, 1, 1)
    assert jobs["train_codebook"] == 3
    # Queries of three datasets; one database shard of ROxford and of the validation list, two of RParis; four of
    # training images.
    assert jobs["extract_features"] == 3 * (3 + 4 + 4)
    assert jobs["score_ranking"] == 3 * 3


def test_fire_in_the_demo_is_trained_there(workplace):
    """One network three times: drawn, whitened, trained; the last two are rows of the table."""
    jobs = workplace.planned("results/demo/table3.csv", config="config/demo.yaml")
    assert jobs["draw_toytown"] == 1
    assert (jobs["convert_checkpoint"], jobs["whiten_checkpoint"], jobs["train_checkpoint"]) == (1, 1, 1)
    assert jobs["extract_features"] == 2 * (1 + 2 * 2)
    assert jobs["score_ranking"] == 2 * 2


def test_netvlad_in_the_demo_is_trained_there(workplace):
    """A network with clusters, as it is drawn and trained, beside maximum pooling; and a page of results."""
    targets = ["results/demo/table1.csv", "results/demo/pages/netvlad_alexnet_trained/streets_test.html"]
    jobs = workplace.planned(*targets, config="config/demo.yaml")
    chain = ("convert_checkpoint", "cluster_descriptors", "initialise_checkpoint", "train_checkpoint")
    assert [jobs[rule] for rule in chain] == [2, 1, 1, 1]
    assert (jobs["extract_features"], jobs["search_flat"], jobs["show_places"]) == (2 * 3, 3, 1)


def test_place_recognition_table_plans_offline(workplace):
    """Off the shelf, trained, whitened and released; dimensions of one whitening share its descriptors."""
    jobs = workplace.planned("results/table1.csv", config="config/config.yaml")
    rules = ("cluster_descriptors", "initialise_checkpoint", "train_checkpoint", "pca_checkpoint")
    assert [jobs[rule] for rule in rules] == [2, 2, 4, 2]
    assert jobs["score_ranking"] == jobs["merge_rankings"] == 17 * 4
    # A network once for each dataset of the table, whatever dimensions of it rows use; its images in shards of 5,000.
    config = load_config_files(workplace.folder / "config/config.yaml")
    plan, cells = Plan(config), Plan(config).table_cells("table1")
    needed = {(config.methods[method].features, dataset) for method, dataset in cells}
    shards = sum(len(plan.shards(dataset, role)) for _, dataset in needed for role in ("query", "database"))
    assert len(needed) < len(cells)
    assert jobs["extract_features"] == shards


def test_a_million_distractors_plan_by_shard(workplace):
    """Downloads by archive, features and index by shard, one merge for each method and dataset."""
    jobs = workplace.planned("results/table2_r1m.csv", config="config/config.yaml")
    # The nine of table2, a hundred archives and their list.
    assert jobs["download_source"] == 9 + 101
    assert jobs["unpack_source"] == 9
    # 201 shards of distractors for each of two networks.
    assert jobs["extract_features"] == 2 * (2 + 3 + 4 + 201)
    assert jobs["build_index"] == 3 * (1 + 2 + 201)
    assert jobs["search_index"] == 3 * (1 + 2 + 201 + 1 + 201 + 2)
    assert jobs["merge_rankings"] == jobs["score_ranking"] == 3 * 4


def test_distractors_of_fire_are_asked_for_by_name(workplace):
    jobs = workplace.planned("results/table3_r1m.csv", config="config/config.yaml")
    assert jobs["build_index"] == 201 + 1 + 2
    usual = workplace.planned(config="config/config.yaml")
    # All usual tables: none of them needs the million.
    tables = load_config_files(workplace.project / "config/config.yaml", home=workplace.project).tables.values()
    assert usual["build_table"] == sum(not table.on_demand for table in tables)
    assert usual["build_index"] < 201


def asked(**changes):
    """The tiny table with a column that is shown when its scores are there."""
    column = {"dataset": "val_eccv20", "metric": "map", "label": "val", "on_demand": True}
    first = {"dataset": "alderford", "metric": "map_medium", "label": "Alderford (M)"}
    return {"tables": {"table2": {"columns": [first, column]}}, **changes}


def test_scores_shown_when_asked_are_read_but_never_computed(finished, tmp_path):
    work = replace(finished, folder=tmp_path / "work")
    shutil.copytree(finished.folder, work.folder)
    table, scores = work.folder / TABLE, "results/scores/how_n30/val_eccv20.json"
    assert work.planned(TABLE, overlay=asked()) == {"build_table": 1}
    work.run("--cores", "1", TABLE, overlay=asked())
    assert table.read_text().splitlines()[-1].endswith(",val_eccv20,map,,,,,")
    work.run("--cores", "2", scores, overlay=asked())
    # The table is written again because the scores are there now.
    assert work.planned(TABLE, overlay=asked()) == {"build_table": 1}
    work.run("--cores", "1", TABLE, overlay=asked())
    row = next(csv.DictReader([",".join(SYNTHETIC_COLUMNS), table.read_text().splitlines()[-1]]))
    expected = json.loads((work.folder / scores).read_text())["metrics"]["map"]["value"]
    assert float(row["ours"]) == round(100 * expected, 2)
    assert row["provenance"] == "results/provenance/how_n30/val_eccv20.json"
    # Scores of another configuration are not shown beside new ones.
    other = asked(**method(query={"alpha": 2.0}))
    work.run("--cores", "2", TABLE, overlay=other)
    assert table.read_text().splitlines()[-1].endswith(",val_eccv20,map,,,,,")


def test_released_descriptors_need_neither_network_nor_images(workplace):
    jobs = workplace.planned("results/table2_released.csv", config="config/config.yaml")
    assert "extract_features" not in jobs
    assert "convert_checkpoint" not in jobs
    # Nine pickles of descriptors, two of ground truth.
    assert jobs["download_source"] == 11


def test_global_rows_are_searched_flat(workplace):
    jobs = workplace.planned("results/table2_global.csv", config="config/config.yaml")
    # One shard of ROxford, two of RParis.
    assert (jobs["search_flat"], jobs["merge_rankings"]) == (8 * 3, 16)
    assert "train_codebook" not in jobs


def test_global_rows_are_searched_among_distractors_by_shard(workplace):
    jobs = workplace.planned("results/scores/gem_sfm120k_vgg16/rparis6k_r1m.json", config="config/config.yaml")
    assert (jobs["search_flat"], jobs["merge_rankings"]) == (201 + 2, 1)


def test_distractors_are_indexed_and_searched_by_shard(workplace):
    jobs = workplace.planned("results/rankings/how_r18_n1000/roxford5k_r1m.h5", config="config/config.yaml")
    # 1,001,001 images in shards of 5,000, and ROxford in one.
    assert jobs["build_index"] == jobs["search_index"] == 201 + 1


def test_wrong_configuration_is_refused_before_any_job(workplace):
    result = workplace.run("-n", TABLE, overlay=method(query={"alpa": 2.0}), check=False)
    assert result.returncode != 0
    message = "overlay.yaml: methods.how_n30.query.alpa: unknown key (did you mean 'alpha'?)"
    assert message in result.stdout + result.stderr
    assert not (workplace.folder / "results").exists()


def test_a_bag_of_descriptors_is_read_whole(project, monkeypatch):
    """Its one pseudo-image holds all descriptors; a method's n an image would leave next to none."""
    monkeypatch.chdir(project)
    plan = Plan(load_config_files("config/config.yaml"))
    assert plan.codebook_n("how_r18_n1000_released") is None
    assert plan.codebook_n("how_r18_n1000") == 1000


def streets(folder, **block):
    """A dataset of the user's own, whose file names say where each photograph was taken, and a method for it."""
    for role, steps in (("database", range(0, 120, 10)), ("queries", (3, 52))):
        (folder / role).mkdir(parents=True)
        for step in steps:
            (folder / role / f"@{584291 + step}.5@4476686.25@17@T@@@.jpg").touch()
    dataset = {"format": "utm_names", "database": str(folder / "database"), "queries": str(folder / "queries")}
    return {
        "datasets": {"streets": dataset | block},
        "models": {"gem": {"architecture": "gem", "backbone": "resnet101", "weights": {"source": "random"}}},
        "features": {"gem": {"kind": "global", "model": "gem"}},
        "methods": {"gem": {"search": "euclidean", "features": "gem"}},
    }


def test_datasets_without_positions_have_a_page_of_ranked_images(workplace):
    jobs = workplace.planned("results/pages/how_n30/alderford.html")
    assert jobs["show_ranking"] == 1
    assert "show_places" not in jobs


def test_photographs_with_positions_in_their_names_need_no_code(workplace, tmp_path):
    overlay = streets(tmp_path / "streets", radius=10)
    jobs = workplace.planned("results/scores/gem/streets.json", overlay=overlay)
    # Twelve database images in shards of ten, and the queries.
    assert jobs["extract_features"] == 3
    assert (jobs["build_manifest"], jobs["search_flat"], jobs["merge_rankings"]) == (1, 2, 1)
    assert "download_source" not in jobs
    assert workplace.planned("results/pages/gem/streets.html", overlay=overlay)["show_places"] == 1
    manifest = "results/manifests/streets.csv"
    workplace.run("--cores", "1", manifest, overlay=overlay)
    lines = (workplace.folder / manifest).read_text().splitlines()
    assert lines[0] == "image_id,path,role,easting,northing,content"
    assert lines[-1].startswith("1,queries/@584343.5@4476686.25@17@T@@@.jpg,query,584343.5,4476686.25,")
    labels = json.loads((workplace.folder / "results/manifests/streets.gt.json").read_text())
    assert labels["positives"] == [[0, 1], [5, 6]]
    assert workplace.planned(manifest, overlay=overlay) == {}
    # A photograph more is noticed.
    (tmp_path / "streets/queries/@584299.0@4476686.25@17@T@@@.jpg").touch()
    assert workplace.planned(manifest, overlay=overlay) == {"build_manifest": 1}


def test_pittsburgh_and_tokyo_plan_offline(workplace):
    """Lists come from one small archive; photographs are a source of their own, which manifests do not need."""
    config = "config/config.yaml"
    for name in ("pitts30k_val", "pitts250k_test", "tokyo247", "tokyotm_val"):
        jobs = workplace.planned(f"results/manifests/{name}.csv", config=config)
        assert jobs == {"download_source": 1, "unpack_source": 1, "build_manifest": 1}
