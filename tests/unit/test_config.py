"""The configuration refuses what is wrong before any job starts, and says where."""

import json
from collections.abc import Iterator

import pytest
import yaml
from jsonschema import Draft202012Validator

from descbench.config.base import Block, DatasetName, ModelName, Name, SourceName, SourceNames, Strict, names_used
from descbench.config.examples import EXAMPLES, FIGURES
from descbench.config.load import load_config, load_config_files, read_yaml
from descbench.config.models import Config
from descbench.config.published import COLUMNS
from descbench.config.reference import reference_page
from descbench.config.schemas import REFERENCE_FILE, SCHEMA_FILE, config_schema, figures_schema
from descbench.errors import ConfigError
from descbench.io.jsonfiles import write_checked_json

# How the pattern of names shows in the description of a field.
_NAME_PATTERN = "A-Za-z0-9_.+-"


@pytest.fixture
def demo(project):
    """The demo's configuration as plain values, to be spoilt."""
    values = read_yaml(project / "config/config.yaml")
    return {**values, **read_yaml(project / "config/demo.yaml")}


def refusal(values, files=()) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(values, files)
    return str(caught.value)


def test_default_configuration_is_valid(project, monkeypatch):
    monkeypatch.chdir(project)
    config = load_config_files("config/config.yaml")
    assert set(config.tables) >= {"table2", "table2_released", "table2_global"}


def test_demo_configuration_is_valid(demo):
    assert list(load_config(demo).tables) == [f"table{number}" for number in range(1, 10)]


def test_schema_has_not_drifted(project):
    stored = json.loads((project / "config/schemas" / SCHEMA_FILE).read_text())
    assert stored == json.loads(json.dumps(config_schema())), "run `python -m descbench.config.schemas`"


def test_reference_page_has_not_drifted(project):
    page = (project / "config" / REFERENCE_FILE).read_text()
    assert page == reference_page(config_schema(), figures_schema()), "run `python -m descbench.config.schemas`"


def test_every_field_is_described():
    schema = config_schema()
    bare = [
        f"{name}.{key}"
        for name, model in schema["$defs"].items()
        for key, field in model.get("properties", {}).items()
        if "description" not in field and "$ref" not in field and key not in ("format", "kind", "search", "recipe")
    ]
    # What is left needs no more words than its name and the section it stands in.
    assert set(bare) <= {
        f"{model}.{key}"
        for model in schema["$defs"]
        for key in (
            "source",
            "architecture",
            "dataset",
            "metric",
            "method",
            "title",
            "columns",
            "rows",
            "reference_results",
        )
    }


def test_unknown_key_names_file_path_and_what_is_allowed(demo, tmp_path):
    overlay = tmp_path / "mine.yaml"
    demo["methods"]["how_r18_n200"]["query"] = {"alpa": 2.0}
    overlay.write_text(yaml.safe_dump({"methods": demo["methods"]}))
    message = refusal(demo, [overlay])
    assert f"{overlay}: methods.how_r18_n200.query.alpa: unknown key (did you mean 'alpha'?)" in message
    assert "multiple_assignment" in message


def test_unknown_top_level_key(demo):
    assert "results_dri: unknown key (did you mean 'results_dir'?)" in refusal({**demo, "results_dri": "x"})


def test_wrong_type_names_key_and_value(demo):
    assert "shard_size: Input should be a valid integer" in refusal({**demo, "shard_size": "many"})


def test_wrong_choice_lists_choices(demo):
    message = refusal({**demo, "device": "tpu"})
    assert "device: Input should be 'auto', 'cpu' or 'cuda', not 'tpu'" in message


def test_wrong_kind_of_block_lists_kinds(demo):
    demo["datasets"]["alderford"]["format"] = "imagefolder"
    message = refusal(demo)
    assert "datasets.alderford" in message
    assert "'revisitop'" in message


def test_missing_key(demo):
    del demo["methods"]["how_r18_n200"]["codebook"]["dataset"]
    assert "methods.how_r18_n200.codebook.dataset: this key is required" in refusal(demo)


@pytest.mark.parametrize(
    ("section", "block", "key", "value", "expected"),
    [
        ("features", "how_r18", "model", "how_r81", "there is no 'how_r81' in section `models`; close names: how_r18"),
        ("methods", "how_r18_n200", "features", "nothing", "there is no 'nothing' in section `features`"),
        ("methods", "how_r18_n200", "n", 999, "999 is more than the 200 features an image"),
        ("datasets", "alderford", "sources", ["absent.tgz"], "there is no 'absent.tgz' in section `sources`"),
    ],
)
def test_names_that_lead_nowhere(demo, section, block, key, value, expected):
    demo[section][block][key] = value
    message = refusal(demo)
    assert f"{section}.{block}.{key}" in message
    assert expected in message


