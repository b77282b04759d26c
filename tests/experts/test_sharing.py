"""Processes that need the same experts or networks at the same time."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from distail.claims import Claimed, Claims
from distail.experts import pupil
from distail.experts.bank import ExpertBank, shelf_of
from distail.experts.ground import ExpertGround
from distail.experts.school import train_experts
from distail.experts.spec import ExpertSpec
from tests.experts.lessons import FLAT, PLAIN, ground, need, on

TRAINING = """
import json, sys, time
from distail.experts import pupil
from distail.experts.bank import ExpertBank
from distail.experts.school import train_experts
from tests.experts.lessons import PLAIN, ground, need
original, trained = pupil.train_representation_epoch, []
def counted(*arguments):
    trained.append(arguments[-3:-1])
    time.sleep(0.02)  # more than the other's next look at what is free
    return original(*arguments)
pupil.train_representation_epoch = counted
print("ready", flush=True)
sys.stdin.readline()
train_experts(ExpertBank(sys.argv[1]), ground(), [need(PLAIN, 3, num_experts=6)])
print(json.dumps(trained))
"""
HOLDING = """
import sys, time
from pathlib import Path
from distail.claims import Claims
with Claims(Path(sys.argv[1])).hold(sys.argv[2], "training"):
    print("held", flush=True)
    time.sleep(60)
"""


@contextmanager
def another_process_at(bank: ExpertBank, the_ground: ExpertGround, spec: ExpertSpec, expert: int) -> Iterator[None]:
    """Holds the claim on an expert, and is killed in the end."""
    name = f"{shelf_of(bank, the_ground, spec).key}-expert-{expert:04d}"
    command = [sys.executable, "-c", HOLDING, str(bank.claims.folder), name]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline()
        try:
            yield
        finally:
            process.kill()


def lengths(bank: ExpertBank, the_ground: ExpertGround, spec: ExpertSpec) -> list[int]:
    shelf = shelf_of(bank, the_ground, spec)
    return [shelf.num_epochs(expert) for expert in range(3)]


def test_two_processes_train_each_expert_once(tmp_path):
    command = [sys.executable, "-c", TRAINING, str(tmp_path)]
    processes = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    for process in processes:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
    trained = []
    for process in processes:
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        trained.append([tuple(one) for one in json.loads(process.communicate(timeout=60)[0])])
    assert sorted(trained[0] + trained[1]) == [(expert, epoch) for expert in range(6) for epoch in range(3)]
    assert all(trained), "one process did all the work"
    shelf = shelf_of(ExpertBank(tmp_path), ground(), PLAIN)
    assert [shelf.num_epochs(expert) for expert in range(6)] == [3] * 6
    assert list((tmp_path / "claims").iterdir()) == []


def test_what_others_train_is_left_to_them_and_done_where_they_die(tmp_path):
    bank, the_ground, wanted = ExpertBank(tmp_path, wait=False), ground(), [need(PLAIN, 2, num_experts=3)]
    with another_process_at(bank, the_ground, PLAIN, 1):
        with pytest.raises(Claimed) as refusal:
            train_experts(bank, the_ground, wanted)
        assert refusal.value.holder.note == "training"
        assert lengths(bank, the_ground, PLAIN) == [2, -1, 2], "the others are trained meanwhile"
        with pytest.raises(Claimed):
            train_experts(bank, the_ground, wanted)
        train_experts(bank, the_ground, wanted, only=range(1))
    train_experts(bank, the_ground, wanted)
    assert lengths(bank, the_ground, PLAIN) == [2, 2, 2]


def test_classifier_experts_wait_for_their_own_backbone_only(tmp_path):
    bank, the_ground, spec = ExpertBank(tmp_path, wait=False), ground(), on()
    with another_process_at(bank, the_ground, FLAT, 0), pytest.raises(Claimed):
        train_experts(bank, the_ground, [need(spec, 1, num_experts=3)])
    assert lengths(bank, the_ground, FLAT) == [-1, 2, 2]
    assert lengths(bank, the_ground, spec) == [-1, 1, 1]


def test_who_waits_for_an_expert_counts_it_and_trains_none_again(tmp_path, monkeypatch):
    trained, the_ground, told = [], ground(), []
    original, begun = pupil.train_representation_epoch, threading.Event()

    def slow(*arguments):
        trained.append(arguments[-3:-1])
        begun.set()
        time.sleep(0.1)
        return original(*arguments)

    monkeypatch.setattr(pupil, "train_representation_epoch", slow)
    first = threading.Thread(target=train_experts, args=(ExpertBank(tmp_path), the_ground, [need(PLAIN, 3)]))
    first.start()
    assert begun.wait(20)
    monkeypatch.setattr(type(the_ground.progress), "say", lambda self, line: told.append(line))
    train_experts(ExpertBank(tmp_path), the_ground, [need(PLAIN, 3)])
    first.join(20)
    assert trained == [(0, 0), (0, 1), (0, 2)]
    assert len(told) == 1
    assert "training representation expert 0" in told[0]


def test_the_claim_says_how_far_training_is(tmp_path, monkeypatch):
    notes = []
    original, bank = pupil.train_representation_epoch, ExpertBank(tmp_path)

    def looked(*arguments):
        notes.extend(holder.note for holder in Claims(bank.path / "claims").all().values())
        return original(*arguments)

    monkeypatch.setattr("distail.claims.holding.NOTE_EVERY_S", 0.0)
    monkeypatch.setattr(pupil, "train_representation_epoch", looked)
    train_experts(bank, ground(), [need(PLAIN, 2)])
    assert notes == [f"training representation expert 0, epoch {epoch} of 2" for epoch in (1, 2)]


def test_finished_experts_need_no_claim(tmp_path):
    train_experts(ExpertBank(tmp_path), ground(), [need(PLAIN, 1)])
    claims = tmp_path / "claims"
    claims.rmdir()
    Path(claims).touch()  # where none could be taken
    train_experts(ExpertBank(tmp_path), ground(), [need(PLAIN, 1)])
