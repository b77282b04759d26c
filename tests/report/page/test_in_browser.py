"""The page in a real browser: it is quiet, fits a phone, has a night, and can be used by keyboard and ear."""

import time
from pathlib import Path
from typing import Any

import pytest

from distail.reporting import write_report
from tests.report.page.reader import CONTRASTS
from tests.report.page.runs import make_run, score_run


@pytest.fixture(scope="module")
def scored_file(scored, tmp_path_factory) -> Path:
    return write_report(scored, tmp_path_factory.mktemp("pages") / "scored.html").path


@pytest.fixture(scope="module")
def nasty_file(nasty, tmp_path_factory) -> Path:
    return write_report(nasty, tmp_path_factory.mktemp("pages") / "nasty.html").path


@pytest.mark.parametrize("name", ["scored_file", "nasty_file"])
def test_it_says_nothing_asks_for_nothing_and_runs_nothing(show, request, name):
    file = request.getfixturevalue(name)
    page = show(file)
    page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    page.wait_for_timeout(100)
    assert page.heard == []
    assert [url for url in page.asked if not url.startswith("data:")] == [file.as_uri()]
    assert page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")


def test_a_script_that_got_in_could_not_run(show, scored_file):
    page = show(scored_file)
    page.evaluate(
        "() => { const bad = document.createElement('div'); bad.innerHTML = '<img src=x onerror=\"window.bad = 1\">';"
        " document.body.append(bad); const worse = document.createElement('script');"
        " worse.textContent = 'window.bad = 2'; document.body.append(worse); }"
    )
    page.wait_for_timeout(100)
    assert page.evaluate("window.bad") is None
    assert any("Content Security Policy" in text for text in page.heard)
    assert not any(url.startswith("http") for url in page.asked)


@pytest.mark.parametrize("name", ["scored_file", "nasty_file"])
@pytest.mark.parametrize("width", [360, 1200])
def test_the_page_itself_never_scrolls_sideways(show, request, name, width):
    page = show(request.getfixturevalue(name), width)
    page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_can_be_told_from_its_ground(show, scored_file, scheme):
    found = show(scored_file, color_scheme=scheme).evaluate(CONTRASTS)
    assert len(found) > 100
    assert found[0][0] >= 4.5, found[:5]


def test_the_dark_has_colours_of_its_own_and_paper_has_none_of_them(show, scored_file):
    ground = "getComputedStyle(document.body).backgroundColor"
    light, dark = show(scored_file, color_scheme="light"), show(scored_file, color_scheme="dark")
    assert light.evaluate(ground) != dark.evaluate(ground)
    dark.emulate_media(media="print")
    assert dark.evaluate(ground) == "rgb(255, 255, 255)"


def test_paper_shows_what_is_folded_away(show, scored_file):
    page = show(scored_file)
    count = "document.querySelectorAll('details:not(.numbers):not([open])').length"
    folded = page.evaluate(count)
    assert folded > 0
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate(count) == 0
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.evaluate(count) == folded


def test_a_screen_reader_hears_landmarks_headings_and_charts(show, scored_file):
    page = show(scored_file)
    for role, name in (("main", None), ("banner", None), ("contentinfo", None), ("navigation", "On this page")):
        assert page.get_by_role(role, **({"name": name} if name else {})).count() == 1, role
    for name in ("At a glance", "The data", "The images", "How good it is", "What it costs", "How it was made"):
        assert page.get_by_role("region", name=name, exact=True).count() == 1, name
        assert page.get_by_role("heading", name=name, exact=True).count() == 1, name
    charts = page.locator("svg[role=img]")
    assert charts.count() >= 2
    for place in range(charts.count()):
        assert charts.nth(place).locator("title").text_content()
        assert len(charts.nth(place).locator("desc").text_content()) > 20
    assert page.get_by_role("img", name="2 distilled images of ant").count() == 1
    assert page.get_by_role("img", name="Reliability diagram").count() >= 1


def test_the_keyboard_reaches_everything_that_can_be_used(show, scored_file):
    page = show(scored_file)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    assert page.evaluate("document.activeElement.getBoundingClientRect().left") >= 0
    usable = "[...document.querySelectorAll('a, button, summary, [tabindex=\"0\"]')]"
    wanted = page.evaluate(f"{usable}.filter(one => one.checkVisibility()).length")
    reached = 1
    while reached < 200:
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement === document.body"):
            break
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
        reached += 1
    assert reached >= wanted > 20
    page.get_by_text("Reliability as numbers").first.focus()
    page.keyboard.press("Enter")
    assert page.get_by_role("table", name="Predictions by confidence").first.is_visible()


