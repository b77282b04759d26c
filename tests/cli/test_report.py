"""`distail report`: a page, and a summary of it in the terminal."""

import errno
import json
import os
import shutil
import tempfile
from pathlib import Path

import pytest

from distail.artifact import write_text
from tests.bench.filled import small_grid
from tests.cli.calling import QUICK, assert_clear_refusal, call, contents, succeed


def test_a_scored_run(run, tmp_path):
    folder = tmp_path / "mine"
    shutil.copytree(run, folder)
    shown = succeed("report", folder)
    assert "6 images, 2 of each of 3 classes" in shown.flat
    assert "distilled (random)" in shown.flat
    assert f"The page is {folder / 'report.html'} (" in shown.flat
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>")
    assert "Reliability diagram" in page  # what evaluate keeps is enough to draw it
    again = succeed("report", folder, "--json", "--quiet").json
    assert again["report"] == str(folder / "report.html")
    assert again["bytes"] == (folder / "report.html").stat().st_size
    saved = json.loads((folder / "evaluation.json").read_text())["summaries"][0]["scores"]["accuracy"]
    assert again["scores"][0]["accuracy"] == saved
    assert (again["complete"], again["scores"][0]["labels"]) == (True, "hard")


def test_a_run_that_was_never_scored(dm_run, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(dm_run, folder, ignore=shutil.ignore_patterns("evaluation*"))
    before = contents(folder)
    shown = succeed("report", folder, "--out", tmp_path / "page.html")
    assert f"Not scored yet: distail evaluate {folder}" in shown.flat
    assert contents(folder) == before
    assert "loss" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_a_grid(source, tmp_path):
    folder = small_grid(source, tmp_path / "my grid")
    shown = succeed("report", folder)
    assert "4 rows on " in shown.flat
    assert "teacher" in shown.out
    assert "failed: dm, IF 2, IPC 1, seed 0: It did not work." in shown.flat
    assert f"The page is {folder / 'report.html'} (" in shown.flat
    again = succeed("report", folder, "--json", "--quiet").json
    assert again["report"] == str(folder / "report.html")
    assert (again["grid"], again["done"], again["failed"]) == (str(folder), 12, 1)
    (folder / "grid.yaml").write_text("rows: [dmm]")
    assert_clear_refusal(call("report", folder), "dmm", "grid.yaml")


def test_what_is_no_run_or_no_place_is_refused(run, source, tmp_path):
    assert_clear_refusal(call("report", tmp_path), "holds neither a run nor a grid")
    assert_clear_refusal(call("report", source), "holds neither a run nor a grid")
    (tmp_path / "mine.yaml").write_text("rows: [dm]")
    assert_clear_refusal(call("report", tmp_path / "mine.yaml"), "Name the folder", str(Path("bench") / "mine"))
    assert_clear_refusal(call("report", run, "--out", tmp_path / "page.pdf"), "page.pdf.html")
    (tmp_path / "there.html").write_text("mine")
    assert_clear_refusal(call("report", run, "--out", tmp_path / "there.html"), "exists")
    assert (tmp_path / "there.html").read_text() == "mine"


@pytest.fixture
def nothing_may_be_written(monkeypatch):
    def refuse(*_: object, dir: Path, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(Path(dir) / ".hidden.tmp"))

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    monkeypatch.setattr(tempfile, "mkstemp", refuse)


def test_a_folder_that_can_only_be_read(run, nothing_may_be_written):
    told = assert_clear_refusal(call("report", run), f"into {run}: Read-only file system", "--out FILE.html")
    assert ".tmp" not in told
    assert "--resume" not in told


def test_an_evaluation_that_could_not_be_kept_is_not_begun(run, nothing_may_be_written):
    told = assert_clear_refusal(call("evaluate", run, *QUICK), f"{run}", "Read-only file system", "--out FILE.json")
    assert ".tmp" not in told


def test_a_file_is_called_by_its_own_name(nothing_may_be_written, tmp_path):
    with pytest.raises(OSError, match=r"result\.json'$"):
        write_text(tmp_path / "result.json", "{}")
