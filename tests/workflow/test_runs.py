"""Whole runs: the tiny town, photographs of one's own, killed jobs, no network."""

import copy
import csv
import json
import os
import pickle
import re
import shutil
import signal
import subprocess
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from in_process import RefusedError
from plain_scores import plain_map

from descbench.cli import main
from descbench.config.load import load_config_files
from descbench.features.store import ShardReader
from descbench.models.checkpoints import build_network, checkpoint_digest
from descbench.retrieval.ranking import read_ranking
from workplaces import Workplace

TABLE = "results/table2.csv"


def test_tiny_table(finished):
    with open(finished.folder / TABLE, newline="") as stream:
        lines = list(csv.DictReader(stream))
    assert [(line["dataset"], line["metric"]) for line in lines] == [
        ("alderford", "map_medium"),
        ("alderford", "map_hard"),
    ]
    results = finished.folder / "results"
    medium = plain_map(results, "how_n30", "alderford", ("easy", "hard"), ("junk",))
    hard = plain_map(results, "how_n30", "alderford", ("hard",), ("junk", "easy"))
    assert [float(line["ours"]) for line in lines] == [round(100 * medium, 2), round(100 * hard, 2)]
    assert medium != hard
    assert "paper" not in lines[0]
    provenance = json.loads((finished.folder / lines[0]["provenance"]).read_text())
    assert provenance["configuration"]["methods"]["how_n30"]["query"]["alpha"] == 3.0
    assert len(provenance["features"]["checkpoint"]) == 64
    assert provenance["versions"]["torch"]


def test_report_page(finished):
    """With what its cells rest on, times of the jobs, and the stages of the run."""
    page = (finished.folder / "results/report.html").read_text()
    assert '<table id="table2">' in page
    assert '<a href="provenance/how_n30/alderford.json">' in page
    times = re.findall(r'<th scope="row">(\w+)</th><td class="number">(\d+)</td><td class="number">[0-9.]+</td>', page)
    assert {("extract_features", "5"), ("build_index", "2"), ("score_ranking", "1")} <= set(times)
    assert re.search(r"<text [^>]*>search_index</text>\n<text [^>]*>2 jobs</text>", page)
    assert "<li>build_report, 1 job: after score_ranking</li>" in page
    assert re.search(r"<dt>scored on</dt><dd>[^<]* cores, [^<]* GiB memory", page)


def test_the_report_of_snakemake(finished, tmp_path):
    """Tables and report with captions, categories and labels."""
    work = shutil.copytree(finished.folder, tmp_path / "work", symlinks=True)
    finished = Workplace(work, finished.project)
    finished.run("results/table2.csv", "results/report.html", "--report", "snakemake.html")
    page = (work / "snakemake.html").read_text()
    for text in (
        "All tables on one page",
        "table2 as tidy CSV",
        '"Tables"',
        '"Report"',
        "Benchmark tables of image retrieval",
    ):
        assert text in page, text


def test_every_job_left_a_log(finished):
    logs = {path.parts[1] for path in (p.relative_to(finished.folder) for p in finished.folder.glob("logs/**/*.log"))}
    assert {"extract_features", "train_codebook", "build_index", "search_index", "score_ranking"} <= logs


def test_small_images_take_one_thread(bench):
    """Below 2 x 320 x 320 pixels a second thread would wait most of the time."""
    sizes = {"how": 452, "larger": 453}
    block = {"kind": "local", "model": "how_r18", "scales": [1.0]}
    overlay = {"features": {name: {**block, "image_size": size} for name, size in sizes.items()}}
    targets = [f"results/features/{name}/alderford/query/00000.h5" for name in sizes]
    jobs = [job for job in bench.jobs(*targets, overlay=overlay) if job.rule.name == "extract_features"]
    assert [{job.wildcards.features: job.threads for job in jobs}[name] for name in sizes] == [1, 2]


