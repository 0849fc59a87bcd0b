"""Bags of words, their verification and expansion, through the workflow's own rules on a tiny town."""

import re
import shutil

import numpy as np
import option_looks as look
import pytest
from in_process import RefusedError, merged
from PIL import Image

from descbench.config.load import load_config_files
from descbench.errors import ConfigError
from descbench.features.store import ShardReader
from descbench.retrieval.geometry import Verified
from descbench.retrieval.inliers import read_inliers, write_inliers
from descbench.retrieval.ranking import read_part_info, read_ranking

SIFT = {"kind": "keypoints", "describe": "rootsift", "max_features": 60, "image_size": 96}
BOW = {"search": "bow", "features": "sift", "n": 50, "codebook": {"dataset": "toytown_sfm", "size": 32}}
HAMMING = {**BOW, "search": "hamming", "bits": 32}
COLMAP = {"search": "visual_index", "features": "sift", "n": 50, "vocabulary": {"dataset": "toytown_sfm", "size": 32}}
TOWN = {
    "models": {
        "points": {"architecture": "superpoint", "weights": {"source": "random"}},
        **{
            name: {"architecture": architecture, "weights": {"source": "random"}}
            for name, architecture in (("keynet", "keynet"), ("shape", "affnet"), ("turn", "orinet"))
        },
        "other_points": {"architecture": "r2d2", "weights": {"source": "random"}},
    },
    "features": {"sift": SIFT, "few": {**SIFT, "max_features": 50, "region": 9.0}},
    "methods": {
        "bow": BOW,
        "other": {**BOW, "n": 20},
        "sv": {"search": "verify", "ranking": "bow"},
        "sv_other": {"search": "verify", "ranking": "other"},
        "qe": {"search": "expand", "ranking": "sv"},
        "he": HAMMING,
        "he_other": {**HAMMING, "n": 20},
        "hqe": {"search": "expand_hamming", "ranking": "he", "matches": 2},
        "vi": COLMAP,
    },
}
# What a key needs beside it.
WITH = {
    "model": {"describe": "network"},
    "detector_model": {"detector": "network"},
    "shape_model": {},
    "orientation_model": {},
}
SHARD = "results/features/sift/alderford/database/00000.h5"


@pytest.fixture(scope="module")
def searched(base):
    """A bench where everything was made once."""
    bench = base.copy("bow")
    ran = bench.make(
        *(f"results/scores/{name}/alderford.json" for name in ("bow", "sv", "qe", "hqe", "vi")), overlay=TOWN
    )
    assert ran.count("verify_geometry") == ran.count("expand_query") == ran.count("expand_hamming") == 1
    assert {"build_hamming", "search_hamming", "build_vocabulary", "search_visual_index"} <= set(ran)
    assert {"assign_words", "build_bow", "collect_statistics", "search_bow", "merge_rankings"} <= set(ran)
    return bench


def ranking(bench, method):
    return read_ranking(bench.folder / f"results/rankings/{method}/alderford.h5", f"{method} on alderford")


@pytest.mark.parametrize(
    ("rule", "method", "role", "place"),
    [
        ("assign_words", "bow", "query", "alderford/query"),
        ("train_codebook", "bow", "query", "toytown_sfm/train"),
        ("search_visual_index", "vi", "query", "alderford/database"),
        ("search_visual_index", "vi", "database", "alderford/query"),
        ("build_vocabulary", "vi", "query", "toytown_sfm/train"),
    ],
)
def test_features_of_other_images_are_refused(searched, rule, method, role, place):
    """Settings and weights are the right ones."""
    bench = searched.copy(f"images-{rule}-{method}-{place}".replace("/", "-"))
    other = "alderford/database" if place == "alderford/query" else "alderford/query"
    files = [f"results/features/sift/{name}/00000.h5" for name in (place, other)]
    told = bench.refused(*files, f"results/scores/{method}/alderford.json", rule=rule, overlay=TOWN)
    assert re.search(rf"ERROR {files[0]}: .*the list of images changed", told)


