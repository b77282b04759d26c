from typing import Any

import pytest
import torch

from distail.errors import DistailError
from distail.experts.bank import ExpertBank, shelf_of
from distail.experts.school import train_experts
from distail.methods._registry import build_method
from distail.methods.datm import DATM
from distail.synthetic.initial import initial_set
from tests.methods.matched import LABELLED, SMALL, same, watched
from tests.methods.tiny import tiny_problem


def datm(**settings: Any) -> DATM:
    easy = {"threshold": None, "initial_max_start_epoch": None}
    return DATM(**{**SMALL, **LABELLED, **easy, **settings})


@pytest.fixture(scope="module")
def bank(tmp_path_factory) -> ExpertBank:
    found = ExpertBank(tmp_path_factory.mktemp("experts"))
    train_experts(found, tiny_problem().ground, datm().expert_needs())
    return found


def test_iterations_above_the_threshold_change_nothing(bank):
    problem, rows = watched(bank)
    method = datm(iterations=4)
    free = method.distill(problem)
    losses = [row["loss"] for row in rows]
    assert [row["skipped"] for row in rows] == [0] * 4
    rows.clear()
    with pytest.raises(DistailError, match="in all 4 iterations"):  # rather than the set that it began with
        datm(iterations=4, threshold=0.5 * min(losses)).distill(problem)
    assert [row["skipped"] for row in rows] == [1] * 4
    assert same(datm(iterations=4, threshold=10 * max(losses)).distill(problem), free)


def test_begins_with_images_and_labels_of_the_experts(bank):
    problem = tiny_problem(experts=bank)
    method = datm(iterations=0)
    begun = method.distill(problem)
    shelf = shelf_of(bank, problem.ground, method.experts)
    images, labels = initial_set(problem, [shelf.snapshot(expert, 3) for expert in range(2)], "correct")
    assert torch.equal(begun.images, images)
    assert begun.soft_labels is not None
    assert torch.equal(begun.soft_labels, labels)


def test_labels_and_images_are_learned(bank):
    problem = tiny_problem(experts=bank)
    made, still = datm().distill(problem), datm(label_lr=0.0).distill(problem)
    assert made.soft_labels is not None
    assert still.soft_labels is not None
    assert not torch.equal(made.soft_labels, still.soft_labels)
    assert not torch.equal(made.images, datm(iterations=1).distill(problem).images)


def test_initial_images_may_be_any(bank):
    problem = tiny_problem(counts=(20, 15, 9))
    assert not same(datm().distill(problem), datm(initial_images="random").distill(problem))


def test_the_curriculum_decides_which_epochs_are_matched(tmp_path):
    bank = ExpertBank(tmp_path)
    problem = tiny_problem(experts=bank)
    settings = {"max_start_epoch": 6, "expert_epochs": 6, "num_experts": 1, "num_label_experts": 1, "iterations": 3}
    whole = datm(**settings).distill(problem)
    early = datm(**settings, initial_max_start_epoch=1, expansion_end=1000).distill(problem)
    first_only = datm(**{**settings, "max_start_epoch": 1}).distill(problem)
    assert not same(whole, early)
    assert same(early, first_only)  # 1000 iterations to grow: the first three know epoch 0 alone


def test_both_engines_make_the_same_set(bank):
    problem = tiny_problem(experts=bank)
    fast, plain = (datm(engine=engine).distill(problem) for engine in ("fast", "plain"))
    moved = float((fast.images - datm(iterations=1).distill(problem).images).abs().max())
    assert moved > 1e-4
    torch.testing.assert_close(fast.images, plain.images, rtol=1e-3, atol=1e-2 * moved)
    torch.testing.assert_close(fast.soft_labels, plain.soft_labels, rtol=1e-3, atol=1e-4)


def test_defaults_are_the_released_ones():
    method = DATM()
    assert (method.threshold, method.initial_max_start_epoch, method.max_start_epoch) == (1.0, 10, 20)
    (need,) = method.expert_needs()
    assert (need.spec.gsam_rho, need.spec.gsam_alpha, need.spec.weight_decay) == (0.01, 0.3, 0.0)
    assert (need.num_experts, need.epochs, need.num_long, need.long_epochs) == (100, 21, 100, 100)


def test_an_impossible_curriculum_is_a_clear_error():
    with pytest.raises(DistailError, match=r"min_start_epoch < initial_max_start_epoch <= max_start_epoch"):
        build_method("datm", {"max_start_epoch": 5})
