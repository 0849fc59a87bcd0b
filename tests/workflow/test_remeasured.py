"""Counts measured again through the workflow's own rules: a tiny town's sequence and random networks."""

import csv

import pytest
from in_process import merged

from descbench.errors import ConfigError

R2D2 = {"architecture": "r2d2", "mchan": 1, "min_size": 0, "min_scale": 0.5, "weights": {"source": "random"}}
COUNTS = {"features": [30, 30, 30], "matches": [1, 2]}
BLOCK = {"dataset": "facades", "sequence": "v_facades00", "max_features": 30, "reference": "test"}
TOWN = {
    "models": {"tiny": R2D2, "large": {**R2D2, "min_scale": 0.9}},
    "references": {"test": "a book"},
    "remeasured": {"facade": {**BLOCK, "counts": {"tiny": COUNTS, "large": COUNTS}}},
}
TARGET = "results/remeasured.csv"


def rows(bench):
    with (bench.folder / TARGET).open() as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(scope="module")
def measured(base):
    bench = base.copy("remeasured")
    ran = bench.make(TARGET, overlay=TOWN)
    assert ran.count("count_matches") == ran.count("build_remeasured") == 1
    return bench


def test_every_count_has_a_line(measured):
    found = rows(measured)
    assert len(found) == 2 * 5
    assert {row["name"] for row in found} == {"facade"}
    assert {row["sequence"] for row in found} == {"v_facades00"}
    assert sorted(row["model"] for row in found) == ["large"] * 5 + ["tiny"] * 5
    assert {row["verdict"] for row in found} <= {"match", "off"}
    assert all(int(row["ours"]) - int(row["published"]) == int(row["difference"]) for row in found)
    features = [int(row["ours"]) for row in found if row["model"] == "tiny" and "features" in row["what"]]
    assert max(features) == 30


@pytest.mark.parametrize(
    ("change", "anew"),
    [
        ({"sequence": "i_facades00"}, ["count_matches"]),
        ({"dataset": "elsewhere"}, ["count_matches"]),
        ({"max_features": 12}, ["count_matches"]),
        ({"counts": {name: {"features": [30, 30], "matches": [1]} for name in ("tiny", "large")}}, ["count_matches"]),
        ({"counts": {"tiny": {"matches": [3, 4]}}}, []),
        ({"counts": {"tiny": {"features": [29, 30, 30]}}}, []),
        ({"reference": "book"}, []),
    ],
)
def test_keys_change_the_table(measured, change, anew):
    bench = measured.copy(f"remeasured-{'-'.join(map(str, change))}-{len(str(change))}")
    elsewhere = {"format": "hpatches_sequences", "generator": "toytown", "images": "other_sequences"}
    overlay = merged(TOWN, {"remeasured": {"facade": change}, "references": {"book": "another book"}})
    overlay["datasets"] = {"elsewhere": elsewhere}
    if change.get("dataset"):
        overlay["remeasured"]["facade"]["sequence"] = "v_other"
    ran = bench.make(TARGET, overlay=overlay, anew=anew or ["build_remeasured"])
    # Published numbers are no reason to count again.
    assert ran.count("count_matches") == len(anew)
    assert rows(bench) != rows(measured)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dataset": "alderford"}, "has no sequences of HPatches"),
        ({"dataset": "nowhere"}, "there is no 'nowhere' in section `datasets`"),
        ({"counts": {"gem": COUNTS}}, "does not find and describe keypoints"),
        ({"counts": {"nobody": COUNTS}}, "there is no 'nobody' in section `models`"),
        ({"reference": "nowhere"}, "there is no 'nowhere' in section `references`"),
        ({"counts": {"tiny": {"features": [1, 2], "matches": [1, 2]}}}, "2 pairs of 2 images"),
        ({"counts": {"tiny": {"features": [1, 2], "matches": [1]}}}, "features of different numbers of images"),
    ],
)
def test_what_does_not_fit_is_refused_while_planning(base, change, message, monkeypatch):
    import yaml

    from descbench.config.load import load_config_files

    monkeypatch.chdir(base.folder)
    path = base.folder.parent / "remeasured.yaml"
    path.write_text(yaml.safe_dump(merged(merged(base.config, TOWN), {"remeasured": {"facade": change}})))
    with pytest.raises(ConfigError, match=message):
        load_config_files(path, home=base.project)
