"""A search of one's own folder in one call: what is found, what is kept, and what a second search does."""

import base64
import io
import logging
import os
import re
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import yaml
from own_images import CONFIG, paint, set_up
from PIL import ExifTags, Image

import descbench
from descbench.cli import main
from descbench.direct.work_place import hold_folder
from descbench.errors import ConfigError, DataError


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    set_up(tmp_path)
    return tmp_path


def names(found):
    return [path.name for path in found.images]


def described(caplog):
    """How many images each shard took from before."""
    return [record.getMessage() for record in caplog.records if "described before" in record.getMessage()]


@pytest.mark.parametrize("method", ["whole", "parts"])
def test_the_image_itself_is_found_first(place, method):
    """By either way of searching, whatever the name of the query."""
    asked = paint(place / "asked/x.png", 3)
    (found,) = descbench.search_images("photos", asked, method, top_k=4)
    assert found.query == asked.resolve()
    assert names(found)[0] == "3.png"
    assert len(found.images) == 4
    assert list(found.scores) == sorted(found.scores, reverse=True)
    assert all(path.is_file() for path in found.images)


def test_the_index_is_extended(place, caplog):
    """New images are described, the others not; index shards of images that stayed are not touched."""
    caplog.set_level(logging.INFO)
    asked = paint(place / "asked.png", 9)
    first = descbench.search_images("photos", asked, "parts", work="work")
    before = {path: path.stat().st_mtime_ns for path in Path("work").glob("*.h5")}
    assert descbench.search_images("photos", asked, "parts", work="work") == first
    kept = [path for path in before if path.name.startswith(("database", "index", "query"))]
    assert len(kept) == 5
    assert all(path.stat().st_mtime_ns == before[path] for path in kept)
    caplog.clear()
    # Alphabetically before all others, and yet the last of the index.
    paint(place / "photos/0/new.bmp", 9)
    (found,) = descbench.search_images("photos", asked, "parts", work="work")
    assert names(found)[0] == "new.bmp"
    assert len(found.images) == 6
    assert described(caplog) == ["database: 2 of 3 images were described before"]
    unchanged = Path("work/index-database-00000000.h5")
    assert unchanged.stat().st_mtime_ns == before[unchanged]
    for name in ("0/new.bmp", "3.png", "4.png"):
        (place / "photos" / name).unlink()
    (found,) = descbench.search_images("photos", asked, "parts", work="work")
    assert sorted(names(found)) == ["0.png", "1.png", "2.png"]
    assert not Path("work/database-00000003.h5").exists()


def test_the_command(place, capsys):
    paint(place / "asked/a.png", 1)
    paint(place / "asked/b.png", 2)
    assert main(["search", "--images", "photos", "--query", "asked", "--method", "whole", "--html", "p/out.html"]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0] == str(place / "asked/a.png")
    assert told[1].split() == ["score", "image"]
    assert told[2].split()[0] == "1"
    assert told[2].split()[2] == str(place / "photos/1.png")
    assert told[-1] == "The page is p/out.html."
    page = Path("p/out.html").read_text()
    assert page.count("data:image/jpeg") == 2 + 2 * 5
    assert page.index("query</strong> a.png") < page.index("1.png") < page.index("query</strong> b.png")
    assert "5 images in photos were searched by whole" in page
    assert list(Path("results/direct/search/whole").glob("photos-*/database.csv"))


def test_what_cannot_be_searched(place):
    asked = paint(place / "asked.png", 1)
    for arguments, error, message in (
        (("photos", asked, "hole"), ConfigError, "there is no method 'hole'; close names: whole"),
        (("photos", asked, "sift"), ConfigError, "'sift' searches no images by itself"),
        (("photos", "gone.jpg", "whole"), DataError, "gone.jpg: no such image"),
        (("photos", [], "whole"), DataError, "no query: no image to search with"),
        (("gone", asked, "whole"), DataError, "gone: no such folder"),
    ):
        with pytest.raises(error, match=message):
            descbench.search_images(*arguments)
    with pytest.raises(ConfigError, match="top_k 0: at least 1"):
        descbench.search_images("photos", asked, "whole", top_k=0)
    (place / "photos/film.mov").touch()
    with pytest.raises(DataError, match=r"film\.mov"):
        descbench.search_images("photos", asked, "whole")
    assert len(descbench.search_images("photos", asked, "whole", on_bad_file="skip")[0].images) == 5
    for kind, method in (("checkpoints/whole.pt", "whole"), ("codebooks/parts.h5", "parts")):
        Path(f"results/{kind}").unlink()
        with pytest.raises(DataError, match=f"not there yet; `snakemake --cores 8 -s .* results/{kind}` makes it"):
            descbench.search_images("photos", asked, method, on_bad_file="skip")


