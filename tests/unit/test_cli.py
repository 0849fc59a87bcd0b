"""The commands beside the workflow: their help, how they end, lists, and the check of a configuration."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
import yaml
from small_catalog import CONFIG

from descbench import __version__, result_commands
from descbench.cli import main
from descbench.commands import patches
from descbench.commands.app import repeat_configfile
from descbench.commands.reference import reference
from descbench.config.base import close_names
from descbench.datasets.descriptor_csv import DELIMITERS, STYLES


def words(text):
    """Text without the frames and line breaks of a terminal."""
    return " ".join(text.replace("│", " ").split())


def test_help_says_what_each_command_is_for(capsys):
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    for wanted in ("snakemake --cores 8 results/table2.csv", "descbench check mine.yaml", "descbench pairs --map"):
        assert wanted in text
    assert "Results lie in results/" in text
    assert "name file, line and key of what is wrong" in words(text)
    assert main([]) == 0
    assert capsys.readouterr().out == text


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"descbench {__version__}\n"


def test_help_starts_light():
    """A help text does not wait for torch."""
    code = "import sys; from descbench.cli import main; main(['pairs', '--help']); print(sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "'typer'" in loaded
    assert not [name for name in ("torch", "numpy", "cv2", "h5py", "pandas", "matplotlib") if f"'{name}'" in loaded]


def test_the_page_of_the_command_line_is_what_help_says(project):
    assert (project / "docs/cli.md").read_text() == reference(), "run python -m descbench.commands.reference"


def test_choices_are_those_of_the_library():
    assert get_args(patches.Delimiter) == DELIMITERS
    assert get_args(patches.Style) == tuple(STYLES)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["chek"], "No such command 'chek'. Did you mean 'check'?; see `descbench --help`."),
        (["search", "--images", "photos", "--query", "", "--method", "m"], "an argument is empty (perhaps a variable"),
        (["check", "--foo"], "No such option: --foo; see `descbench check --help`."),
        (["pairs", "--map", "m"], "Missing option '--method'; see `descbench pairs --help`."),
        (["check", "--configfile"], "No such option"),
        (["convert-pairs", "a", "b", "--to", "x"], "'x' is not one of 'hloc', 'kapture'"),
        (["search", "--images", "a", "--query", "q", "--images=b", "--method", "m"], "--images is given twice"),
        (
            ["evaluate", "--images", "a", "--method", "m", "-o", "x.json", "--output", "y.json"],
            "--output is given twice",
        ),
        (["match", "--configfile", "c.yaml", "a.jpg", "b.jpg", "--method", "m"], "takes all names that follow it"),
    ],
)
def test_a_wrong_command_line_is_told_in_one_line(capsys, arguments, message):
    assert main(arguments) == 2
    told = capsys.readouterr().err
    assert told.startswith("descbench: ")
    assert message in told
    assert told.count("\n") == 1


def test_configfile_takes_several_files():
    """As Snakemake's, of which the last one counts too."""
    given = ["compare", "--configfile", "a.yaml", "b.yaml", "--metric", "map", "x"]
    assert repeat_configfile(given) == [
        *("compare", "--configfile", "a.yaml", "--configfile", "b.yaml", "--metric", "map", "x")
    ]
    assert repeat_configfile([*given, "--configfile", "c", "--", "y"]) == [
        *("compare", "--metric", "map", "x", "--configfile", "c", "y")
    ]


def test_commands_are_given_all_files(monkeypatch):
    given = []
    monkeypatch.setattr(result_commands, "compare_methods", lambda *arguments: given.append(arguments) or [])
    assert main(["compare", "--configfile", "x.yaml", "y.yaml", "--metric", "map", "a", "b", "c"]) == 0
    assert given == [("a", "b", "c", ["map"], [Path("x.yaml"), Path("y.yaml")])]


