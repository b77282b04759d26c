"""Cells done in this process: once each, whatever fails, with work shared."""

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
from distail.bench.running import OpenGrid
from distail.bench.store import Store
from distail.bench.worker import Worker
from distail.claims import Claim, Claims
from distail.distilled import load_distilled
from distail.errors import DistailError
from distail.recipe import Recipe, load_recipe
from tests.bench.grids import DM, IF, IPC, opened, scores_of
from tests.cli.calling import contents, pets, write_npz

BY_LABELS = {
    "hard": {"method": "dm", **DM, "evaluation": {"labels": "hard"}},
    "longer": {"method": "dm", **DM, "evaluation": {"labels": "hard", "train": {"epochs": 3}}},
    "random": {"method": "random"},
}
Distil = Callable[..., Any]


@pytest.fixture
def made(monkeypatch):
    """Methods of the sets that were made, one by one."""
    found: list[str] = []
    real = pipeline.distill

    def counting(recipe: Recipe, **options: Any) -> Any:
        found.append(recipe.method)
        return real(recipe, **options)

    monkeypatch.setattr(pipeline, "distill", counting)
    return found


@pytest.fixture
def failing(monkeypatch):
    """Makes a method fail with an error; `None` lets it work again."""
    errors: dict[str, Exception | None] = {}
    real = pipeline.distill

    def sometimes(recipe: Recipe, **options: Any) -> Any:
        if error := errors.get(recipe.method):
            raise error
        return real(recipe, **options)

    monkeypatch.setattr(pipeline, "distill", sometimes)
    return errors


def left_behind(grid: OpenGrid) -> list[str]:
    """Claims, and files that were half written."""
    return [
        str(path) for path in grid.store.path.rglob("*") if path.name.startswith(".") or path.parent.name == "claims"
    ]


def test_every_cell_gets_a_result_and_sets_are_made_once(source, tmp_path, made):
    grid = opened(source, tmp_path / "grid", BY_LABELS, vary={IPC: [1, 2]}, seeds=2)
    found = grid.run()
    assert len(found) == len(grid.plan.jobs) == 12
    assert {result.status for result in found.values()} == {"done"}
    assert sorted(made) == ["dm"] * 4 + ["random"] * 4
    assert {path.name for path in grid.store.sets.iterdir()} == {job.set_key for job in grid.plan.jobs}
    assert left_behind(grid) == []
    result = found[grid.plan.jobs[0].key]
    assert (result.row, result.values, result.seed, result.method, result.labels) == ("hard", {IPC: 1}, 0, "dm", "hard")
    assert result.distill_seconds
    assert result.peak_memory_bytes
    assert result.stored_bytes
    assert len(result.students) == 1
    evaluation = grid.store.evaluation(result.key)
    assert evaluation
    assert evaluation.students[0].scores.accuracy == result.students[0].scores["accuracy"]
    assert grid.store.content(result.key)["recipe"]["recipe"]["method"] == "dm"
    assert grid.store.content(result.key)["environment"]["versions"]["torch"]


def test_what_a_grid_gives_is_what_single_commands_give(source, tmp_path):
    import distail
    from tests.bench.grids import NETWORK, TRAIN

    grid = opened(source, tmp_path / "grid", {"dm": DM}, base={"data": {"imbalance": 4}, IPC: 2})
    (result,) = grid.run().values()
    alone = distail.distill(
        source,
        "dm",
        imbalance=4,
        images_per_class=2,
        architecture=NETWORK,
        precision="fp32",
        device="cpu",
        **DM["settings"],
    )
    assert load_distilled(grid.store.sets / str(result.set)).images.equal(alone.images)
    scores = distail.evaluate(
        alone, architectures=[NETWORK], seeds=1, train_recipe=TRAIN, precision="fp32", device="cpu"
    )
    assert scores.students[0].scores.accuracy == result.students[0].scores["accuracy"]


def test_a_finished_cell_is_never_touched_again(source, tmp_path, made):
    grid = opened(source, tmp_path / "grid", BY_LABELS)
    before = grid.run()
    files = contents(grid.store.cells, grid.store.sets)
    made.clear()
    again = opened(source, tmp_path / "grid", BY_LABELS)
    assert again.run() == before
    assert contents(grid.store.cells, grid.store.sets) == files
    assert made == []


