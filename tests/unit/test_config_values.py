"""What the configuration refuses, key by key: a value, and the sentence it is answered with."""

import copy
from pathlib import Path

import pytest
from pydantic import BaseModel

from descbench.config.load import load_config, load_config_files, read_yaml
from descbench.config.models import Config
from descbench.errors import ConfigError

HERE = Path(__file__).parent
NAN, INF = float("nan"), float("inf")
# What the demo says, which the cases below go one beyond.
DEMO = read_yaml(HERE.parents[1] / "config/demo.yaml")
EPOCHS = DEMO["training"]["how_r18"]["epochs"]
NEGATIVES = DEMO["training"]["netvlad_alexnet"]["negatives"]
CHANNELS = 512 // 2 ** DEMO["models"]["how_r18"].get("skip_layer", 0)
EXTRA = {
    "sources": {"bag.pkl": {"local_copy": "bag.pkl"}, "w.pth": {"mirrors": ["https://example.org/w.pth"]}},
    "datasets": {
        "mine": {"format": "folder", "database": "photographs"},
        "judged": {"format": "folder", "database": "photographs", "ground_truth": "gnd.json"},
        "listed": {"format": "image_list", "images": "r1m/jpg", "list": "r1m/list.txt"},
        "uncounted": {"format": "image_list", "images": "r1m/jpg", "list": "r1m/list.txt"},
        "joined": {"format": "with_distractors", "base": "alderford", "distractors": "listed"},
        "bag": {"format": "descriptor_bag", "counts": {"train": 1}},
        "room": {"format": "kapture", "folder": "room"},
        "facades": {"format": "hpatches_sequences", "images": "hpatches"},
        "places": {
            "format": "utm_names",
            "database": "d",
            "queries": "q",
            "radius": 25,
            "conditions": ["day", "night"],
        },
    },
    "patch_sets": {
        "drawn": {"format": "phototour", "generator": "toytown", "folder": "toytown/phototour", "parts": ["harbour"]},
        "cut": {
            "format": "hpatches_patches",
            "generator": "toytown",
            "folder": "toytown/strips",
            "parts": ["i_walls00", "v_walls02"],
        },
    },
    "models": {
        "gem": {"architecture": "gem", "backbone": "vgg16", "weights": {"source": "random"}},
        "mine": {"architecture": "custom", "factory": "module:make"},
        "pca": {
            "architecture": "netvlad",
            "backbone": "alexnet",
            "clusters": 16,
            "whitening": 64,
            "weights": {"source": "pca", "start": "netvlad_alexnet", "dataset": "streets_train", "images": 100},
        },
    },
    "features": {
        "gem": {"kind": "global", "model": "gem"},
        "pca": {"kind": "global", "model": "pca", "resize": [48, 64]},
        "released": {"kind": "released", "files": {"bag": "bag.pkl"}},
    },
    "methods": {
        "gem": {"search": "euclidean", "features": "gem"},
        "pca": {"search": "euclidean", "features": "pca"},
        "released": {
            "search": "asmk",
            "features": "released",
            "codebook": {"features": "released", "dataset": "bag"},
        },
    },
}


@pytest.fixture(scope="module")
def sound():
    """The demo's configuration and a block of every other kind."""
    project = HERE.parents[1] / "config"
    values = {**read_yaml(project / "config.yaml"), **read_yaml(project / "demo.yaml")}
    for section, blocks in EXTRA.items():
        values[section] = {**values.get(section, {}), **blocks}
    values["datasets"]["listed"]["counts"] = {"database": 100}
    values["toytown"] = {
        **values["toytown"],
        "phototour": {"parts": ["harbour", "market", "quarry"]},
        "strips": {"illumination": 4, "viewpoint": 4},
    }
    values["training"]["how_r18"]["validation"] = {"dataset": "alderford", "metric": "map_hard", "every": 1}
    return values


