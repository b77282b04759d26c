"""What is said of a grid while it runs."""

import io
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from distail.bench.grid import load_grid
from distail.bench.live import Picture
from distail.bench.running import OpenGrid
from distail.bench.store import Store
from distail.bench.table import build_table
from distail.bench.view import LineWatch, finished_line, headline, lines, look, picture, watching
from distail.claims import Claims
from tests.bench.grids import IF, IPC, grid_of, opened, plan_of, result_of, run_of, students

GRID = grid_of({"random": {}, "dm": {}, "lad": {"recipe": "lad-cifar10lt"}}, vary={IF: [100], IPC: [10, 999]}, seeds=2)
PLAN = plan_of(GRID)


def test_a_grid_at_a_moment(tmp_path, monkeypatch):
    store, (first, second, third, *_) = Store(tmp_path), PLAN.jobs
    known = {
        first.key: result_of(first.place, first.key, students([0.5]), seconds=10.0),
        second.key: result_of(second.place, second.key),
    }
    claims = Claims(store.claims)
    with claims.hold(third.key, "begun") as claim, claims.hold("set-abc"), claims.hold(first.key):
        claim._noted = -1e9
        claim.note("distilling: 3/20, 8 s left")
        status = look(store, PLAN, known)
        since = status.running[0].holder.since
        monkeypatch.setattr("distail.bench.view.time", SimpleNamespace(time=lambda: since + 12))
        told = lines(status)
    assert (status.total, status.done, status.failed) == (10, 1, 1)
    assert not status.is_finished
    (running,) = status.running  # sets are no cells, and a cell with a result is not under way
    assert running.cell == "lad, IF 100, IPC 10, seed 0"
    assert running.holder.note == "distilling: 3/20, 8 s left"
    assert told[0].startswith("1 of 10 cells are done, 1 failed, 1 run, 7 wait; about ")
    assert told[0].endswith(" left, if lad and dm take no longer than the others.")
    assert "  lad, IF 100, IPC 10, seed 0: distilling: 3/20, 8 s left (12 s on" in told[1]
    assert told[2] == "  failed: dm, IF 100, IPC 10, seed 0: It did not work. Make it smaller."
    assert told[3] == ("  left out: lad, IF 100, IPC 999: there is no recipe lad-cifar10lt-if100-ipc999")
    facts = status.to_json()
    assert (facts["cells"], facts["left"], len(facts["running"]), len(facts["errors"])) == (10, 8, 1, 1)


def test_the_time_left_and_what_it_goes_by_are_said(tmp_path):
    store = Store(tmp_path)
    assert look(store, PLAN, {}).left is None
    assert headline(look(store, PLAN, {})) == "0 of 10 cells are done, 0 run, 10 wait."
    known = {job.key: result_of(job.place, job.key, students([0.5]), seconds=60.0) for job in PLAN.jobs[:3]}
    status = look(store, PLAN, known)
    assert headline(status) == "3 of 10 cells are done, 0 run, 7 wait; about 7 min 00 s left."
    assert status.to_json()["seconds_left"] == pytest.approx(420)
    known = {job.key: one for job, one in zip(PLAN.jobs, known.values(), strict=False) if job.place.row == "random"}
    assert headline(look(store, PLAN, known)).endswith(" left, if dm and lad take no longer than the others.")


def test_what_cells_warned_of_is_said_once(tmp_path):
    known = {
        job.key: replace(result_of(job.place, job.key, students([0.5])), warnings=("dog has 3 images",))
        for job in PLAN.jobs[:3]
    }
    store = Store(tmp_path)
    status = look(store, PLAN, known)
    first = "random, IF 100, IPC 10, seed 0"
    assert status.warnings == ((first, 2, "dog has 3 images"),)
    assert lines(status)[-1] == f"  note: {first} and 2 other cells: dog has 3 images"
    assert status.to_json()["warnings"] == [{"cell": first, "others": 2, "warning": "dog has 3 images"}]


def test_one_cell_is_said_to_be_one(tmp_path):
    plan = plan_of(grid_of({"dm": {}}))
    assert headline(look(Store(tmp_path), plan, {})) == "0 of 1 cell is done, 0 run, 1 wait."


def test_a_finished_grid(tmp_path):
    known = {job.key: result_of(job.place, job.key, students([0.5]), seconds=1.0) for job in PLAN.jobs}
    status = look(Store(tmp_path), PLAN, known)
    assert status.is_finished
    assert lines(status)[0] == "10 of 10 cells are done."


def test_lines_are_one_line_each_whatever_a_row_is_called(tmp_path):
    plan = plan_of(grid_of({"a\nb": {"method": "dm"}}))
    (job,) = plan.jobs
    failed = result_of(job.place, job.key, error="first\nsecond")
    assert "\n" not in "".join(lines(look(Store(tmp_path), plan, {job.key: failed})))
    assert "\n" not in finished_line(failed)


def test_what_is_said_of_a_finished_cell():
    job = PLAN.jobs[0]
    lines_ = (*students([0.5, 0.75]), *students([0.1], "random"))
    assert finished_line(result_of(job.place, job.key, lines_, seconds=61.0)) == (
        "done: random, IF 100, IPC 10, seed 0: 62.5% (hard), 1 min 01 s"
    )
    assert finished_line(result_of(job.place, job.key)).startswith("failed: random, ")


def test_lines_are_said_once_for_each_cell_whoever_did_it(source, tmp_path):
    grid = opened(source, tmp_path / "grid", ["random", "dm"])
    first, second = grid.plan.jobs
    grid.store.write(run_of(result_of(first.place, first.key, students([0.5]))))
    said: list[str] = []
    watch = LineWatch(grid, said.append)
    watch()
    assert said == [f"2 cells: 1 finished, 1 to run: dm. Results go to {grid.store.path}."]
    said.clear()
    watch()
    assert said == []
    Store(grid.store.path).write(run_of(result_of(second.place, second.key, students([0.25]))))
    watch()
    watch()
    assert said == ["done: dm, seed 0: 25.0% (hard), 0 s", "2 of 2 cells are done."]


