"""The commands beside the workflow: their help, and the check of a configuration."""

import pytest

from descbench.cli import main


def test_help_says_what_each_command_is_for(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    text = capsys.readouterr().out
    assert ended.value.code == 0
    for wanted in ("snakemake --cores 8 results/table2.csv", "descbench check mine.yaml", "descbench pairs --map"):
        assert wanted in text
    assert "results lie in results/" in text
    assert "name file, line and key of what is wrong" in " ".join(text.split())


def test_check_of_a_sound_configuration(capsys, project, monkeypatch):
    monkeypatch.chdir(project)
    assert main(["check", "config/demo.yaml"]) == 0
    assert "The configuration is right. Tables: table1, table2, table3." in capsys.readouterr().out


def test_check_names_the_line(capsys, project, monkeypatch, tmp_path):
    monkeypatch.chdir(project)
    (tmp_path / "mine.yaml").write_text("device: cpu\nseed: [1\n")
    assert main(["check", str(tmp_path / "mine.yaml")]) == 1
    assert f"descbench: {tmp_path}/mine.yaml, line 3: not valid YAML" in capsys.readouterr().err


def test_check_away_from_the_configuration(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert main(["check"]) == 1
    assert "config/config.yaml: no such configuration file" in capsys.readouterr().err
