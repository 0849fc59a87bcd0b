"""A table in a bundle: a valid crate with valid descriptions of datasets, whose files are told from damaged ones."""

import json
import os
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import mlcroissant
import pytest
from validated_crate import PROFILES, problems

from descbench.bundle.bundle_table import bundle_table
from descbench.bundle.contents import CellFiles, TableFiles, find_not_commercial, read_table, write_again
from descbench.bundle.crate import METADATA
from descbench.bundle.verify import verify
from descbench.cli import main
from descbench.command_files import read_configuration
from descbench.config.networks import CustomModel
from descbench.config.sources import Source
from descbench.errors import ConfigError, DataError
from descbench.io.jsonfiles import read_json, write_checked_json
from descbench.licences import forbids_commerce, spdx_of, why_not_commercial
from descbench.plan import Plan
from descbench.table_kinds import KINDS

TABLE = "results/table2.csv"
CONFIG = ("tiny.yaml",)


@pytest.fixture(scope="module")
def place(finished, tmp_path_factory):
    """The finished table in a folder of its own; files are linked."""
    folder = tmp_path_factory.mktemp("bundle") / "work"
    shutil.copytree(finished.folder, folder, symlinks=True, copy_function=os.link)
    shutil.copyfile(Path(__file__).with_name("tiny.yaml"), folder / "tiny.yaml")
    return folder


@pytest.fixture
def inside(place, monkeypatch):
    monkeypatch.chdir(place)
    return place


@pytest.fixture(scope="module")
def bundle(place):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        return place / bundle_table(TABLE, configfiles=CONFIG)


def changed(bundle: Path, target: Path, others: dict[str, bytes | None]) -> Path:
    """A copy of a bundle with other members; None: left out."""
    with zipfile.ZipFile(bundle) as source, zipfile.ZipFile(target, "w") as copy:
        for entry in source.infolist():
            if entry.filename not in others:
                copy.writestr(entry, source.read(entry))
        for name, content in others.items():
            if content is not None:
                copy.writestr(name, content)
    return target


@pytest.mark.parametrize("profile", PROFILES)
def test_the_validator_requires_nothing_more(bundle, tmp_path, profile):
    with zipfile.ZipFile(bundle) as archive:
        archive.extractall(tmp_path)
    assert problems(tmp_path, profile) == []
    (tmp_path / "Snakefile").unlink()
    assert problems(tmp_path, profile)


def test_the_steps_are_those_that_wrote_what_is_in_it(bundle):
    with zipfile.ZipFile(bundle) as archive:
        entities = {one["@id"]: one for one in json.loads(archive.read("ro-crate-metadata.json"))["@graph"]}
        names = set(archive.namelist())
    (organised,) = [one for one in entities.values() if one["@type"] == "OrganizeAction"]
    actions = [entities[entities[control["@id"]]["object"]["@id"]] for control in organised["object"]]
    scores = sorted(name for name in names if name.startswith("scores/"))
    written = [[result["@id"] for result in action["result"]] for action in actions]
    assert sorted(results[0] for results in written[:-1]) == scores
    assert written[-1] == ["table2.csv", "table2.md"]
    assert sorted(given["@id"] for given in actions[-1]["object"]) == scores
    scripts = [f"workflow/scripts/{stage}.py" for stage in ("score_ranking", "build_table")]
    assert list(dict.fromkeys(action["instrument"]["@id"] for action in actions)) == scripts
    assert set(scripts) <= names
    assert entities[organised["result"]["@id"]]["instrument"]["@id"] == "Snakefile"


def test_datasets_are_valid_croissant(bundle, tmp_path):
    with zipfile.ZipFile(bundle) as archive:
        archive.extractall(tmp_path)
    described = sorted((tmp_path / "datasets").glob("*.json"))
    assert described
    for path in described:
        issues = mlcroissant.Dataset(jsonld=path).metadata.ctx.issues
        assert not issues.errors
    record = next(path for path in described if "recordSet" in json.loads(path.read_text()))
    rows = list(mlcroissant.Dataset(jsonld=record).records("images"))
    columns = (tmp_path / "manifests" / f"{record.stem}.csv").read_text().splitlines()
    assert len(rows) == len(columns) - 1


