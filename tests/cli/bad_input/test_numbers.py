"""Numbers that cannot be, or that no memory holds."""

import pytest
import torch

from tests.cli.bad_input.commands import RANDOM, READERS, reading
from tests.cli.calling import DM, NETWORK, assert_clear_refusal, call


@pytest.mark.parametrize("ipc", [0, -1, -(10**9), "ten", 1.5])
def test_impossible_images_per_class(refused, source, ipc):
    refused("distill", source, "--method", "random", "--ipc", ipc, names=(str(ipc),))


@pytest.mark.parametrize("ipc", [10**9, 10**20])
@pytest.mark.parametrize("method", ["random", "dm"])
def test_more_images_than_memory(refused, source, monkeypatch, method, ipc):
    monkeypatch.setattr("distail.methods.random.Random.distill", None)  # it must not come to that
    monkeypatch.setattr("distail.methods.dm.DM.distill", None)
    flags = ("--method", method, "--arch", NETWORK, "--ipc", ipc)
    refused("distill", source, *flags, names=(str(3 * ipc), "GiB", "--ipc"))


def test_no_memory_at_all(refused, source, monkeypatch):
    monkeypatch.setattr("distail.estimate.available_memory_bytes", lambda device: 1000)
    refused("distill", source, *RANDOM, names=("3 synthetic images (1 per class)", "GiB", "--ipc"))


@pytest.mark.parametrize(
    "failure",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."),
    ],
)
def test_memory_that_runs_out_all_the_same(source, monkeypatch, failure):
    def fail(*arguments):
        raise failure

    monkeypatch.setattr("distail.methods.random.Random.distill", fail)
    assert_clear_refusal(call("distill", source, *RANDOM, "--out", "run"), "not enough memory", "--ipc")


def test_a_bug_is_no_bad_input(source, monkeypatch):
    def fail(*arguments):
        raise RuntimeError("shapes cannot be multiplied")

    monkeypatch.setattr("distail.methods.random.Random.distill", fail)
    with pytest.raises(RuntimeError, match="shapes"):
        call("distill", source, *RANDOM, "--out", "run")


@pytest.mark.parametrize("command", READERS)
@pytest.mark.parametrize("value", ["nan", "inf", "0", "-3"])
def test_impossible_imbalance(refused, source, command, value):
    refused(*reading(source)[command], f"--imbalance={value}", names=("mbalance", value))


@pytest.mark.parametrize("command", READERS)
@pytest.mark.parametrize("value", ["1000", "0.001"])
def test_more_imbalance_than_the_head_class_allows(refused, source, command, value):
    named = (f"Imbalance {value}", "the head has 12", "at most 12")
    refused(*reading(source)[command], "--imbalance", value, names=named)


@pytest.mark.parametrize(
    ("command", "flag", "value", "key"),
    [
        ("evaluate", "--epochs", 0, "epochs"),
        ("evaluate", "--seeds", 0, "seeds"),
        ("evaluate", "--full-epochs", 0, "full_epochs"),
        ("evaluate", "--batch-size", 0, "batch_size"),
        ("evaluate", "--lr", 0.0, "learning_rate"),
        ("evaluate", "--lr", "nan", "learning_rate"),
        ("evaluate", "--augmentation", "colour", "colour"),
        ("train", "--epochs", 0, "epochs"),
        ("train", "--batch-size", -1, "batch_size"),
        ("train", "--augmentation", "flip_colour", "colour"),
        ("train", "--holdout", 1.5, "1.5"),
        ("train", "--image-size", 4, "4"),
        ("distill", "--holdout", 1.0, "holdout"),
        ("distill", "--holdout", 0.0, "holdout"),
        ("distill", "--image-size", 4, "image_size"),
        ("check", "--ipc", 0, "--ipc 0"),
        ("check", "--image-size", 4, "4x4"),
    ],
)
def test_impossible_numbers(refused, run, source, command, flag, value, key):
    calls = {**reading(source), "evaluate": ("evaluate", run)}
    start = [part for part in calls[command] if command != "train" or part not in ("--epochs", 1)]
    refused(*start, flag, value, names=(key, str(value)))


def test_a_learning_run_that_explodes_says_what_to_lower(source):
    flags = (*DM, "--set", "image_lr=1e30", "--set", "iterations=20", "--ipc", 1, "--out", "run")
    assert_clear_refusal(call("distill", source, *flags), "Lower", "image_lr")
