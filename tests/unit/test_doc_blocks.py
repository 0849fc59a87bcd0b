"""Blocks of code on the pages of the documentation: commands, targets, configuration and Python are right."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from doc_blocks import Block, blocks
from snakemake.api import SnakemakeApi
from snakemake.cli import get_argument_parser
from snakemake.io import strip_wildcard_constraints
from snakemake.settings.types import ConfigSettings, OutputSettings, Quietness, ResourceSettings
from typer.main import get_command

import descbench
from descbench.cli import app, repeat_configfile
from descbench.config.load import load_config_files
from descbench.config.models import Config
from descbench.config.networks import CustomModel
from descbench.errors import DescbenchError
from descbench.models.custom import build_custom
from descbench.plan import Plan
from descbench.targets import explain_target

DEFAULT = "config/config.yaml"
# A value that only the reader knows.
PLACEHOLDER = re.compile(r"(?::|,|\[) ?\.\.\.")


@pytest.fixture(scope="module")
def pages(project) -> list[list[Block]]:
    return [blocks(page) for page in [project / "README.md", *sorted((project / "docs").rglob("*.md"))]]


def given_files(words: list[str]) -> list[str]:
    """The configuration files that a command names."""
    repeated = repeat_configfile(words)
    return [file for option, file in pairwise(repeated) if option == "--configfile"]


@dataclass(frozen=True)
class Given:
    """A configuration of a page.

    Attributes:
        page: where it stands.
        name: of the reader's file.
        parts: blocks that are in it; one that begins with the name of a file begins that file, others go on with it.
        below: files of the project that it lies over, by the next command that names it.
        commands: those that name it, and stand below it.
    """

    page: str
    name: str
    parts: list[str]
    below: list[str]
    commands: list[list[str]]


def configurations(found: list[Block]) -> Iterator[Given]:
    name, parts = "mine.yaml", []
    starts = [place for place, block in enumerate(found) if block.kind == "yaml" and not PLACEHOLDER.search(block.text)]
    for place, end in pairwise([*starts, len(found)]):
        if named := re.match(r"# ([\w.-]+\.yaml)", found[place].text):
            name, parts = named[1], []
        parts = [*parts, found[place].text]
        below = [words for block in found[place:end] for words in block.commands if name in words]
        files = [file for words in below[:1] for file in given_files(words) if file != name]
        yield Given(found[0].page.name, name, parts, files or [DEFAULT], below)


def load(project, folder: Path, given: Given) -> Config:
    files = [folder / f"{number}.yaml" for number in range(len(given.parts))]
    for path, part in zip(files, given.parts, strict=True):
        path.write_text(part)
    return load_config_files(*(project / file for file in given.below), *files, home=project)


def test_there_are_blocks(pages) -> None:
    kinds = [block.kind for found in pages for block in found]
    assert min(map(kinds.count, ("console", "yaml", "python"))) >= 2


def test_configurations_and_their_targets(pages, project, tmp_path, patterns) -> None:
    """Every configuration is accepted, and makes the targets that stand below it."""
    wrong = []
    for found in pages:
        for given in configurations(found):
            try:
                plan = Plan(load(project, tmp_path, given))
            except DescbenchError as error:
                wrong.append(f"{given.page}: {error}\n{given.parts[-1]}")
                continue
            wrong += [
                f"{given.page}: {text}" for words in given.commands for text in unknown_targets(words, plan, patterns)
            ]
    assert not wrong, "\n".join(wrong)


def test_targets_of_the_project(pages, project, patterns) -> None:
    """Commands without a file of the reader's ask for what the project makes."""
    plans: dict[tuple[str, ...], Plan] = {}
    asked, wrong = 0, []
    for found in pages:
        named = {given.name for given in configurations(found)}
        for block in found:
            for words in block.commands:
                files = tuple(given_files(words)) or (DEFAULT,)
                if words[0] != "snakemake" or named & set(files):
                    continue
                if files not in plans:
                    plans[files] = Plan(load_config_files(*(project / file for file in files), home=project))
                asked += 1
                wrong += [f"{block.page.name}: {text}" for text in unknown_targets(words, plans[files], patterns)]
    assert asked > 20
    assert not wrong, "\n".join(wrong)


def unknown_targets(words: list[str], plan: Plan, patterns: list[str]) -> list[str]:
    """What is wrong with the targets of a command of Snakemake."""
    if words[0] != "snakemake":
        return []
    targets = get_argument_parser().parse_args(words[1:]).targets or []
    placed = [pattern.replace("results/", f"{plan.paths.results}/", 1) for pattern in patterns]
    answers = [explain_target(target, placed, plan, []) for target in targets]
    # Of a target that rules make, it finds nothing wrong with the names.
    return [answer for answer in answers if "its names are known, but" not in answer]


