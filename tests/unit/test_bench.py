"""The benchmark: every row, with equal results on both sides, in the shape that others read."""

import ast
import json
import os
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
import torch

from descbench.neighbours._nearest import has_kernel

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
    "extract_netvlad",
    "extract_netvlad_torch",
    "train_step_how",
    "extract_r2d2",
    "extract_hardnet",
    "hpatches_retrieval",
    "hpatches_verification",
    "hpatches_matching",
    "ap_loss",
    "bow_query",
    "verify_geometry",
    "mma",
]
PEERS = ["panorama", "panorama_whitened", "superkmeans", "visual_index"]


def test_quick_run(tmp_path):
    output = tmp_path / "bench.json"
    command = [sys.executable, "-m", "benchmarks.bench", "--quick", "--repeats", "2", "--output", str(output)]
    result = subprocess.run(command, cwd=ROOT, env=dict(os.environ), capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    found = json.loads(output.read_text())
    assert set(found) == {"machine", "rows", "peers"}
    assert found["machine"]["cores"] == os.cpu_count()
    assert found["machine"]["device"] == "cpu"
    assert [row["name"] for row in found["rows"]] == ROWS
    for row in found["rows"]:
        assert set(row) - {"limit_s"} == {"name", "ratio", "goal", "plain_s", "ours_s", "threads", "note"}
        assert row["ratio"] == row["plain_s"] / row["ours_s"]
        assert row["name"] in result.stdout
    assert [row["name"] for row in found["peers"]] == PEERS
    for row in found["peers"]:
        assert set(row) == {"name", "ratio", "peer_s", "ours_s", "gives_up", "note"}
        assert row["ratio"] == row["peer_s"] / row["ours_s"]
        assert f"{row['gives_up']}; {row['note']}" in result.stdout


def imports_of_benchmarks() -> dict[str, list[str]]:
    """Each module of benchmarks, and what it imports anywhere in it, in order."""
    paths = {".".join(p.relative_to(ROOT).with_suffix("").parts): p for p in (ROOT / "benchmarks").rglob("*.py")}
    found: dict[str, list[str]] = {name: [] for name in paths}
    for name, path in paths.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found[name] += [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{name}: say which package"
                inner = [f"{node.module}.{alias.name}" for alias in node.names]
                found[name] += [whole if whole in paths else node.module for whole in inner]
    return found


def test_benchmarks_import_each_other_one_way():
    modules = imports_of_benchmarks()
    assert {"benchmarks.bench", "benchmarks.scale", "benchmarks.plain.how"} <= modules.keys()
    own = {name: [other for other in others if other in modules] for name, others in modules.items()}
    assert "benchmarks.plain.asmk" in own["benchmarks.asmk_cases"]
    list(TopologicalSorter(own).static_order())  # CycleError names a circle


def test_benchmarks_need_no_tests():
    rooms = {path.stem for path in (ROOT / "tests").rglob("*.py")} | {"tests", "conftest"}
    for name, others in imports_of_benchmarks().items():
        assert not [other for other in others if other.split(".")[0] in rooms], name


def test_plain_definitions_take_nothing_of_ours_but_torchvision():
    for name, others in imports_of_benchmarks().items():
        ours = {other for other in others if other.split(".")[0] in ("descbench", "benchmarks")}
        if name.startswith("benchmarks.plain"):
            assert ours <= {"descbench.models.torchvision_cpu"}, name


def test_one_thread_comes_first_and_only_where_something_is_timed():
    first = {
        name: next((other for other in others if other != "__future__"), None)
        for name, others in imports_of_benchmarks().items()
    }
    assert sorted(name for name, other in first.items() if other == "benchmarks.one_thread") == [
        "benchmarks.bench",
        "benchmarks.scale",
    ]
    code = "import os, benchmarks.plain.asmk; before = os.environ['OMP_NUM_THREADS']; import benchmarks.bench; "
    code += "print(before, *(os.environ[f'{name}_NUM_THREADS'] for name in ('OMP', 'OPENBLAS', 'MKL')))"
    environment = {**os.environ, "OMP_NUM_THREADS": "2"}
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert result.stdout == "2 1 1 1\n"


@pytest.fixture
def untouched_environment():
    """The benchmark sets numbers of threads for its own process."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.mark.usefixtures("untouched_environment")
def test_rows_of_a_device(tmp_path):
    """What ``--device cuda`` runs, on the CPU: lower precision is near float32, and is not float32."""
    from benchmarks.device_cases import device_cases, difference
    from benchmarks.extract_cases import WAYS

    cases = {case.name: case for case in device_cases(96, tmp_path, torch.device("cpu"))}
    rows = ["extract_how", "extract_fire", "extract_netvlad", "train_step_how"]
    assert list(cases) == [f"{row}{precision}" for row in rows for precision in ("", "_bf16")]
    for case in cases.values():
        plain, ours = case.plain(), case.ours()
        assert case.same(plain, ours), case.name
        if case.name.startswith("extract") and case.name.endswith("bf16"):
            apart = difference(WAYS[case.name.split("_")[1]], plain, ours)
            assert 1e-5 < apart.largest < 0.1
            assert 0.99 < apart.mean_cosine < 1
            assert "components differ by up to" in case.note  # Not by exactly as much: bf16 sums may take any order.


@pytest.mark.usefixtures("untouched_environment")
def test_features_that_are_no_rounding():
    from benchmarks.device_cases import difference
    from benchmarks.extract_cases import WAYS

    ways, one = WAYS["netvlad"], [torch.eye(3)[:1]]
    assert difference(ways, one, one).bearable
    assert not difference(ways, one, [torch.eye(3)[1:2]]).bearable
    assert not difference(ways, one, [torch.full((1, 3), torch.nan)]).bearable


@pytest.mark.usefixtures("untouched_environment")
def test_no_gpu_is_one_clear_error(tmp_path, monkeypatch, capsys):
    from benchmarks import bench

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert bench.main(["--device", "cuda", "--output", str(tmp_path / "bench.json")]) == 1
    assert "--device cuda: device: cuda was asked for, but torch sees no CUDA device" in capsys.readouterr().err
    assert not (tmp_path / "bench.json").exists()


@pytest.mark.usefixtures("untouched_environment")
def test_sides_that_disagree_fail(tmp_path, monkeypatch, capsys):
    from benchmarks import bench
    from benchmarks.case import Case

    wrong = Case("wrong", lambda: 1, lambda: 2, lambda a, b: a == b, "")
    monkeypatch.setattr(bench, "all_cases", lambda sizes, folder: iter([wrong]))
    assert bench.main(["--quick", "--output", str(tmp_path / "bench.json")]) == 1
    assert "wrong: the plain way and ours give different results" in capsys.readouterr().err
    assert not (tmp_path / "bench.json").exists()


@pytest.mark.usefixtures("untouched_environment")
def test_tables_are_put_into_pages(tmp_path):
    from benchmarks.documented import document_table, main

    from descbench.errors import DataError

    table, page = tmp_path / "table0.csv", tmp_path / "page.md"
    head = "table,row,dataset,metric,ours,low,high\n"
    table.write_text(f"{head}table0,SIFT,town,mma@3,1.234,1,2\ntable0,SIFT,town,median_x,0.5,,\n")
    page.write_text("Before.\n<!-- table0: measured -->\nold\n<!-- end -->\nAfter.\n<!-- end -->\n")
    for _ in range(2):
        main([str(table), str(page)])
        rows = "| | town mma@3 | town median x |\n|---|---:|---:|\n| SIFT | 1.23 (1.00 to 2.00) | 0.50 |\n"
        expected = f"Before.\n<!-- table0: measured -->\n\n{rows}\n<!-- end -->\nAfter.\n<!-- end -->\n"
        assert page.read_text() == expected
    page.write_text("Nothing.\n")
    with pytest.raises(DataError, match=r"page\.md: no `<!-- table0: measured -->`"):
        document_table(table, page)
    table.write_text(head)
    with pytest.raises(DataError, match=r"table0\.csv: holds no table"):
        document_table(table, page)
