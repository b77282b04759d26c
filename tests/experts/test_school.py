import math
from contextlib import nullcontext
from typing import Any

import pytest
import torch

from distail.errors import DistailError
from distail.experts import pupil
from distail.experts.bank import ExpertBank, shelf_of
from distail.experts.ground import ExpertGround
from distail.experts.school import missing_epochs, missing_experts, train_experts, with_bases
from distail.experts.spec import ExpertNeed
from distail.models.flat import FlatLayout
from tests.experts.lessons import FLAT, PLAIN, ground, need, on, trajectory


@pytest.fixture
def taught(monkeypatch) -> list[tuple[str, int, int]]:
    """(kind, expert, epoch) of every epoch that is trained."""
    found: list[tuple[str, int, int]] = []
    for name in ("train_representation_epoch", "train_classifier_epoch"):
        original = getattr(pupil, name)

        def counted(*arguments: Any, original: Any = original) -> Any:
            spec, expert, epoch = arguments[-4:-1]
            found.append((spec.kind, expert, epoch))
            return original(*arguments)

        monkeypatch.setattr(pupil, name, counted)
    return found


def lengths(whole: ExpertNeed) -> list[int]:
    return [whole.epochs_of(expert) for expert in range(whole.total)]


def test_training_in_parts_gives_the_same_bits(tmp_path):
    at_once, in_parts, the_ground = ExpertBank(tmp_path / "one"), ExpertBank(tmp_path / "two"), ground()
    train_experts(at_once, the_ground, [need(FLAT, 3)])
    for epochs in (1, 3):
        train_experts(in_parts, the_ground, [need(FLAT, epochs)])
    first, second = (trajectory(shelf_of(bank, the_ground, FLAT)) for bank in (at_once, in_parts))
    assert len(first) == 4
    assert all(map(torch.equal, first, second))


def test_snapshot_zero_is_the_new_network_and_all_differ(tmp_path):
    bank, the_ground = ExpertBank(tmp_path), ground()
    train_experts(bank, the_ground, [need(PLAIN, 3, num_experts=2)])
    shelf = shelf_of(bank, the_ground, PLAIN)
    everything = []
    for expert in range(2):
        network = the_ground.network(PLAIN.seed, expert)
        snapshots = trajectory(shelf, expert)
        assert torch.equal(snapshots[0], FlatLayout.of(network).flatten(network))
        everything += snapshots
    assert len(everything) == 8
    assert len({snapshot.numpy().tobytes() for snapshot in everything}) == 8


def test_only_what_is_missing_is_trained(tmp_path, taught):
    bank, the_ground = ExpertBank(tmp_path), ground()
    train_experts(bank, the_ground, [need(PLAIN, 2)])
    assert taught == [("representation", 0, 0), ("representation", 0, 1)]
    taught.clear()
    train_experts(bank, the_ground, [need(PLAIN, 3, num_experts=2, num_long=1, long_epochs=4)])
    assert taught == [("representation", 0, epoch) for epoch in (2, 3)] + [
        ("representation", 1, epoch) for epoch in (0, 1, 2)
    ]
    taught.clear()
    train_experts(bank, the_ground, [need(PLAIN, 1, num_experts=2)])
    assert taught == []
    train_experts(bank, the_ground, [need(FLAT, 1)])  # others, which share nothing with those
    assert taught == [("representation", 0, 0)]


def test_classifier_experts_bring_their_bases(tmp_path, taught):
    bank, the_ground = ExpertBank(tmp_path), ground()
    train_experts(bank, the_ground, [need(on(), 1, num_experts=2)])
    bases = [("representation", expert, epoch) for expert in range(2) for epoch in range(2)]
    assert taught == [*bases, ("classifier", 0, 0), ("classifier", 1, 0)]


@pytest.mark.parametrize("kind", ["representation", "classifier"])
def test_machines_that_share_the_work_make_what_one_makes(tmp_path, kind):
    spec, the_ground = {"representation": FLAT, "classifier": on()}[kind], ground()
    whole, shared = ExpertBank(tmp_path / "whole"), ExpertBank(tmp_path / "shared")
    wanted = [need(spec, 2, num_experts=3)]
    train_experts(whole, the_ground, wanted)
    for part in (range(1, 3), range(1)):
        train_experts(shared, the_ground, wanted, only=part)
        if part.start == 1:
            assert shelf_of(shared, the_ground, spec).experts() == [1, 2]
    for expert in range(3):
        first, second = (trajectory(shelf_of(bank, the_ground, spec), expert) for bank in (whole, shared))
        assert len(first) == 3
        assert all(map(torch.equal, first, second))


