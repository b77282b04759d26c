"""Cells that fail: recorded, told, run again when asked."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from distail import pipeline
from distail.errors import DistailError
from distail.recipe import Recipe
from tests.bench.grids import BY_LABELS, left_behind, opened
from tests.cli.calling import pets, write_npz


@pytest.fixture
def failing(monkeypatch):
    """Makes a method fail with an error; `None` lets it work again."""
    errors: dict[str, BaseException | None] = {}
    real = pipeline.distill

    def sometimes(recipe: Recipe, **options: Any) -> Any:
        if error := errors.get(recipe.method):
            raise error
        return real(recipe, **options)

    monkeypatch.setattr(pipeline, "distill", sometimes)
    return errors


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


def test_a_method_that_ends_its_process_is_a_failing_cell(source, tmp_path, failing):
    failing["dm"] = SystemExit(3)
    found = opened(source, tmp_path / "grid", BY_LABELS).run()
    assert sorted((result.row, result.status, result.error) for result in found.values()) == [
        ("hard", "failed", "SystemExit: 3"),
        ("longer", "failed", "SystemExit: 3"),
        ("random", "done", None),
    ]


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


def test_no_set_is_made_for_test_images_that_cannot_score_it(source, tmp_path, made):
    training = write_npz(tmp_path / "own.npz", images=pets((12, 12, 12), 1))
    grid = opened(source, tmp_path / "grid", ["random"], base={"test": str(training)})
    (result,) = grid.run().values()
    assert result.status == "failed"
    assert "is the very data the set is made from" in (result.error or "")
    assert made == []


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