def spoil(values, path, value):
    """A copy with one key set (or, for `...`, removed)."""
    spoilt = copy.deepcopy(values)
    *way, last = [int(key) if key.isdigit() else key for key in path.split(".")]
    target = spoilt
    for key in way:
        target = target.setdefault(key, {}) if isinstance(target, dict) else target[key]
    target[last] = value
    return spoilt


def test_what_is_spoilt_below_is_sound(sound):
    config = load_config(sound)
    assert EXTRA["datasets"].keys() <= config.datasets.keys()


HOW = "methods.how_r18_n200"
IMAGES = DEMO["datasets"]["toytown_sfm"]["counts"]["train"]
EACH = DEMO["methods"]["how_r18_n200"]["n"]
PLACES = DEMO["datasets"]["streets_val"]["counts"]["database"]
NETVLAD = "models.netvlad_alexnet"
FITS = [
    # Numbers that are none, wherever they stand.
    ("models.mine.arguments", {"a": [1, {"b": NAN}]}, "models.mine.arguments.a.1.b: nan is not a finite number"),
    (f"{HOW}.query.alpha", INF, f"{HOW}.query.alpha: inf is not a finite number"),
    ("tables.table2.tolerance", NAN, "tables.table2.tolerance: nan is not a finite number"),
    ("seed", INF, "seed: inf is not a finite number"),
    ("toytown.width", -INF, "toytown.width: -inf is not a finite number"),
    # The site.
    ("catalog", "config/catalog/datasets.yaml", "catalog: must be a list of files"),
    ("catalog", None, "catalog: must be a list of files"),
    ("catalog", [None], "catalog: must be a list of files"),
    ("catalog", {"a": 1}, "catalog: must be a list of files"),
    ("results_dir", "", "results_dir: must not be empty"),
    ("results_dir", "results/{table}", "results_dir: must not hold { or }, which mark wildcards"),
    ("data_dir", "a\nb", "data_dir: holds the control character"),
    ("data_dir", "~nobody-of-that-name/x", "data_dir: `~` leads nowhere"),
    ("seed", -1, "seed: Input should be greater than or equal to 0"),
    ("seed", 2**32, "seed: Input should be less than 4294967296"),
    ("shard_size", 10**30, "shard_size: Input should be less than or equal to"),
    ("training_gpus", 10**6, "training_gpus: Input should be less than or equal to 1024"),
    ("mirrors", {"": "https://example.org"}, "must not be empty"),
    ("datasets", None, "datasets: Input should be a valid dictionary, but it is empty (null)"),
    ("methods", [], "methods: Input should be a valid dictionary, not []"),
    # Sources.
    ("sources.w.pth.mirrors", ["example.org/w"], "String should match pattern"),
    ("sources.w.pth.mirrors", "https://example.org/w", "Input should be a valid tuple"),
    ("sources.w.pth.unpack", {"to": "../elsewhere"}, "must be a path inside that folder"),
    ("sources.w.pth.parts", 10**9, "Input should be less than or equal to 999"),
    ("datasets.facades.pairs", {"format": "folder", "database": "x"}, "its pairs and the manifest of 'facades.pairs'"),
    ("datasets.facades.exclude", ["v_a", "v_a"], "'v_a' is written twice"),
    # Patch sets.
    ("patch_sets.drawn.format", "phototours", "patch_sets.drawn: format is 'phototours' (did you mean 'phototour'?)"),
    ("patch_sets.drawn.parts", [], "patch_sets.drawn.parts: Tuple should have at least 1 item"),
    ("patch_sets.drawn.parts", ["a", "a"], "'a' is written twice"),
    ("patch_sets.drawn.counts", {"nowhere": 3}, "`counts` of nowhere, which is none of its parts"),
    ("patch_sets.drawn.parts", ["../a"], "String should match pattern"),
    ("patch_sets.drawn.folder", "/brown", "must be a path inside that folder"),
    ("patch_sets.drawn.sources", ["nowhere"], "there is no 'nowhere' in section `sources`"),
    ("patch_sets.drawn.sources", ["w.pth"], "source 'w.pth' has no `unpack`"),
    ("patch_sets.drawn.size", 64, "patch_sets.drawn.size: unknown key"),
    ("toytown.phototour", None, "no patches are drawn: `toytown.phototour` is null"),
    ("toytown.phototour", {"parts": ["quay"]}, "no part 'harbour' is drawn: `toytown.phototour.parts` are quay"),
    ("patch_sets.cut.folder", "toytown/strips/a", None),
    ("patch_sets.cut.folder", "toytown/phototour", "patch sets of format hpatches_patches in toytown/strips alone"),
    ("patch_sets.drawn.parts", ["habour"], "no part 'habour' is drawn"),
    (
        "patch_sets.cut.parts",
        ["v_walls04"],
        "no part 'v_walls04' is drawn: sequences of `toytown.strips` are i_walls00",
    ),
    ("toytown.strips", None, "no strips are drawn: `toytown.strips` is null"),
    ("toytown.strips.train", 4, "`train` leaves no sequence of a kind to test on"),
    ("toytown.singles", None, "no single images are drawn: `toytown.singles` is null"),
    # Keys that say what kind of block it is.
    ("methods.wrong", {"serach": "inner_product"}, "methods.wrong.serach: unknown key (did you mean 'search'?)"),
    ("datasets.wrong", {"formatt": "folder"}, "datasets.wrong.formatt: unknown key (did you mean 'format'?)"),
    ("models.wrong", {"architectur": "gem"}, "models.wrong.architectur: unknown key (did you mean 'architecture'?)"),
    ("features.wrong", {"kindd": "global", "model": "gem"}, "features.wrong.kindd: unknown key (did you mean 'kind'?)"),
    ("methods.wrong", {"top_k": 3}, "one of the keys search, localise, describe, match is required"),
    # Datasets.
    (
        "datasets.mine.databse",
        "x",
        "datasets.mine.databse: unknown key (did you mean 'database'?); allowed here: counts",
    ),
    ("datasets.mine.format", "foldr", "datasets.mine: format is 'foldr' (did you mean 'folder'?)"),
    ("datasets.mine.counts", {"database": 0}, "datasets.mine.counts.database: Input should be greater than 0"),
    ("datasets.mine.counts", {"train": 5}, "`counts` of train: format folder has database and query only"),
    ("datasets.alderford.counts", {"database": 10**8}, None),
    ("datasets.alderford.shard_size", 0, "Input should be greater than 0"),
    ("datasets.alderford.images", "/jpg", "must be a path inside that folder"),
    ("datasets.alderford.images", "toytown/test/atlantis/jpg", "no city 'atlantis' is drawn: `toytown.cities` are"),
    ("datasets.streets_val.sources", ["bag.pkl"], "source 'bag.pkl' has no `unpack`"),
    ("datasets.streets_val.sources", ["bag.pkl", "bag.pkl"], "'bag.pkl' is written twice"),
    ("toytown.streets", None, "datasets.streets_train.images: no streets are drawn: `toytown.streets` is null"),
    ("toytown.cities", ["alderford", "alderford"], "toytown.cities: 'alderford' is written twice"),
    ("toytown.database_per_city", 10**9, "toytown.database_per_city: Input should be less than"),
    ("datasets.places.training_radius", 30, "`training_radius` is more than `radius`"),
    ("datasets.places.conditions", ["day", "day"], "'day' is written twice"),
    ("datasets.places.radius", 0, "datasets.places.radius: Input should be greater than 0"),
    ("datasets.joined.distractors", "uncounted", "'uncounted' needs `counts: {database: ...}`"),
    ("datasets.joined.distractors", "alderford", "`base` and `distractors` are the same dataset"),
    ("datasets.joined.distractors", "bag", "datasets.joined.distractors: 'bag' is a bag of descriptors without images"),
    ("datasets.joined.distractors", "toytown_sfm", "has no images of role database, only train"),
    ("datasets.joined.base", "listed", "`base` and `distractors` are the same dataset"),
    ("datasets.joined.base", "room", "datasets.joined.base: 'room' (format kapture) has no images of role query"),
    ("datasets.joined.counts", {"database": 3}, "counts belong to the two datasets that this one joins"),
    (
        "datasets.twice",
        {"format": "with_distractors", "base": "joined", "distractors": "listed"},
        "has no images of its own; name its base, 'alderford'",
    ),
    ("datasets.Alderford", EXTRA["datasets"]["mine"], "datasets.Alderford: 'Alderford' and 'alderford' differ in"),
    ("patch_sets.CUT", EXTRA["patch_sets"]["cut"], "'CUT' and 'cut' differ in upper and lower case alone, and would"),
    (
        "patch_sets.Mine",
        EXTRA["patch_sets"]["cut"],
        "patch_sets.Mine: 'Mine' and 'mine' differ in upper and lower",
    ),
    ("patch_sets.drawn.parts", ["harbour", "Harbour"], "patch_sets.drawn.parts: 'Harbour' and 'harbour' differ in"),
    ("sources", {**EXTRA["sources"], "W.pth": {"mirrors": ["https://example.org/W"]}}, "'W.pth' and 'w.pth' differ"),
    ("models.GEM", EXTRA["models"]["gem"], "models.GEM: 'GEM' and 'gem' differ in upper and lower case alone"),
    ("methods.How_r18_n200", DEMO["methods"]["how_r18_n200"], "'How_r18_n200' and 'how_r18_n200' differ in upper and"),
    ("tables.Table2", DEMO["tables"]["table2"], "tables.Table2: 'Table2' and 'table2' differ in upper and lower case"),
    ("tables.Remeasured", DEMO["tables"]["table2"], "holds published counts beside ours"),
    ("datasets.mine.h5", {"format": "folder", "database": "x"}, "would have the same names; rename one"),
    # Models.
    (f"{NETVLAD}.clusters", 1, f"{NETVLAD}.clusters: Input should be greater than or equal to 2"),
    (f"{NETVLAD}.weights.images", 10**12, "images: Input should be less than or equal to"),
    (f"{NETVLAD}.weights.role", "train", "'streets_train' (format dbstruct) has no images of role train"),
    (f"{NETVLAD}.weights.dataset", "joined", "'joined' has no images of its own; name its base, 'alderford'"),
    (f"{NETVLAD}.weights.dataset", "bag", "'bag' is a bag of descriptors without images"),
    (
        f"{NETVLAD}.weights",
        {
            **{"source": "clustered", "start": "netvlad_alexnet_random", "dataset": "streets_train"},
            "images": 1,
            "descriptors": 3,
        },
        "16 clusters need at least as many descriptors",
    ),
    ("models.pca.whitening", 100_000, "whitening 100000: the descriptor has 4096 dimensions"),
    ("models.pca.weights.images", 64, "a whitening of 64 dimensions needs more than 64 images"),
    ("models.how_r18.smoothing", 2, "smoothing 2: an even window shifts the map"),
    ("models.how_r18.smoothing", -1, "models.how_r18.smoothing: Input should be greater than or equal to 0"),
    (
        "models.how_r18.dim",
        CHANNELS + 1,
        f"a whitening of the {CHANNELS} dimensions before it gives no more than {CHANNELS}",
    ),
    ("models.how_r18.weights.role", "query", "has no images of role query, only train"),
    ("models.how_r18.weights.imge_size", 3, "weights.imge_size: unknown key (did you mean 'image_size'?)"),
    ("models.fire_r18.dim", 300, "a whitening of the 256 dimensions"),
    ("models.gem.whitening", "learned", "whitening `learned` is in published checkpoints"),
    ("models.gem.weights", {"source": "imagenet", "file": "w.pth"}, "imagenet: gem has its own published checkpoints"),
    ("models.mine.std", [0.2, 0, 0.2], "models.mine.std.1: Input should be greater than 0"),
    ("models.mine.factory", "make", "models.mine.factory: String should match pattern"),
    # Features.
    ("features.gem.scales", [0], "features.gem.scales.0: Input should be greater than or equal to 0.01"),
    ("features.gem.scales", [-1.0], "features.gem.scales.0: Input should be greater"),
    ("features.gem.scales", [], "features.gem.scales: Tuple should have at least 1 item"),
    ("features.gem.scales", [1e6], "features.gem.scales.0: Input should be less than or equal to 16"),
    ("features.gem.scales", [1.0, 1.0], "features.gem.scales: 1.0 is written twice"),
    ("features.gem.scales", 1.0, "features.gem.scales: Input should be a valid tuple"),
    ("features.gem.image_size", 1, "features.gem.image_size: Input should be greater than or equal to 8"),
    ("features.gem.image_size", 10**9, "features.gem.image_size: Input should be less than"),
    ("features.pca.resize", [0, 64], "features.pca.resize.0: Input should be greater"),
    ("features.released.files", {}, "files: Dictionary should have at least 1 item"),
    # Methods.
    ("methods.on air", {}, "a name must begin with a letter or digit"),
    ("methods." + "x" * 101, {}, "String should have at most 100 characters"),
    (f"{HOW}.query.alpha", -1, f"{HOW}.query.alpha: Input should be greater than or equal to 0"),
    (f"{HOW}.query", {"alpha": 2.5, "similarity_threshold": -0.1}, "alpha 2.5 of a negative similarity is not a"),
    (f"{HOW}.query", {"alpha": 2.0, "similarity_threshold": -0.1}, None),
    (f"{HOW}.query.similarity_threshold", 3, "Input should be less than or equal to 1"),
    (f"{HOW}.query.multiple_assignment", 257, "query.multiple_assignment 257 is more than the 256 words"),
    (f"{HOW}.index.multiple_assignment", 257, "index.multiple_assignment 257 is more than the 256 words"),
    (f"{HOW}.codebook.size", "100000000k", "codebook.size: Input should be less than"),
    (f"{HOW}.codebook.size", "64K", "codebook.size: Input should be a valid integer"),
    (f"{HOW}.codebook.size", IMAGES * EACH, None),
    (
        f"{HOW}.codebook.size",
        IMAGES * EACH + 1,
        f"words need at least as many descriptors, and {IMAGES} images of 'toytown_sfm' with {EACH} each have",
    ),
    (f"{HOW}.codebook.images", 1, "words need at least as many descriptors, and 1 images of 'toytown_sfm' with"),
    ("methods.town_he.bits", 129, "methods.town_he.bits: 129 is more than the 128 dimensions of 'town_rootsift'"),
    (f"{HOW}.codebook.role", "val", "'toytown_sfm' (format sfm120k) has no images of role val, only train"),
    (f"{HOW}.codebook.dataset", "joined", "'joined' has no images of its own"),
    (f"{HOW}.codebook.dataset", "bag", "'bag' is a bag of descriptors without images"),
    (f"{HOW}.codebook.images", 0, "codebook.images: Input should be greater than 0"),
    (f"{HOW}.codebook.seed", -1, "codebook.seed: Input should be greater than or equal to 0"),
    ("methods.released.codebook.dataset", "toytown_sfm", "have no released file for 'toytown_sfm'"),
    ("methods.released.codebook.role", "query", "has no images of role query, only train"),
    ("methods.gem.dim", 513, "513 is more than the 512 dimensions of 'gem'"),
    ("methods.pca.dim", 65, "65 is more than the 64 dimensions of 'pca'"),
    # Training.
    (
        "training.how_r18.validation.metric",
        "map",
        "scores on 'alderford' (the revisited protocol) have no 'map'; close names: map_easy, map_hard, map_medium",
    ),
    ("training.how_r18.validation.dataset", "joined", "'joined' has no images of its own; name its base"),
    ("training.how_r18.validation.dataset", "mine", "nothing on 'mine' can be scored: it names no `ground_truth`"),
    ("training.how_r18.validation.dataset", "toytown_sfm", "nothing on 'toytown_sfm' can be scored"),
    (
        "training.how_r18.validation.every",
        EPOCHS + 1,
        f"validation.every {EPOCHS + 1} is more than the {EPOCHS} epochs",
    ),
    ("training.how_r18.validation.codebook_size", 4, "multiple_assignment 5 is more than the 4 words"),
    (
        "training.how_r18.validation.codebook_size",
        10**6,
        "validation.codebook_size: 1000000 words need at least as many descriptors",
    ),
    ("training.netvlad_alexnet.validation.metric", "recall@100", f"looks deeper than the {PLACES} images of"),
    ("training.netvlad_alexnet.validation.metric", "recall@7", "metric: Input should be 'recall@1', 'recall@5'"),
    (
        "training.netvlad_alexnet.validation.dataset",
        "alderford",
        "scores on 'alderford' (the revisited protocol) have no",
    ),
    (
        "training.netvlad_alexnet.pool",
        10 * NEGATIVES - 1,
        f"a pool of {10 * NEGATIVES - 1} is too small for {NEGATIVES} negatives",
    ),
    ("training.netvlad_alexnet.momentum", 1, "momentum: Input should be less than 1"),
    ("training.netvlad_alexnet.validation", None, None),
    ("training.fire_r18.patience", 3, "`patience` counts validations, and there is no `validation`"),
    ("training.fire_r18.pool", 2, "a pool of 2 is too small for 3 negatives"),
    ("training.fire_r18.workers", 10**6, "workers: Input should be less than or equal to 256"),
    ("training.fire_r18.learning_rate", 0, "learning_rate: Input should be greater than 0"),
    # Tables.
    ("tables.table2.title", "a\x1b[31m", "tables.table2.title: holds the control character '\\x1b'"),
    ("tables.table2.rows.0.label", "two\nlines", "tables.table2.rows.0.label: holds the control character '\\n'"),
    ("tables.table2.rows.0.label", " ", "tables.table2.rows.0.label: must not be empty"),
    ("tables.table2.rows.0.label", True, "Input should be a valid string, not True (YAML reads yes, no, on, off"),
    ("tables.table2.rows.0.tolerance", True, "tables.table2.rows.0: `tolerance` is a number, not true"),
    ("tables.table2.rows.0.repeats", ["how_m"], "there is no 'how_m' in section `methods`"),
    ("tables.table2.rows.0.elsewhere", {"brackwell": "how_m"}, "there is no 'how_m' in section `methods`"),
    ("tables.table2.rows.0.elsewhere", {"streets_test": "how_r18_n200"}, "'streets_test' is not a filled column"),
    ("tables.table2.rows.0.lable", "x", "tables.table2.rows.0.lable: unknown key (did you mean 'label'?)"),
    ("tables.table2.columns.0.label", "a\x00", "holds the control character"),
    ("tables.table2.columns.0.metric", "map_mediun", "have no 'map_mediun'; close names: map_medium"),
    ("tables.table2.columns.0.dataset", "mine", "nothing on 'mine' can be scored: it names no `ground_truth`"),
    ("tables.table2.columns.0.dataset", "judged", None),
    ("tables.table2.columns.0.dataset", "joined", None),
    ("tables.table2.columns.0.dataset", "listed", "nothing on 'listed' can be scored"),
    ("tables.table1.columns.0.metric", "recall@7", "scores on 'streets_test' (place recognition) have no 'recall@7'"),
    ("tables.table2.note", "two\nlines", None),
    ("tables.table2.rows", [], "tables.table2.rows: Tuple should have at least 1 item"),
    (
        "tables.remeasured",
        {
            "title": "x",
            "columns": [{"dataset": "alderford", "metric": "map_medium", "label": "y"}],
            "rows": [{"label": "z", "method": "how_r18_n200"}],
        },
        "results/remeasured.csv holds published counts",
    ),
]


