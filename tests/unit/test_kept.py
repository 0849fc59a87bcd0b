"""Features that outlive their shards: lists that are damaged or belong to other files are not used."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from descbench.datasets.manifest import ManifestRow
from descbench.features.kept import KeptFeatures
from descbench.features.store import ShardInfo, ShardWriter
from descbench.io.jsonfiles import read_json, write_checked_json

INFO = ShardInfo("global", "settings", "weights", "", "cpu")
ROWS = [ManifestRow(n, f"{n}.png", "database", content=f"content{n}") for n in range(3)]


@pytest.fixture
def folder(tmp_path):
    """A kept shard of three images; the list that belongs to it is the only one."""
    shard = tmp_path / "00000.h5"
    with ShardWriter(shard, INFO, 2) as writer:
        for n in range(3):
            writer.add(n, descriptors=np.full((1, 2), n, np.float32))
    with KeptFeatures(tmp_path / ".kept", INFO) as kept:
        kept.keep(shard, ROWS, ROWS)
    return tmp_path / ".kept"


def found(folder):
    with KeptFeatures(folder, INFO) as kept:
        blocks = [kept.find(row) for row in ROWS]
    return [None if block is None else float(block.descriptors[0, 0]) for block in blocks]


def test_features_are_found_by_content(folder):
    assert found(folder) == [0.0, 1.0, 2.0]


def test_an_edited_list_is_not_used(folder):
    (listed,) = folder.glob("*.json")
    text = listed.read_text()
    swapped = {"content0": "content1", "content1": "content0"}
    listed.write_text(re.sub("content[01]", lambda name: swapped[name[0]], text))
    assert found(folder) == [None, None, None]
    listed.write_text(json.dumps({"made_by": ["settings"], "images": 3}))
    assert found(folder) == [None, None, None]


def test_links_of_killed_jobs_keep_nothing(folder):
    """What a job left that was killed between link and rename counts as no shard, and goes."""
    (held,) = folder.glob("*.h5")
    for left in (f"{held.name}.tmp-{2**22 + 1}", f"absent.h5.tmp-{2**22 + 1}"):  # above Linux' largest process
        (folder / left).hardlink_to(held)
    (folder.parent / "00000.h5").unlink()
    shard = folder.parent / "00001.h5"
    with ShardWriter(shard, INFO, 2) as writer:
        for n in range(3):
            writer.add(n, descriptors=np.full((1, 2), n, np.float32))
    rows = [*ROWS[1:], ROWS[0]]
    with KeptFeatures(folder, INFO) as kept:
        kept.keep(shard, rows, rows)
    assert {path.suffix for path in folder.iterdir()} == {".h5", ".json"}
    assert held not in folder.iterdir()


def test_the_list_of_another_shard_is_not_used(folder):
    """Whole and with its checksum, but under the name of another list."""
    (listed,) = folder.glob("*.json")
    value = read_json(listed)
    write_checked_json(listed, {**value, "images": value["images"][::-1]})
    assert found(folder) == [None, None, None]