@pytest.mark.parametrize(
    ("rule", "method", "file", "other"),
    [
        ("build_bow", "bow", "words/bow/alderford/database", "words/bow/alderford/query"),
        ("search_bow", "bow", "words/bow/alderford/query", "words/bow/alderford/database"),
        ("search_bow", "bow", "indexes/bow/alderford", "indexes/bow/noise"),
        ("verify_geometry", "sv", "words/bow/alderford/query", "words/bow/alderford/database"),
        ("verify_geometry", "sv", "words/bow/alderford/database", "words/bow/alderford/query"),
        ("expand_query", "qe", "indexes/bow/alderford", "indexes/bow/noise"),
        ("expand_query", "qe", "words/bow/alderford/query", "words/bow/alderford/database"),
        ("build_hamming", "hqe", "words/he/alderford/database", "words/he/alderford/query"),
        ("search_hamming", "hqe", "words/he/alderford/query", "words/he/alderford/database"),
        ("search_hamming", "hqe", "indexes/he/alderford", "indexes/he/noise"),
        ("expand_hamming", "hqe", "words/he/alderford/database", "words/he/alderford/query"),
        ("search_index", "own_asmk", "indexes/own_asmk/alderford", "indexes/own_asmk/noise"),
    ],
)
def test_words_and_indexes_of_other_images_are_refused(searched, rule, method, file, other):
    """The same codebook, settings and weights."""
    bench = searched.copy(f"images-{rule}-{method}-{file}".replace("/", "-"))
    bench.make(f"results/{other}/00000.h5", overlay=TOWN)
    files = [f"results/{name}/00000.h5" for name in (file, other)]
    told = bench.refused(*files, f"results/scores/{method}/alderford.json", rule=rule, overlay=TOWN)
    assert f"ERROR {files[0]}: made with another list of images" in told


@pytest.mark.parametrize(("method", "other"), [("bow", "he"), ("he", "bow")])
def test_codebooks_of_other_signatures_are_refused(searched, method, other):
    """Their words are the same."""
    bench = searched.copy(f"signatures-{method}")
    files, target = [f"results/codebooks/{name}.h5" for name in (method, other)], f"results/words/{method}/alderford"
    told = bench.refused(*files, f"{target}/query/00000.h5", rule="assign_words", overlay=TOWN)
    assert f"ERROR {files[0]}: made for signatures of" in told


def test_scores_of_all_three(searched):
    plain, verified, expanded = (ranking(searched, name) for name in ("bow", "sv", "qe"))
    inliers = read_inliers(searched.folder / "results/inliers/sv/alderford.h5", "sv on alderford")
    assert len(inliers.image_ids)
    assert (plain.scores <= 1 + 1e-9).all()
    for row, query in enumerate(verified.query_ids):
        found = inliers.images_of(query).tolist()
        assert verified.image_ids[row, : len(found)].tolist() == found
        rest = [image for image in plain.image_ids[row].tolist() if image not in found]
        assert verified.image_ids[row, len(found) :].tolist() == rest
    assert expanded.scores.max() <= 1 + 1e-9
    assert look.ranks(searched.folder / "results/rankings/qe/alderford.h5") != [[], []]
    text = look.text(searched.folder / "results/provenance/qe/alderford.json")
    assert all(f'"{name}": {{' in text for name in ("qe", "sv", "bow"))


