"""`distail bench`: run, look, print, go on."""

import csv
import errno
import io
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from distail import artifact, pipeline
from distail.bench.grid import grid_text
from tests.bench.grids import DM, IPC, grid_of
from tests.cli.calling import assert_clear_refusal, call, contents, succeed

ROWS = {"random": {}, "dm": DM, "all images": {"baseline": {"method": "balanced_softmax", "train": {"epochs": 2}}}}


def write_grid(path: Path, source: Path, rows: Any, **others: Any) -> Path:
    base = {"data": {"source": str(source)}, **others.pop("base", {})}
    path.write_text(grid_text(grid_of(rows, base=base, **others)))
    return path


@pytest.fixture(scope="module")
def finished(source, tmp_path_factory) -> Path:
    """The folder of a finished grid."""
    folder = tmp_path_factory.mktemp("finished")
    grid = write_grid(folder / "g.yaml", source, ROWS, vary={IPC: [1, 2]})
    succeed("bench", grid, "--out", folder / "out", "--quiet")
    return folder / "out"


def test_a_grid_from_beginning_to_end(source, tmp_path):
    grid = write_grid(tmp_path / "small.yaml", source, ["random"], vary={IPC: [1, 2]})
    before = succeed("bench", "status", grid)
    assert "0 of 2 cells are done, 0 run, 2 wait." in before.flat
    told = succeed("bench", grid)
    assert "done: random, IPC 1, seed 0: " in told.err
    assert "2 of 2 cells are done." in told.out
    assert "IPC 1" in told.out
    assert f"Results are in {Path('bench') / 'small'}." in told.flat
    files = contents(tmp_path / "bench" / "small" / "cells")
    again = succeed("bench", grid, "--json").json
    assert (again["cells"], again["done"], again["failed"], again["left"]) == (2, 2, 0, 0)
    assert contents(tmp_path / "bench" / "small" / "cells") == files


def test_the_folder_stands_for_the_grid(finished):
    for command in (("bench", finished), ("bench", "status", finished)):
        assert succeed(*command, "--json").json["done"] == 5
    told = f"Results are in {finished}. A page of them: distail report {finished}"
    assert succeed("bench", "status", finished).flat.endswith(told)


def test_the_table_in_every_format(finished):
    shown = succeed("bench", "table", finished)
    assert "balanced_softmax" not in shown.out
    assert "all images" in shown.out
    assert "Published numbers are other people's" in shown.flat
    assert max(map(len, shown.out.split("Mean ±")[0].splitlines())) <= 100
    assert succeed("bench", "table", finished, "--format", "markdown").out.startswith("accuracy in percent")
    assert succeed("bench", "table", finished, "--format", "latex").out.startswith("% accuracy in percent")
    lines = list(csv.DictReader(io.StringIO(succeed("bench", "table", finished, "--format", "csv").out)))
    assert len(lines) == 6
    assert {line["score"] for line in lines} == {"accuracy"}
    worst = succeed("bench", "table", finished, "--format", "csv", "--score", "worst_class").out
    assert {line["score"] for line in csv.DictReader(io.StringIO(worst))} == {"worst_class"}


def test_looking_needs_neither_the_data_nor_a_place_to_write(source, tmp_path, monkeypatch):
    own = Path(shutil.copy(source, tmp_path / "own.npz"))
    grid = write_grid(tmp_path / "g.yaml", own, ["random"])
    succeed("bench", grid, "--out", "out")
    own.unlink()
    (tmp_path / "out" / "index.json").unlink()
    monkeypatch.setattr(artifact.os, "fsync", full)
    before = contents(tmp_path / "out")
    assert succeed("bench", "status", "out", "--json").json["done"] == 1
    assert "random" in succeed("bench", "table", "out").out
    assert contents(tmp_path / "out") == before


def test_data_from_another_place_are_the_same_cells(source, finished, tmp_path):
    moved = shutil.copy(source, tmp_path / "moved.npz")
    assert succeed("bench", "status", finished, "--source", moved, "--json").json["done"] == 5


def test_some_rows_first(source, tmp_path):
    grid = write_grid(tmp_path / "g.yaml", source, ["random", "dm"])
    told = succeed("bench", grid, "--row", "random", "--quiet", "--json").json
    assert (told["cells"], told["done"], told["left"]) == (1, 1, 0)
    told = succeed("bench", "status", grid, "--json").json
    assert (told["cells"], told["done"], told["left"]) == (2, 1, 1)


