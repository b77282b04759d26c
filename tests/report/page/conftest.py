"""Runs that many tests look at and none may change, and a browser."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.report.page.runs import NASTY, add_groups, make_run, score_run


@pytest.fixture(scope="session")
def plain(tmp_path_factory) -> Path:
    """A finished run that was never scored."""
    return make_run(tmp_path_factory.mktemp("plain") / "run")


@pytest.fixture(scope="session")
def scored(tmp_path_factory) -> Path:
    """A run scored by two protocols, with groups and losses."""
    folder = make_run(tmp_path_factory.mktemp("scored") / "run")
    score_run(folder, "random", "full")
    score_run(folder, labels="teacher", name="evaluation-2.json")
    add_groups(folder / "groups", folder)
    lines = "".join(f'{{"step": {step}, "loss": {5 / (step + 1)}, "skipped": 0}}\n' for step in range(500))
    (folder / "metrics.jsonl").write_text(lines)
    return folder


@pytest.fixture(scope="session")
def nasty(tmp_path_factory) -> Path:
    """A scored run whose classes have names that try to be more."""
    folder = make_run(tmp_path_factory.mktemp("nasty") / "<b>run&1", NASTY)
    score_run(folder, "random")
    add_groups(folder / "groups", folder)
    (folder / "metrics.jsonl").write_text('{"step": 0, "<i>loss": 2}\n{"step": 1, "<i>loss": 1}\n{"step')
    return folder


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """A real headless Chromium."""
    found = os.environ.get("DISTAIL_CHROMIUM") or next(
        filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
    )
    if found is None:
        pytest.skip("no Chromium: install one, or name it in DISTAIL_CHROMIUM")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def show(browser) -> Any:
    """Opens a page with these settings of the browser; what it said and asked for is in `.heard` and `.asked`."""
    contexts = []

    def opened(file: Path, width: int = 1200, **settings: Any) -> Any:
        context = browser.new_context(viewport={"width": width, "height": 800}, **settings)
        contexts.append(context)
        page = context.new_page()
        page.heard, page.asked = [], []
        page.on("console", lambda message: page.heard.append(message.text))
        page.on("pageerror", lambda error: page.heard.append(str(error)))
        page.on("dialog", lambda dialog: (page.heard.append(dialog.message), dialog.dismiss()))
        page.on("request", lambda request: page.asked.append(request.url))
        page.goto(file.as_uri())
        return page

    yield opened
    for context in contexts:
        context.close()