def named(path):
    """The keys of ``path``, with names that hold dots kept whole."""
    return path.replace("w.pth", "w%pth").replace("mine.h5", "mine%h5").replace("facades.pairs", "facades%pairs")


@pytest.mark.parametrize(("path", "value", "expected"), FITS, ids=[f"{p}={v!r:.40}" for p, v, _ in FITS])
def test_value(sound, path, value, expected):
    values = spoil(sound, path, value) if named(path) == path else _dotted(sound, path, value)
    if expected is None:
        load_config(values)
        return
    with pytest.raises(ConfigError) as caught:
        load_config(values)
    message = str(caught.value)
    assert message.startswith("The configuration is refused:\n  --config (command line): ")
    assert expected in message
    assert max(map(len, message.splitlines())) < 700


def _dotted(values, path, value):
    spoilt = copy.deepcopy(values)
    *way, last = [key.replace("%", ".") for key in named(path).split(".")]
    target = spoilt
    for key in way:
        target = target[key]
    target[last] = value
    return spoilt


def test_too_many_shards(sound):
    values = spoil(spoil(sound, "datasets.alderford.counts", {"database": 10**8}), "datasets.alderford.shard_size", 10)
    with pytest.raises(ConfigError, match="10000000 shards are more than 100000; raise `shard_size`"):
        load_config(values)