def test_a_log_says_now_and_then_how_far_a_long_cell_is(source, tmp_path, monkeypatch):
    monkeypatch.setattr("distail.bench.view._BETWEEN_LINES_S", 0.01)
    grid = opened(source, tmp_path / "grid", ["random", "dm"])
    said: list[str] = []
    with Claims(grid.store.claims).hold(grid.plan.jobs[0].key, "begun"):
        with watching(grid, quiet=False, terminal=False, say=said.append):
            deadline = time.monotonic() + 20
            while len(said) < 4 and time.monotonic() < deadline:
                time.sleep(0.01)
        after = len(said)
        time.sleep(0.1)
    assert said[0] == said[2] == "0 of 2 cells are done, 1 run, 1 wait."
    assert said[1].startswith("  random, seed 0: begun (")
    assert len(said) == after


def test_the_picture_shows_the_table_as_it_fills(source, tmp_path):
    grid = opened(source, tmp_path / "grid", ["random", "dm"])
    first = grid.plan.jobs[0]
    grid.store.write(run_of(result_of(first.place, first.key, students([0.5]))))
    out = io.StringIO()
    Console(file=out, width=100).print(picture(grid))
    shown = " ".join(out.getvalue().split())
    assert "50.0" in shown
    assert "…" in shown
    assert "1 of 2 cells are done, 0 run, 1 wait" in shown


@pytest.fixture(scope="module")
def large(tmp_path_factory) -> OpenGrid:
    """Every method on CIFAR-10-LT, half of it done and one cell failed: more rows and columns than a terminal holds."""
    grid, text = load_grid(Path(__file__).parents[2] / "grids" / "cifar10lt-cpu.yaml")
    found = OpenGrid(grid, plan_of(grid), Store(tmp_path_factory.mktemp("large")), text)
    for number, job in enumerate(found.plan.jobs[:60]):
        lines_ = students([0.25, 0.5], network="convnet3", labels=job.place.cell.evaluation.labels) if number else ()
        found.store.write(run_of(result_of(job.place, job.key, lines_, seconds=100.0)))
    return found


def drawn(shown: Picture, width: int, height: int) -> list[str]:
    """The lines of a terminal of this size."""
    console = Console(file=io.StringIO(), width=width, height=height, color_system=None)
    return ["".join(part.text for part in line).rstrip() for line in console.render_lines(shown, pad=False)]


def row_names(told: list[str]) -> list[str]:
    """First words of the rows below the heads of a table, and of the line that says what is left out."""
    head = next(place for place, line in enumerate(told) if line.startswith("method"))
    return [line.split("  ")[0] for line in told[head + 1 :]]


@pytest.mark.parametrize(("width", "height"), [(80, 24), (100, 50)])
def test_a_live_view_fits_and_says_first_how_far_the_grid_is(large, width, height):
    claims = Claims(large.store.claims)
    jobs = large.plan.jobs[60:62]
    with claims.hold(jobs[0].key, "begun"), claims.hold(jobs[1].key, "begun"):
        told = drawn(picture(large), width, height)
    assert len(told) < height
    total = len(large.plan.jobs)
    assert told[0].startswith(f"59 of {total} cells are done, 1 failed, 2 run, {total - 62} wait; about ")
    assert sum("begun (" in line for line in told) == 2
    assert sum("failed: random, IF 100, IPC 10, seed 0" in line for line in told) == 1
    *names, left_out = row_names(told)
    rows = len(build_table(large.grid, large.plan, large.results()).rows) - len(names)
    assert left_out.startswith(f"… and {rows} rows and " if rows else "… and 6 columns")
    assert left_out.endswith("more; see `distail bench table`")
    assert names[:2] == ["random", "tailor"]
    assert ("rldd, 200 epochs" in names) == (height == 50)
    published = [", published" in name for name in names]
    assert published == sorted(published)  # ours come first


def test_what_a_live_view_leaves_out_is_counted(large):
    status = look(large.store, large.plan, large.results())
    told = drawn(picture(large), 100, 24)
    others = [line for line in told if line.startswith(("  failed: ", "  left out: "))]
    assert others[0].startswith("  failed: ")
    left = len(status.errors) + len(status.left_out) - len(others)
    assert f"  … and {left} more; see `distail bench status`" in told
    heads = next(line for line in told if line.startswith("method"))
    shown = heads.count("IPC")
    assert f"and {9 - shown} columns more" in told[-1]
    wide = drawn(picture(large), 200, 200)
    assert next(line for line in wide if line.startswith("method")).count("IPC") == 9
    assert "… and" not in "".join(wide)


def test_a_terminal_of_a_few_lines_shows_the_status_alone(large):
    told = drawn(picture(large), 100, 4)
    assert told[0].startswith("59 of ")
    assert [line[:7] for line in told[1:]] == ["  … and"]


def test_who_is_told(source, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich takes what is captured for a terminal
    grid = opened(source, tmp_path / "grid", ["random"])
    with watching(grid, quiet=True, terminal=True, say=print) as watch:
        assert watch is None
    with watching(grid, quiet=False, terminal=False, say=print) as watch:
        assert isinstance(watch, LineWatch)
    assert capsys.readouterr() == ("", "")
    with watching(grid, quiet=False, terminal=True, say=print) as watch:
        assert watch is None  # the picture draws itself
        time.sleep(0.1)
    assert "0 of 1 cell is done" in capsys.readouterr().err
