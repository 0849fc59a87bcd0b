"""Image pairs through the workflow's own rules on a tiny town: matches, and what each key changes."""

from __future__ import annotations

import re
import shutil

import pytest
import yaml
from in_process import Bench, RefusedError, merged
from PIL import ExifTags, Image

from descbench.config.load import load_config_files
from descbench.datasets.image_pairs import read_image_pairs
from descbench.datasets.manifest import read_manifest
from descbench.errors import ConfigError
from descbench.io.jsonfiles import read_json
from descbench.matching.matcher import distance_of
from descbench.matching.matches import read_matches
from descbench.metrics.scores import read_scores

SIFT = {"kind": "keypoints", "describe": "rootsift", "max_features": 200, "image_size": 48}
TOWN = {
    "features": {
        "sift": SIFT,
        "few": {**SIFT, "max_features": 30},
        "squeezed": {**SIFT, "resize": [32, 64]},
        "fixed": {**SIFT, "resize": [480, 640]},
    },
    "methods": {"sift": {"match": "nearest"}},
}
COLUMN = {"dataset": "facades", "metric": "mma@3", "label": "MMA@3"}
TABLE = {"title": "Matches", "synthetic": True, "columns": [COLUMN], "rows": [{"label": "SIFT", "method": "sift"}]}
SCORES, PAIRS = "results/scores/sift/facades.json", "results/manifests/facades.pairs.csv"
MATCHES = "results/matches/sift/facades/00000.h5"


@pytest.fixture(scope="module")
def matched(base) -> Bench:
    """A bench where the drawn sequences were matched once."""
    bench = base.copy("matching")
    ran = bench.make(MATCHES, overlay=TOWN)
    assert ran.count("match_features") == 1
    return bench


def indices(bench: Bench, target: str = MATCHES) -> list[list[int]]:
    return read_matches(bench.folder / target, cell="sift on facades").indices.tolist()


def test_features_of_other_images_are_refused(matched):
    """Settings are the right ones."""
    bench = matched.copy("match-images")
    other = "results/features/sift/alderford/query/00000.h5"
    bench.make(other, overlay=TOWN)
    file = "results/features/sift/facades/database/00000.h5"
    told = bench.refused(file, other, MATCHES, rule="match_features", overlay=TOWN)
    assert re.search(rf"ERROR {file}: .*the list of images changed", told)


def test_turned_photographs_have_no_homographies(matched):
    """These are of the files as they are stored; EXIF that says nothing is no matter."""
    bench = matched.copy("match-turned")
    overlay = merged(TOWN, {"features": {"sift": {"exif_orientation": "apply"}}})
    bench.make(MATCHES, overlay=overlay)
    assert indices(bench) == indices(matched)
    first = bench.folder / "data/datasets" / read_manifest(bench.folder / "results/manifests/facades.csv").rows[0].path
    with Image.open(first) as opened:
        exif = opened.getexif()
        exif[ExifTags.Base.Orientation] = 6
        stored = opened.copy()
    first.unlink()
    stored.save(first, format="PNG", exif=exif)
    with pytest.raises(RefusedError, match="homographies and cameras of this dataset are of files as they are stored"):
        bench.make(MATCHES, overlay=overlay, anew=["extract_features"])
    bench.make(MATCHES, overlay=TOWN, anew=["extract_features"])


def test_all_pairs_are_matched(matched):
    manifest = read_manifest(matched.folder / "results/manifests/facades.csv")
    pairs = read_image_pairs(matched.folder / "results/manifests/facades.pairs.csv", manifest)
    found = read_matches(matched.folder / MATCHES)
    assert found.pairs.tolist() == [[pair.image_a, pair.image_b] for pair in pairs]
    assert len(found.indices) > 5 * len(pairs)


@pytest.mark.parametrize(
    ("key", "value", "anew"),
    [
        ("n", 20, "match_features"),
        ("mutual", False, "match_features"),
        ("ratio", 0.7, "match_features"),
        ("max_distance", 0.3, "match_features"),
        ("features", "few", "extract_features"),
    ],
)
def test_keys_of_methods_change_matches(matched, key, value, anew):
    changed = matched.copy(f"match-{key}")
    overlay = merged(TOWN, {"methods": {"sift": {key: value}}})
    assert anew in changed.make(MATCHES, overlay=overlay, anew=[anew])
    assert indices(changed) != indices(matched)


def test_what_distances_are_measured_in(matched):
    limit = float(distance_of(read_matches(matched.folder / MATCHES).scores.astype(float), "euclidean").max())
    seen = []
    for distance in ("euclidean", "angle"):
        bench = matched.copy(f"distance-{distance}")
        overlay = merged(TOWN, {"methods": {"sift": {"max_distance": limit + 1e-6, "distance": distance}}})
        bench.make(MATCHES, overlay=overlay, anew=["match_features"])
        seen.append(len(indices(bench)))
    assert seen[1] < seen[0]  # an arc is longer than its chord


