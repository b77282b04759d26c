import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from distail.cli import main
from distail.progress import PlainProgress
from tests.cli.calling import NETWORK, QUICK, succeed

BASELINE = ("--arch", NETWORK, "--epochs", 2, "--seeds", 1, "--augmentation", "none")


@contextmanager
def nobody_reads(monkeypatch, name: str) -> Iterator[None]:
    """What is written to this standard stream fails, as after `| head` has ended."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w", encoding="utf-8") as stream, monkeypatch.context() as patch:
        patch.setattr(sys, name, stream)
        yield


@pytest.fixture
def unread(monkeypatch):
    """Calls a command whose output nobody reads, and must find it content."""

    def calling(*arguments: object) -> None:
        with nobody_reads(monkeypatch, "stdout"):
            main([*map(str, arguments), "--quiet"])

    return calling


def test_an_evaluation_is_kept(unread, run, tmp_path):
    unread("evaluate", run, *QUICK, "--out", "scores.json")
    assert json.loads(Path("scores.json").read_text())["students"]
    assert Path("scores.txt").exists()


def test_a_baseline_and_its_network_are_kept(unread, source):
    unread("baseline", source, *BASELINE, "--out", "scores.json", "--save", "network.safetensors")
    assert Path("scores.json").exists()
    assert Path("network.safetensors").exists()


def test_a_run_is_scored_although_what_it_said_of_the_set_was_not_read(unread, run):
    recipe = (run / "recipe.yaml").read_text()
    students = f"architectures: [{NETWORK}], seeds: 1, train: {{epochs: 3}}"
    Path("scored.yaml").write_text(f"{recipe}evaluation: {{{students}}}\n")
    unread("run", "scored.yaml", "--out", "again")
    assert Path("again/evaluation.json").exists()


def test_json_that_nobody_reads(unread, run):
    unread("evaluate", run, *QUICK, "--out", "scores.json", "--json")
    assert Path("scores.json").exists()


def test_a_list_of_which_the_beginning_was_enough(unread):
    unread("methods")


def test_progress_that_nobody_reads(monkeypatch):
    with nobody_reads(monkeypatch, "stderr"):
        progress = PlainProgress(interval_s=0)
        with progress.task("training", 2) as advance:
            advance()
            advance()


def test_the_file_is_there_before_the_table_is(run, monkeypatch):
    from distail.cli import options

    seen = []
    say = options.Output.tell
    monkeypatch.setattr(options.Output, "tell", lambda *a: (seen.append(Path("scores.json").exists()), say(*a)))
    succeed("evaluate", run, *QUICK, "--out", "scores.json", "--quiet")
    assert all(seen)