def test_table_naming_a_missing_method(demo):
    demo["tables"]["table2"]["rows"][1]["method"] = "how_r50_n200"
    message = refusal(demo)
    assert "tables.table2.rows.1.method" in message
    assert "close names" in message


def test_codebook_of_another_model(demo):
    demo["methods"]["how_r18_n200"]["codebook"]["features"] = "fire_r18_single"
    assert "learned with descriptors of 'fire_r18'" in refusal(demo)


NETVLAD = {
    "start": {"weights": {"source": "random"}},
    "clustered": {"weights": {"source": "clustered", "start": "start", "dataset": "toytown_sfm", "role": "train"}},
    "white": {
        "whitening": 8,
        "weights": {"source": "pca", "start": "clustered", "dataset": "toytown_sfm", "role": "train"},
    },
}


@pytest.mark.parametrize(
    ("model", "changes", "expected"),
    [
        ("start", {}, None),
        (
            "clustered",
            {"clusters": 8},
            "models.clustered.weights.start: 'start' is another network; only `weights` may",
        ),
        ("clustered", {"pooling": "max"}, "source: clustered: only architecture netvlad with pooling netvlad has"),
        (
            "clustered",
            {"weights": {**NETVLAD["clustered"]["weights"], "dataset": "sfm"}},
            "there is no 'sfm' in section",
        ),
        ("white", {"whitening": None}, "pca: only architecture netvlad has such a whitening; set `whitening`"),
        ("white", {"bias": True}, "'clustered' is another network; only `weights` may differ, and it has no `whiten"),
        ("start", {"whitening": 8}, "'start' is another network"),
        ("start", {"pooling": "avg", "bias": True}, "`bias` belongs to pooling netvlad, not to avg"),
        (
            "start",
            {"weights": {"source": "whitened", "start": "clustered", "dataset": "toytown_sfm"}},
            "whitened: netvlad has no reduction of local descriptors",
        ),
    ],
)
def test_weights_of_netvlad(demo, model, changes, expected):
    blocks = {name: {"architecture": "netvlad", **block} for name, block in NETVLAD.items()}
    blocks[model] |= changes
    demo["models"] |= blocks
    if expected is None:
        assert load_config(demo).models["white"].whitening == 8
    else:
        assert expected in refusal(demo)


def test_netvlad_has_no_local_features(demo):
    demo["models"]["start"] = {"architecture": "netvlad", **NETVLAD["start"]}
    demo["features"]["how_r18"] = {"kind": "local", "model": "start"}
    assert "model 'start' (netvlad) has no local features" in refusal(demo)


def test_all_problems_are_listed_at_once(demo):
    message = refusal({**demo, "device": "tpu", "shard_size": 0})
    assert "device" in message
    assert "shard_size" in message


def test_a_result_is_no_configuration(tmp_path):
    """A target behind --configfile, where `--` was forgotten."""
    write_checked_json(tmp_path / "scores.json", {"family": "retrieval"})
    with pytest.raises(ConfigError, match=r"scores\.json: is a result, not a configuration: .* put `--` before"):
        load_config_files(tmp_path / "scores.json", home=tmp_path)


def test_an_empty_label_is_one_problem(demo):
    (row, *_) = demo["tables"]["table2"]["rows"]
    demo["tables"]["table2"]["rows"] = [{**row, "label": ""}]
    with pytest.raises(ConfigError) as caught:
        load_config(demo)
    assert "rows.0.label: must not be empty" in str(caught.value)
    assert "at least 1 item" not in str(caught.value)


def test_key_written_twice(tmp_path):
    path = tmp_path / "twice.yaml"
    path.write_text("device: cpu\ndevice: cuda\n")
    with pytest.raises(ConfigError, match="device is written twice"):
        read_yaml(path)


def test_missing_catalogue_file():
    assert "nowhere.yaml: no such configuration file" in refusal({"catalog": ["nowhere.yaml"]})


def test_sizes_read_like_the_original(demo):
    demo["methods"]["how_r18_n200"]["codebook"]["size"] = "64k"
    assert load_config(demo).methods["how_r18_n200"].codebook.size == 65536


def test_published_figures_have_a_source(project, monkeypatch):
    monkeypatch.chdir(project)
    config: Config = load_config_files("config/config.yaml")
    figures = [f for table in config.tables.values() for row in table.rows for f in row.reference_results]
    assert figures
    assert all(figure.source and (figure.paper or figure.released) for figure in figures)


def test_examples_of_the_page_are_a_configuration(tmp_path):
    figures = tmp_path / "figures.csv"
    figures.write_text("\n".join(",".join(line) for line in (COLUMNS, *FIGURES)) + "\n")
    config = load_config({**EXAMPLES, "catalog": [str(figures)]})
    assert {section for section in EXAMPLES if not getattr(config, section)} == set()
    ours = config.tables["table_mine"].rows[0].reference_results
    assert [(figure.paper, figure.released) for figure in ours] == [(70.5, 71.0)]


