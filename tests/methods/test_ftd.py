from typing import Any

import pytest
import torch

from distail.experts.bank import ExpertBank
from distail.experts.school import train_experts
from distail.methods.ftd import FTD
from distail.methods.mtt import MTT
from distail.methods.random import Random
from tests.methods.matched import SMALL, same
from tests.methods.tiny import tiny_problem


def ftd(**settings: Any) -> FTD:
    return FTD(**{**SMALL, "ema_decay": 0.7, **settings})


@pytest.fixture(scope="module")
def bank(tmp_path_factory) -> ExpertBank:
    found = ExpertBank(tmp_path_factory.mktemp("experts"))
    train_experts(found, tiny_problem().ground, ftd().expert_needs())
    return found


def test_without_the_average_it_is_mtt_on_flat_experts(bank):
    problem = tiny_problem(experts=bank)
    assert same(ftd(ema_decay=0.0).distill(problem), MTT(**SMALL).distill(problem))


def test_the_set_is_the_moving_average_of_the_images(bank):
    problem = tiny_problem(experts=bank)
    average = Random().distill(problem).images
    raw = [ftd(ema_decay=0.0, iterations=iterations).distill(problem) for iterations in (1, 2, 3)]
    for made in raw:
        average = 0.7 * average + 0.3 * made.images
    found = ftd(iterations=3).distill(problem)
    torch.testing.assert_close(found.images, average)
    assert not torch.allclose(found.images, raw[-1].images)
    assert found.learning_rate == raw[-1].learning_rate
    assert found.soft_labels is None


def test_experts_take_gsam_steps():
    (need,) = FTD().expert_needs()
    assert (need.spec.gsam_rho, need.spec.gsam_alpha, need.spec.weight_decay) == (0.01, 0.4, 0.0)
    assert (need.num_experts, need.epochs) == (100, 21)


def test_sets_on_the_way_are_averages_too(bank):
    told = {}
    problem = tiny_problem(experts=bank, snapshot=told.__setitem__)
    last = ftd(snapshot_every=1).distill(problem)
    assert list(told) == [1, 2]
    assert torch.equal(told[2].images, last.images)
    assert torch.equal(told[1].images, ftd(iterations=1).distill(problem).images)