def test_a_changed_cell_runs_and_the_old_result_stays(source, tmp_path, made):
    before = opened(source, tmp_path / "grid", {"dm": DM, "random": {}}).run()
    made.clear()
    changed = {"dm": {"settings": {**DM["settings"], "iterations": 3}}, "random": {}}
    grid = opened(source, tmp_path / "grid", changed)
    found = grid.run()
    assert made == ["dm"]
    assert len(found) == 2
    assert len(before.keys() & found.keys()) == 1
    assert grid.store.results().keys() == before.keys() | found.keys()
    assert opened(source, tmp_path / "grid", {"dm": DM, "random": {}}).run() == before


def test_moved_data_are_the_same_data(source, tmp_path, made):
    before = opened(source, tmp_path / "grid", BY_LABELS).run()
    made.clear()
    moved = Path(shutil.copy(source, tmp_path / "moved.npz"))
    assert opened(moved, tmp_path / "grid", BY_LABELS).run() == before
    assert made == []


def test_some_rows_alone(source, tmp_path):
    grid = opened(source, tmp_path / "grid", BY_LABELS)
    assert {result.row for result in grid.narrowed(["random"]).run().values()} == {"random"}
    assert len(grid.run()) == 3
    with pytest.raises(DistailError, match=r"The grid has no row 'rando'. Did you mean 'random'"):
        grid.narrowed(["rando"])


def test_some_values_alone(source, tmp_path):
    everything = {"baseline": {"method": "balanced_softmax", "train": {"epochs": 1}}, "where": {IF: 3.0}}
    rows = {"random": {}, "all": everything}
    grid = opened(source, tmp_path / "grid", rows, vary={IF: [3.0, 2.0], IPC: [1, 2]})
    part = grid.narrowed(["random"], {IF: 2, IPC: [2]})
    (result,) = part.run().values()
    assert result.values == {IF: 2.0, IPC: 2}
    assert part.grid.vary == {IF: [2.0], IPC: [2]}
    assert len(grid.plan.jobs) == 5
    assert len(grid.narrowed(where={IF: 3}).plan.jobs) == 3
    with pytest.raises(DistailError, match="names 'ipc', which does not vary"):
        grid.narrowed(where={"ipc": 1})
    with pytest.raises(DistailError, match=r"asks for images_per_class 3, which is not varied. Use some of 1, 2"):
        grid.narrowed(where={IPC: 3})
    with pytest.raises(DistailError, match="These rows have no cell with these values"):
        grid.narrowed(["all"], {IF: 2})


def test_baselines_stand_beside(source, tmp_path):
    everything = {"baseline": {"method": "balanced_softmax", "seeds": 2, "train": {"epochs": 2, "batch_size": 16}}}
    grid = opened(source, tmp_path / "grid", {"all": everything, "random": {}}, vary={IF: [3.0], IPC: [1, 2]})
    found = grid.run()
    assert len(grid.plan.keys) == 4
    assert len(found) == 3
    result = next(one for one in found.values() if one.kind == "baseline")
    assert (result.method, result.labels, result.set, len(result.students)) == ("balanced_softmax", "hard", None, 2)
    assert result.distill_seconds is None
    assert result.peak_memory_bytes
    assert {one.subject for one in result.students} == {result.subject}


def test_images_are_set_aside_where_there_is_no_test_split(tmp_path):
    alone = write_npz(tmp_path / "alone.npz", images=pets((12, 12, 12), 1))
    grid = opened(alone, tmp_path / "grid", ["random"], base={"data": {"holdout": 0.25}})
    assert [result.status for result in grid.run().values()] == ["done"]


def test_what_a_cell_warns_of_is_kept_with_its_result(source, tmp_path):
    grid = opened(source, tmp_path / "grid", ["random"], vary={IPC: [1, 50]})
    few, many = grid.run().values()
    assert few.warnings == ()
    (warning,) = many.warnings
    assert warning.startswith("--ipc 50 is more than these classes have images: ")
    assert Store(grid.store.path).results()[many.key].warnings == many.warnings


# Failures


