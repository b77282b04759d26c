from typing import Any

import pytest
import torch

from distail.data.augment import DSA
from distail.experts import sharing
from distail.experts.bank import ExpertBank, shelf_of
from distail.experts.school import train_experts
from distail.matching import FlatNetwork, InnerLoop, InnerLoss, Steps, match_trajectory, match_trajectory_plainly
from distail.matching.turns import StartEpochs, expert_turn
from distail.methods.mtt import MTT
from distail.methods.random import Random
from tests.methods.matched import SMALL, same, watched
from tests.methods.tiny import tiny_problem


def mtt(**settings: Any) -> MTT:
    return MTT(**{**SMALL, **settings})


@pytest.fixture(scope="module")
def bank(tmp_path_factory) -> ExpertBank:
    found = ExpertBank(tmp_path_factory.mktemp("experts"))
    train_experts(found, tiny_problem().ground, mtt().expert_needs())
    return found


def test_an_iteration_is_a_step_on_the_exact_gradient(bank):
    """The expert, epoch, batches and augmentations that the named generators draw, differentiated by autograd."""
    problem, rows = watched(bank)
    method = mtt(iterations=1, batch_size=4)
    made = method.distill(problem)
    shelf = shelf_of(bank, problem.ground, method.experts)
    expert = expert_turn(problem, "representation", 0, 2)
    epoch = StartEpochs(0, 2).draw(problem, "representation", 0)
    augment = DSA(method.augmentation)
    generator = problem.generator("inner loop", "representation", 0)
    real = Random().distill(problem)
    steps = Steps.draw(6, 3, 4, (3, 8, 8), augment, generator)
    wanted = match_trajectory_plainly(
        FlatNetwork(problem.network("architecture"), problem.runtime),
        InnerLoop(real.images, real.labels, torch.tensor(0.05), steps, augment, InnerLoss.plain()),
        shelf.snapshot(expert, epoch),
        shelf.snapshot(expert, epoch + 1),
        unrolled=True,
    )
    assert rows[0]["loss"] == pytest.approx(wanted.loss, rel=1e-4)
    torch.testing.assert_close(made.images, real.images - 10 * wanted.images, rtol=1e-3, atol=1e-4)
    assert made.learning_rate == pytest.approx(0.05 - 1e-5 * float(wanted.learning_rate), rel=1e-5)
    assert made.soft_labels is None
    assert float((10 * wanted.images).abs().max()) > 1e-3


def test_both_engines_make_the_same_set(bank):
    problem = tiny_problem(experts=bank)
    fast, plain = (mtt(engine=engine).distill(problem) for engine in ("fast", "plain"))
    moved = float((fast.images - Random().distill(problem).images).abs().max())
    assert moved > 1e-3
    torch.testing.assert_close(fast.images, plain.images, rtol=1e-3, atol=1e-2 * moved)
    assert fast.learning_rate == pytest.approx(plain.learning_rate, rel=1e-4)


def test_matching_comes_closer_to_a_fixed_expert(bank):
    problem, rows = watched(bank)
    settings = {"num_experts": 1, "max_start_epoch": 1, "augmentation": "none", "image_lr": 10.0}
    mtt(**settings, iterations=25, steps=5).distill(problem)
    losses = [row["loss"] for row in rows]
    assert losses[-1] < 0.8 * losses[0], losses


def test_the_step_size_is_learned_unless_told_otherwise(bank):
    problem = tiny_problem(experts=bank)
    assert mtt(learning_rate_lr=1e-4).distill(problem).learning_rate != pytest.approx(0.05, rel=1e-6)
    assert mtt(learning_rate_lr=0.0).distill(problem).learning_rate == pytest.approx(0.05, rel=1e-6)


def test_a_second_set_trains_nothing(tmp_path, monkeypatch):
    bank = ExpertBank(tmp_path)
    first = mtt().distill(tiny_problem(experts=bank))
    monkeypatch.setattr(sharing, "pupil_of", lambda *_: pytest.fail("trains"))
    assert same(first, mtt().distill(tiny_problem(experts=bank)))
    assert not same(first, mtt().distill(tiny_problem(experts=bank, seed=1)))


def test_a_temporary_bank_makes_the_same_set(bank):
    assert same(mtt().distill(tiny_problem(experts=bank)), mtt().distill(tiny_problem()))


def test_experts_reach_as_far_as_matching_can():
    (need,) = MTT(max_start_epoch=7, expert_span=3).expert_needs()
    assert (need.epochs, need.num_experts, need.num_long) == (9, 100, 0)
    (default,) = MTT().expert_needs()
    assert (default.spec.weight_decay, default.spec.gsam_rho, default.epochs) == (0.0, 0.0, 21)


@pytest.mark.parametrize("setting", ["steps", "batch_size", "num_experts", "max_start_epoch", "expert_span"])
def test_every_setting_matters(bank, tmp_path, setting):
    problem = tiny_problem(experts=ExpertBank(tmp_path))
    base = {"steps": 2, "batch_size": 4, "num_experts": 2, "max_start_epoch": 2, "expert_span": 1, "iterations": 3}
    assert not same(mtt(**base).distill(problem), mtt(**{**base, setting: base[setting] + 1}).distill(problem))


def test_the_gradient_through_all_steps_is_not_teslas(bank):
    problem = tiny_problem(experts=bank)
    shelf = shelf_of(bank, problem.ground, mtt().experts)
    augment, generator = DSA("none"), torch.Generator().manual_seed(0)
    steps = Steps.draw(6, 3, 6, (3, 8, 8), augment, generator)
    real = Random().distill(problem)
    network = FlatNetwork(problem.network("architecture"), problem.runtime)
    loop = InnerLoop(real.images, real.labels, torch.tensor(0.05), steps, augment, InnerLoss.plain())
    start, target = shelf.snapshot(0, 0), shelf.snapshot(0, 1)
    exact, tesla = (match_trajectory(network, loop, start, target, unrolled=unrolled) for unrolled in (True, False))
    assert exact.loss == tesla.loss
    made = mtt(iterations=1, augmentation="none", batch_size=6, max_start_epoch=1, num_experts=1).distill(problem)
    assert not torch.equal(exact.images, tesla.images)
    change = (real.images - made.images) / 10
    assert float((change - exact.images).abs().max()) < 0.1 * float((change - tesla.images).abs().max())