def test_equal_tables_give_equal_bytes(bundle, inside):
    again = bundle_table(TABLE, "again.zip", configfiles=CONFIG)
    assert again.read_bytes() == bundle.read_bytes()


def test_what_is_in_it(bundle):
    names = set(zipfile.ZipFile(bundle).namelist())
    assert {"table2.csv", "table2.md", "Snakefile", "workflow/Snakefile", "configuration.yaml", METADATA} <= names
    scores = {name for name in names if name.startswith("scores/")}
    assert scores
    assert {name.replace("scores/", "provenance/", 1) for name in scores} <= names


def test_an_untouched_bundle_is_as_recorded(bundle):
    found = verify(bundle)
    assert found.compared == len(zipfile.ZipFile(bundle).namelist()) - 1
    assert found.differences == []
    assert found.closing().endswith(
        "not as recorded. Images, weights and features are not in a bundle, and were not compared."
    )


def test_what_differs_is_named(bundle, tmp_path, capsys):
    changes = {"table2.csv": b"other\n", "table2.md": None, "more/x.txt": b"x"}
    other = changed(bundle, tmp_path / "b.zip", changes)
    found = {one.name: one.state for one in verify(other)[1]}
    assert found == {"table2.csv": "differs", "table2.md": "missing", "more/x.txt": "unknown"}
    assert main(["verify", str(other)]) == 1
    assert "differs: table2.csv: SHA-256" in capsys.readouterr().out


def test_an_edited_table_is_found(inside, tmp_path):
    """It has no checksum: it is what its scores give."""
    shutil.copytree(inside, tmp_path / "work", symlinks=True)
    os.chdir(tmp_path / "work")
    path = Path(TABLE)
    text = path.read_text()
    path.write_text(text.replace("0", "9"))
    assert [(one.state, one.name) for one in verify(TABLE, configfiles=CONFIG)[1]] == [("differs", TABLE)]
    with pytest.raises(DataError, match=r"table2\.csv: not what the scores"):
        bundle_table(TABLE, "x.zip", configfiles=CONFIG)
    assert not Path("x.zip").exists()


def test_links_to_pages_are_no_difference(bundle, inside, tmp_path):
    """Which pages are there depends on when a table was written; bundles have none, and so no links."""
    shutil.copytree(inside, tmp_path / "work", symlinks=True)
    os.chdir(tmp_path / "work")
    plan = Plan(read_configuration([Path(file) for file in CONFIG]))
    table = read_table(plan, TABLE, [])
    cell = (table.cells[0].method, table.cells[0].dataset)
    address = "pages/{}/{}.html".format(*cell)
    _, markdown = table.files
    for file in table.files:
        file.unlink()
    write_again(plan, table, table.files, {cell: address})
    assert f"]({address})" in markdown.read_text()
    assert verify(TABLE, configfiles=CONFIG)[1] == []
    with (
        zipfile.ZipFile(bundle_table(TABLE, "linked.zip", configfiles=CONFIG)) as linked,
        zipfile.ZipFile(bundle) as old,
    ):
        assert linked.namelist() == old.namelist()
        assert [linked.read(name) for name in ("table2.csv", "table2.md")] == [
            old.read(name) for name in ("table2.csv", "table2.md")
        ]
    markdown.write_text(markdown.read_text().replace(address, "https://example.org"))
    assert [one.name for one in verify(TABLE, configfiles=CONFIG)[1]] == [str(markdown)]


def test_an_unpacked_bundle(bundle, tmp_path):
    with zipfile.ZipFile(bundle) as archive:
        archive.extractall(tmp_path / "b")
    assert verify(tmp_path / "b")[1] == []
    (tmp_path / "b/table2.md").write_text("other")
    assert [one.name for one in verify(tmp_path / "b")[1]] == ["table2.md"]
    with pytest.raises(DataError, match="not a bundle"):
        verify(tmp_path)


def test_names_that_addresses_write_otherwise(inside):
    overlay = inside / "a b ü#%20.yaml"
    shutil.copyfile(CONFIG[0], overlay)
    written = bundle_table(TABLE, "odd.zip", configfiles=[overlay])
    assert verify(written)[1] == []


def test_what_is_no_bundle_is_not_replaced(inside, bundle):
    photographs = Path("photographs.zip")
    photographs.write_bytes(b"photographs")
    with pytest.raises(ConfigError, match="is not a bundle"):
        bundle_table(TABLE, photographs, configfiles=CONFIG)
    assert photographs.read_bytes() == b"photographs"
    shutil.copyfile(bundle, "mine.zip")
    bundle_table(TABLE, "mine.zip", configfiles=CONFIG)