def test_the_page_has_each_section_and_each_block_once(project):
    lines = (project / "config" / REFERENCE_FILE).read_text().splitlines()
    headings = [line for line in lines if line.startswith("## ")]
    assert [heading.removeprefix("## ") for heading in headings[2:]] == [*EXAMPLES, "references.csv"]
    blocks = [line.removeprefix("### ") for line in lines if line.startswith("### ")]
    assert sorted(blocks) == sorted(config_schema()["$defs"])


def test_the_schema_takes_blocks_that_leave_out_what_is_derived():
    definitions = config_schema()["$defs"]
    required = {name: definitions[name].get("required", []) for name in ("LocalFeatures", "FlatMethod", "Codebook")}
    assert required == {"LocalFeatures": [], "FlatMethod": ["search"], "Codebook": ["dataset"]}
    (features,) = config_schema()["properties"]["features"]["patternProperties"].values()
    assert "oneOf" not in features


def test_editors_are_content_with_the_files_of_the_project(project):
    validator = Draft202012Validator(json.loads((project / "config/schemas" / SCHEMA_FILE).read_text()))
    files = [*(project / "config").glob("**/*.yaml"), project / "examples/custom_network/config.yaml"]
    assert len(files) >= 8
    wrong = [f"{path}: {error.message}" for path in files for error in validator.iter_errors(read_yaml(path))]
    assert wrong == []
    assert not validator.is_valid({"features": {"how_r18": {"image_sise": 3}}})
    assert validator.is_valid(EXAMPLES)


def config_blocks(cls: type[Block]) -> Iterator[type[Block]]:
    for child in cls.__subclasses__():
        if child.__module__.startswith("descbench.config"):
            yield child
        yield from config_blocks(child)


def test_names_that_lead_to_blocks_are_marked():
    """A key that holds the name of another block says of which section, or it would lead nowhere unnoticed."""
    unmarked = set()
    for cls in config_blocks(Block):
        for key, field in cls.model_fields.items():
            kind = repr((field.annotation, field.metadata))
            if _NAME_PATTERN in kind and "Section(" not in kind:
                unmarked.add(f"{cls.__name__}.{key}")
    # These are names of something else.
    assert {key.split(".")[1] for key in unmarked} == {"exclude", "parts", "counts", "conditions"}


def test_names_are_found_wherever_they_stand():
    class Inner(Strict):
        model: ModelName | None = None

    class Outer(Strict):
        sources: SourceNames = ()
        files: dict[DatasetName, SourceName]
        inner: Inner | None = None
        rows: tuple[Inner, ...] = ()
        label: Name = "x"

    block = Outer(sources=("a", "b"), files={"c": "d"}, inner=Inner(model="e"), rows=(Inner(), Inner(model="f")))
    assert list(names_used(block)) == [
        (("sources", 0), ("sources",), "a"),
        (("sources", 1), ("sources",), "b"),
        (("files",), ("datasets",), "c"),
        (("files", "c"), ("sources",), "d"),
        (("inner", "model"), ("models",), "e"),
        (("rows", 1, "model"), ("models",), "f"),
    ]


def test_an_overlay_replaces_the_patches_of_a_training(tmp_path):
    """They are one choice; merged, nobody could leave a part of the catalogue out. Snakemake merges files itself."""
    catalog, first, second = (tmp_path / f"{name}.yaml" for name in ("catalog", "first", "second"))

    def training(**patches):
        return {"training": {"t": {"patches": patches, "validation": {"patches": patches}}}}

    base = training(one=["a"], two=["a"])
    base["training"]["t"] |= {"recipe": "hardnet", "triplets": 64, "batch": 32}
    sets = {name: {"format": "phototour", "folder": name, "parts": ["a", "b"]} for name in ("one", "two")}
    catalog.write_text(yaml.safe_dump({**base, "patch_sets": sets}))
    first.write_text(yaml.safe_dump({"catalog": [str(catalog)], **training(one=["b"])}))
    second.write_text(yaml.safe_dump({**training(two=["b"]), "seed": 3}))
    for files, expected in (((first,), {"one": ("b",)}), ((first, second), {"two": ("b",)})):
        block = load_config_files(*files).training["t"]
        assert block.patches == block.validation.patches == expected
        assert block.triplets == 64
    merged = {**read_yaml(first), **training(one=["a"], two=["b"])}
    assert load_config(merged, [first]).training["t"].patches == {"one": ("a",), "two": ("b",)}


def test_a_method_without_a_kind():
    """All keys that choose one are named."""
    named = "methods.x: one of the keys search, localise, describe, match is required"
    assert named in refusal({"methods": {"x": {}}})
    assert "models.x: key architecture is required" in refusal({"models": {"x": {}}})