def test_stopped_by_ctrl_c(monkeypatch, caplog):
    monkeypatch.setattr(result_commands, "compare_methods", lambda *_: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(SystemExit) as ended:
        main(["compare", "a", "b", "c"])
    assert ended.value.code == 130
    assert [record.message for record in caplog.records] == ["stopped by SIGINT; run again to go on"]


def test_completion_in_a_shell(capsys, monkeypatch, project):
    """Of commands, and of names of the configuration."""
    monkeypatch.chdir(project)
    monkeypatch.setenv("_DESCBENCH_COMPLETE", "complete_bash")
    for typed, wanted in (("descbench exp", "export-features"), ("descbench pairs --method fire_n", "fire_n1000")):
        monkeypatch.setenv("COMP_WORDS", typed)
        monkeypatch.setenv("COMP_CWORD", str(len(typed.split()) - 1))
        with pytest.raises(SystemExit):
            main([])
        assert wanted in capsys.readouterr().out.split()


@pytest.fixture
def offered(monkeypatch, tmp_path):
    """A folder with the configuration above."""
    (tmp_path / "config").mkdir()
    (tmp_path / "config/config.yaml").write_text(yaml.safe_dump(CONFIG))
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (
            ["tables"],
            [
                "cities Cities [all] (1 rows, 1 columns) 2 files to download; by hand or on request: photos "
                "not stated; research use; CC BY-NC-SA 4.0"
            ],
        ),
        (
            ["datasets", "CIT"],
            [
                "city dbstruct: 249,000 database, 1,000 query lists.mat; by hand or on request: photos "
                "not stated; research use"
            ],
        ),
        (["datasets", "mi"], ["mine folder your own folder"]),
        (["methods"], ["net retrieval: exact search of global descriptors net.pth CC BY-NC-SA 4.0"]),
        (["models"], ["net gem, resnet50: weights official net.pth CC BY-NC-SA 4.0"]),
    ],
)
def test_lists(capsys, offered, arguments, wanted):
    assert main(["list", *arguments]) == 0
    heading, *rows = [words(line) for line in capsys.readouterr().out.splitlines()]
    assert heading == "name what it is what it needs licence"
    assert rows == wanted


def test_check_of_a_sound_configuration(capsys, project, monkeypatch):
    monkeypatch.chdir(project)
    assert main(["check", "config/demo.yaml"]) == 0
    tables = ", ".join(yaml.safe_load((project / "config/demo.yaml").read_text())["tables"])
    assert f"The configuration is right. Tables: {tables}." in capsys.readouterr().out


def test_check_tells_of_blocks_over_the_catalogue(capsys, project, monkeypatch, tmp_path):
    monkeypatch.chdir(project)
    mine = tmp_path / "mine.yaml"
    alone = "methods: {mine_alone: {match: nearest, features: sequences_sift}}"
    mine.write_text(f"features: {{sequences_sift: {{max_features: 9}}}}\n{alone}\n")
    assert main(["check", str(mine)]) == 0
    said = capsys.readouterr().out
    assert "features.sequences_sift lies over that of config/catalog/hndesc.yaml; the keys that it leaves out" in said
    assert "mine_alone" not in said


def test_check_names_the_line(capsys, project, monkeypatch, tmp_path):
    monkeypatch.chdir(project)
    (tmp_path / "mine.yaml").write_text("device: cpu\nseed: [1\n")
    assert main(["check", str(tmp_path / "mine.yaml")]) == 1
    assert f"descbench: {tmp_path}/mine.yaml, line 3: not valid YAML" in capsys.readouterr().err