def test_calls_in_one_folder_wait_for_each_other(place):
    """Or one would rank by the queries of the other, whose features have the same name."""
    paint(place / "asked.png", 3)
    waits = threading.Event()
    handler = logging.Handler()
    handler.emit = lambda record: waits.set() if "waiting for another call" in record.getMessage() else None
    logger = logging.getLogger("descbench.direct.work_place")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        with ThreadPoolExecutor(1) as threads, hold_folder("work", place / "work"):
            search = threads.submit(descbench.search_images, "photos", "asked.png", "whole", work="work")
            assert waits.wait(60)
            assert [path.name for path in Path("work").iterdir()] == [".lock"]
            assert not search.done()
        assert names(search.result()[0])[0] == "3.png"
    finally:
        logger.removeHandler(handler)


def test_odd_names_are_told_as_they_are(place, capsys):
    """A line is a row, whatever stands in a name; bytes that are not text are shown as what they are."""
    photos = os.fsdecode(b"ph\xff")
    Path("photos").rename(photos)
    paint(Path(photos) / "a\nb\x1b[31m <b>.png", 7)
    paint(place / "asked.png", 7)
    arguments = ["search", "--images", photos, "--method", "whole", "--html", "o.html", "--query"]
    assert main([*arguments, "asked.png"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 + 6 + 1
    assert lines[2].endswith("ph\\udcff/a\\nb\\x1b[31m <b>.png")
    assert "&lt;b&gt;.png" in Path("o.html").read_text()
    other = os.fsdecode(b"q\xff.png")
    Path("asked.png").rename(other)
    assert main([*arguments, other]) == 1
    assert "is not valid Unicode; rename the file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"html": "asked.png"}, r"html: asked\.png does not end in \.html or \.htm"),
        ({"html": "photos"}, "html: photos is a folder; name the file to write"),
        ({"html": "pipe.html"}, "html: pipe.html is a named pipe, a socket or a device; name a file to write"),
        ({"html": "asked.png/o.html"}, "html: the folder asked.png cannot be made"),
        ({"work": "photos/kept"}, "photos/kept lies in photos, a folder of images; name one outside"),
        ({"work": "asked.png"}, "the work folder: the folder asked.png cannot be made"),
        ({"work": "others"}, "the work folder: others holds other files; name an empty folder"),
    ],
)
def test_places_that_are_not_written_to(place, option, message):
    """Before anything is computed, and with every photograph as it was."""
    before = paint(place / "asked.png", 1).read_bytes()
    (place / "others").mkdir()
    (place / "others/database-mine.h5").write_text("precious")
    os.mkfifo(place / "pipe.html")
    with pytest.raises(ConfigError, match=message):
        descbench.search_images("photos", "asked.png", "whole", **option)
    assert Path("asked.png").read_bytes() == before
    assert Path("others/database-mine.h5").read_text() == "precious"
    assert not Path("results/direct").exists()
    assert not Path("photos/kept").exists()


