"""What Snakemake says before our Snakefile is read: docs/faq.md and docs/install.md explain these very sentences."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

MODULE = """
configfile: "mine.yaml"

rule build_table:
    output: "x.txt"
    shell: "touch {output}"

module descbench:
    snakefile: "SNAKEFILE"
    config: config

use rule * from descbenchAS
"""


def snakemake(folder: Path, *words: str) -> str:
    ended = subprocess.run(
        [sys.executable, "-m", "snakemake", "-n", *words], cwd=folder, capture_output=True, text=True, check=False
    )
    return " ".join((ended.stdout + ended.stderr).split())


@pytest.mark.parametrize(
    ("content", "words", "said"),
    [
        (None, "results/demo/table1.csv", "No such file or directory"),
        ("a,b\n1,2\n", "results/demo/table1.csv", "Config file must be given as JSON or YAML with keys at top level"),
        (
            "methods:\n  x: {a: [1, 2\n  y: 3\n",
            "mine.yaml -- results/table2.csv",
            "Config file is not valid JSON or YAML",
        ),
    ],
)
def test_a_configuration_that_snakemake_refuses(project, tmp_path, content, words, said):
    given = words.split()
    if content is not None:
        (tmp_path / given[0]).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / given[0]).write_text(content)
    text = snakemake(
        tmp_path, "-s", str(project / "Snakefile"), "--configfile", str(project / "config/demo.yaml"), *given
    )
    assert said in text
    assert f"*{said}" in " ".join((project / "docs/faq.md").read_text().split())


def test_a_rule_named_like_ours_needs_another_name_for_ours(project, tmp_path):
    (tmp_path / "mine.yaml").write_text(f"data_dir: {tmp_path}\n")
    text = MODULE.replace("SNAKEFILE", str(project / "Snakefile"))
    (tmp_path / "Snakefile").write_text(text.replace("AS", ""))
    said = "The name build_table is already used by another rule"
    assert said in snakemake(tmp_path, "x.txt")
    assert f"*{said}*" in " ".join((project / "docs/install.md").read_text().split())
    (tmp_path / "Snakefile").write_text(text.replace("AS", " as descbench_*"))
    assert "build_table" in (found := snakemake(tmp_path, "x.txt"))
    assert said not in found