def test_shards_of_pairs(matched):
    """Twelve images and ten pairs, of which four a shard."""
    bench = matched.copy("match-shards")
    overlay = merged(TOWN, {"datasets": {"facades": {"counts": {"database": 12}, "shard_size": 4}}})
    targets = [f"results/matches/sift/facades/{number:05d}.h5" for number in range(3)]
    ran = bench.make(*targets, overlay=overlay, anew=["build_manifest"])
    assert ran.count("extract_features") == ran.count("match_features") == 3
    assert [len(read_matches(bench.folder / target)) for target in targets] == [4, 4, 2]
    assert [match for target in targets for match in indices(bench, target)] == indices(matched)


@pytest.fixture(scope="module")
def scored(matched) -> Bench:
    """A bench where the matches were scored once."""
    bench = matched.copy("match-scores")
    assert bench.make(SCORES, overlay=TOWN) == ["score_matches"]
    return bench


def test_scores_of_all_pairs(scored):
    found = read_scores(scored.folder / SCORES, "sift on facades")
    assert found.num_queries == 10
    assert found.metrics["mma@3_i"].value > 0.4
    curve = [found.metrics[f"mma@{t}"].value for t in range(1, 11)]
    assert curve == sorted(curve)
    assert found.facts["pairs"][0] == "i_facades00 1-2"
    record = read_json(scored.folder / "results/provenance/sift/facades.json")
    assert set(record["configuration"]["methods"]) == {"sift"}
    assert set(record["configuration"]["datasets"]) == {"facades"}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("pixels", "resized"),
        ("estimator", "usac_magsac"),
        ("estimator", "poselib"),
        ("threshold", 0.2),
        ("corners", "swapped"),
    ],
)
def test_keys_of_scoring_change_scores_and_nothing_else(scored, key, value):
    bench = scored.copy(f"scoring-{key}-{value}")
    ran = bench.make(SCORES, overlay=merged(TOWN, {"methods": {"sift": {key: value}}}), anew=["score_matches"])
    assert ran == ["score_matches"]
    before, after = (read_scores(place.folder / SCORES) for place in (scored, bench))
    assert after.facts[key] == value != before.facts[key]
    assert after.facts["corner_errors"] != before.facts["corner_errors"]
    if key == "pixels":  # three quarters of the size: 48 of 64 pixels
        assert after.metrics["mma@1"].value > before.metrics["mma@1"].value


def test_images_of_another_shape(scored):
    """Features of images that were squeezed, whose places are those of the originals, and errors in either's pixels."""
    bench, found = scored.copy("squeezed"), {}
    for pixels in ("original", "resized"):
        overlay = merged(TOWN, {"methods": {"sift": {"features": "squeezed", "pixels": pixels}}})
        bench.make(SCORES, overlay=overlay, anew=["match_features"])
        found[pixels] = read_scores(bench.folder / SCORES, "sift on facades")
        assert found[pixels].facts["image_size"] == [32, 64]
        assert indices(bench) != indices(scored)
    assert found["original"].metrics["mma@3_i"].value > 0.3
    # Images of 64 x 48 pixels are as wide as before and less high, so that errors are smaller.
    assert found["resized"].metrics["mma@1"].value > found["original"].metrics["mma@1"].value


def test_scores_at_640x480(scored):
    """From features of their own; what is scored of the matches stays."""
    bench = scored.copy("fixed-size")
    overlay = merged(TOWN, {"methods": {"sift": {"fixed_features": "fixed"}}})
    ran = bench.make(SCORES, overlay=overlay, anew=["score_matches"])
    assert ran == ["extract_features", "score_matches"]
    before, after = (read_scores(place.folder / SCORES).metrics for place in (scored, bench))
    more = {f"homography_640x480@{t}" for t in (1, 3, 5)} | {"matching_score_640x480"}
    assert after.keys() - before.keys() == {f"{name}{kind}" for name in more for kind in ("", "_v", "_i")}
    assert all(after[name] == metric for name, metric in before.items())
    assert after["matching_score_640x480_i"].value > 0.2
    for wrong in ("sift", "squeezed"):
        with pytest.raises(SystemExit, match=rf"'{wrong}' has no `resize: \[480, 640\]`"):
            bench.make(SCORES, overlay=merged(TOWN, {"methods": {"sift": {"fixed_features": wrong}}}))