def test_two_processes_at_the_same_experts_do_not_spoil_them(tmp_path, monkeypatch):
    """Another process finishes the expert while this one trains its first epoch, as when a machine has slept."""
    alone, contested, the_ground = ExpertBank(tmp_path / "one"), ExpertBank(tmp_path / "two"), ground()
    train_experts(alone, the_ground, [need(PLAIN, 3)])
    original, others = pupil.train_representation_epoch, []

    def slow(*arguments: Any) -> Any:
        if not others:
            others.append(True)
            for claim in (contested.path / "claims").iterdir():
                claim.unlink()
            train_experts(contested, the_ground, [need(PLAIN, 3)])
        return original(*arguments)

    monkeypatch.setattr(pupil, "train_representation_epoch", slow)
    train_experts(contested, the_ground, [need(PLAIN, 3)])
    first, second = (trajectory(shelf_of(bank, the_ground, PLAIN)) for bank in (alone, contested))
    assert len(first) == len(second) == 4
    assert all(map(torch.equal, first, second))


def test_missing_epochs_are_counted_without_writing(tmp_path):
    bank, the_ground = ExpertBank(tmp_path / "bank"), ground()
    wanted = [need(FLAT, 1, num_experts=3), need(on(), 4, num_experts=2)]

    def missing(bank: ExpertBank | None, **options: Any) -> list[tuple[str, int]]:
        return [(one.spec.kind, epochs) for one, epochs in missing_epochs(bank, the_ground, wanted, **options)]

    assert missing(None) == missing(bank) == [("representation", 2 + 2 + 1), ("classifier", 8)]
    assert missing(bank, only=range(1, 3)) == [("representation", 2 + 1), ("classifier", 4)]
    assert not (tmp_path / "bank").exists()
    train_experts(bank, the_ground, [need(FLAT, 1, num_experts=2)])
    assert missing(bank) == [("representation", 1 + 1 + 1), ("classifier", 8)]
    lacking = [by_expert for _, by_expert in missing_experts(bank, the_ground, wanted)]
    assert lacking == [{0: 1, 1: 1, 2: 1}, {0: 4, 1: 4}]
    train_experts(bank, the_ground, wanted)
    assert missing(bank) == [("representation", 0), ("classifier", 0)]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        pytest.param([(FLAT, 3, 2)], [(FLAT, [3, 3])], id="one need"),
        pytest.param([(on(), 5, 2)], [(FLAT, [2, 2]), (on(), [5, 5])], id="a base comes along, before"),
        pytest.param([(FLAT, 1, 4), (on(), 5, 2)], [(FLAT, [2, 2, 1, 1]), (on(), [5, 5])], id="a longer base"),
        pytest.param([(FLAT, 7, 4), (on(), 5, 2)], [(FLAT, [7] * 4), (on(), [5, 5])], id="a shorter base"),
        pytest.param([(on(), 5, 2), (FLAT, 1, 4)], [(FLAT, [2, 2, 1, 1]), (on(), [5, 5])], id="in any order"),
        pytest.param([(PLAIN, 7, 1), (on(), 5, 2)], [(PLAIN, [7]), (FLAT, [2, 2]), (on(), [5, 5])], id="another base"),
        pytest.param([(FLAT, 1, 1), (on(), 5, 3)], [(FLAT, [2] * 3), (on(), [5] * 3)], id="more bases"),
    ],
)
def test_needs_of_the_same_experts_become_one(wanted, expected):
    whole = with_bases([need(spec, epochs, num_experts=count) for spec, epochs, count in wanted])
    assert [(one.spec, lengths(one)) for one in whole] == expected


