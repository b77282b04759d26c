"""The page of a grid in a real browser: it sorts, filters and opens cells, and works without scripts."""

from pathlib import Path
from typing import Any

import pytest

from distail.reporting import write_report
from tests.bench.filled import nasty_grid, small_grid
from tests.cli.calling import pets, write_npz
from tests.report.page.reader import CONTRASTS

OPEN_ALL = "document.querySelectorAll('details').forEach(one => { one.open = true; one.hidden = false; })"

ECE = "Calibration error in percent (less is better), convnet2-w8"


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("grids")
    source = write_npz(folder / "pets.npz", train=pets((12, 12, 12), 1), test=pets((6, 6, 6), 2))
    grids = {"small": small_grid(source, folder / "small"), "nasty": nasty_grid(source, folder / "<b>nasty")}
    return {name: write_report(grid, folder / f"{name}.html").path for name, grid in grids.items()}


def shown_rows(page: Any) -> list[str]:
    """Names of the rows that can be seen, in order."""
    return page.evaluate(
        "[...document.querySelectorAll('tr[data-row]')].filter(one => one.checkVisibility()).map(one => "
        "one.cells[0].textContent.trim())"
    )


def figures(page: Any, place: int) -> list[float | None]:
    """The figures of a column of the hard protocol, in order."""
    return page.evaluate(
        "place => [...document.querySelector('tbody[data-labels=hard]').querySelectorAll('tr[data-row]')]"
        ".map(row => row.cells[place].dataset.v === undefined ? null : Number(row.cells[place].dataset.v))",
        place,
    )


@pytest.mark.parametrize("name", ["small", "nasty"])
def test_it_is_quiet_and_fits_a_phone(show, files, name):
    page = show(files[name], 360)
    page.evaluate(OPEN_ALL)
    page.wait_for_timeout(100)
    assert page.heard == []
    assert [url for url in page.asked if not url.startswith("data:")] == [files[name].as_uri()]
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_columns_sort_within_their_protocol_and_say_so(show, files):
    page = show(files["small"])
    assert shown_rows(page) == ["random", "dm", "all images", "tailor, asked"]
    head = page.get_by_role("columnheader", name="IF 2, IPC 1").first
    assert head.get_attribute("aria-sort") == "none"
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "descending"
    assert [value is None for value in figures(page, 5)] == [False, True, True]
    assert "descending" in page.get_by_role("status").text_content()
    page.get_by_role("button", name="IF 10, IPC 3").first.click()
    values = figures(page, 2)
    assert values == sorted(values, reverse=True)
    assert head.get_attribute("aria-sort") == "none"
    page.get_by_role("button", name="IF 10, IPC 3").first.click()
    assert figures(page, 2) == sorted(values)
    page.get_by_role("button", name="method").first.click()
    assert shown_rows(page) == ["all images", "dm", "random", "tailor, asked"]


def test_rows_and_columns_can_be_filtered(show, files):
    page = show(files["small"])
    page.get_by_label("Find rows").fill("IMAGES")
    assert shown_rows(page) == ["all images"]
    assert page.get_by_role("status").text_content() == "1 of 4 rows, 4 of 4 columns are shown."
    page.get_by_label("Find rows").fill("nothing")
    assert page.get_by_text("No row of the table fits.").is_visible()
    page.get_by_role("button", name="Show all").click()
    page.get_by_label("Labels", exact=True).select_option("teacher")
    assert shown_rows(page) == ["tailor, asked"]
    page.get_by_label("Labels", exact=True).select_option("")
    page.get_by_label("IPC", exact=True).select_option("3")
    heads = page.locator("section.view:visible thead th:visible").all_text_contents()
    assert heads[:5] == ["method", "n", "IF 10, IPC 3", "IF 2, IPC 3", "stored"]
    page.get_by_label("Show", exact=True).select_option(label=ECE)
    assert page.get_by_role("heading", name=ECE).is_visible()
    assert not page.get_by_role("heading", name="Accuracy of convnet2-w8").is_visible()


def test_a_figure_opens_its_cell(show, files):
    page = show(files["small"])
    assert page.locator("details.cell:visible").count() == 0
    page.locator("section.view:visible tr[data-row] td a").first.click()
    cell = page.locator("details.cell:visible")
    cell.wait_for()
    assert cell.count() == 1
    assert cell.get_by_role("heading", name="random, IF 10, IPC 3").is_visible()
    assert cell.get_by_role("table", name="Confusion matrix").is_visible()
    assert page.evaluate("document.activeElement.tagName") == "SUMMARY"
    page.go_back()
    page.get_by_role("link", name="failed").first.click()
    cell.get_by_text("It did not work.").wait_for()
    assert page.locator("details.cell:visible").count() == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_can_be_told_from_its_ground(show, files, scheme):
    page = show(files["small"], color_scheme=scheme)
    page.evaluate(OPEN_ALL)
    found = page.evaluate(CONTRASTS)
    assert len(found) > 300
    assert found[0][0] >= 4.5, found[:5]


def test_paper_has_the_heads_of_the_table_and_no_controls(show, files):
    page = show(files["small"], 720)
    page.emulate_media(media="print")
    assert page.locator("section.view:visible thead button:visible").count() == 9
    assert page.locator("select:visible, input:visible").count() == 0
    assert page.evaluate("document.querySelector('table.grid').getBoundingClientRect().right") <= 720
    size = "one => getComputedStyle(document.querySelector(`table.grid ${one}`)).fontSize"
    assert page.evaluate(size, "thead button") == page.evaluate(size, "td.num")


def test_charts_can_be_heard(show, files):
    page = show(files["small"])
    charts = page.locator("svg[role=img]")
    assert charts.count() >= 8
    for place in range(charts.count()):
        assert charts.nth(place).locator("title").first.text_content()
        assert len(charts.nth(place).locator("desc").text_content()) > 20
    for name in ("Table", "Charts", "Cell by cell", "What is missing", "The grid"):
        assert page.get_by_role("region", name=name, exact=True).count() == 1, name


def test_without_scripts_all_of_it_is_there(show, files):
    page = show(files["small"], java_script_enabled=False)
    assert page.locator("button:visible, select:visible").count() == 0
    assert page.get_by_role("heading", name=ECE).is_visible()
    cells = page.locator("details.cell")
    assert cells.count() == 15
    assert all(cells.nth(place).is_visible() for place in range(15))
    cells.first.locator("summary").first.click()
    assert cells.first.get_by_text("Most frequent mistakes").is_visible()
