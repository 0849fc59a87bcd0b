"""The benchmark: every row, with equal results on both sides, in the shape that others read."""

import json
import os
import subprocess
import sys
from pathlib import Path

from descbench.retrieval._nearest import has_kernel

ROOT = Path(__file__).resolve().parents[2]
ROWS = [
    "aggregate_db",
    "aggregate_query",
    "ivf_build",
    "search_short",
    "search_long",
    "query_end_to_end",
    "aggregate_two_threads",
    "search_two_threads",
    "quantise_k1",
    "quantise_k5",
    *(f"quantise_k{k}_{name}" for name in ("avx2", "portable") if has_kernel(name) for k in (1, 5)),
    "kmeans_iteration",
    "mnn_2k",
    "mnn_5k",
    "vlad_search",
    "hdf5_write",
    "hdf5_read",
    "extract_how",
    "extract_how_torch",
    "extract_fire",
    "extract_fire_torch",
    "train_step_how",
]


def test_quick_run(tmp_path):
    output = tmp_path / "bench.json"
    command = [sys.executable, "-m", "benchmarks.bench", "--quick", "--repeats", "5", "--output", str(output)]
    result = subprocess.run(command, cwd=ROOT, env=dict(os.environ), capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    found = json.loads(output.read_text())
    assert set(found) == {"machine", "rows"}
    assert found["machine"]["cores"] == os.cpu_count()
    assert [row["name"] for row in found["rows"]] == ROWS
    for row in found["rows"]:
        assert set(row) == {"name", "ratio", "goal", "plain_s", "ours_s", "threads", "note"}
        assert row["ratio"] == row["plain_s"] / row["ours_s"]
        assert row["name"] in result.stdout


def test_sides_that_disagree_fail(tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(ROOT))
    environment = dict(os.environ)
    from benchmarks import bench
    from benchmarks.cases import Case

    wrong = Case("wrong", lambda: 1, lambda: 2, lambda a, b: a == b, "")
    monkeypatch.setattr(bench, "all_cases", lambda sizes, folder: iter([wrong]))
    try:
        assert bench.main(["--quick", "--output", str(tmp_path / "bench.json")]) == 1
    finally:
        os.environ.clear()
        os.environ.update(environment)
    assert "wrong: the plain way and ours give different results" in capsys.readouterr().err
    assert not (tmp_path / "bench.json").exists()