def test_a_list_of_images_that_was_changed(inside, tmp_path):
    shutil.copytree(inside, tmp_path / "work", symlinks=True)
    os.chdir(tmp_path / "work")
    path = Path("results/manifests/alderford.csv")
    path.write_text(path.read_text() + "junk\n")
    assert [(one.state, one.name) for one in verify(TABLE, configfiles=CONFIG)[1]] == [("differs", str(path))]


def test_every_damaged_file_is_named(inside, tmp_path):
    """Not the first one alone; a checkpoint that cannot be read differs, as any file does."""
    shutil.copytree(inside, tmp_path / "work", symlinks=True)
    os.chdir(tmp_path / "work")
    checkpoints = sorted(Path("results/checkpoints").glob("*.pt"))
    recorded = [one for one in verify(TABLE, configfiles=CONFIG)[1] if one.state == "differs"]
    assert recorded == []
    for path in checkpoints:
        path.write_bytes(path.read_bytes() + b"x")
    found = verify(TABLE, configfiles=CONFIG)[1]
    assert {one.name for one in found} <= {str(path) for path in checkpoints}
    assert all("cut short" in one.told for one in found)
    assert found
    damaged = [*Path("results/scores").glob("*/*.json"), *Path("results/provenance").glob("*/*.json")]
    for path in damaged:
        path.write_text(path.read_text().replace("0", "1", 1))
    found = verify(TABLE, configfiles=CONFIG)[1]
    named = {one.name for one in found}
    assert len(named) > 1
    assert named <= {str(path) for path in damaged}
    assert all("damaged or edited" in one.told for one in found)


def test_a_list_of_images_that_is_gone_is_named(inside, tmp_path, caplog):
    bundle_table(TABLE, tmp_path / "a.zip", configfiles=CONFIG)
    assert "is not there" not in caplog.text
    shutil.copytree(inside, tmp_path / "work", symlinks=True)
    os.chdir(tmp_path / "work")
    path = Path("results/manifests/alderford.csv")
    path.unlink()
    bundle_table(TABLE, tmp_path / "b.zip", configfiles=CONFIG)
    assert f"{path} is not there, so the bundle has no list of the images of alderford" in caplog.text


def test_descriptions_that_contradict_themselves(bundle, tmp_path):
    with zipfile.ZipFile(bundle) as archive:
        crate = json.loads(archive.read(METADATA))
    crate["@graph"].append({"@id": "table2.csv", "@type": "File", "sha256": "0" * 64})
    other = changed(bundle, tmp_path / "b.zip", {METADATA: json.dumps(crate).encode()})
    with pytest.raises(DataError, match="names a file twice"):
        verify(other)


def test_names_of_a_bundle_stay_on_their_line(tmp_path, capsys):
    names = ["a\ud800", "a\x1b[31mred\nok"]
    graph = [{"@id": name, "@type": "File", "sha256": "0" * 64} for name in names]
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        archive.writestr(METADATA, json.dumps({"@graph": graph}))
    assert main(["verify", str(tmp_path / "b.zip")]) == 1
    told = capsys.readouterr().out
    assert told.count("\n") == 3
    assert "\x1b[" not in told


def test_links_in_an_unpacked_bundle_are_named(bundle, tmp_path):
    with zipfile.ZipFile(bundle) as archive:
        archive.extractall(tmp_path / "b")
    (tmp_path / "b/table2.md").unlink()
    (tmp_path / "b/table2.md").symlink_to("/etc/passwd")
    (tmp_path / "b/etc").symlink_to("/etc")
    assert {one.name: one.state for one in verify(tmp_path / "b")[1]} == {"table2.md": "differs", "etc": "unknown"}


def test_a_table_by_its_absolute_path(inside, bundle):
    assert bundle_table(inside / TABLE, "absolute.zip", configfiles=CONFIG).is_file()
    with pytest.raises(DataError, match="no such bundle"):
        verify("none.zip")