def test_some_columns_first(source, tmp_path):
    grid = write_grid(tmp_path / "g.yaml", source, ["random"], vary={IPC: [1, 2, 3]})
    told = succeed("bench", grid, "--where", f"{IPC}=1", "--where", f"{IPC}=3", "--quiet", "--json").json
    assert (told["cells"], told["done"], told["left"]) == (2, 2, 0)
    assert succeed("bench", "status", grid, "--where", f"{IPC}=2", "--json").json["left"] == 1
    table = succeed("bench", "table", grid, "--where", f"{IPC}=3", "--format", "markdown").out
    assert "IPC 3" in table
    assert "IPC 1" not in table
    assert_clear_refusal(call("bench", grid, "--where", "ipc=1"), "'where' names 'ipc'", IPC)
    assert_clear_refusal(call("bench", grid, "--where", IPC), f"--where {IPC} is no assignment", "NAME=VALUE")


def test_failed_cells_are_told_and_run_again_when_asked(source, tmp_path, monkeypatch):
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("expected scalar type")

    grid = write_grid(tmp_path / "g.yaml", source, ["random", "dm"], base={"settings": {}})
    real = pipeline.distill
    monkeypatch.setattr(
        pipeline, "distill", lambda recipe, **rest: fail() if recipe.method == "dm" else real(recipe, **rest)
    )
    told = call("bench", grid)
    assert told.code == 1
    assert "failed: dm, seed 0: RuntimeError: expected scalar type" in told.err
    assert "1 of 2 cells are done, 1 failed." in told.out
    assert "failed: dm, seed 0: RuntimeError: expected scalar type" in told.out
    assert "lay outside, such as in want of memory, add --retry" in told.flat
    assert call("bench", grid, "--quiet").code == 1
    monkeypatch.setattr(
        pipeline, "distill", lambda recipe, **rest: real(recipe.model_copy(update={"method": "random"}), **rest)
    )
    assert succeed("bench", grid, "--retry", "--json").json["done"] == 2


def test_ctrl_c_says_how_to_go_on(source, tmp_path, monkeypatch):
    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    grid = write_grid(tmp_path / "g.yaml", source, ["random"])
    monkeypatch.setattr(pipeline, "distill", interrupt)
    stopped = call("bench", grid)
    assert stopped.code == 130
    assert "`bench` goes on with the same command" in stopped.err
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    assert succeed("bench", grid, "--json").json["done"] == 1


