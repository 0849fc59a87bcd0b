"""Roles of images are listed once, and hold in manifests, targets and rules alike."""

import re

import pytest

from descbench.config.base import ROLES
from descbench.config.load import load_config
from descbench.config.yaml_files import read_yaml
from descbench.datasets.manifest import Manifest, read_manifest, rows_of, write_manifest
from descbench.errors import DataError
from descbench.plan import Plan
from descbench.targets import explain_target


def test_a_manifest_has_images_of_every_role(tmp_path):
    manifest = Manifest(tuple(row for role in ROLES for row in rows_of(role, [f"{role}/a.jpg", f"{role}/b.jpg"])))
    write_manifest(manifest, tmp_path / "m.csv")
    assert read_manifest(tmp_path / "m.csv") == manifest
    assert [row.path for row in manifest.of_role("map").rows] == ["map/a.jpg", "map/b.jpg"]


def test_another_role_is_refused(tmp_path):
    write_manifest(Manifest(tuple(rows_of("maps", ["a.jpg"]))), tmp_path / "m.csv")
    with pytest.raises(DataError, match="role maps is none of query, database, train, val, map"):
        read_manifest(tmp_path / "m.csv")


@pytest.mark.parametrize("role", ROLES)
def test_targets_know_every_role(project, role):
    plan = Plan(load_config(read_yaml(project / "config/demo.yaml")))
    pattern = "results/demo/features/{features}/{dataset}/{role}/{shard}.h5"
    said = explain_target(f"results/demo/features/how_r18/alderford/{role}/0.h5", [pattern], plan, [])
    assert "is not a role" not in said
    assert "'0' is not a shard" in said


def test_roles_are_listed_in_one_place(project):
    listed = re.compile(r"query\W{1,6}database\W{1,6}train\W{1,6}val")
    files = [p for folder in ("src", "workflow") for p in (project / folder).rglob("*") if p.suffix in (".py", ".smk")]
    found = [p.relative_to(project).as_posix() for p in files if listed.search(p.read_text(encoding="utf-8"))]
    assert found == ["src/descbench/config/base.py"]