def test_encrypted_and_strange_zip_files(bundle, tmp_path):
    content = bytearray(bundle.read_bytes())
    with zipfile.ZipFile(bundle) as archive:
        entries = archive.infolist()
    for flags, method in ((1, 8), (0, 14), (0, 99)):
        other = bytearray(content)
        place = other.rindex(b"PK\x01\x02", 0, other.rindex(METADATA.encode()))
        other[place + 8 : place + 12] = flags.to_bytes(2, "little") + method.to_bytes(2, "little")
        start = next(entry.header_offset for entry in entries if entry.filename == METADATA)
        other[start + 6 : start + 10] = flags.to_bytes(2, "little") + method.to_bytes(2, "little")
        (tmp_path / "b.zip").write_bytes(other)
        with pytest.raises(DataError, match=r"b\.zip"):
            verify(tmp_path / "b.zip")


def test_a_flipped_bit_is_found(bundle, tmp_path):
    content = bytearray(bundle.read_bytes())
    with zipfile.ZipFile(bundle) as archive:
        entry = archive.getinfo("configuration.yaml")
    content[entry.header_offset + 30 + len(entry.filename) + entry.compress_size // 2] ^= 1
    (tmp_path / "b.zip").write_bytes(content)
    assert [one.name for one in verify(tmp_path / "b.zip")[1]] == ["configuration.yaml"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PK\x03\x04",
        b"no zip",
        b'{"@graph": []}',
        b"[]",
        b'{"@graph": [{"@id": 1, "@type": "File"}]}',
        b"[" * 100_000,
    ],
)
def test_what_is_no_bundle_is_refused(tmp_path, content):
    (tmp_path / "a.zip").write_bytes(content)
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        archive.writestr(METADATA, content)
    with zipfile.ZipFile(tmp_path / "c.zip", "w") as archive:
        archive.writestr("other", content)
    for name in ("a.zip", "b.zip", "c.zip", "absent.zip"):
        with pytest.raises(DataError, match=name):
            verify(tmp_path / name)