def test_the_page_of_matches(scored):
    """Pairs by their accuracy, with what the scores say of them; drawn images have no published curves beside them."""
    bench = scored.copy("match-page")
    target = "results/pages/sift/facades.html"
    assert bench.make(target, overlay=TOWN) == ["show_matches"]
    page = (bench.folder / target).read_text()
    found = read_scores(bench.folder / SCORES)
    values, errors = found.per_query["mma@3_micro"], found.facts["corner_errors"]
    shown = [int(number) for number in re.findall(r'<section id="pair-(\d+)">', page)]
    assert len(set(shown)) == len(shown) == found.num_queries > 9
    assert [values[number] for number in shown[:3]] == sorted(values)[:3]
    assert [values[number] for number in shown[6:9]] == sorted(values)[:-4:-1]
    for number in shown:
        section = page.partition(f'<section id="pair-{number}">')[2].partition("</section>")[0]
        assert f"<h3>{found.facts['pairs'][number]}</h3>" in section
        assert f"MMA@3 {100 * values[number]:.1f} %" in section
        assert errors[number] is None or f"corner error {errors[number]:.2f} px" in section
        counts = [int(count) for count in re.findall(r"px: (\d+)</li>", section)]
        assert sum(counts[:2]) == round(values[number] * sum(counts))
        assert section.count('stroke-opacity="0.8"') == min(sum(counts), 150)
    assert "<script" not in page
    assert set(re.findall(r'(?:src|href)="([a-z]+:[a-z]+/[a-z]+)', page)) == {"data:image/jpeg"}
    assert "threshold (pixels)" in page
    assert "published runs" not in page
    overlay = merged(TOWN, {"methods": {"sift": {"ratio": 0.7}}})
    assert bench.make(target, overlay=overlay, anew=["match_features"])[-1] == "show_matches"
    assert (bench.folder / target).read_text() != page


def test_sequences_of_vgg_and_those_that_lack_files(matched):
    """The drawn sequences by other names; of one, image 3 and the homography to image 5 are gone."""
    bench = matched.copy("vgg")
    for path in (bench.folder / "data/datasets/toytown/sequences").glob("*/*"):
        place = bench.folder / "data/datasets/vgg" / path.parent.name.removeprefix("v_").removeprefix("i_")
        place.mkdir(parents=True, exist_ok=True)
        name = f"img{path.name}" if path.suffix else f"H1to{path.name[-1]}p"
        shutil.copy(path, place / name)
    overlay = merged(
        TOWN, {"datasets": {"facades": {"images": "vgg", "layout": "vgg", "generator": None, "exclude": ["facades00"]}}}
    )
    with pytest.raises(RefusedError, match="holds no sequences"):
        bench.make(PAIRS, overlay=overlay, anew=["build_manifest"])
    overlay["datasets"]["facades"]["exclude"] = []
    bench.make(SCORES, overlay=overlay, anew=["build_manifest"])
    assert read_scores(bench.folder / SCORES).num_queries == 5
    for name in ("img3.ppm", "H1to5p"):
        (bench.folder / "data/datasets/vgg/facades00" / name).unlink()
    with pytest.raises(RefusedError, match=r"has no img3\.ppm or .*, H1to5p"):
        bench.make(PAIRS, overlay=overlay, anew=["build_manifest"])
    overlay["datasets"]["facades"]["incomplete"] = "take"
    bench.make(SCORES, overlay=overlay, anew=["build_manifest"])
    found = read_scores(bench.folder / SCORES)
    assert found.facts["pairs"] == [f"facades00 img1-img{k}" for k in (2, 4, 6)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tables": {"t": {**TABLE, "rows": [{"label": "x", "method": "own"}]}}}, "scores methods of family matching"),
        ({"tables": {"t": {**TABLE, "columns": [{**COLUMN, "dataset": "alderford"}]}}}, "family retrieval"),
        ({"tables": {"t": {**TABLE, "columns": [{**COLUMN, "metric": "mma@11"}]}}}, "mma@11"),
        ({"methods": {"sift": {"features": "own"}}}, "needs local features"),
        ({"methods": {"sift": {"n": 201}}}, "raise `max_features`"),
        ({"methods": {"sift": {"ratio": 1.5}}}, "ratio"),
        ({"methods": {"sift": {"match": "guess"}}}, "match"),
        ({"methods": {"sift": {"features": "nobody"}}}, "nobody"),
    ],
)
def test_what_does_not_fit_is_refused_while_planning(base, change, message, monkeypatch):
    monkeypatch.chdir(base.folder)
    path = base.folder.parent / "refused-matching.yaml"
    path.write_text(yaml.safe_dump(merged(merged(base.config, TOWN), change)))
    with pytest.raises(ConfigError, match=message):
        load_config_files(path, home=base.project)
