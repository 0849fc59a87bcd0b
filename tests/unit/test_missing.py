"""The advice about missing images names what they were to come from, and nothing that does not exist."""

import json

import pytest

from descbench.datasets.missing import what_to_do


@pytest.fixture
def root(tmp_path):
    (tmp_path / ".unpacked").mkdir()
    for source, to in (("a.tgz", "oxford5k/jpg"), ("b.tgz", "oxford5k/jpg2")):
        (tmp_path / ".unpacked" / f"{source}.json").write_text(json.dumps({"source": source, "to": to}))
    (tmp_path / ".unpacked" / "broken.json").write_text("[")
    (tmp_path / "toytown.json").write_text("{}")
    return tmp_path


@pytest.mark.parametrize(
    ("path", "marker"),
    [
        ("oxford5k/jpg/x.jpg", ".unpacked/a.tgz.json"),
        ("oxford5k/jpg2/x.jpg", ".unpacked/b.tgz.json"),
        ("toytown/test/x.jpg", "toytown.json"),
        ("elsewhere/x.jpg", None),
    ],
)
def test_the_marker_of_the_source_itself_is_named(root, path, marker):
    advice = what_to_do([path], root)
    named = [f"{root / name}" for name in (".unpacked/a.tgz.json", ".unpacked/b.tgz.json", "toytown.json")]
    assert [name for name in named if f"delete {name} " in advice] == ([] if marker is None else [str(root / marker)])


def test_a_folder_of_ones_own_has_no_archive(tmp_path):
    advice = what_to_do(["x.jpg"], tmp_path)
    assert "archive" not in advice
    assert "delete" not in advice
