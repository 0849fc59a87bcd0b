"""Paths come from names alone, and each is spelled once."""

from __future__ import annotations

import ast
import inspect
import re

import pytest
from watching import watched

from descbench import paths
from descbench.paths import Paths


def templates(results: str = "<results>", data: str = "<data>") -> dict[str, str]:
    """Every path by the name of its method, with the names of its arguments in braces."""
    made = Paths(results, data)
    methods = {name: method for name, method in inspect.getmembers(made, inspect.ismethod) if name[0] != "_"}
    return {
        name: method(*(f"{{{argument}}}" for argument in inspect.signature(method).parameters))
        for name, method in methods.items()
    }


def test_paths_know_nothing_but_names():
    tree = ast.parse(inspect.getsource(paths))
    modules = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not any(isinstance(node, ast.Import) for node in ast.walk(tree))
    assert modules == {"__future__", "dataclasses"}


def test_no_path_reads_a_file():
    with watched() as seen:
        assert len(templates()) > 20
    assert seen == []


def test_the_watch_sees_what_is_read(tmp_path):
    with watched() as seen:
        list(tmp_path.iterdir())
        (tmp_path / "a").write_text("")
    assert [event.split()[0] for event in seen] == ["os.listdir", "open"]


def test_no_two_files_share_a_path():
    found = templates()
    assert len({re.sub(r"\{\w+\}", "{}", path) for path in found.values()}) == len(found)
    for name, path in found.items():
        arguments = set(inspect.signature(getattr(Paths, name)).parameters) - {"self"}
        assert set(re.findall(r"\{(\w+)\}", path)) == arguments, name
        assert re.match("<results>|<data>", path), name


def folders() -> set[str]:
    """First folders below the roots."""
    return {path.split("/")[1] for path in templates().values() if path.count("/") > 1} - {"datasets"}


def spelled(text: str) -> list[str]:
    """Paths of the workflow that Python code puts together itself: by an f-string or by ``/``."""
    found = []
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.JoinedStr(values=parts):
                texts = [part.value for part in parts if isinstance(part, ast.Constant)]
            case ast.BinOp(op=ast.Div(), right=ast.Constant(value=str(part))):
                texts = [f"/{part}"]
            case _:
                continue
        found += [part for part in texts for folder in folders() if re.match(f"/{folder}/", part)]
    return found


def spelled_in_rules(text: str) -> list[str]:
    """The same of a Snakefile: a folder behind a root or a name in braces."""
    return re.findall(
        rf"(?:\}}|results|data)/(?:{'|'.join(sorted(folders()))})/|\}}\.(?:csv|md|h5|pt|json|sha256)\b", text
    )


def test_every_path_is_spelled_once(project):
    python = [*(project / "src").rglob("*.py"), *(project / "workflow").rglob("*.py")]
    rules = [project / "Snakefile", project / "workflow/Snakefile", *(project / "workflow/rules").glob("*.smk")]
    assert len(python) > 100
    assert len(rules) > 10
    for path in python:
        assert path.name == "paths.py" or spelled(path.read_text()) == [], path
    for path in rules:
        assert spelled_in_rules(path.read_text()) == [], path


@pytest.mark.parametrize("code", ['f"{results}/rankings/{method}.h5"', 'Path(results) / "scores/a.json"'])
def test_paths_that_are_spelled_elsewhere_are_found(code):
    assert spelled(code)


@pytest.mark.parametrize("code", ['"results/features/{features}.h5"', "f\"{plan.paths.manifest('{dataset}')}.sha256\""])
def test_paths_that_rules_spell_are_found(code):
    assert spelled_in_rules(code)