@pytest.fixture(scope="module")
def patterns(project) -> list[str]:
    """Paths of all files that rules make, with wildcards in braces."""
    with SnakemakeApi(OutputSettings(quiet={Quietness.ALL})) as api:
        workflow = api.workflow(
            resource_settings=ResourceSettings(cores=1),
            config_settings=ConfigSettings(configfiles=[project / DEFAULT]),
            snakefile=project / "Snakefile",
            workdir=project,
        )
        rules = workflow._workflow.rules
        return [strip_wildcard_constraints(str(file)) for rule in rules for file in rule.output]


def test_commands_are_read(pages) -> None:
    """Commands and options of `descbench` exist, and required ones are there; nothing is run."""
    group, read = get_command(app), 0
    for found in pages:
        for words in (words for block in found for words in block.commands if words[0] == "descbench"):
            if words[1].startswith("-") or words[1:] == ["COMMAND"]:
                continue
            name, *rest = repeat_configfile(words[1:])
            command = group.commands[name]
            command.make_context(f"descbench {name}", rest)
            read += 1
    assert read > 20


def test_python_compiles_and_its_names_exist(pages) -> None:
    texts = [text for found in pages for block in found for text in block.statements]
    assert len(texts) > 2
    for text in texts:
        for node in ast.walk(ast.parse(text)):
            match node:
                case ast.Attribute(value=ast.Name(id="descbench"), attr=name):
                    assert hasattr(descbench, name), text


def test_the_network_of_the_page_gives_descriptors(project, tmp_path, monkeypatch) -> None:
    """Its code under the name that its configuration has."""
    found = blocks(project / "docs/own.md")
    (code,) = (block.text for block in found if "def make_network" in block.text)
    (given,) = (given for given in configurations(found) if "my_module:" in given.parts[-1])
    (tmp_path / "my_module.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    model = load(project, tmp_path, given).models["colours"]
    with torch.inference_mode():
        assert build_custom(model).dim == 48


def test_the_points_of_the_page(project, tmp_path, monkeypatch) -> None:
    """The detector under the name that its configuration has, and the wrapper around a network of hloc's form."""
    found = blocks(project / "docs/own.md")
    (detector, wrapper) = (
        block.text for block in found if "class Bright" in block.text or "class Wrapped" in block.text
    )
    (given,) = (given for given in configurations(found) if "my_points:" in given.parts[-1])
    theirs = (
        "\n\nclass Theirs(torch.nn.Module):\n    def forward(self, data):\n"
        "        return {'keypoints': [torch.tensor([[3.0, 4.0]])], 'scores': [torch.ones(1)],\n"
        "                'descriptors': [torch.ones(5, 1)], 'all': data['image']}\n\n\n"
        "def wrapped():\n    return Wrapped(Theirs())\n"
    )
    (tmp_path / "my_points.py").write_text(detector + wrapper + theirs)
    monkeypatch.chdir(tmp_path)
    bright = build_custom(load(project, tmp_path, given).models["bright"])
    contract = {"describes": "found", "dim": 5}
    other = build_custom(CustomModel(architecture="custom", factory="my_points:wrapped", points=contract))
    image = torch.zeros(1, 1, 20, 30)
    image[0, 0, 7, 12] = 0.5
    with torch.inference_mode():
        assert bright.find_points(image).points.tolist() == [[12, 7]]
        assert other.find_points(image.expand(1, 3, 20, 30)).points.tolist() == [[3, 4]]


# --- the checks themselves ---------------------------------------------------------------------

PAGE = """\
Text.

    # mine.yaml
    datasets:
      mine: {format: folder, database: /path/to/it}

    descbench check mine.yaml
    snakemake --cores 1 --configfile mine.yaml -- results/rankings/TARGET/mine.h5    # a comment

```python
import descbench
```
"""


def test_blocks_of_a_page(tmp_path) -> None:
    (tmp_path / "a.md").write_text(PAGE)
    found = blocks(tmp_path / "a.md")
    assert [block.kind for block in found] == ["yaml", "console", "python"]
    assert found[1].commands[1][-2:] == ["--", "results/rankings/TARGET/mine.h5"]
    (given,) = configurations(found)
    assert (given.name, given.below, len(given.commands)) == ("mine.yaml", [DEFAULT], 2)


@pytest.mark.parametrize(
    ("method", "wrong"), [("gem_sfm120k_tl_r50", []), ("gem_sfm", ["there is no method 'gem_sfm'"])]
)
def test_unknown_targets(project, tmp_path, patterns, method, wrong) -> None:
    (tmp_path / "a.md").write_text(PAGE.replace("TARGET", method))
    (given,) = configurations(blocks(tmp_path / "a.md"))
    said = unknown_targets(given.commands[-1], Plan(load(project, tmp_path, given)), patterns)
    assert len(said) == len(wrong)
    assert all(part in text for part, text in zip(wrong, said, strict=True))
