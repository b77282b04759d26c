"""Work that several processes, or several cells, need; and what a killed one leaves."""

import errno
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from distail import artifact, pipeline
from distail.bench import worker
from distail.bench.worker import Worker
from distail.claims import Claim, Claims
from distail.errors import DistailError
from distail.recipe import load_recipe
from tests.bench.grids import BY_LABELS, DM, IPC, left_behind, opened, scores_of
from tests.cli.calling import contents


def in_another_thread(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


@pytest.fixture
def quick_polls(monkeypatch):
    monkeypatch.setattr(worker, "_POLL_S", 0.01)


@pytest.mark.usefixtures("quick_polls")
@pytest.mark.parametrize("what", ["cell", "set"])
def test_what_another_works_on_is_put_off_and_done_later(source, tmp_path, what):
    grid = opened(source, tmp_path / "grid", {"dm": DM, "random": {}})
    grid.store.begin("")
    first, second = grid.plan.jobs
    name = first.key if what == "cell" else f"set-{first.set_key}"
    finished: list[str] = []
    with Claims(grid.store.claims).hold(name):
        going_on = Worker(grid.store, grid.plan.jobs).work()
        finished.append(next(going_on).key)
        assert finished == [second.key]
        rest = in_another_thread(lambda: finished.extend(job.key for job in going_on))
        rest.join(0.3)
        assert rest.is_alive()
        assert grid.store.status(first.key) is None
    rest.join(60)
    assert finished == [second.key, first.key]


@pytest.mark.usefixtures("quick_polls")
def test_what_another_finished_meanwhile_is_not_done_again(source, tmp_path, made):
    grid = opened(source, tmp_path / "grid", {"dm": DM, "random": {}})
    grid.store.begin("")
    first, _ = grid.plan.jobs
    going_on = Worker(grid.store, grid.plan.jobs).work()
    with Claims(grid.store.claims).hold(first.key):
        next(going_on)
        opened(source, tmp_path / "elsewhere", {"dm": DM}).run()
        file = grid.store.file(first.key)
        file.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(tmp_path / "elsewhere" / file.relative_to(grid.store.path), file)
    made.clear()
    assert list(going_on) == []
    assert made == []


TEACHER = {"settings": {"iterations": 2, "pilot_steps": 1, "views": 1, "teacher": {"train": {"epochs": 2}}}}


@pytest.mark.usefixtures("quick_polls")
def test_a_teacher_that_another_trains_is_waited_for_with_other_work(source, tmp_path):
    grid = opened(source, tmp_path / "grid", {"tailor": TEACHER, "random": {}})
    found = opened(source, tmp_path / "first", {"tailor": TEACHER}).run()
    assert [result.error for result in found.values()] == [None]
    (kept,) = (tmp_path / "first" / "experts" / "teachers").glob("*.safetensors")
    grid.store.begin("")
    finished: list[str] = []
    with Claims(grid.store.experts / "teachers" / "claims").hold(kept.stem):
        going_on = Worker(grid.store, grid.plan.jobs).work()
        finished.append(next(going_on).place.row)
        rest = in_another_thread(lambda: finished.extend(job.place.row for job in going_on))
        rest.join(0.2)
        assert finished == ["random"]
    rest.join(120)
    assert finished == ["random", "tailor"]


def test_experts_are_trained_once_for_all_cells(source, tmp_path):
    settings = {"iterations": 1, "num_experts": 1, "steps": 1, "max_start_epoch": 1}
    grid = opened(source, tmp_path / "grid", {"mtt": {"settings": settings}}, vary={IPC: [1, 2]})
    found = grid.run()
    assert [result.error for result in found.values()] == [None, None]
    assert len(list(grid.store.experts.rglob("about.json"))) == 1


# Sets that a killed process began


@pytest.mark.parametrize(
    "state", ["a folder alone", "a half-written recipe", "no manifest", "moved data", "other hardware"]
)
def test_a_set_that_was_begun_is_finished(source, tmp_path, state):
    own = Path(shutil.copy(source, tmp_path / "own.npz"))
    unharmed = opened(source, tmp_path / "unharmed", {"dm": DM}).run()
    grid = opened(own, tmp_path / "grid", {"dm": DM})
    (job,) = grid.plan.jobs
    folder = grid.store.sets / str(job.set_key)
    folder.mkdir(parents=True)
    recipe = pipeline.resolved(job.place.cell.recipe)
    if state == "a half-written recipe":
        (folder / ".recipe.yaml.abc.tmp").write_text("data:")
    if state == "no manifest":
        (folder / "recipe.yaml").write_text(recipe.to_yaml())
    if state == "moved data":
        there = recipe.data.model_copy(update={"source": "gone/own.npz"})
        (folder / "recipe.yaml").write_text(recipe.model_copy(update={"data": there}).to_yaml())
    if state == "other hardware":
        (folder / "recipe.yaml").write_text(recipe.model_copy(update={"precision": "bf16"}).to_yaml())
    found = grid.run()
    assert scores_of(found) == scores_of(unharmed)
    assert load_recipe(folder / "recipe.yaml").data.source == str(own)


# Disks


def test_a_full_disk_ends_the_grid_and_loses_nothing(source, tmp_path, monkeypatch):
    grid = opened(source, tmp_path / "grid", BY_LABELS)
    grid.narrowed(["random"]).run()
    files = contents(grid.store.cells)
    real = artifact.write_tensors

    def no_room(path: Path, content: Any) -> None:
        if path.is_relative_to(grid.store.path):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        real(path, content)

    monkeypatch.setattr("distail.distilled.write_tensors", no_room)
    with pytest.raises(DistailError, match=r"cannot be written to: No space left.*Make room.*what is finished is kept"):
        grid.run()
    assert contents(grid.store.cells) == files
    monkeypatch.undo()
    assert [result.status for result in grid.run().values()] == ["done"] * 3
    assert left_behind(grid) == []


def test_an_interruption_goes_through_and_leaves_no_claim(source, tmp_path, monkeypatch):
    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    grid = opened(source, tmp_path / "grid", ["random"])
    monkeypatch.setattr(pipeline, "distill", interrupt)
    with pytest.raises(KeyboardInterrupt):
        grid.run()
    assert grid.store.results() == {}
    assert left_behind(grid) == []


# Progress


def test_how_far_a_cell_has_come_stands_in_its_claim(source, tmp_path, monkeypatch):
    grid = opened(source, tmp_path / "grid", {"dm": DM})
    noted: list[str] = []
    monkeypatch.setattr(worker, "NOTE_EVERY_S", 0.0)
    monkeypatch.setattr(Claim, "note", lambda claim, text: noted.append(text))
    grid.run()
    assert any(note.startswith("dm: 1/2, ") for note in noted), noted
