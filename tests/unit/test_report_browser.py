"""The report in a browser: cells open, tables are sorted and filtered, nothing is said on the console."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from report_example import CAUSE, SHA256, example_report
from test_places_page import show as show_page_of_places
from test_poses_page import TRUE
from test_poses_page import build as build_poses
from test_poses_page import show as show_page_of_poses
from test_ranking_page import show as show_page_of_ranked_images

BROWSER, DRIVER = (shutil.which(name) for name in ("chromium", "chromedriver"))
pytestmark = [
    pytest.mark.skipif(
        BROWSER is None or DRIVER is None, reason="needs chromium and chromedriver (Debian: chromium-driver)"
    ),
    pytest.mark.skipif(importlib.util.find_spec("selenium") is None, reason="needs selenium (requirements/dev.txt)"),
]
SWITCHES = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--window-size=1200,900",
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for switch in (*SWITCHES, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(switch)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return example_report(tmp_path_factory.mktemp("report"))


@pytest.fixture
def page(browser: Any, written: Path) -> Iterator[Any]:
    """The report, freshly loaded; at the end nothing may stand on the console."""
    browser.get(written.as_uri())
    yield browser
    assert browser.get_log("browser") == []


def all_of(page: Any, selector: str) -> list[Any]:
    return page.find_elements("css selector", selector)


def one(page: Any, selector: str) -> Any:
    return page.find_element("css selector", selector)


def rows(page: Any, table: str = "table2") -> list[str]:
    """First cells of the rows that are seen, in order."""
    return [row.text for row in all_of(page, f"#{table} tbody th") if row.is_displayed()]


def choose(page: Any, selector: str, text: str) -> None:
    from selenium.webdriver.support.ui import Select

    Select(one(page, selector)).select_by_visible_text(text)


def heading(page: Any, number: int) -> Any:
    return all_of(page, "#table2 thead button")[number]


def test_a_cell_opens_what_it_rests_on(page):
    from selenium.webdriver.common.keys import Keys

    cell = all_of(page, "#table2 button.cell")[0]
    cell.click()
    dialog = one(page, "dialog[open]")
    assert all(text in dialog.text for text in ("local on town", SHA256, "CC BY-NC-SA 4.0", CAUSE, "search_flat"))
    assert "Of another town" not in dialog.text
    assert [line.text[:6] for line in all_of(page, "dialog[open] tr.opened")] == ["table2"]
    assert "Town (M)" in one(page, "dialog[open] tr.opened").text
    links = {a.text: a.get_attribute("href") for a in all_of(page, "dialog[open] dl a")}
    assert links.keys() == {"page of pictures", "scores", "provenance"}
    assert all(Path(address.removeprefix("file://")).is_file() for address in links.values())
    page.switch_to.active_element.send_keys(Keys.ESCAPE)
    assert all_of(page, "dialog[open]") == []
    assert page.switch_to.active_element == cell
    cell.send_keys(Keys.ENTER)
    one(page, "dialog[open] .head button").click()
    assert all_of(page, "dialog[open]") == []


def test_rows_are_sorted_by_a_column(page):
    assert rows(page) == ["Local features & codebook", "Plain", "Another"]
    heading(page, 2).click()
    assert rows(page) == ["Local features & codebook", "Plain", "Another"]
    assert one(page, "#table2 [aria-sort]").get_attribute("aria-sort") == "descending"
    heading(page, 2).click()
    assert rows(page) == ["Another", "Plain", "Local features & codebook"]
    heading(page, 2).click()
    assert rows(page) == ["Local features & codebook", "Plain", "Another"]
    assert all_of(page, "#table2 [aria-sort]") == []
    heading(page, 0).click()
    assert rows(page) == ["Another", "Local features & codebook", "Plain"]
    assert [found.get_attribute("aria-sort") for found in all_of(page, "#table2 [aria-sort]")] == ["ascending"]


def test_rows_are_filtered(page):
    one(page, "#filter-text").send_keys("ANOTH")
    assert (rows(page), rows(page, "table1")) == (["Another"], ["Another"])
    assert one(page, "#shown-rows").text == "2 of 6 rows"
    one(page, "#filter-text").clear()
    one(page, "#filter-text").send_keys("p")
    choose(page, "#filter-verdict", "off")
    assert rows(page) == ["Plain"]


def test_figures_are_compared_with_what_is_chosen(page):
    def judged() -> list[str]:
        return [found.text for found in all_of(page, "#table2 tbody tr:first-child td strong") if found.is_displayed()]

    assert judged() == ["match", "off"]
    choose(page, "#choose-reference", "paper")
    assert judged() == ["off", "off"]
    assert all_of(page, "#table2 button.cell > span")[0].get_attribute("title") == "off"
    choose(page, "#filter-verdict", "match")
    assert rows(page) == []
    choose(page, "#choose-reference", "released")
    assert judged() == ["match"]
    assert rows(page) == ["Local features & codebook"]


def test_a_metric_is_chosen(page):
    choose(page, ".metric select", "map_hard")
    seen = [found.text for found in all_of(page, "#table2 thead th") if found.is_displayed()]
    assert [text.split("\n")[0].strip() for text in seen] == ["method", "Town (H)"]
    assert [td.is_displayed() for td in all_of(page, "#table2 tbody tr:first-child td")] == [False, True]


def test_drawings_on_a_telephone(page):
    """Their letters keep a size that can be read; wide ones are scrolled, by the keyboard too, and the page is not."""
    screen = {"width": 360, "height": 780, "deviceScaleFactor": 1, "mobile": True}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    try:
        found = page.execute_script(
            "return [...document.querySelectorAll('figure svg[style]')].map((svg) => [svg.getBoundingClientRect().width"
            " / svg.viewBox.baseVal.width, svg.closest('.scroll').scrollWidth - svg.closest('.scroll').clientWidth])"
        )
        assert len(found) > 2
        assert all(scale > 1.19 for scale, _ in found)
        assert max(hidden for _, hidden in found) > 300
        assert page.execute_script("return document.documentElement.scrollWidth") == 360
        wide = one(page, "#table2-costs-1 .scroll")
        page.execute_script("arguments[0].focus()", wide)
        assert page.switch_to.active_element == wide
    finally:
        page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_no_other_script_runs(browser, written):
    browser.get(written.as_uri())
    browser.execute_script(
        "const s = document.createElement('script'); s.textContent = 'window.ran = true'; document.body.append(s)"
    )
    assert browser.execute_script("return window.ran") is None
    assert "Content Security Policy" in browser.get_log("browser")[0]["message"]


@pytest.mark.skipif(
    importlib.util.find_spec("axe_core_python") is None, reason="needs axe-core-python (requirements/dev.txt)"
)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast_labels_and_roles(page, scheme):
    """By axe-core, of the page and of an open cell."""
    axe = Path(importlib.util.find_spec("axe_core_python").origin).with_name("axe.min.js").read_text(encoding="utf-8")
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    background = page.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert (background == "rgb(255, 255, 255)") == (scheme == "light")
    page.execute_script(axe)
    assert violations(page) == []
    all_of(page, "#table2 button.cell")[0].click()
    for summary in all_of(page, "dialog[open] details:not([open]) summary"):
        summary.click()
    assert violations(page) == []


@pytest.mark.skipif(
    importlib.util.find_spec("axe_core_python") is None, reason="needs axe-core-python (requirements/dev.txt)"
)
def test_a_page_of_ranked_images(browser, tmp_path):
    """Contrast, labels and roles; a query of the table leads to its pictures; nothing stands on the console."""
    show_page_of_ranked_images(tmp_path, each=1, unread=(3,))
    browser.get((tmp_path / "page.html").as_uri())
    all_of(browser, "details.unread summary")[0].click()
    assert all_of(browser, "details.unread li")[0].is_displayed()
    axe = Path(importlib.util.find_spec("axe_core_python").origin).with_name("axe.min.js").read_text(encoding="utf-8")
    browser.execute_script(axe)
    assert violations(browser) == []
    link = all_of(browser, "#queries a")[0]
    number = link.text
    link.click()
    assert browser.current_url.endswith(f"#query-{number}")
    assert all_of(browser, f"#query-{number} img")
    assert browser.get_log("browser") == []


@pytest.mark.skipif(
    importlib.util.find_spec("axe_core_python") is None, reason="needs axe-core-python (requirements/dev.txt)"
)
def test_pages_of_places_and_of_poses(browser, tmp_path):
    """Contrast, labels and roles; every query of the tables leads to its pictures."""
    axe = Path(importlib.util.find_spec("axe_core_python").origin).with_name("axe.min.js").read_text(encoding="utf-8")
    for name in ("places", "poses"):
        (tmp_path / name).mkdir()
    show_page_of_places(tmp_path / "places")
    show_page_of_poses(build_poses(tmp_path / "poses", tuple(TRUE)))
    for name, queries in (("places", 4), ("poses", 6)):
        browser.get((tmp_path / name / "page.html").as_uri())
        browser.execute_script(axe)
        assert violations(browser) == []
        links = [link.get_attribute("href").partition("#")[2] for link in all_of(browser, "#queries a")]
        assert len(links) == queries
        assert all(all_of(browser, f"#{link} img") for link in links)
        assert browser.get_log("browser") == []


def test_queries_of_a_page_are_filtered(browser, tmp_path):
    """By name, by what became of the first image, and by average precision; table and pictures alike."""
    show_page_of_ranked_images(tmp_path, each=1)
    browser.get((tmp_path / "page.html").as_uri())

    def seen() -> tuple[list[str], list[str], str]:
        lines = [line.text for line in all_of(browser, "#queries tbody th") if line.is_displayed()]
        drawn = [part for part in all_of(browser, "section[data-query]") if part.is_displayed()]
        told = one(browser, "#shown-queries").text
        return sorted(lines), sorted(part.get_attribute("data-query") for part in drawn), told

    assert seen() == (["0", "1", "2"], ["0", "1", "2"], "3 of 3 queries")
    for text, numbers in (("right", ["0"]), ("wrong", ["1", "2"]), ("none is right at any rank", ["2"])):
        choose(browser, "#filter-outcome", text)
        assert seen() == (numbers, numbers, f"{len(numbers)} of 3 queries"), text
    headings = [group.is_displayed() for group in all_of(browser, "section[data-group]")]
    assert headings.count(True) == 1
    choose(browser, "#filter-outcome", "any")
    one(browser, "#filter-name").send_keys("B_1")
    assert seen()[0] == ["1"]
    one(browser, "#filter-name").clear()
    one(browser, "#filter-name").send_keys(" ")
    # What does not count in the metric is in no range of it.
    values = {query: float(one(browser, f"#query-{query}").get_attribute("data-score")) for query in ("0", "1")}
    one(browser, "#filter-low").send_keys("0")
    assert seen()[0] == ["0", "1"]
    one(browser, "#filter-high").send_keys(f"{sum(values.values()) / 2:.1f}")
    assert seen()[1] == [min(values, key=values.__getitem__)]
    assert browser.get_log("browser") == []


def violations(page: Any) -> list[tuple[str, list[str]]]:
    found = page.execute_async_script("const done = arguments[0]; axe.run(document).then((r) => done(r.violations))")
    return [(one["id"], [node["html"][:200] for node in one["nodes"]]) for one in found]
