"""Two processes make what one makes, to the tolerance of sums in another order."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch

from distail import devices, pipeline
from distail.artifact import read_json, read_tensors
from distail.claims.process import is_running, start_of
from distail.errors import DistailError
from distail.experts.bank import ExpertBank, shelf_of
from distail.experts.school import train_experts
from distail.peers import launch, launching
from distail.recipe import Recipe
from tests.cli.calling import call, logged
from tests.experts.lessons import trajectory
from tests.peers.jobs import METHODS, NEEDS, RECIPE, everything, fails, ground, problem, write

TOLERANCE = {"rtol": 1e-4, "atol": 1e-6}


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A folder with all that two processes make; and what one makes below `alone`."""
    folder = tmp_path_factory.mktemp("made")
    alone = folder / "alone"
    for network, needs in NEEDS.items():
        train_experts(ExpertBank(alone / network), ground(network), needs)
    bank = alone / "bank"
    for name, method in METHODS.items():
        write(alone / f"{name}.safetensors", method.distill(problem(bank)))
    launch(partial(everything, folder=folder, bank=bank), 2, "cpu")
    return folder


def test_sums_and_broadcasts_reach_all(made):
    for rank in range(2):
        facts = read_json(made / f"facts-{rank}.json")
        expected = {"sum": [3.0, 3.0], "own": [rank + 1.0] * 2, "sent": [1.0, 1.0], "share": [rank], "size": 2}
        assert facts == expected


@pytest.mark.parametrize("network", NEEDS)
def test_experts_are_those_of_one_process(made, network):
    for wanted in NEEDS[network]:
        for expert in range(wanted.total):
            found, expected = (
                trajectory(shelf_of(ExpertBank(folder / network), ground(network), wanted.spec), expert)
                for folder in (made, made / "alone")
            )
            assert len(found) == wanted.epochs + 1
            for one, other in zip(found, expected, strict=True):
                torch.testing.assert_close(one, other, **TOLERANCE)
            assert not torch.equal(found[0], found[-1])


@pytest.mark.parametrize("name", METHODS)
def test_sets_are_those_of_one_process_in_every_process(made, name):
    first, second, alone = (
        read_tensors(path, "test").tensors
        for path in (
            *(made / f"{name}-{rank}.safetensors" for rank in range(2)),
            made / "alone" / f"{name}.safetensors",
        )
    )
    assert first.keys() == alone.keys()
    for part, expected in alone.items():
        assert torch.equal(first[part], second[part]), "the processes have drifted apart"
        torch.testing.assert_close(first[part], expected, **TOLERANCE)


@pytest.mark.parametrize("name", METHODS)
def test_what_is_averaged_are_the_turns_of_as_many_experts(made, name):
    """The setting decides the result: more experts an iteration make another set."""
    one = METHODS[name].model_copy(update={"experts_per_iteration": 1}).distill(problem(made / "alone" / "bank"))
    several = read_tensors(made / "alone" / f"{name}.safetensors", "test").tensors["images"]
    assert not torch.allclose(one.images, several, **TOLERANCE)


def test_an_error_in_one_process_ends_all_and_is_told_as_it_is():
    with pytest.raises(DistailError, match=r"^There is no such thing\. Use another\.$"):
        launch(fails, 2, "cpu")


def children(process: subprocess.Popen[bytes]) -> list[int]:
    return [int(one) for one in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]


def test_a_killed_run_leaves_nobody_behind_and_goes_on(tmp_path):
    unharmed = pipeline.distill(RECIPE, out=tmp_path / "alone", experts=tmp_path / "experts")
    out = tmp_path / "together"
    command = [sys.executable, "-c", f"from tests.peers.jobs import main; main({str(out)!r})"]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
        given_up = time.monotonic() + 300  # two processes import much; on a busy machine that takes its time
        while logged(out) < 5 and process.poll() is None and time.monotonic() < given_up:
            time.sleep(0.002)
        working = {pid: start_of(pid) for pid in children(process)}
        process.send_signal(signal.SIGKILL)
    assert len(working) >= 2
    assert 5 <= logged(out) < 40, "it ended before it could be killed"
    while any(is_running(*one) for one in working.items() if one[1]) and time.monotonic() < given_up:
        time.sleep(0.05)
    assert not any(is_running(*one) for one in working.items() if one[1])
    recipe = out / "recipe.yaml"
    assert (out / "checkpoint.safetensors").exists()
    # One process may take up what two began: the number of devices decides nothing but the time.
    found = call("run", recipe, "--out", out, "--resume", "--experts", tmp_path / "experts", "--json").json
    assert found["images"] == 10
    steps = [json.loads(line)["step"] for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert steps == list(range(40))
    torch.testing.assert_close(pipeline.load_distilled(out).images, unharmed.images, rtol=1e-3, atol=1e-4)
    assert read_json(out / "manifest.json")["devices"] == 1


# Refusals


def refusal(**changes: object) -> str:
    recipe = Recipe.model_validate({**RECIPE.model_dump(), **changes})
    with pytest.raises(DistailError) as raised:
        devices.distill(recipe, devices=2)
    return str(raised.value)


def test_devices_that_would_be_idle_are_refused():
    settings = {**RECIPE.settings, "experts_per_iteration": 1}
    assert "Pass --set experts_per_iteration=2" in refusal(settings=settings)
    assert "runs on one device" in refusal(method="dm", settings={})


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "lightning_fabric", None)
    assert "pip install 'distail[devices]'" in refusal()


@pytest.mark.parametrize(("number", "device", "advice"), [(0, "cpu", "Give"), (2, "mps", "Leave"), (99, "cuda", "use")])
def test_devices_that_are_not_there_are_refused(number, device, advice):
    with pytest.raises(DistailError, match=f"--devices {number} .*{advice}|--devices {number}: .*{advice}"):
        launching.require_devices(number, device)


def test_one_device_needs_no_package(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "lightning_fabric", None)
    short = RECIPE.model_copy(update={"settings": {**RECIPE.settings, "iterations": 0}})
    made = devices.distill(short, devices=1, out=tmp_path / "run", experts=tmp_path / "experts")
    assert len(made) == 10
    finished = devices.distill(short, devices=2, out=tmp_path / "run", resume=True, experts=tmp_path / "experts")
    assert torch.equal(finished.images, made.images)


def test_an_outer_job_keeps_its_variables(monkeypatch):
    from distail.peers.fabric import _own_variables

    monkeypatch.setenv("LOCAL_RANK", "3")
    monkeypatch.delenv("MASTER_PORT", raising=False)
    with _own_variables():
        assert "LOCAL_RANK" not in os.environ
        os.environ["MASTER_PORT"] = "1"
    assert os.environ["LOCAL_RANK"] == "3"
    assert "MASTER_PORT" not in os.environ


def test_whoever_is_alone_has_everything():
    alone = replace(problem(Path("unused"))).runtime.peers
    tensor = torch.ones(2)
    assert alone.sum(tensor) is tensor
    assert alone.broadcast(tensor) is tensor
    assert (alone.share(5), alone.is_first, alone.size) == (slice(0, 5), True, 1)