@pytest.mark.parametrize(
    ("method", "key", "value", "made", "anew"),
    [
        ("bow", "n", 10, "bow", "assign_words"),
        ("bow", "features", "few", "bow", "extract_features"),
        ("bow", "multiple_assignment", 3, "bow", "assign_words"),
        ("bow", "top_k", 5, "bow", "search_bow"),
        ("sv", "ranking", "other", "sv", "verify_geometry"),
        ("sv", "first", 1, "sv", "verify_geometry"),
        ("sv", "error", 0.5, "sv", "verify_geometry"),
        ("sv", "min_inliers", 12, "sv", "verify_geometry"),
        ("qe", "ranking", "sv_other", "qe", "expand_query"),
        ("qe", "images", 1, "qe", "expand_query"),
        ("qe", "min_inliers", 12, "qe", "expand_query"),
        ("he", "n", 10, "he", "assign_words"),
        ("he", "features", "few", "he", "extract_features"),
        ("he", "bits", 64, "he", "train_codebook"),
        ("he", "seed", 5, "he", "train_codebook"),
        ("he", "threshold", 9, "he", "search_hamming"),
        ("he", "weighting", "none", "he", "search_hamming"),
        ("he", "burstiness", False, "he", "search_hamming"),
        ("he", "multiple_assignment", 3, "he", "assign_words"),
        ("he", "top_k", 5, "he", "search_hamming"),
        ("hqe", "ranking", "he_other", "hqe", "expand_hamming"),
        ("hqe", "images", 2, "hqe", "expand_hamming"),
        ("hqe", "strong", 3, "hqe", "expand_hamming"),
        ("hqe", "matches", 40, "hqe", "expand_hamming"),
        ("hqe", "growth", 0.0, "hqe", "expand_hamming"),
        ("hqe", "seed", 7, "hqe", "expand_hamming"),
        ("vi", "features", "few", "vi", "extract_features"),
        ("vi", "n", 20, "vi", "search_visual_index"),
        ("vi", "neighbours", 1, "vi", "search_visual_index"),
        ("vi", "checks", 1, "vi", "search_visual_index"),
        ("vi", "verified", 8, "vi", "search_visual_index"),
        ("vi", "top_k", 5, "vi", "search_visual_index"),
        ("vi", "vocabulary", {"dataset": "alderford", "role": "database"}, "vi", "build_vocabulary"),
        ("vi", "vocabulary", {"dataset": "alderford", "role": "query"}, "vi", "build_vocabulary"),
        ("vi", "vocabulary", {"images": 4}, "vi", "build_vocabulary"),
        ("vi", "vocabulary", {"size": 48}, "vi", "build_vocabulary"),
        ("vi", "vocabulary", {"iterations": 1}, "vi", "build_vocabulary"),
        ("vi", "vocabulary", {"rounds": 12}, "vi", "build_vocabulary"),
        ("vi", "vocabulary", {"seed": 3}, "vi", "build_vocabulary"),
    ],
)
def test_keys_of_methods_change_rankings(searched, method, key, value, made, anew):
    told = [f"{name}-{part}" for name, part in value.items()] if isinstance(value, dict) else []
    changed = searched.copy("-".join(["method", method, key, *told]))
    overlay = merged(TOWN, {"methods": {method: {key: value}}})
    target = f"results/rankings/{made}/alderford.h5"
    before = look.ranks(searched.folder / target)
    assert anew in changed.make(target, overlay=overlay, anew=[anew])
    assert look.ranks(changed.folder / target) != before


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("detector", "orb"),
        ("detector", "akaze"),
        ("detector", "hessian"),
        ("describe", "sift"),
        ("model", "patches"),
        ("model", "points"),
        ("detector_model", "points"),
        ("detector_model", "keynet"),
        ("shape_model", "shape"),
        ("orientation_model", "turn"),
        ("region", 8.0),
        ("image_size", 64),
        ("max_features", 20),
        ("dtype", "float16"),
    ],
)
def test_keys_of_features_change_descriptors(searched, key, value):
    changed = searched.copy(f"features-{key}-{value}")
    option = {**WITH.get(key, {}), key: value}
    fewer = {name: {"n": 20} for name in ("bow", "he", "vi")}
    overlay = merged(TOWN, {"features": {"sift": option}, "methods": fewer})
    assert "extract_features" in changed.make(SHARD, overlay=overlay, anew=["extract_features"])
    assert look.descriptors(changed.folder / SHARD) != look.descriptors(searched.folder / SHARD)
    with ShardReader(changed.folder / SHARD) as shard:
        block = shard.read()
        assert shard.info.kind == "local"
        assert (shard.info.checkpoint == "") == (key not in WITH)
        assert len(block.orientations) == len(block.keypoints) == len(block.scales) == len(block.descriptors)