def test_a_failing_cell_is_recorded_and_the_others_go_on(source, tmp_path, failing):
    failing["dm"] = DistailError("The images became NaN. Lower image_lr.")
    grid = opened(source, tmp_path / "grid", BY_LABELS)
    found = grid.run()
    by_row = {result.row: result for result in found.values()}
    assert {row: result.status for row, result in by_row.items()} == {
        "hard": "failed",
        "longer": "failed",
        "random": "done",
    }
    failed = by_row["hard"]
    assert failed.error == "The images became NaN. Lower image_lr."
    assert failed.students == ()
    assert grid.store.content(failed.key)["traceback"] == ""
    assert grid.store.evaluation(failed.key) is None
    assert left_behind(grid) == []


def test_a_set_that_failed_is_not_tried_for_each_cell_that_needs_it(source, tmp_path, monkeypatch):
    tries = []

    def fail(recipe: Recipe, **_: Any) -> None:
        tries.append(recipe.method)
        raise RuntimeError("expected scalar type")

    monkeypatch.setattr(pipeline, "distill", fail)
    found = opened(source, tmp_path / "grid", BY_LABELS).run()
    assert sorted(tries) == ["dm", "random"]
    assert {result.error for result in found.values()} == {"RuntimeError: expected scalar type"}


ODD = """
import distail

class Odd(distail.Method):
    \"\"\"Odd.\"\"\"
    paper = "none"
    summary = "fails"
    how: str = "AttributeError"

    def distill(self, problem):
        if self.how == "OSError":
            open("/no/such/file")
        if self.how == "AssertionError":
            assert False, "impossible"
        if self.how == "AttributeError":
            return problem.nonsense
        if self.how == "MemoryError":
            raise MemoryError("out of memory")
        raise StopIteration
"""


@pytest.mark.parametrize("how", ["AttributeError", "AssertionError", "MemoryError", "StopIteration", "OSError"])
def test_a_method_of_ones_own_may_fail_in_any_way(source, tmp_path, how):
    (tmp_path / f"odd_{how.lower()}.py").write_text(ODD)
    rows = {"odd": {"method": f"odd_{how.lower()}", "settings": {"how": how}}, "random": {}}
    grid = opened(source, tmp_path / "grid", rows)
    odd, other = grid.run().values()
    assert (odd.status, other.status) == ("failed", "done")
    assert (odd.error or "").startswith(("FileNotFoundError" if how == "OSError" else how, "OSError"))
    trace = grid.store.content(odd.key)["traceback"]
    assert trace.startswith("Traceback")
    assert f"odd_{how.lower()}.py" in trace


def test_failed_cells_run_again_when_asked(source, tmp_path, failing, made):
    failing["dm"] = DistailError("It did not work. Make it smaller.")
    grid = opened(source, tmp_path / "grid", BY_LABELS)
    grid.run()
    failing["dm"] = None
    made.clear()
    assert [result.status for result in grid.run().values()] == ["failed", "failed", "done"]
    done = grid.store.file(grid.plan.jobs[2].key).stat()
    assert [result.status for result in grid.narrowed(["random"]).run(retry=True).values()] == ["done"]
    assert [result.status for result in grid.results().values()] == ["failed", "failed", "done"]
    assert [result.status for result in grid.run(retry=True).values()] == ["done"] * 3
    assert made == ["dm"]
    assert grid.store.file(grid.plan.jobs[2].key).stat() == done


def test_data_that_change_under_the_grid_are_no_result(source, tmp_path):
    own = Path(shutil.copy(source, tmp_path / "own.npz"))
    train, test = pets((12, 12, 12), 1), pets((6, 6, 6), 2)
    grid = opened(own, tmp_path / "grid", ["random"])
    for changed in ({"train": pets((9, 9, 9), 5), "test": test}, {"train": train, "test": pets((6, 6, 6), 7)}):
        write_npz(own, **changed)
        (result,) = grid.run(retry=True).values()
        assert result.status == "failed"
        assert "own.npz has changed since the grid was started. Start it again" in (result.error or "")
    (result,) = opened(own, tmp_path / "grid", ["random"]).run().values()
    assert result.status == "done"


# Sharing


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


TEACHER = {"settings": {"iterations": 2, "views": 1, "teacher": {"train": {"epochs": 2}}}}


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
