"""The notebook for images of one's own runs from its first cell to its last, on small images and a quick network."""

import json
from pathlib import Path

import nbformat
import yaml
from own_images import paint, set_up


def test_the_notebook_runs(project, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    set_up(tmp_path)
    config = Path("config/config.yaml")
    methods = {
        "gem_sfm120k_tl_r50": {"search": "inner_product", "features": "whole"},
        "sequences_sift": {"match": "nearest", "features": "sift"},
    }
    config.write_text(yaml.safe_dump({**yaml.safe_load(config.read_text()), "methods": methods}))
    paint(tmp_path / "query.png", 2).rename("query.jpg")
    for number in range(4):
        for traverse in ("day", "night"):
            paint(tmp_path / f"{traverse}/frame{number}.png", number)
    notebook = json.loads((project / "examples/own_images.ipynb").read_text())
    nbformat.validate(notebook)
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert sum(len(list(filter(None, cell.splitlines()))) for cell in cells) <= 10
    names: dict[str, object] = {}
    for cell in cells:
        exec(compile(cell, "own_images.ipynb", "exec"), names)
    told = capsys.readouterr().out.splitlines()
    assert told[0].endswith("2.png")
    assert told[5].endswith("matches")
    assert told[6].startswith("recall@1: 100.0 %")
    assert Path("found.html").is_file()
    assert Path("pair.html").is_file()