def test_detector_and_describer_are_networks(searched):
    """Two of them, and one of which both are asked."""

    def extract(name, **option):
        bench = searched.copy(f"networks-{name}")
        sift = {"detector": "network", "describe": "network", **option}
        overlay = merged(TOWN, {"features": {"sift": sift}, "models": {"other_points": {"mchan": 1}}})
        bench.make(SHARD, overlay=overlay, anew=["extract_features"])
        with ShardReader(bench.folder / SHARD) as shard:
            return shard.info.checkpoint, shard.read()

    same, alone = extract("same", model="points", detector_model="points")
    two, both = extract("two", model="other_points", detector_model="points")
    assert alone.descriptors.shape[1] == 256
    assert both.descriptors.shape[1] == 128
    assert (alone.keypoints == both.keypoints).all()
    assert np.allclose(np.linalg.norm(alone.descriptors, axis=1), 1, atol=1e-5)
    assert same != two


def test_a_threshold_leaves_out_weak_keypoints(searched):
    def strengths(threshold):
        bench = searched.copy(f"threshold-{threshold}")
        option = {"detector": "hessian", "max_features": None, "threshold": threshold}
        overlay = merged(TOWN, {"features": {"sift": option}})
        bench.make(SHARD, overlay=overlay, anew=["extract_features"])
        with ShardReader(bench.folder / SHARD) as shard:
            return shard.read().strengths

    every = strengths(None)
    assert len(strengths(10.0)) == (every > 10).sum() < len(every)


def test_full_size_and_all_keypoints(searched):
    """Images of the town have fewer pixels than 96, so that these are reduced by neither."""

    def extract(image_size):
        bench = searched.copy(f"whole-{image_size}")
        overlay = merged(TOWN, {"features": {"sift": {"image_size": image_size, "max_features": None}}})
        bench.make(SHARD, overlay=overlay, anew=["extract_features"])
        with ShardReader(bench.folder / SHARD) as shard:
            return shard.counts(), shard.read(n=60).descriptors

    counts, whole = extract(None)
    assert counts.max() > 60
    assert whole.shape != extract(48)[1].shape
    with ShardReader(searched.folder / SHARD) as shard:
        assert (whole == shard.read().descriptors).all()


def test_images_that_need_a_decision(base):
    bench = base.copy("decisions")
    random = np.random.default_rng(0)
    (bench.folder / "cut").mkdir()
    photo = bench.folder / "cut/a.jpg"
    Image.fromarray(random.integers(0, 255, (64, 64, 3), np.uint8)).save(photo)
    photo.write_bytes(photo.read_bytes()[:-900])
    overlay = merged(TOWN, {"datasets": {"cut": {"format": "folder", "database": "cut"}}})
    target = "results/features/sift/cut/database/00000.h5"

    def make(name, file=target, **option):
        made = bench.copy(name)
        made.make(file, overlay=merged(overlay, {"features": {"sift": option}}))
        return made.folder / file

    with pytest.raises(RefusedError, match=r"a\.jpg.*truncated_images: read"):
        make("refused")
    assert look.descriptors(make("read", truncated_images="read"))
    with ShardReader(make("skipped", on_bad_image="skip")) as shard:
        assert list(shard.skipped) == [0]
    deep = "results/features/sift/deep/database/00000.h5"
    assert look.descriptors(make("scaled", deep)) != look.descriptors(make("clipped", deep, deep_images="clip"))
    lying, upright = (make(name, deep, deep_images="clip", exif_orientation=name) for name in ("ignore", "apply"))
    assert look.descriptors(lying) != look.descriptors(upright)