def test_what_is_read_is_not_replaced(place):
    """A configuration as a page, and labels as scores; both have the ending of what is written."""
    paint(place / "asked.png", 1)
    Path("mine.html").write_text("{}")
    with pytest.raises(ConfigError, match=r"html: \./mine\.html is read by this call"):
        descbench.search_images("photos", "asked.png", "whole", html="./mine.html", configfiles=["mine.html"])
    labels = Path("positives.json")
    labels.write_text('{"positives": {"asked.png": ["1.png"]}}')
    before = labels.read_bytes()
    with pytest.raises(ConfigError, match=r"output: \S*positives\.json is read by this call"):
        descbench.evaluate_images("photos", "whole", queries="photos", positives=labels, output=labels.resolve())
    assert labels.read_bytes() == before
    Path("notes.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"output: notes\.json is there and holds something else"):
        descbench.evaluate_images("photos", "whole", queries="photos", positives=labels, output="notes.json")


def test_a_folder_of_queries_is_read_as_strictly(place):
    paint(place / "asked/a.png", 1)
    (place / "asked/b.mov").touch()
    with pytest.raises(DataError, match=r"asked: 1 entry.*b\.mov"):
        descbench.search_images("photos", "asked", "whole")
    (found,) = descbench.search_images("photos", "asked", "whole", on_bad_file="skip")
    assert names(found)[0] == "1.png"


def test_a_query_that_nothing_is_like_is_told(place, caplog):
    """Its images come in the order of the index, with one score."""
    for number in range(3):
        paint(place / f"same/{number}.png", 1)
    descbench.search_images("same", paint(place / "asked.png", 1), "whole")
    assert "asked.png: all images have the same score" in caplog.text
    caplog.clear()
    descbench.search_images("photos", "asked.png", "whole")
    assert "the same score" not in caplog.text


def test_equal_scores_are_in_the_order_of_names(place):
    """Whichever image was added to the folder first."""
    for name in ("same/b.png", "same/c.png"):
        paint(place / name, 1)
    asked = paint(place / "asked.png", 1)
    descbench.search_images("same", asked, "whole", work="kept")
    paint(place / "same/a.png", 1)
    (again,) = descbench.search_images("same", asked, "whole", work="kept")
    assert names(again) == ["a.png", "b.png", "c.png"]
    (anew,) = descbench.search_images("same", asked, "whole", work="new")
    assert names(anew) == names(again)


def test_photographs_are_turned_for_the_network_and_on_the_page(place):
    """One that lies on its side is its own upright twin, and looks so."""
    upright = np.random.default_rng(0).integers(0, 255, (48, 80, 3), np.uint8)
    Image.fromarray(upright).save(paint(place / "lying/a.png", 1))
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    Image.fromarray(np.rot90(upright)).save(place / "lying/b.png", exif=exif)

    def found(page):
        (found,) = descbench.search_images("lying", "lying/a.png", "whole", html=page)
        pictures = re.findall(r"base64,([^\"')]+)", Path(page).read_text())
        return found.scores, {Image.open(io.BytesIO(base64.b64decode(picture))).size for picture in pictures}

    scores, sizes = found("stored.html")
    assert scores[1] < scores[0]
    assert (48, 80) in sizes
    turning = {**CONFIG["features"], "whole": {**CONFIG["features"]["whole"], "exif_orientation": "apply"}}
    Path("config/config.yaml").write_text(yaml.safe_dump({**CONFIG, "features": turning}))
    scores, sizes = found("upright.html")
    assert scores[1] == scores[0]
    assert sizes == {(80, 48)}


def test_files_left_out_by_their_names_are_told(place, caplog):
    """In the log and, those of the images, on the page."""
    paint(place / "asked/a.png", 1)
    for name in ("asked/b.mov", "photos/c.mov", "photos/.hidden.png"):
        (place / name).touch()
    descbench.search_images("photos", "asked", "whole", on_bad_file="skip", html="out.html")
    (warned,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert warned.startswith("3 files are left out: ")
    assert all(name in warned for name in ("asked/b.mov", "photos/c.mov", "photos/.hidden.png"))
    page = Path("out.html").read_text()
    assert "2 files in it were left out: " in page
    assert "c.mov" in page


def test_images_left_out_are_told_each_time(place, caplog):
    """Also where their features are those of an earlier call."""
    skipping = {**CONFIG["features"], "whole": {**CONFIG["features"]["whole"], "on_bad_image": "skip"}}
    Path("config/config.yaml").write_text(yaml.safe_dump({**CONFIG, "features": skipping}))
    Path("photos/4.png").write_bytes(b"")
    for _ in range(2):
        caplog.clear()
        (found,) = descbench.search_images("photos", "photos/1.png", "whole", work="work", html="out.html")
        assert len(found.images) == 4
        (warned,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
        assert "skipped: " in warned
        assert "photos/4.png: 0 bytes" in warned
        assert "4 images in photos were searched" in Path("out.html").read_text()


def test_images_that_cannot_be_read_are_skipped_like_other_files(place, caplog):
    """A call that may not skip them does not take what a call left that might."""
    Path("photos/4.png").write_bytes(b"no image")
    asked = ("photos", "photos/1.png", "whole")
    with pytest.raises(DataError, match=r"4\.png.*`--on-bad-file skip` of some commands"):
        descbench.search_images(*asked, work="work")
    (found,) = descbench.search_images(*asked, work="work", on_bad_file="skip")
    assert len(found.images) == 4
    assert "skipped: " in caplog.text
    with pytest.raises(DataError, match=r"4\.png"):
        descbench.search_images(*asked, work="work")


def test_code_that_changed_under_a_notebook(place, monkeypatch):
    """Features of a module as it was imported would be kept as those of the file of today."""
    monkeypatch.delitem(sys.modules, "own_networks", raising=False)
    before = descbench.search_images("photos", "photos/1.png", "whole", work="work")
    code = place / "own_networks.py"
    code.write_text(code.read_text().replace("self.scale * cells", "self.scale * cells**3"))
    with pytest.raises(ConfigError, match=r"own_networks\.py changed since it was imported; start Python"):
        descbench.search_images("photos", "photos/1.png", "whole", work="work")
    monkeypatch.delitem(sys.modules, "own_networks")
    after = descbench.search_images("photos", "photos/1.png", "whole", work="work")
    assert after == descbench.search_images("photos", "photos/1.png", "whole", work="other") != before
    monkeypatch.delitem(sys.modules, "own_networks")


def test_library_calls_are_found_by_name():
    assert descbench.__all__
    assert all(callable(getattr(descbench, name)) for name in descbench.__all__)
    with pytest.raises(AttributeError, match="no attribute 'serach_images'"):
        _ = descbench.serach_images