def test_joining_needs_forgets_nothing():
    """Every expert is trained as far as the one that asks for the most."""
    shapes = [
        need(FLAT, epochs, num_experts=count, num_long=num_long, long_epochs=long)
        for epochs, count in ((1, 3), (4, 1), (2, 2))
        for num_long, long in ((0, 0), (1, 6), (5, 2), (2, 3))
    ]
    for one in shapes:
        for other in shapes:
            joined = with_bases([one, other])
            for expert in range(6):
                asked = max(one.epochs_of(expert), other.epochs_of(expert))
                assert max(part.epochs_of(expert) for part in joined) == asked


@pytest.mark.parametrize("spec", [PLAIN, FLAT], ids=["plain", "gsam"])
def test_training_that_diverges_is_a_clear_error_and_keeps_what_was_good(tmp_path, spec):
    bank, the_ground = ExpertBank(tmp_path), ground(architecture="convnet2-w8-none")
    wild = spec.model_copy(update={"learning_rate": 1e18, "weight_decay": 1.0})
    with pytest.raises(DistailError, match=r"Expert 0: training diverged in epoch \d .*learning rate \(now 1e\+18\)"):
        train_experts(bank, the_ground, [need(wild, 30)])
    kept = trajectory(shelf_of(bank, the_ground, wild))
    assert len(kept) >= 1
    assert all(bool(torch.isfinite(snapshot).all()) for snapshot in kept)


def test_a_last_step_that_diverges_is_not_kept(tmp_path):
    """One step an epoch: its loss was finite before it."""
    bank, the_ground = ExpertBank(tmp_path), ground()
    wild = PLAIN.model_copy(update={"learning_rate": 1e38, "weight_decay": 1e3, "batch_size": 256})
    with pytest.raises(DistailError, match=r"diverged in epoch 0 \(loss [\d.]+\)"):
        train_experts(bank, the_ground, [need(wild, 2)])
    assert shelf_of(bank, the_ground, wild).num_epochs(0) == 0


def test_progress_counts_every_epoch_once(tmp_path):
    told: list[float] = []
    totals: list[int] = []

    class Counting(type(ground().progress)):  # type: ignore[misc]
        def task(self, title: str, total: int, done: int = 0) -> Any:
            totals.append(total)
            return nullcontext(lambda steps=1, **figures: told.append(figures["loss"]))

    plain = ground()
    the_ground = ExpertGround(plain.train, plain.preprocessing, plain.architecture, plain.runtime, Counting())
    train_experts(ExpertBank(tmp_path), the_ground, [need(FLAT, 1, num_experts=2), need(on(), 2)])
    assert totals == [2 + 1 + 2]
    assert len(told) == 5
    assert all(math.isfinite(loss) for loss in told)
    train_experts(ExpertBank(tmp_path), the_ground, [need(on(), 2)])
    assert len(totals) == 1  # nothing to do, nothing to tell


def test_batch_normalisation_stands_on_measured_statistics(tmp_path):
    """A snapshot keeps no running statistics; those of a new network would make features of another scale."""
    the_ground, bank = ground(architecture="convnet2-w8-batch", counts=(30, 20)), ExpertBank(tmp_path)
    train_experts(bank, the_ground, [need(on(), 1)])
    finished = bank.shelf(the_ground.identity(on().base)).snapshot(0, on().base_epochs)
    backbone = pupil._lesson(the_ground, on(), finished, the_ground.training_set()).backbone
    assert not backbone.training
    features = backbone.features(the_ground.preprocessing.apply(the_ground.train.images))
    backbone.train()
    expected = backbone.features(the_ground.preprocessing.apply(the_ground.train.images))
    torch.testing.assert_close(features, expected, rtol=0.05, atol=0.05)


def test_the_time_of_what_is_found_is_told(tmp_path):
    the_ground, wanted = ground(), [need(PLAIN, 2, num_experts=2)]
    first = ExpertBank(tmp_path)
    train_experts(first, the_ground, wanted)
    assert first.reused_seconds == 0
    shelf = shelf_of(first, the_ground, PLAIN)
    second = ExpertBank(tmp_path)
    train_experts(second, the_ground, wanted)
    assert second.reused_seconds == shelf.seconds(0, 2) + shelf.seconds(1, 2) > 0
    train_experts(second, the_ground, [need(PLAIN, 1)])
    assert second.reused_seconds == pytest.approx(sum(shelf.seconds(*one) for one in ((0, 2), (1, 2), (0, 1))))