def test_pairs_and_shards_of_distractors(base):
    """Distractors come before the database and have negative ids, in verification too."""
    bench = base.copy("noise")
    learned = {"codebook": {"dataset": "alderford", "role": "database"}}
    methods = {"bow": learned, "he": learned, "vi": {"vocabulary": learned["codebook"]}}
    overlay = merged(TOWN, {"methods": methods})
    overlay["datasets"] = {
        "noise": {"format": "image_list", "images": "noise", "list": "noise.txt", "counts": {"database": 4}},
        "both": {"format": "with_distractors", "base": "alderford", "distractors": "noise"},
    }
    bench.make(*(f"results/scores/{name}/both.json" for name in ("qe", "hqe", "vi")), overlay=overlay)
    for method in ("bow", "sv", "qe", "he", "hqe", "vi"):
        found = read_ranking(bench.folder / f"results/rankings/{method}/both.h5")
        assert sorted(found.image_ids[0].tolist()) == list(range(-4, 14))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"methods": {"sv": {"ranking": "own_asmk"}}}, "does not rank by visual words"),
        ({"methods": {"sv": {"ranking": "nobody"}}}, "there is no 'nobody' in section `methods`"),
        ({"methods": {"sv": {"ranking": "qe"}}}, "rests on itself"),
        (
            {"methods": {"sv": {"ranking": "qe", "features": "sift"}, "qe": {"features": "sift"}}},
            "'qe' rests on itself",
        ),
        ({"methods": {"qe": {"ranking": "bow"}}}, "verifies no images"),
        ({"methods": {"qe": {"ranking": "sv"}, "sv": {"ranking": "he"}}}, "rests on signatures"),
        ({"methods": {"hqe": {"ranking": "bow"}}}, "compares no signatures"),
        ({"methods": {"hqe": {"strong": 33}}}, "more than the 32 bits"),
        ({"methods": {"he": {"threshold": 33}}}, "more than the 32 bits"),
        ({"methods": {"he": {"multiple_assignment": 33}}}, "more than the 32 words"),
        ({"methods": {"vi": {"features": "own_local", "n": 9}}}, "no orientations, which COLMAP"),
        ({"methods": {"vi": {"n": 61}}}, "raise `max_features`"),
        ({"methods": {"vi": {"vocabulary": {"role": "map"}}}}, r"methods\.vi\.vocabulary"),
        ({"methods": {"bow": {"features": "own"}}}, "bow needs local features"),
        ({"methods": {"bow": {"features": "own_local", "n": 9}}}, "learned with|no orientations"),
        ({"methods": {"bow": {"n": 61}}}, "raise `max_features`"),
        ({"methods": {"bow": {"multiple_assignment": 33}}}, "more than the 32 words"),
        ({"methods": {"bow": {"codebook": {"features": "raw"}}}}, "learned with descriptors of 'sift'"),
        ({"features": {"sift": {"model": "patches"}}}, "has no `model`"),
        ({"features": {"sift": {"describe": "network"}}}, "needs `model`"),
        ({"features": {"points": {"kind": "global"}}}, "describes points; use `kind: keypoints`"),
        ({"features": {"sift": {"threshold": 5.33}}}, "sift has no `threshold`"),
        ({"features": {"sift": {"shape_model": "turn"}}}, "orinet. estimates no affine shape"),
        (
            {"features": {"sift": {"detector": "hesaff", "shape_model": "shape"}}},
            "hesaff gives patches their shape itself",
        ),
        ({"features": {"sift": {"orientation_model": "shape"}}}, "affnet. estimates no orientation"),
        (
            {"features": {"sift": {"describe": "network", "model": "points", "shape_model": "shape"}}},
            "describes points, no patches",
        ),
        ({"features": {"keynet": {"kind": "local"}}}, "keynet. describes nothing"),
        ({"features": {"sift": {"detector": "network"}}}, "needs `detector_model`"),
        ({"features": {"sift": {"detector_model": "gem"}}}, "sift has no `detector_model`"),
        ({"features": {"sift": {"detector": "network", "detector_model": "gem"}}}, "detects no keypoints"),
        ({"features": {"sift": {"describe": "network", "model": "gem"}}}, "describes neither patches nor points"),
    ],
)
def test_what_does_not_fit_is_refused_while_planning(base, change, message, monkeypatch):
    import yaml

    monkeypatch.chdir(base.folder)
    raw = {"features": {"raw": {**SIFT, "describe": "sift"}}}
    content = merged(merged(merged(base.config, TOWN), raw), change)
    (base.folder.parent / "refused.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(ConfigError, match=message):
        load_config_files(base.folder.parent / "refused.yaml", home=base.project)


def test_features_are_those_of_the_ranking(base, monkeypatch):
    import yaml

    monkeypatch.chdir(base.folder)
    path = base.folder.parent / "features.yaml"
    path.write_text(yaml.safe_dump(merged(base.config, TOWN)))
    config = load_config_files(path, home=base.project)
    assert {config.methods[name].features for name in ("bow", "sv", "qe")} == {"sift"}
    for name in ("sv", "qe"):
        path.write_text(yaml.safe_dump(merged(base.config, merged(TOWN, {"methods": {name: {"features": "few"}}}))))
        with pytest.raises(ConfigError, match="ranks by features 'sift'"):
            load_config_files(path, home=base.project)


def test_the_page_of_a_verified_ranking(searched):
    """Lines follow from the file of inliers, which must be of the features at hand."""
    bench = searched.copy("page")
    target = "results/pages/sv/alderford.html"
    assert bench.make(target, overlay=TOWN).count("show_ranking") == 1
    text = look.text(bench.folder / target)
    assert set(re.findall(r'(?:src|href)="([a-z]+:[a-z]+/[a-z]+)', text)) == {"data:image/jpeg"}
    inliers = read_inliers(bench.folder / "results/inliers/sv/alderford.h5", "sv on alderford")
    ranked = ranking(bench, "sv")
    cells = zip(inliers.query_ids.tolist(), inliers.image_ids.tolist(), strict=True)
    counts = dict(zip(cells, np.diff(inliers.offsets).tolist(), strict=True))
    legend = re.search(r'<p id="legend">(.*?)</p>', text, re.S)[1]
    assert "The first 1000 images of each query were verified" in legend
    assert "within 15.0 pixels" in legend
    assert "where there are at least 6" in legend
    drawn = 0
    for query in range(3):
        section = re.search(rf'<section id="query-{query}".*?</section>', text, re.S).group()
        shown = [counts[query, image] for image in ranked.image_ids[query, :8].tolist() if (query, image) in counts][:2]
        assert [int(count) for count in re.findall(r"(\d+) inliers of query", section)] == shown
        told = [int(number) for number in re.findall(r"<br/>(\d+) inliers?<br/>", section)]
        first = ranked.image_ids[query, :8].tolist()
        assert told == [counts[query, image] for image in first if (query, image) in counts]
        drawings = section.split("<svg ")[1:]
        assert [drawing.count("<line ") for drawing in drawings] == [min(count, 60) for count in shown]
        drawn += len(drawings)
    assert drawn > 0
    (bench.folder / "results/inliers/sv/alderford.h5").unlink()
    with ShardReader(bench.folder / SHARD) as shard:
        found = Verified(np.eye(2, 3), np.array([[0, shard.counts().max()]]))
    damaged = bench.folder / "results/inliers/sv/alderford.h5"
    write_inliers([(0, ranked.image_ids[0, 0], found)], "sv on alderford", damaged)
    with pytest.raises(RefusedError, match=r"inliers of features that are not there"):
        bench.make(target, overlay=TOWN, anew=["show_ranking"])


def test_images_that_are_to_be_turned_are_counted_by_every_search(searched, tmp_path):
    """Rankings of every kind say how many queries and images EXIF would turn, also where features are kept."""
    bench, methods = searched.copy("turned"), ("bow", "sv", "qe", "he", "hqe", "vi", "own", "own_asmk")
    photographs = sorted((bench.folder / "data/datasets/toytown/test/alderford/jpg").glob("*.jpg"))[:6]
    exif = Image.Exif()
    exif[0x0112] = 6
    for number, path in enumerate(photographs):
        target = tmp_path / ("queries" if number < 2 else "images") / path.name
        target.parent.mkdir(exist_ok=True)
        Image.open(path).save(target, exif=exif if number < 3 else Image.Exif())
    mine = {"format": "folder", "database": str(tmp_path / "images"), "queries": str(tmp_path / "queries")}
    overlay = merged(TOWN, {"datasets": {"mine": mine}})
    files = {name: f"results/rankings/{name}/mine.h5" for name in methods}
    bench.make(*files.values(), overlay=overlay)
    told = {name: read_part_info(bench.folder / file).unturned for name, file in files.items()}
    assert told == dict.fromkeys(methods, (2, 1))
    page = "results/pages/qe/mine.html"
    bench.make(page, overlay=overlay)
    assert "EXIF says that 2 queries and 1 images are to be turned" in (bench.folder / page).read_text()
    # One more photograph: the others' features are taken from what is kept.
    shutil.copy(photographs[-1], tmp_path / "images/another.jpg")
    assert "extract_features" in bench.make(files["own"], overlay=overlay)
    assert read_part_info(bench.folder / files["own"]).unturned == (2, 1)
    turned = merged(overlay, {"features": {"own": {"exif_orientation": "apply"}}})
    bench.make(files["own"], overlay=turned)
    assert read_part_info(bench.folder / files["own"]).unturned == (0, 0)


def test_the_page_of_an_expanded_ranking(searched):
    """Its images have the inliers of the ranking that was expanded, which the page names."""
    bench = searched.copy("page-expanded")
    target = "results/pages/qe/alderford.html"
    overlay = merged(TOWN, {"methods": {"qe": {"images": 3, "min_inliers": 7}}})
    assert bench.make(target, overlay=overlay)[-1] == "show_ranking"
    text = look.text(bench.folder / target)
    inliers = read_inliers(bench.folder / "results/inliers/sv/alderford.h5", "sv on alderford")
    cells = zip(inliers.query_ids.tolist(), inliers.image_ids.tolist(), strict=True)
    counts = dict(zip(cells, np.diff(inliers.offsets).tolist(), strict=True))
    legend = re.search(r'<p id="legend">(.*?)</p>', text, re.S)[1]
    assert "were verified in the ranking of sv on alderford" in legend
    assert "the first 3 with at least 7 were averaged with the query" in legend
    assert "most inliers come first" not in legend
    told = 0
    for query in range(3):
        section = re.search(rf'<section id="query-{query}".*?</section>', text, re.S).group()
        first = ranking(bench, "qe").image_ids[query, :8].tolist()
        shown = [counts[query, image] for image in first if (query, image) in counts]
        assert [int(number) for number in re.findall(r"<br/>(\d+) inliers?<br/>", section)] == shown
        assert [int(count) for count in re.findall(r"(\d+) inliers of query", section)] == shown[:2]
        told += len(shown)
    assert told > 0
    # What was verified in another ranking is none of it.
    bench.make("results/scores/sv_other/alderford.json", overlay=overlay)
    other = "results/inliers/sv_other/alderford.h5"
    told = bench.refused("results/inliers/sv/alderford.h5", other, target, rule="show_ranking", overlay=overlay)
    assert "verified images of sv_other on alderford, not of sv on alderford" in told


def test_the_page_of_a_verified_ranking_without_labels(searched, tmp_path):
    """Nothing is right or wrong, and lines connect what was verified: an image and its copy."""
    bench = searched.copy("unlabelled")
    photographs = sorted((bench.folder / "data/datasets/toytown").rglob("*.jpg"))[:4]
    assert len(photographs) == 4
    for i, path in enumerate(photographs):
        shutil.copy(path, tmp_path / f"{i}.jpg")
    overlay = merged(TOWN, {"datasets": {"mine": {"format": "folder", "database": str(tmp_path)}}})
    target = "results/pages/sv/mine.html"
    ran = bench.make(target, overlay=overlay)
    assert ran.count("verify_geometry") == ran.count("show_ranking") == 1
    assert "There are no labels" in (bench.folder / target).read_text()
