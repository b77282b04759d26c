"""Results on disk: whole or not there, and an index that can always be made anew."""

import errno
import json
import os
from pathlib import Path

import pytest

from distail import artifact
from distail.artifact import read_json
from distail.bench.result import CellResult
from distail.bench.store import Store
from distail.errors import DistailError
from tests.bench.grids import IPC, grid_of, plan_of, result_of, run_of, students

PLAN = plan_of(grid_of(["random", "dm"], vary={IPC: [1, 5, 9]}))
RESULTS = {
    job.key: result_of(job.place, job.key, () if number == 4 else students([0.5, 0.25 + number / 100]))
    for number, job in enumerate(PLAN.jobs)
}
FIRST, SECOND, *_ = RESULTS


@pytest.fixture
def store(tmp_path):
    """Six results."""
    made = Store(tmp_path / "grid")
    made.begin("rows: [random]\n")
    for result in RESULTS.values():
        made.write(run_of(result))
    return made


def read_anew(store: Store) -> dict[str, CellResult]:
    """As another process would."""
    return Store(store.path).results()


def test_results_come_back_as_they_were(store):
    assert read_anew(store) == RESULTS
    assert store.status(FIRST) == "done"
    assert sum(store.status(key) == "failed" for key in RESULTS) == 1
    assert store.status("unknown") is None
    assert store.file(FIRST) == store.path / "cells" / FIRST[:2] / f"{FIRST}.json"


def test_the_index_says_all_and_is_made_anew_when_it_is_gone(store):
    assert read_anew(store) == RESULTS
    before = store.index.read_bytes()
    store.index.unlink()
    assert read_anew(store) == RESULTS
    assert json.loads(store.index.read_bytes()) == json.loads(before)


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "null", '{"format": 99, "cells": {}}', '{"format": 1, "cells": [3]}']
)
def test_a_damaged_index_does_not_matter(store, content):
    read_anew(store)
    store.index.write_text(content)
    assert read_anew(store) == RESULTS
    assert len(read_json(store.index)["cells"]) == len(RESULTS)


def test_a_damaged_entry_of_the_index_does_not_matter(store):
    read_anew(store)
    written = read_json(store.index)
    written["cells"][FIRST] = written["cells"][FIRST][:1]
    store.index.write_text(json.dumps(written))
    assert read_anew(store) == RESULTS


def test_the_index_spares_reading_the_files(store, monkeypatch):
    read_anew(store)
    monkeypatch.setattr(Store, "content", None)
    assert read_anew(store) == RESULTS


def test_nothing_is_written_where_nothing_changed(store):
    read_anew(store)
    os.utime(store.index, (1, 1))
    assert read_anew(store) == RESULTS
    assert store.index.stat().st_mtime == 1


def test_files_that_are_newer_than_the_index_count(store):
    read_anew(store)
    changed = result_of(PLAN.jobs[0].place, FIRST, students([0.9]))
    store.write(run_of(changed))
    store.file(SECOND).unlink()
    rest = {key: result for key, result in RESULTS.items() if key not in (FIRST, SECOND)}
    assert read_anew(store) == {FIRST: changed, **rest}
    assert read_anew(store) == {FIRST: changed, **rest}
    assert read_json(store.index)["cells"].keys() == {FIRST, *rest}


def test_a_change_within_a_tick_of_the_clock_is_seen_by_its_size(store):
    read_anew(store)
    moment = store.file(FIRST).stat()
    store.write(run_of(result_of(PLAN.jobs[0].place, FIRST)))
    os.utime(store.file(FIRST), ns=(moment.st_atime_ns, moment.st_mtime_ns))
    assert read_anew(store)[FIRST].status == "failed"


def test_who_asks_again_and_again_gets_what_is_new_but_writes_seldom(store, monkeypatch):
    watching = Store(store.path)
    written: list[int] = []
    real = Store._write_index
    monkeypatch.setattr(Store, "_write_index", lambda self, found: (written.append(len(found)), real(self, found)))
    monkeypatch.setattr("distail.bench.store._PAUSES", 1e9)
    for number in range(5):
        changed = result_of(PLAN.jobs[0].place, FIRST, students([number / 10]))
        store.write(run_of(changed))
        assert watching.results()[FIRST] == changed
    assert written == [6]
    assert read_anew(store) == {**RESULTS, FIRST: changed}