def test_a_bomb_is_not_unpacked(bundle, tmp_path):
    with zipfile.ZipFile(tmp_path / "b.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("big", bytes(50 << 20))
        archive.writestr(METADATA, json.dumps({"@graph": [{"@id": "big", "@type": "File", "sha256": "0" * 64}]}))
    ((one,),) = (verify(tmp_path / "b.zip")[1],)
    assert "expands too much" in one.told


def test_a_table_is_compared_with_what_made_it(inside, tmp_path, capsys):
    before = verify(TABLE, configfiles=CONFIG)
    assert before.compared > before.between > 3
    assert before.differences == []
    assert before.absent == ()
    folder = tmp_path / "work"
    shutil.copytree(inside, folder, symlinks=True)
    checkpoints = sorted((folder / "results/checkpoints").glob("*.pt"))
    os.chdir(folder)
    recorded = [Path(path) for path in _recorded_checkpoints(folder)]
    assert recorded
    recorded[0].unlink()
    found = verify(TABLE, configfiles=CONFIG)[1]
    assert [(one.state, one.name) for one in found] == [("missing", str(recorded[0]))]
    others = [path for path in checkpoints if path.name != recorded[0].name]
    if others:
        shutil.copyfile(others[0], recorded[0])
        with pytest.raises(DataError, match=recorded[0].name):
            verify(TABLE, configfiles=CONFIG)


BETWEEN = ("features", "codebooks", "indexes", "rankings", "manifests")


def test_every_damaged_file_between_data_and_scores_is_named(inside, tmp_path, capsys):
    """One bit in the middle of each, which no stage reads again on the way to a table that is there."""
    shutil.copytree(inside, tmp_path / "work", symlinks=True)
    os.chdir(tmp_path / "work")
    suffixes = (".h5", ".gt.json")
    files = sorted(
        path for part in BETWEEN for path in Path("results", part).rglob("*") if path.name.endswith(suffixes)
    )
    named = {path.parts[1] for path in files}
    assert named == set(BETWEEN)
    whole = verify(TABLE, configfiles=CONFIG)
    for path in files:
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    found = verify(TABLE, configfiles=CONFIG)
    # Those of the images that a network learned from are behind no cell here.
    assert {one.name for one in found.differences} == {str(path) for path in files if "val_eccv20" not in str(path)}
    assert all("damaged" in one.told for one in found.differences)
    assert found.compared == whole.compared
    assert main(["verify", TABLE, "--configfile", *CONFIG]) == 1
    assert f"{found.compared} files compared, {len(found.differences)} not as recorded" in capsys.readouterr().out


def test_another_ranking_than_the_one_that_was_scored(inside, tmp_path):
    """Whole and with a checksum of its own, so that its readers take it."""
    shutil.copytree(inside, tmp_path / "work", symlinks=True)
    os.chdir(tmp_path / "work")
    ranking, part = (
        Path("results/rankings/how_n30/alderford.h5"),
        "results/rankings/how_n30/alderford/alderford/00000.h5",
    )
    shutil.copyfile(part, ranking)
    (one,) = verify(TABLE, configfiles=CONFIG).differences
    assert (one.state, one.name) == ("differs", str(ranking))
    assert "another file than the one that was scored" in one.told


def test_what_was_scored_and_is_gone_is_told_and_is_no_difference(inside, tmp_path, capsys):
    shutil.copytree(inside, tmp_path / "work", symlinks=True)
    os.chdir(tmp_path / "work")
    for folder in ("rankings", "features", "indexes", "codebooks"):
        shutil.rmtree(Path("results", folder))
    assert main(["verify", TABLE, "--configfile", *CONFIG]) == 0
    told = capsys.readouterr().out
    assert "not present: results/rankings/how_n30/alderford.h5: " in told
    assert "not present: results/features/how/alderford/query/00000.h5: " in told
    assert told.rstrip().endswith("2 files that the scores were made from and that are not present.")
    record = Path("results/provenance/how_n30/alderford.json")
    old = read_json(record)
    del old["inputs"]
    write_checked_json(record, old)
    assert "what the scores of 1 cells were made from" in verify(TABLE, configfiles=CONFIG).closing()


def _recorded_checkpoints(folder: Path) -> list[str]:
    from descbench.bundle.contents import read_table
    from descbench.bundle.verify import _recorded
    from descbench.command_files import read_configuration
    from descbench.plan import Plan

    files = [Path(name) for name in CONFIG]
    plan = Plan(read_configuration(files))
    return [file for file in _recorded(plan, read_table(plan, TABLE, files).cells) if file.endswith(".pt")]


def test_a_configuration_that_it_was_not_made_with(inside, tmp_path):
    """Its bundle would tell of other settings than those of the scores."""
    other = tmp_path / "other.yaml"
    other.write_text("methods: {how_n30: {query: {alpha: 1.5}}}\n")
    with pytest.raises(DataError, match=r"scores/how_n30/\S+\.json: was made with another methods\.how_n30 than"):
        bundle_table(TABLE, configfiles=[*CONFIG, other], output=tmp_path / "x.zip")
    assert not (tmp_path / "x.zip").exists()
    found = verify(TABLE, configfiles=[*CONFIG, other])[1]
    assert {(one.state, one.told) for one in found} == {
        ("differs", "made with another methods.how_n30 than is configured")
    }


def test_what_cannot_be_bundled_is_refused(inside):
    with pytest.raises(ConfigError, match=r"'results/tabel2\.csv' is not a table"):
        bundle_table("results/tabel2.csv", configfiles=CONFIG)
    with pytest.raises(ConfigError, match=r"ends in \.zip"):
        bundle_table(TABLE, "table2.tar", configfiles=CONFIG)
    with pytest.raises(DataError, match="snakemake --cores 8"):
        bundle_table("table2", "x.zip", configfiles=[*CONFIG, _elsewhere(inside)])
    assert not Path("x.zip").exists()


def _elsewhere(folder: Path) -> Path:
    path = folder / "elsewhere.yaml"
    path.write_text("results_dir: nowhere\n")
    return path


@pytest.mark.parametrize(
    ("licence", "spdx", "commercial"),
    [
        ("CC BY-NC-SA 4.0 (NAVER Corporation): no commercial use", "CC-BY-NC-SA-4.0", False),
        ("CC BY 4.0", "CC-BY-4.0", True),
        ("MIT", "MIT", True),
        ("Apache 2.0", "Apache-2.0", True),
        ("BSD 3-Clause", "BSD-3-Clause", True),
        ("Magic Leap's own: academic and non-commercial use", None, False),
        ("research use", "LicenseRef-research-use", False),
        ("not looked at", "NOASSERTION", False),
        ("All rights reserved", "LicenseRef-All-rights-reserved", None),
        ("noncommercial use only", "LicenseRef-noncommercial-use-only", False),
        (None, "NOASSERTION", False),
    ],
)
def test_licences(licence, spdx, commercial):
    assert spdx is None or spdx_of(licence) == spdx
    assert (why_not_commercial(licence) is None) == (commercial is True)
    assert forbids_commerce(licence) == (licence is not None and commercial is False and "looked" not in licence)


def test_every_licence_of_the_catalogue_has_an_identifier(project):
    from descbench.config.load import load_config_files

    config = load_config_files(project / "config/config.yaml", home=project)
    found = {source.licence: spdx_of(source.licence) for source in config.sources.values()}
    assert {"CC-BY-NC-SA-4.0", "CC-BY-NC-SA-3.0", "MIT"} <= set(found.values())
    assert all(identifier.replace("-", "").replace(".", "").isalnum() for identifier in found.values())


def test_compare_tells_of_scores_of_another_configuration(inside, tmp_path, caplog):
    other = tmp_path / "other.yaml"
    other.write_text("methods: {how_n30: {query: {alpha: 1.5}}}\n")
    dataset = json.loads(next(Path("results/scores/how_n30").glob("*.json")).read_text())["cell"].split(" on ")[1]
    call = ["compare", "how_n30", "how_n30", dataset, "--configfile", *CONFIG]
    assert main(call) == 0
    assert "another" not in caplog.text
    assert main([*call, str(other)]) == 0
    told = "these scores were made with another methods.how_n30 than is configured"
    assert f"how_n30 on {dataset}: {told}" in caplog.text


def test_weights_without_a_commercial_licence_are_refused(inside, monkeypatch):
    """Those that the catalogue forbids, and those of which nothing is stated."""
    models = {"m": {"weights": {"source": "official", "file": "w.pth"}}}
    record = {"configuration": {"models": models}, "sources": {"w.pth": {"licence": "CC BY-NC-SA 4.0", "files": []}}}
    cell = CellFiles("fire", "town", Path("s"), None, Path("p"), record)
    table = TableFiles("t", "T", (Path("t.csv"), Path("t.md")), (cell,), KINDS[0], Path())
    assert list(find_not_commercial(table)) == ["fire on town: w.pth allows no commercial use (CC BY-NC-SA 4.0)"]
    unknown = replace(cell, provenance={**record, "sources": {"w.pth": {"licence": None, "files": []}}})
    assert "no licence that is stated" in next(find_not_commercial(replace(table, cells=(unknown,))))
    free = replace(cell, provenance={**record, "sources": {"w.pth": {"licence": "MIT", "files": []}}})
    assert list(find_not_commercial(replace(table, cells=(free,)))) == []
    # Corrected after the cells were scored: both are asked.
    now = {"w.pth": Source(mirrors=["https://a.org/w.pth"], licence="CC BY-NC 4.0")}
    assert "CC BY-NC 4.0" in next(find_not_commercial(replace(table, cells=(free,)), now))
    # Of a network of the user's own, whose weights are in a file or in its code.
    for custom in ({"source": "custom", "file": "tiny.pt"}, {"source": "custom"}):
        mine = replace(cell, provenance={"configuration": {"models": {"mine": {"weights": custom}}}, "sources": {}})
        known = {
            licence: CustomModel(architecture="custom", factory="m:f", weights={**custom, "licence": licence})
            for licence in (None, "MIT", "CC BY-NC 4.0")
        }
        told = {
            key: list(find_not_commercial(replace(table, cells=(mine,)), {}, {"mine": known[key]})) for key in known
        }
        assert told["MIT"] == []
        assert "models.mine has no licence that is stated: ask its owner (`licence` of its `weights`)" in told[None][0]
        assert "models.mine allows no commercial use (CC BY-NC 4.0)" in told["CC BY-NC 4.0"][0]
    monkeypatch.setattr("descbench.bundle.bundle_table.find_not_commercial", lambda *_: iter(["fire on town: no"]))
    with pytest.raises(ConfigError, match="not for commercial use:\n  fire on town: no"):
        bundle_table(TABLE, "c.zip", configfiles=CONFIG, commercial=True)
    assert not Path("c.zip").exists()
    bundle_table(TABLE, "c.zip", configfiles=CONFIG)
