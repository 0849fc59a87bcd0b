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
    tables = ", ".join(f"table{number}" for number in (1, 2, 3, 4, 5, 6, 7, 9))
    assert f"The configuration is right. Tables: {tables}." in capsys.readouterr().out


def test_check_names_the_line(capsys, project, monkeypatch, tmp_path):
    monkeypatch.chdir(project)
    (tmp_path / "mine.yaml").write_text("device: cpu\nseed: [1\n")
    assert main(["check", str(tmp_path / "mine.yaml")]) == 1
    assert f"descbench: {tmp_path}/mine.yaml, line 3: not valid YAML" in capsys.readouterr().err


def test_check_away_from_the_configuration(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert main(["check"]) == 0
    assert "The configuration is right. Tables: table1" in capsys.readouterr().out


def test_pairs_cannot_be_written(capsys, project, monkeypatch, tmp_path):
    """Said before anything is computed."""
    monkeypatch.chdir(project)
    (tmp_path / "file").write_text("")
    pairs = ["pairs", "--map", str(tmp_path / "map"), "--method", "fire_n1000", "-o"]
    for output, message in (
        (tmp_path, "is a folder; name the file to write"),
        (tmp_path / "file/x.txt", "--output: the folder"),
    ):
        assert main([*pairs, str(output)]) == 1
        assert message in capsys.readouterr().err
    assert main([*pairs, str(tmp_path / "p.txt"), "--work", str(tmp_path / "file")]) == 1
    assert "--work: the folder" in capsys.readouterr().err