def test_tilde_is_expanded_in_every_path(sound, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "more.yaml").write_text("seed: 7\n")
    values = copy.deepcopy(sound)
    values |= {"data_dir": "~/data", "catalog": ["~/more.yaml"]}
    del values["seed"]
    values["datasets"]["mine"] = {"format": "folder", "database": "~/a", "queries": "~/b", "ground_truth": "~/g.json"}
    values["sources"]["w.pth"] = {"local_copy": "~/w.pth"}
    values["models"]["mine"]["weights"] = {"source": "custom", "file": "~/own.pt"}
    config = load_config(values)
    mine = config.datasets["mine"]
    found = (config.data_dir, mine.database, mine.queries, mine.ground_truth)
    found += (config.sources["w.pth"].local_copy, config.models["mine"].weights.file)
    assert found == tuple(tmp_path / name for name in ("data", "a", "b", "g.json", "w.pth", "own.pt"))
    assert config.seed == 7


def test_environment_variables_are_not_expanded(sound, monkeypatch):
    monkeypatch.setenv("DATA", "/elsewhere")
    assert load_config(spoil(sound, "data_dir", "$DATA/x")).data_dir == Path("$DATA/x")


def models(model: type[BaseModel] = BaseModel):
    for child in model.__subclasses__():
        if child.__module__.startswith("descbench.config"):
            yield child
        yield from models(child)