@pytest.mark.parametrize(
    "content", ["", '{"format": 1, "key": "', "[]", '{"format": 99}', '{"format": 1, "status": "done"}']
)
def test_a_damaged_cell_is_no_result_and_harms_no_other(store, content):
    read_anew(store)
    store.file(FIRST).write_text(content)
    expected = {key: result for key, result in RESULTS.items() if key != FIRST}
    assert read_anew(store) == expected
    os.utime(store.index, (1, 1))
    assert read_anew(store) == expected
    assert store.index.stat().st_mtime == 1
    store.write(run_of(RESULTS[FIRST]))
    assert read_anew(store) == RESULTS


def test_foreign_files_among_the_cells_do_not_matter(store):
    (store.cells / "notes.txt").write_text("to do")
    (store.cells / FIRST[:2] / ".half.json.tmp").write_text("{")
    (store.cells / FIRST[:2] / "README").write_text("hello")
    assert read_anew(store) == RESULTS


def test_the_content_of_a_cell_and_its_scores(store):
    assert store.content(FIRST)["status"] == "done"
    assert store.evaluation(FIRST) is None
    with pytest.raises(DistailError, match="does not exist"):
        store.content("unknown")
    store.file(FIRST).write_text("{}")
    with pytest.raises(DistailError, match=r"is no result of a grid. Remove it"):
        store.content(FIRST)


def test_a_failed_result_can_be_forgotten_with_the_failure_of_its_set(store):
    failed = next(result for result in RESULTS.values() if result.status == "failed")
    store.set_failure("set").parent.mkdir()
    store.set_failure("set").write_text("{}")
    store.forget(failed)
    assert store.status(failed.key) is None
    assert not store.set_failure("set").exists()
    store.forget(failed)
    assert len(read_anew(store)) == len(RESULTS) - 1


# Places that are no grid's, or that cannot be written to


def test_a_foreign_folder_is_refused_untouched(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "1.png").write_bytes(b"mine")
    for place in ("photos", "photos/1.png"):
        with pytest.raises(DistailError, match=r"holds no grid. Choose another --out; nothing was touched"):
            Store(tmp_path / place).begin("rows: [dm]")
    assert [path.name for path in (tmp_path / "photos").iterdir()] == ["1.png"]


def test_what_a_killed_process_left_in_a_new_folder_is_not_foreign(tmp_path):
    (tmp_path / "grid").mkdir()
    (tmp_path / "grid" / ".sources.json.x1.tmp").write_text("{")
    Store(tmp_path / "grid").begin("rows: [dm]")
    assert Store(tmp_path / "grid").require_grid() == "rows: [dm]"


def test_a_folder_without_a_grid_is_named(tmp_path):
    with pytest.raises(DistailError, match=r"no folder of a grid.*Name one that `distail bench` made"):
        Store(tmp_path).require_grid()


def full_disk(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_leaves_the_old_result_and_nothing_half(store, monkeypatch):
    read_anew(store)
    files = sorted(store.path.rglob("*"))
    monkeypatch.setattr(artifact.os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space left"):
        store.write(run_of(result_of(PLAN.jobs[0].place, FIRST, students([0.9]))))
    assert sorted(store.path.rglob("*")) == files
    assert read_anew(store) == RESULTS


def test_tables_need_no_room_for_an_index(store, monkeypatch):
    monkeypatch.setattr(artifact.os, "fsync", full_disk)
    assert read_anew(store) == RESULTS
    assert not store.index.exists()


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DistailError, match=r"Nothing can be written into .*file/grid: Not a directory"):
        Store(tmp_path / "file" / "grid").begin("rows: [dm]")


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder that even the superuser cannot write to")
def test_a_folder_that_cannot_be_written_to_is_named():
    with pytest.raises(DistailError, match="Nothing can be written into /proc/grid"):
        Store("/proc/grid").begin("rows: [dm]")
