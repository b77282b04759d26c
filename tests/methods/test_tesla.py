from typing import Any

import pytest
import torch

from distail.experts.bank import ExpertBank, shelf_of
from distail.experts.school import train_experts
from distail.matching.descent import Learned
from distail.matching.losses import InnerLoss
from distail.matching.phases import RepresentationPhase
from distail.matching.turns import StartEpochs, expert_turn
from distail.methods.mtt import MTT
from distail.methods.random import Random
from distail.methods.tesla import TESLA
from distail.models.flat import FlatLayout
from distail.problem import Problem
from tests.methods.matched import SMALL, same, watched
from tests.methods.tiny import tiny_problem


def tesla(**settings: Any) -> TESLA:
    return TESLA(**{**SMALL, "learning_rate_lr": 1e-5, **settings})


@pytest.fixture(scope="module")
def bank(tmp_path_factory) -> ExpertBank:
    found = ExpertBank(tmp_path_factory.mktemp("experts"))
    train_experts(found, tiny_problem().ground, tesla().expert_needs())
    return found


def answers(problem: Problem, bank: ExpertBank, expert: int, epoch: int, images: torch.Tensor) -> torch.Tensor:
    network = problem.network("any").eval()
    parameters = shelf_of(bank, problem.ground, tesla().experts).snapshot(expert, epoch)
    FlatLayout.of(network).load(network, parameters)
    with torch.no_grad():
        return network(images)


def test_with_one_step_it_is_mtt(bank):
    """The paths that TESLA drops lead from one step to a later one."""
    problem = tiny_problem(experts=bank)
    shared = {**SMALL, "learning_rate_lr": 1e-5}
    for steps in (1, 3):
        of_tesla, of_mtt = (method(**{**shared, "steps": steps}).distill(problem) for method in (TESLA, MTT))
        moved = float((of_mtt.images - Random().distill(problem).images).abs().max())
        difference = float((of_tesla.images - of_mtt.images).abs().max())
        assert (difference < 1e-3 * moved) == (steps == 1), (steps, difference, moved)


def test_hard_labels_unless_asked_for(bank):
    problem = tiny_problem(experts=bank)
    assert tesla().distill(problem).soft_labels is None
    assert not torch.equal(tesla().distill(problem).images, tesla(soft_labels=True).distill(problem).images)


def test_soft_labels_are_what_the_target_expert_answers_to_the_current_images(bank):
    problem, rows = watched(bank)
    method = tesla(soft_labels=True)
    made = method.distill(problem)
    assert made.soft_labels is not None
    torch.testing.assert_close(made.soft_labels, answers(problem, bank, 0, 2, made.images), rtol=1e-4, atol=1e-5)

    # Each iteration again: a student of fixed labels, those of the target at these images, has the same loss.
    images = Random().distill(problem).images
    for iteration in range(2):
        expert = expert_turn(problem, "representation", iteration, 2)
        epoch = StartEpochs(0, 2).draw(problem, "representation", iteration) + 1
        labels = answers(problem, bank, expert, epoch, images)
        shelf = shelf_of(bank, problem.ground, method.experts)
        phase = RepresentationPhase(problem, method, shelf, StartEpochs(0, 2), InnerLoss.plain())
        rate = torch.tensor(0.05 if iteration == 0 else rows[0]["learning_rate"])
        assert phase(Learned(images, labels, rate), iteration).loss == pytest.approx(rows[iteration]["loss"], rel=1e-4)
        images = tesla(soft_labels=True, iterations=1).distill(problem).images


def test_both_engines_make_the_same_set(bank):
    problem = tiny_problem(experts=bank)
    for soft_labels in (False, True):
        fast, plain = (tesla(engine=engine, soft_labels=soft_labels).distill(problem) for engine in ("fast", "plain"))
        moved = float((fast.images - Random().distill(problem).images).abs().max())
        assert moved > 1e-3
        torch.testing.assert_close(fast.images, plain.images, rtol=1e-3, atol=1e-2 * moved)


def test_it_shares_its_experts_with_mtt():
    settings = {"max_start_epoch": 4, "num_experts": 3, "expert_span": 2}
    assert TESLA(**settings).expert_needs() == MTT(**settings).expert_needs()
    (need,) = TESLA().expert_needs()
    assert (need.epochs, need.num_experts) == (6, 100)


def test_the_seed_decides(bank):
    first, again, other = (tesla().distill(tiny_problem(experts=bank, seed=seed)) for seed in (0, 0, 1))
    assert same(first, again)
    assert not same(first, other)
