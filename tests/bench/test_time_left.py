"""How long the rest of a grid will take."""

import pytest

from distail.bench.time_left import time_left
from tests.bench.grids import IF, IPC, grid_of, plan_of, result_of, students

GRID = grid_of({"random": {}, "dm": {}, "lad": {"recipe": "lad-cifar10lt"}}, vary={IF: [100], IPC: [10, 999]}, seeds=2)
PLAN = plan_of(GRID)


def finished(jobs, seconds):
    return {job.key: result_of(job.place, job.key, students([0.5]), seconds=seconds[job.place.row]) for job in jobs}


def test_it_goes_by_the_rows_and_is_shared_by_who_works():
    assert time_left(PLAN, {}, {}) is None
    known = finished(PLAN.jobs[:2], {"random": 1.0, "dm": 100.0})
    # Three of each row are left, and two of a row of which nothing is known: others of their size stand for them.
    expected = 3 * 1.0 + 3 * 100.0 + 2 * 50.5
    left = time_left(PLAN, known, {})
    assert left.seconds == pytest.approx(expected)
    assert left.guessed == ("lad",)
    assert time_left(PLAN, known, {PLAN.jobs[3].key: 0.0, PLAN.jobs[4].key: 0.0}).seconds == pytest.approx(expected / 2)


def test_it_goes_by_the_size_of_sets():
    plan = plan_of(grid_of({"random": {}, "dm": {}}, vary={IPC: [1, 50]}, seeds=2))
    taken = {("random", 1): 1.0, ("random", 50): 20.0, ("dm", 1): 5.0}
    known = {
        job.key: result_of(job.place, job.key, students([0.5]), seconds=taken[place])
        for job in plan.jobs
        if job.place.seed == 0 and (place := (job.place.row, job.place.values[IPC])) in taken
    }
    # dm at 50 has not run: its own row is nearer than another row of that size.
    left = time_left(plan, known, {})
    assert left.seconds == pytest.approx(1.0 + 20.0 + 5.0 + 2 * 5.0)
    assert left.guessed == ()


def test_what_a_running_cell_has_taken_is_behind_it():
    first, *others = [job for job in PLAN.jobs if job.place.row == "dm"]
    known = finished([job for job in PLAN.jobs if job.place.row == "random"], {"random": 10.0})
    known |= finished([first], {"dm": 100.0})
    without = time_left(PLAN, known, {}).seconds
    assert time_left(PLAN, known, {others[0].key: 40.0}).seconds == pytest.approx(without - 40.0)
    # It takes longer than others did, which does not make the rest shorter.
    assert time_left(PLAN, known, {others[0].key: 140.0}).seconds == pytest.approx(without - 100.0)
    # Two of lad are left as well, for which the three that have finished at IPC 10 stand.
    assert without == pytest.approx(100.0 * len(others) + 2 * (10.0 + 10.0 + 100.0) / 3)


def test_a_row_that_none_has_finished_of_takes_as_long_as_its_cell_that_runs():
    known = finished([job for job in PLAN.jobs if job.place.row != "lad"], {"random": 1.0, "dm": 1.0})
    first, _ = [job for job in PLAN.jobs if job.place.row == "lad"]
    left = time_left(PLAN, known, {first.key: 500.0})
    assert left.guessed == ("lad",)
    assert left.seconds == pytest.approx(500.0)  # the second one


def test_more_workers_do_not_shorten_a_cell():
    (first, *others) = PLAN.jobs
    known = finished([first], {"random": 10.0}) | finished(others[1:], dict.fromkeys(GRID.rows, 1000.0))
    begun = {f"elsewhere {number}": 0.0 for number in range(9)} | {others[0].key: 0.0}
    assert time_left(PLAN, known, begun).seconds > 500.0