def full(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk(source, tmp_path, monkeypatch):
    grid = write_grid(tmp_path / "g.yaml", source, {"random": {}, "dm": DM})
    succeed("bench", grid, "--row", "random", "--quiet")
    files = contents(tmp_path / "bench" / "g" / "cells")
    with monkeypatch.context() as disk:
        disk.setattr("distail.distilled.write_tensors", full)
        assert_clear_refusal(call("bench", grid, "--quiet"), str(Path("bench") / "g"), "No space left", "is kept")
    with monkeypatch.context() as disk:
        disk.setattr(artifact.os, "fsync", full)
        assert_clear_refusal(call("bench", grid, "--quiet"), "No space left")
    assert contents(tmp_path / "bench" / "g" / "cells") == files
    monkeypatch.chdir(tmp_path)


BAD: dict[str, tuple[Any, tuple[str, ...]]] = {
    "unknown method": ({"rows": ["dmm"]}, ("row dmm", "Did you mean 'dm'?")),
    "unknown setting": ({"rows": {"dm": {"settings": {"iteration": 1}}}}, ("row dm", "iteration", "Did you mean")),
    "unknown key": ({"rows": {"dm": {"ipc": 1}}}, ("row dm", "ipc")),
    "unknown axis": ({"rows": ["dm"], "vary": {"ipc": [1]}}, ("'vary' names 'ipc'",)),
    "impossible value": ({"rows": ["dm"], "vary": {IPC: [0]}}, ("g.yaml, vary: ", IPC, "greater than")),
    "unknown network": ({"rows": {"dm": {"architecture": "convnot"}}}, ("row dm", "convnot")),
    "unknown baseline": ({"rows": {"all": {"baseline": "crtt"}}}, ("row all", "Did you mean 'crt'?")),
    "unknown source": ({"rows": ["dm"], "base": {"data": {"source": "digitz"}}}, ("row dm", "digitz")),
    "unknown recipe": ({"rows": {"x": {"recipe": "lad-cifar11lt"}}}, ("row x", "Did you mean")),
    "nothing published": ({"rows": ["dm"], "published": "cifar"}, ("published", "cifar")),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_grids_are_refused_by_row_and_key_without_a_trace(source, tmp_path, case):
    values, names = BAD[case]
    grid = write_grid(tmp_path / "g.yaml", source, **values)
    before = contents(tmp_path / "bench")
    for command in (("bench", grid), ("bench", "status", grid), ("bench", "table", grid)):
        assert_clear_refusal(call(*command), *names)
    assert {path for path in contents(tmp_path / "bench") if not path.endswith(("/g", "sources.json"))} == set(before)


def test_grids_that_cannot_be_read(tmp_path):
    assert_clear_refusal(call("bench", "nothing.yaml"), "nothing.yaml")
    (tmp_path / "bad.yaml").write_text("rows: [")
    assert_clear_refusal(call("bench", "bad.yaml"), "bad.yaml", "not valid YAML")
    (tmp_path / "empty.yaml").write_text("base: {method: dm}")
    assert_clear_refusal(call("bench", "empty.yaml"), "empty.yaml", "'rows'")
    (tmp_path / "nowhere.yaml").write_text("rows: [dm]")
    assert_clear_refusal(call("bench", "nowhere.yaml"), "nowhere.yaml", "row dm", "'data'")
    assert_clear_refusal(call("bench", tmp_path), "no folder of a grid")


def test_a_misspelled_command_is_no_grid(finished):
    assert_clear_refusal(call("bench", "tabel", finished), f"where '{finished}' stands", "`distail bench table`")
    assert "Did you mean" not in assert_clear_refusal(call("bench", finished, "more words"), "'more words'")


def test_impossible_requests(source, finished, tmp_path):
    grid = write_grid(tmp_path / "g.yaml", source, ["random"])
    assert_clear_refusal(call("bench", grid, "--workers", 0), "--workers 0")
    assert_clear_refusal(call("bench", grid, "--row", "rando"), "rando", "Did you mean 'random'?")
    assert_clear_refusal(call("bench", finished, "--out", "other"), "Leave out --out")
    assert_clear_refusal(call("bench", "table", finished, "--score", "acuracy"), "Did you mean 'accuracy'?")
    assert_clear_refusal(call("bench", "table", finished, "--arch", "convnet9"), "convnet9")


def test_a_place_that_is_not_the_grids_is_left_alone(source, tmp_path):
    grid = write_grid(tmp_path / "g.yaml", source, ["random"])
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "1.png").write_bytes(b"mine")
    before = contents(tmp_path / "photos")
    assert_clear_refusal(call("bench", grid, "--out", "photos"), "photos", "nothing was touched")
    assert_clear_refusal(call("bench", grid, "--out", "photos/1.png"), "photos/1.png")
    assert_clear_refusal(call("bench", grid, "--out", "photos/1.png/x"), "photos/1.png")
    assert contents(tmp_path / "photos") == before


def test_a_grid_from_python(source, tmp_path):
    import distail

    base = {"data": {"source": str(source)}}
    values = grid_of(["random"], base=base, vary={IPC: [1, 2]}).model_dump(exclude_unset=True)
    found = distail.run_grid(values, out=tmp_path / "out", workers=1)
    assert isinstance(found, distail.GridResults)
    assert [cell.values[IPC] for cell in found.cells] == [1, 2]
    assert found.failed == ()
    assert found.folder == tmp_path / "out"
    table = found.table("balanced_accuracy")
    (row,) = table.rows
    evaluation = found.evaluation(found.cells[0])
    assert evaluation
    assert row.cells[0].summary.mean == evaluation.summary()["balanced_accuracy"].mean
    assert distail.run_grid(tmp_path / "out").cells == found.cells
    with pytest.raises(distail.DistailError, match=r"Give out="):
        distail.run_grid(values)
    with pytest.raises(distail.DistailError, match=r"unknown key 'row'. Did you mean 'rows'"):
        distail.run_grid({"row": ["dm"]}, out=tmp_path / "other")
