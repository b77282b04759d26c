"""Cells whose sets several devices make together."""

import multiprocessing
import sys

import pytest
import torch

from distail import devices, pipeline
from distail.distilled import load_distilled
from distail.errors import DistailError
from distail.peers import PeerKilledError, launch
from tests.bench.grids import TRAIN, opened
from tests.cli.calling import assert_clear_refusal, call, pets, write_npz
from tests.peers.jobs import SHORT

MTT = {"method": "mtt", "settings": {**SHORT, "batch_size": 8, "image_lr": 10.0, "experts": {"batch_size": 12}}}
LONGER = {"train": {**TRAIN, "epochs": 3}}
ALONE = {**MTT, "settings": {**MTT["settings"], "experts_per_iteration": 1}}


def test_a_cell_on_two_devices_is_that_of_one(tmp_path, monkeypatch):
    source = write_npz(tmp_path / "few.npz", train=pets((12, 12, 2), 1), test=pets((6, 6, 6), 2))
    shared = []
    real = devices.launch
    monkeypatch.setattr(devices, "launch", lambda *given: (shared.append(given[1]), real(*given)))
    rows = {"mtt": MTT, "alone": ALONE, "random": {}}
    found = {}
    for number in (1, 2):
        grid = opened(source, tmp_path / f"grid-{number}", rows, base={"images_per_class": 4})
        results = {result.row: result for result in grid.run(devices=number).values()}
        assert {row: result.error for row, result in results.items()} == dict.fromkeys(rows)
        assert any("cow (2)" in warning for warning in results["mtt"].warnings), results["mtt"].warnings
        assert results["mtt"].warnings == results["alone"].warnings
        (key,) = (job.set_key for job in grid.plan.jobs if job.place.row == "mtt")
        found[number] = load_distilled(grid.store.sets / str(key))
    assert shared == [2], "only one of the sets can be shared"
    torch.testing.assert_close(found[1].images, found[2].images, rtol=1e-3, atol=1e-4)
    assert found[2].provenance["devices"] == 2


def test_a_set_whose_process_was_killed_is_made_when_the_cell_is_tried_again(source, tmp_path, monkeypatch):
    grid = opened(source, tmp_path / "grid", {"mtt": MTT, "longer": {**MTT, "evaluation": LONGER}})
    with monkeypatch.context() as patch:
        patch.setattr(devices, "distill", killed)
        failed = grid.run(devices=2).values()
    assert [result.status for result in failed] == ["failed", "failed"]
    assert all("--retry" in (result.error or "") for result in failed)
    again = grid.run(retry=True).values()
    assert [result.error for result in again] == [None, None]


def killed(*_: object, **__: object) -> None:
    raise PeerKilledError("Process 1 of 2 was killed. Start again with --retry.")


def test_a_process_that_is_beginning_starts_no_others(source, tmp_path, monkeypatch):
    """New processes import the script that started them, which runs the grid again where it has no guard."""
    monkeypatch.setattr(multiprocessing.current_process(), "_inheriting", True, raising=False)
    grid = opened(source, tmp_path / "grid", {"mtt": MTT, "random": {}})
    with pytest.raises(DistailError, match="below `if __name__ == '__main__':`"):
        grid.run(devices=2)
    assert grid.results() == {}
    with pytest.raises(DistailError, match="below `if __name__ == '__main__':`"):
        launch(killed, 2, "cpu")


# Refusals


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("--devices", 2), "`experts_per_iteration` of at least 2"),
        (("--devices", 2, "--workers", 2), "--workers"),
        (("--devices", 2, "--cluster", "ray"), "--cluster"),
        (("--devices", 0), "--devices 0"),
    ],
)
def test_devices_that_no_cell_can_share_are_refused_before_the_first_cell(source, tmp_path, flags, told):
    grid = tmp_path / "grid.yaml"
    grid.write_text(f"base: {{data: {{source: {source}}}, architecture: convnet2-w8, device: cpu}}\nrows: [random]\n")
    assert_clear_refusal(call("bench", grid, "--out", tmp_path / "out", *flags), told)
    assert not (tmp_path / "out" / "cells").exists()


def test_a_missing_package_is_named(source, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "lightning_fabric", None)
    grid = opened(source, tmp_path / "grid", {"mtt": MTT})
    with pytest.raises(DistailError, match=r"pip install 'distail\[devices\]'"):
        grid.run(devices=2)


@pytest.mark.parametrize(("turns", "number", "can"), [(1, 2, False), (2, 2, True), (3, 2, True), (2, 3, False)])
def test_experts_of_an_iteration_can_be_shared_out(turns, number, can):
    recipe = pipeline.Recipe.model_validate(
        {"data": {"source": "digits"}, "method": "mtt", "settings": {"experts_per_iteration": turns}}
    )
    assert devices.can_share(recipe, number) is can
    assert not devices.can_share(recipe.model_copy(update={"method": "dm", "settings": {}}), number)