def test_validation_list_runs_in_one_open_shard(finished, bench):
    """val_eccv20 has no official count in the catalogue: one shard holds whatever the list holds."""
    bench.make("results/scores/how_n30/val_eccv20.json")
    scores = json.loads((bench.folder / "results/scores/how_n30/val_eccv20.json").read_text())
    assert scores["protocol"] == "classic"
    expected = plain_map(bench.folder / "results", "how_n30", "val_eccv20", ("ok",), ("junk",))
    assert scores["metrics"]["map"]["value"] == pytest.approx(expected, abs=1e-12)


def test_released_descriptors_give_the_same_scores(finished, bench):
    """From pickles in the authors' form of the very descriptors of the tiny table: no image, no network."""
    write_released(finished, bench.folder / "r.pkl", bench.folder / "bag.pkl")
    files = {"alderford": "r.pkl", "bag": "bag.pkl"}
    overlay = {
        "sources": {name: {"local_copy": str(bench.folder / name)} for name in files.values()},
        "datasets": {"bag": {"format": "descriptor_bag", "counts": {"train": 1}}},
        "features": {"released": {"kind": "released", "files": files}},
        "methods": {
            "released": {
                "search": "asmk",
                "features": "released",
                "n": 30,
                "codebook": {"features": "released", "dataset": "bag", "images": None, "size": 16},
            }
        },
    }
    target = "results/scores/released/alderford.json"
    planned = bench.planned(target, overlay=overlay)
    assert not {"extract_features", "convert_checkpoint"} & planned.keys()
    bench.make(target, overlay=overlay)
    ours, theirs = (
        json.loads(path.read_text())
        for path in (bench.folder / target, finished.folder / "results/scores/how_n30/alderford.json")
    )
    assert (ours["cell"], theirs["cell"]) == ("released on alderford", "how_n30 on alderford")
    alike = set(ours) - {"cell", "checksum"}
    assert {key: ours[key] for key in alike} == {key: theirs[key] for key in alike}


def write_released(finished, images, bag):
    """The strongest 30 features of each image: those of a dataset, and those that its codebook was learned from."""

    def features(block, dataset, role):
        shards = sorted((finished.folder / "results/features" / block / dataset / role).glob("*.h5"))
        blocks = []
        for path in shards:
            with ShardReader(path) as shard:
                blocks.append(shard.read(n=30))
        return np.concatenate([b.descriptors for b in blocks]), np.concatenate([b.image_ids for b in blocks])

    vecs, imids = features("how", "alderford", "database")
    qvecs, qimids = features("how", "alderford", "query")
    images.write_bytes(pickle.dumps({"vecs": vecs, "imids": imids, "qvecs": qvecs, "qimids": qimids}, protocol=2))
    bag.write_bytes(pickle.dumps({"vecs": features("how_single", "toytown_sfm", "train")[0]}, protocol=2))


