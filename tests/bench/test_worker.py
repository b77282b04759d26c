"""Cells done in this process, once each."""

import shutil
from pathlib import Path

import pytest

from distail.bench.store import Store
from distail.distilled import load_distilled
from distail.errors import DistailError
from tests.bench.grids import BY_LABELS, DM, IF, IPC, left_behind, opened
from tests.cli.calling import contents, pets, write_npz


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