def test_no_number_or_text_is_unbounded():
    """A new key must say what it takes: finite numbers, bounded whole numbers, text without control characters."""
    free = []
    for model in models():
        assert model.model_config["allow_inf_nan"] is False, model
        for name, field in model.model_fields.items():
            annotation = str(field.annotation)
            if annotation in ("<class 'int'>", "<class 'str'>") and not field.metadata:
                free.append(f"{model.__name__}.{name}")
    # The kinds of blocks are abstract: their subclasses name the one text that is allowed.
    assert free == ["StartedWeights.source", "WeightsFromImages.source"]


def test_catalogue_relative_to_the_home_of_the_workflow(tmp_path, monkeypatch):
    (tmp_path / "home/config").mkdir(parents=True)
    (tmp_path / "home/config/more.yaml").write_text("seed: 7\n")
    monkeypatch.chdir(tmp_path)
    values = {"catalog": ["config/more.yaml"]}
    assert load_config(values, home=tmp_path / "home").seed == 7
    (tmp_path / "config").mkdir()
    (tmp_path / "config/more.yaml").write_text("seed: 8\n")
    assert load_config(values, home=tmp_path / "home").seed == 8


def test_the_catalogue_itself_fits(monkeypatch):
    monkeypatch.chdir(HERE.parents[1])
    assert isinstance(load_config_files("config/config.yaml"), Config)