def becomes(page: Any, expression: str, expected: str) -> None:
    """Waits for a value of a page, without a script in it, which its policy forbids."""
    given_up = time.monotonic() + 30
    while (found := page.evaluate(expression)) != expected and time.monotonic() < given_up:
        page.wait_for_timeout(20)
    assert found == expected


def test_the_lines_to_load_the_set_can_be_copied(show, scored_file, scored):
    page = show(scored_file, permissions=["clipboard-read", "clipboard-write"])
    button = page.locator("button[data-copy=load-code]")
    button.click()
    becomes(page, "document.querySelector('[data-copy=load-code]').textContent", "Copied")
    assert page.get_by_role("status").text_content() == "Copied."
    copied = page.evaluate("navigator.clipboard.readText()")
    names: dict[str, Any] = {}
    exec(compile(copied, "the page", "exec"), names)
    assert len(names["small"]) == 6
    assert len(copied.splitlines()) == 3


def test_without_scripts_all_of_it_is_there(show, scored_file):
    page = show(scored_file, java_script_enabled=False)
    assert page.get_by_role("heading", name="How good it is").is_visible()
    assert page.locator("button:visible").count() == 0
    page.get_by_text("Classes, mistakes and calibration").first.click()
    assert page.locator("details.sub[open]").first.is_visible()


@pytest.fixture(scope="module")
def long_tailed_file(tmp_path_factory):
    """All columns of scores: classes with many, medium and few images."""
    folder = make_run(tmp_path_factory.mktemp("long") / "run", counts=(120, 40, 5))
    return write_report(score_run(folder, "random", "full")).path


SCORES = "document.querySelector('#scores .scroll')"
FADE = f"getComputedStyle({SCORES}).getPropertyValue('--fade')"


def test_a_screen_of_1280_pixels_shows_all_scores(show, long_tailed_file):
    page = show(long_tailed_file, width=1280)
    assert page.locator("#scores .scroll").first.locator("thead th").count() == 12
    assert page.evaluate(f"{SCORES}.scrollWidth <= {SCORES}.clientWidth")
    assert page.evaluate(FADE) == "0px"


def test_on_a_phone_the_table_shows_that_it_scrolls_and_whose_scores_they_are(show, long_tailed_file):
    page = show(long_tailed_file, width=390)
    left = f"{SCORES}.querySelector('tbody th').getBoundingClientRect().left - {SCORES}.getBoundingClientRect().left"
    assert page.evaluate(FADE) == "48px"
    page.evaluate(f"{SCORES}.scrollLeft = 200")
    assert page.evaluate(left) == 0
    assert page.evaluate(f"{SCORES}.querySelector('thead th').getBoundingClientRect().left") > 0
    page.evaluate(f"{SCORES}.scrollLeft = 9999")
    becomes(page, FADE, "0px")
    page.emulate_media(media="print")
    assert page.evaluate(f"getComputedStyle({SCORES}).maskImage") == "none"


def test_on_a_phone_a_matrix_of_ten_classes_fits(show, tmp_path):
    folder = make_run(tmp_path / "run", tuple(str(number) for number in range(10)), counts=(4,) * 10)
    page = show(write_report(score_run(folder)).path, width=390)
    matrix = "document.querySelector('table.heat')"
    assert page.evaluate(f"{matrix}.querySelector('tbody th').getBoundingClientRect().width") < 40
    assert page.evaluate(f"{matrix}.scrollWidth <= {matrix}.closest('.scroll').clientWidth")


def test_paper_holds_all_scores(show, long_tailed_file):
    page = show(long_tailed_file, width=680)  # A4 within its margins
    page.emulate_media(media="print")
    assert page.evaluate(f"{SCORES}.querySelector('table').getBoundingClientRect().width") <= 680
    size = "one => parseFloat(getComputedStyle(document.querySelector(`#scores .scroll ${one}`)).fontSize)"
    assert page.evaluate(size, "thead th") == page.evaluate(size, "td.num") >= 9


def test_the_ring_of_focus_is_not_cut_off(show, long_tailed_file):
    page = show(long_tailed_file, width=390)
    page.locator("#scores .scroll").first.focus()
    page.keyboard.press("ArrowRight")
    assert page.evaluate(f"getComputedStyle({SCORES}).maskImage") == "none"