def test_whitened_and_trained_checkpoints(bench):
    """Drawn -> whitened -> trained with a validation, and a report with the learning curve."""

    def model(**weights):
        return {"architecture": "how", "backbone": "resnet18", "skip_layer": 1, "weights": weights}

    validation = {"dataset": "val_eccv20", "every": 1, "image_size": 96, "scales": [1.0], "n": 20}
    overlay = {
        "models": {
            "how_r18": model(source="random"),
            "whitened": model(source="whitened", start="how_r18", dataset="toytown_sfm", image_size=96),
            "trained": model(source="train", start="whitened", training="brief"),
        },
        "training": {
            "brief": {
                "recipe": "how",
                "dataset": "toytown_sfm",
                "image_size": 96,
                "epochs": 2,
                "learning_rate": 1e-4,
                "negatives": 2,
                "queries": 4,
                "pool": 20,
                "batch": 2,
                "validation": {**validation, "codebook_size": 16},
            }
        },
        "features": {"how": {"model": "trained"}, "how_single": {"model": "trained"}},
    }
    assert bench.planned("results/report.html", overlay=overlay)["train_checkpoint"] == 1
    features = "results/features/how/alderford/query/00000.h5"
    bench.make("results/training/trained/history.csv", features, overlay=overlay)
    with open(bench.folder / "results/training/trained/history.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    scores = [float(row["score"]) for row in rows]
    assert [row["best"] for row in rows] == ["1", "1" if scores[1] > scores[0] else "0"]
    assert (bench.folder / "results/checkpoints/trained.pt").is_file()
    # How many processes load images decides nothing; one epoch more goes on from the state.
    brief = overlay["training"]["brief"]
    more = [{**overlay, "training": {"brief": {**brief, **change}}} for change in ({"workers": 2}, {"epochs": 3})]
    assert bench.planned(features, overlay=more[0]) == {}
    assert bench.planned(features, overlay=more[1]) == {"train_checkpoint": 1, "extract_features": 1}
    # A deleted checkpoint comes back from the state, without training again.
    (bench.folder / "results/checkpoints/trained.pt").unlink()
    log = bench.folder / "logs/train_checkpoint/trained.log"
    bench.make("results/checkpoints/trained.pt", overlay=overlay)
    assert "epoch 2 of 2" not in log.read_text()
    bench.make(features, overlay=more[1])
    assert "epoch 3 of 3" in log.read_text()
    assert "epoch 2 of 3" not in log.read_text()
    with ShardReader(bench.folder / features) as shard:
        assert shard.info.checkpoint == checkpoint_digest(bench.folder / "results/checkpoints/trained.pt")


def test_photographs_of_ones_own(bench, real_data):
    landmarks = real_data / "landmarks"
    overlay = {
        "datasets": {
            "mine": {
                "format": "folder",
                "database": str(landmarks / "images"),
                "ground_truth": str(landmarks / "gnd_landmarks.json"),
            }
        },
        "methods": {"how_n30": {"codebook": {"dataset": "mine", "role": "database"}}},
    }
    bench.make("results/scores/how_n30/mine.json", overlay=overlay)
    scores = json.loads((bench.folder / "results/scores/how_n30/mine.json").read_text())
    assert scores["num_queries"] == 4
    expected = plain_map(bench.folder / "results", "how_n30", "mine", ("easy", "hard"), ("junk",))
    assert scores["metrics"]["map_medium"]["value"] == pytest.approx(expected, abs=1e-12)
    with ShardReader(bench.folder / "results/features/how/mine/database/00000.h5") as shard:
        assert shard.num_images == 10


@pytest.fixture
def photographs(finished, tmp_path):
    """Folders of six photographs and two queries."""
    pictures = sorted((finished.folder / "data/datasets/toytown/test/alderford/jpg").glob("*.jpg"))
    for role, chosen in (("photographs", pictures[:6]), ("queries", pictures[-2:])):
        (tmp_path / role).mkdir()
        for picture in chosen:
            shutil.copy(picture, tmp_path / role)
    return tmp_path


def test_the_recipe_of_the_readme_takes_one_download(workplace, project, photographs):
    """Its configuration, its target, the official catalogue; the one file that is fetched is a stand-in here."""
    text = (project / "README.md").read_text()
    block = re.search(r"    # mine\.yaml\n((?:    .*\n)+)\n(?:    descbench .*\n)?    snakemake .* -- (\S+)\n", text)
    recipe = yaml.safe_load(textwrap.dedent(block[1]).replace("/path/to", str(photographs)))
    config = workplace.folder / "config/config.yaml"
    fetched = re.findall(r"Fetch (\S+)", workplace.run("-n", block[2], overlay=recipe, config=config).stdout)
    (weights,) = set(fetched)
    model = load_config_files(project / "config/config.yaml").models["gem_sfm120k_tl_r50"]
    standin = {"state_dict": build_network(model).state_dict(), "meta": {"mean": [0.5] * 3, "std": [0.25] * 3}}
    torch.save(standin, workplace.folder / weights)
    copy = {"local_copy": str(workplace.folder / weights), "sha256": None}
    overlay = {
        **recipe,
        "sources": {weights: copy},
        "device": "cpu",
        "features": {"gem_sfm120k_tl_r50": {"image_size": 96}},
    }
    workplace.run("--cores", "2", block[2], overlay=overlay, config=config)
    ranking = read_ranking(workplace.folder / block[2])
    assert [sorted(row) for row in ranking.image_ids.tolist()] == [list(range(6))] * 2


def test_killed_job_and_rerun_give_the_same_table(finished, workplace):
    process = subprocess.Popen(
        workplace.command("--cores", "1", TABLE),
        cwd=workplace.folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    features = workplace.folder / "results/features"
    deadline = time.monotonic() + 200
    while not list(features.glob("**/*.tmp-*")) and time.monotonic() < deadline:
        assert process.poll() is None, "the run ended before a shard was being written"
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    # A shard that was being written is there under a temporary name at most.
    workplace.run("--unlock")
    workplace.run("--cores", "2", TABLE)
    assert (workplace.folder / TABLE).read_bytes() == (finished.folder / TABLE).read_bytes()


def test_no_network_names_every_missing_file(workplace):
    overlay = {
        "offline": True,
        "results_dir": "elsewhere",
        "sources": {"how_r18.pth": {"mirrors": ["http://127.0.0.1:9/how_r18.pth"]}},
    }
    config = "config/config.yaml"
    targets = ("elsewhere/checkpoints/how_r18.pt", "elsewhere/manifests/roxford5k.csv")
    result = workplace.run("--cores", "1", *targets, overlay=overlay, config=config, check=False)
    assert result.returncode != 0
    assert "how_r18.pth: no address gave the file" in result.stderr
    assert "http://127.0.0.1:9/how_r18.pth" in result.stderr
    assert "gnd_roxford5k.pkl: no address gave the file" in result.stderr
    assert "sources: {gnd_roxford5k.pkl: {local_copy:" in result.stderr
    # One table at the end of all, and nothing of it is kept.
    table = result.stderr[result.stderr.index("2 files are missing:") :]
    assert [line.split()[1] for line in table.splitlines()[2:4]] == [
        "data/raw/gnd_roxford5k.pkl",
        "data/raw/how_r18.pth",
    ]
    assert not list(workplace.folder.glob(".snakemake/downloads-*"))
    left = [p for p in workplace.folder.glob("data/**/*") if p.is_file()]
    assert left == []
    assert not list(Path(workplace.folder / "elsewhere").glob("**/*.csv"))


@pytest.mark.parametrize("name", ["demo.yaml", "config.yaml"])
def test_linter_is_content(project, workplace, name):
    result = workplace.run("--lint", config=f"config/{name}", check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def make_kapture(folder: Path, photographs: list[Path]) -> str:
    """A kapture folder of these photographs, each at a moment of its own."""
    sensors = folder / "sensors"
    (sensors / "records_data").mkdir(parents=True)
    (sensors / "sensors.txt").write_text("# kapture format: 1.1\ncam, , camera, UNKNOWN_CAMERA, 160, 120\n")
    rows = [f"{moment}, cam, {path.name}" for moment, path in enumerate(photographs)]
    (sensors / "records_camera.txt").write_text("# kapture format: 1.1\n" + "\n".join(rows) + "\n")
    for path in photographs:
        (sensors / "records_data" / path.name).symlink_to(path)
    return str(folder)


def test_pairs_of_kapture_folders(finished, bench, project, monkeypatch, capsys):
    """The target and the command line write the same file, from the same codebook."""
    photographs = sorted((finished.folder / "data/datasets/toytown/test/alderford/jpg").glob("*.jpg"))
    seen, asked = (
        make_kapture(bench.folder / name, part)
        for name, part in (
            ("seen", photographs[:7]),
            ("asked", photographs[5:9]),
        )
    )
    overlay = {
        "datasets": {
            "seen": {"format": "kapture", "folder": seen, "shard_size": 3},
            "asked": {"format": "kapture", "folder": asked},
        },
        "pairs_top_k": 4,
    }
    targets = [f"results/pairs/how_n30/seen__{name}.txt" for name in ("asked", "seen")]
    bench.make(*targets, overlay=overlay)
    lines = (bench.folder / targets[0]).read_text().splitlines()
    assert len(lines) == 1 + 4 * 4
    assert all(len(set(line.split(", ")[:2])) == 2 for line in lines[1:])
    assert bench.planned(*targets, overlay=overlay) == {}
    monkeypatch.chdir(bench.folder)
    again = ["pairs", "--method", "how_n30", "--map", seen, "--top-k", "4", "--configfile", "tiny.yaml"]
    for more, target in ((["--query", asked, "--work", "w"], targets[0]), (["--work", "w"], targets[1])):
        assert main([*again, *more, "-o", "pairs.txt"]) == 0
        assert (bench.folder / "pairs.txt").read_text() == (bench.folder / target).read_text()
    # Kept features are used again, and not those of other photographs.
    kept = bench.folder / "w/map-00000000.h5"
    before = kept.stat().st_mtime_ns
    assert main([*again, "--work", "w", "-o", "pairs.txt"]) == 0
    assert kept.stat().st_mtime_ns == before
    # Images of the map are compared with the folder's, as are those of the queries.
    copy = bench.copy("pairs-of-others")
    Path(copy.folder, targets[0]).unlink()
    copy.put("results/indexes/how_n30/seen/00001.h5", "results/indexes/how_n30/seen/00000.h5")
    with pytest.raises(RefusedError, match=r"seen/00001\.h5: made with another list of images"):
        copy.make(targets[0], overlay=overlay)
    # An image that cannot be read is in no pair, where that is asked for.
    pictures = sorted(Path(seen).rglob("*.jpg"))
    pictures[0].unlink()
    pictures[0].write_bytes(b"no image")
    assert main([*again, "-o", "less.txt"]) == 1
    assert pictures[0].name in capsys.readouterr().err
    assert not Path("less.txt").exists()
    assert main([*again, "--on-bad-file", "skip", "-o", "less.txt"]) == 0
    text = Path("less.txt").read_text()
    assert [picture.name in text for picture in pictures] == [False] + 6 * [True]
    demo = ["--configfile", str(project / "config/demo.yaml"), "--method", "how_r18_n200", "-o", "pairs.txt"]
    assert main(["pairs", "--map", seen, *demo]) == 1
    told = capsys.readouterr().err
    assert "codebooks/how_r18_n200.h5: not there yet; `snakemake --cores 8 -s" in told
    assert "--configfile" in told


NETVLAD = {
    "models": {
        "random": {"architecture": "netvlad", "backbone": "alexnet", "clusters": 4, "weights": {"source": "random"}},
        "clustered": {
            "architecture": "netvlad",
            "backbone": "alexnet",
            "clusters": 4,
            "weights": {
                "source": "clustered",
                "start": "random",
                "dataset": "alderford",
                "images": 6,
                "descriptors": 5,
            },
        },
        "white": {
            "architecture": "netvlad",
            "backbone": "alexnet",
            "clusters": 4,
            "whitening": 8,
            "weights": {"source": "pca", "start": "clustered", "dataset": "alderford"},
        },
    },
    "features": {"white": {"kind": "global", "model": "white", "resize": [64, 96]}},
    "methods": {"white_4": {"search": "euclidean", "features": "white", "top_k": 10, "dim": 4}},
}


def test_netvlad_from_random_weights_to_scores(bench):
    """Clusters, the layer set from them, a whitening behind it, and a search by its first dimensions."""
    scores = "results/scores/white_4/alderford.json"
    bench.make(scores, overlay=NETVLAD)
    expected = plain_map(bench.folder / "results", "white_4", "alderford", ("easy", "hard"), ("junk",))
    found = json.loads((bench.folder / scores).read_text())["metrics"]["map_medium"]["value"]
    assert found == pytest.approx(expected, abs=1e-12)
    assert (bench.folder / "results/clusters/clustered.h5").is_file()
    assert bench.planned(scores, overlay=NETVLAD) == {}
    shorter = {**NETVLAD, "methods": {"white_4": {**NETVLAD["methods"]["white_4"], "dim": 3}}}
    assert bench.planned(scores, overlay=shorter) == {"search_flat": 2, "merge_rankings": 1, "score_ranking": 1}
    changed = copy.deepcopy(NETVLAD)
    changed["models"]["clustered"]["weights"]["seed"] = 5
    jobs = bench.planned(scores, overlay=changed)
    assert "convert_checkpoint" not in jobs
    assert {"cluster_descriptors", "initialise_checkpoint", "pca_checkpoint", "extract_features"} <= jobs.keys()
