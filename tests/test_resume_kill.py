"""A real process, killed by the system without warning, goes on later and ends with the same bits."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from distail.artifact import read_json
from distail.distilled import load_distilled
from tests.cli.calling import logged

ITERATIONS = 150
LAUNCHER = """
import sys, torch
torch.set_num_threads(1)
from distail import checkpoint
checkpoint.INTERVAL_S = 0.0
from distail.cli import main
main(sys.argv[1:])
"""
"""`distail` with a checkpoint after every iteration instead of every few seconds."""

TIMEOUT_S = 120

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")


def start(out: Path, *flags: str) -> subprocess.Popen[str]:
    settings = (f"iterations={ITERATIONS}", "real_batch=2", "image_lr=0.5", "augmentation=flip_crop")
    command = ["distill", "digits", "--method", "dm", "--ipc", "1", "--imbalance", "50", "--arch", "convnet1-w8"]
    command += [part for setting in settings for part in ("--set", setting)]
    command += ["--precision", "fp32", "--device", "cpu", "--quiet", "--json", "--out", str(out), *flags]
    # Threads of libraries count at the start of a process, and the order of a sum is part of its bits.
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-c", LAUNCHER, *command],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> dict[str, object]:
    out, err = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 0, err
    return json.loads(out)


def kill_after(process: subprocess.Popen[str], out: Path, iteration: int, delay_s: float) -> None:
    """Kills the process some moment after an iteration was logged."""
    given_up = time.monotonic() + TIMEOUT_S
    while logged(out) < iteration and process.poll() is None and time.monotonic() < given_up:
        time.sleep(0.002)
    time.sleep(delay_s)
    process.kill()
    _, err = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == -signal.SIGKILL, f"it ended before it could be killed: {err}"


def test_a_run_killed_twice_ends_with_the_same_bits(tmp_path):
    chance = random.Random()
    moments = [(chance.randint(1, 40), chance.uniform(0, 0.01)), (chance.randint(50, 90), chance.uniform(0, 0.01))]
    unharmed, harmed = tmp_path / "unharmed", tmp_path / "harmed"
    finish(start(unharmed))
    reached = []
    for number, (iteration, delay_s) in enumerate(moments):
        kill_after(start(harmed, *(["--resume"] if number else [])), harmed, iteration, delay_s)
        assert not (harmed / "distilled.safetensors").exists()
        assert read_json(harmed / "manifest.json")["status"] == "running"
        reached.append(logged(harmed))
    assert 0 < reached[0] < reached[1] < ITERATIONS, "the second process did not go on where the first one stopped"
    told = finish(start(harmed, "--resume"))
    assert told["images"] == 10

    first, second = load_distilled(unharmed), load_distilled(harmed)
    assert first.images.numpy().tobytes() == second.images.numpy().tobytes(), f"killed at {moments}"
    assert torch.equal(first.labels, second.labels)
    assert first.provenance["recipe"] == second.provenance["recipe"]
    assert first.provenance["data_sha256"] == second.provenance["data_sha256"]
    assert (unharmed / "metrics.jsonl").read_bytes() == (harmed / "metrics.jsonl").read_bytes(), f"killed at {moments}"
    assert {path.name for path in harmed.iterdir() if not path.name.startswith(".")} == {
        path.name for path in unharmed.iterdir()
    }
    assert read_json(harmed / "manifest.json")["status"] == "complete"