def test_check_away_from_the_configuration(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert main(["check"]) == 0
    said = capsys.readouterr().out
    assert "The configuration is right. Tables: table1" in said
    assert "Cross tables: retrieval, descriptors." in said


def test_pairs_cannot_be_written(capsys, project, monkeypatch, tmp_path):
    """Said before anything is computed."""
    monkeypatch.chdir(project)
    (tmp_path / "file").write_text("precious")
    pairs = ["pairs", "--map", str(tmp_path / "map"), "--method", "fire_n1000", "-o"]
    for output, message in (
        (tmp_path, "is a folder; name the file to write"),
        (tmp_path / "file/x.txt", "output: the folder"),
        (tmp_path / "map/sensors/records_camera.txt", "is read by this call; name another file"),
        (tmp_path / "file", "is there and holds something else; name another file"),
    ):
        assert main([*pairs, str(output)]) == 1
        assert message in capsys.readouterr().err
    assert main([*pairs, str(tmp_path / "p.txt"), "--work", str(tmp_path / "map/sensors/records_data/w")]) == 1
    assert "a folder of images; name one outside" in capsys.readouterr().err
    assert main([*pairs, str(tmp_path / "p.txt"), "--work", str(tmp_path / "file")]) == 1
    assert "--work: the folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["search", "--images", "docs/images", "--query", "{}", "--method", "gem_sfm120k_tl_r50"],
        [
            "search",
            "--images",
            "docs/images",
            "--query",
            "docs/images/report.png",
            "--method",
            "gem_sfm120k_tl_r50",
            "--html",
            "{}.html",
        ],
        ["convert-pairs", "p.txt", "{}/p.txt", "--to", "hloc"],
        ["verify", "{}"],
    ],
)
def test_what_the_system_refuses_is_one_line(capsys, project, monkeypatch, tmp_path, arguments):
    """Such as a name that is too long, or a folder that may not be entered."""
    monkeypatch.chdir(project)
    name = str(tmp_path / ("n" * 300))
    assert main([argument.format(name) for argument in arguments]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "n" * 300 in said
    assert "File name too long" in said


def test_a_list_with_nothing_in_it_is_refused(capsys, offered):
    assert main(["list", "models", "none"]) == 1
    assert "none of the models has 'none' in its name or description" in capsys.readouterr().err


def test_close_names():
    many = [f"gem_{number:02d}" for number in range(12)]
    assert close_names("gem_o1", many) == "close names: gem_11, gem_10, gem_01"
    assert close_names("EM", many).startswith("close names: gem_00, ")  # a part of the name
    for name in ("EM", "surf"):
        assert close_names(name, many).endswith(
            "gem_09 and 2 more (`descbench list` shows datasets, methods and models)"
        )
    assert close_names("surf", ["sift"]) == "known: sift"
    assert close_names("surf", []) == "known: none"
    # A label with blanks, such as that of a row, can be pasted into a command line.
    assert close_names("x", ["SIFT, mutual", "sift"]) == 'known: "SIFT, mutual", sift'


def test_a_network_that_cannot_be_exported_is_refused_before_it_is_made(capsys, offered):
    assert main(["export", "net", "net.onnx"]) == 1
    assert "architecture gem describes no cut-out patches" in capsys.readouterr().err


@pytest.mark.parametrize("command", [["export", "MODEL", "x.pt"], ["describe", "x.png", "x.csv", "--model", "MODEL"]])
def test_models_may_be_named_as_papers_do(capsys, monkeypatch, tmp_path, command):
    monkeypatch.chdir(tmp_path)
    names = {"hardnet++": "hardnet_plusplus", "hardnet_liberty+": "hardnet_liberty_plus", "hardnet_ps": "hardnet_ps"}
    for name, block in names.items():
        assert main([name if word == "MODEL" else word for word in command]) == 1
        assert f"results/checkpoints/{block}.pt: not there yet" in capsys.readouterr().err
    overlay = {"models": {"my+net": {"architecture": "hardnet", "weights": {"source": "random"}}}}
    (tmp_path / "mine.yaml").write_text(json.dumps(overlay))
    assert main(["export", "my+net", "x.pt", "--configfile", "mine.yaml"]) == 1
    assert "results/checkpoints/my+net.pt: not there yet" in capsys.readouterr().err
    assert main(["export", "hardnet+++", "x.pt"]) == 1
    assert "there is no model 'hardnet_plusplusplus'; close names: hardnet_plusplus" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["list tables", "--help", "check config/demo.yaml", "snakefile"])
def test_a_full_disk_behind_standard_output_is_one_line(project, command):
    with open("/dev/full", "w") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "descbench", *command.split()],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            cwd=project,
            check=False,
        )
    assert ended.returncode == 1
    assert ended.stderr == "descbench: standard output cannot be written (No space left on device).\n"


@pytest.mark.parametrize("closed", ["", ">&-", "2>&-"])
def test_whatever_the_output_can_hold(project, tmp_path, closed):
    """Names in letters that the terminal has not; an output that is closed."""
    (tmp_path / "a.txt").write_text("a b\n")
    files = f"{tmp_path}/a.txt {tmp_path}/\u65e5.txt"
    command = f"{sys.executable} -m descbench convert-pairs {files} --to kapture {closed}"
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    settings = {"cwd": project, "env": environment, "capture_output": True, "timeout": 60, "check": False}
    ran = subprocess.run(command, shell=True, **settings)
    assert ran.returncode == 0
    assert b"Traceback" not in ran.stderr
    assert closed == ">&-" or b"\\u65e5.txt: 1 pairs" in ran.stdout


def test_a_reader_that_leaves_ends_a_command_without_a_word(project):
    """As `descbench list methods | head -1` does."""
    read, write = os.pipe()
    os.close(read)
    ended = subprocess.run(
        [sys.executable, "-m", "descbench", "list", "methods"],
        stdout=write,
        stderr=subprocess.PIPE,
        cwd=project,
        check=False,
    )
    os.close(write)
    assert (ended.returncode, ended.stderr) == (1, b"")
