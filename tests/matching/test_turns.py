from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from distail.matching.settings import CurriculumSettings
from distail.matching.sweep import MatchingGradients
from distail.matching.turns import StartEpochs, expert_turn, mean_of_turns
from distail.runtime import Runtime
from distail.seeding import torch_generator
from tests.methods.tiny import tiny_problem
from tests.peers.pretended import Pretended


@pytest.mark.parametrize("num_experts", [1, 2, 7])
def test_every_expert_comes_once_a_turn(num_experts):
    problem = tiny_problem()
    for turn in range(4):
        iterations = range(turn * num_experts, (turn + 1) * num_experts)
        found = [expert_turn(problem, "representation", iteration, num_experts) for iteration in iterations]
        assert sorted(found) == list(range(num_experts))


def test_turns_are_shuffled_anew():
    problem = tiny_problem()
    turns = {
        tuple(expert_turn(problem, "representation", 7 * turn + place, 7) for place in range(7)) for turn in range(9)
    }
    assert len(turns) == 9
    assert tuple(range(7)) not in turns


def test_turns_are_a_function_of_seed_purpose_and_iteration():
    def turns(seed: int = 0, purpose: str = "representation") -> list[int]:
        problem = tiny_problem(seed=seed)
        return [expert_turn(problem, purpose, iteration, 20) for iteration in reversed(range(40))]

    assert turns() == turns()
    assert turns() != turns(seed=1)
    assert turns() != turns(purpose="classifier")  # the two phases draw experts apart from each other


@given(st.integers(0, 30), st.integers(1, 20), st.integers(0, 20), st.integers(1, 3000), st.integers(0, 5000))
def test_the_bound_is_that_of_the_released_code(lowest, first_width, growth, expansion_end, iteration):
    """UB = cur + ⌊(max − cur) · it / end⌋, at most max."""
    initial, highest = lowest + first_width, lowest + first_width + growth
    starts = StartEpochs(lowest, highest, initial, expansion_end)
    assert starts.bound(iteration) == min(initial + (highest - initial) * iteration // expansion_end, highest)
    assert lowest < starts.bound(iteration) <= highest
    assert starts.bound(expansion_end) == starts.bound(10**6) == highest
    assert StartEpochs(lowest, highest).bound(iteration) == highest


def test_the_bound_grows_as_in_a_shipped_configuration():
    """CIFAR-10-LT, imbalance 50, IPC 20: from 10 to 20 in 2000 iterations."""
    starts = StartEpochs(0, 20, 10, 2000)
    assert [starts.bound(it) for it in (0, 199, 200, 1000, 1999, 2000, 9999)] == [10, 10, 11, 15, 19, 20, 20]


def test_draws_are_uniform_in_the_range_and_reach_both_ends():
    problem, starts = tiny_problem(), StartEpochs(3, 8)
    drawn = Counter(starts.draw(problem, "representation", iteration) for iteration in range(500))
    assert sorted(drawn) == [3, 4, 5, 6, 7]
    assert min(drawn.values()) > 60


def test_draws_follow_the_curriculum():
    problem, starts = tiny_problem(), StartEpochs(0, 20, 2, 100)
    early = {starts.draw(problem, "representation", iteration) for iteration in range(5)}
    late = {starts.draw(problem, "representation", iteration) for iteration in range(100, 300)}
    assert early == {0, 1}
    assert late == set(range(20))


def test_draws_are_a_function_of_seed_purpose_and_iteration():
    starts = StartEpochs(0, 50)

    def drawn(seed: int = 0, purpose: str = "representation") -> list[int]:
        return [starts.draw(tiny_problem(seed=seed), purpose, iteration) for iteration in range(12)]

    assert drawn() == drawn()
    assert drawn() != drawn(seed=1)
    assert drawn() != drawn(purpose="classifier")


def test_settings_become_the_range():
    settings = CurriculumSettings(min_start_epoch=1, max_start_epoch=9, initial_max_start_epoch=4, expansion_end=50)
    assert StartEpochs.of(settings) == StartEpochs(1, 9, 4, 50)
    assert StartEpochs.of(CurriculumSettings()).bound(0) == 20


@pytest.mark.parametrize(
    "impossible",
    [
        {"min_start_epoch": 5, "max_start_epoch": 5},
        {"initial_max_start_epoch": 9, "max_start_epoch": 5},
        {"min_start_epoch": 4, "initial_max_start_epoch": 4, "max_start_epoch": 5},
    ],
)
def test_an_empty_range_is_refused(impossible):
    with pytest.raises(ValidationError, match=r"min_start_epoch < initial_max_start_epoch <= max_start_epoch"):
        CurriculumSettings(**impossible)


def gradients(turn: int, soft: bool = True) -> MatchingGradients:
    generator = torch_generator(turn, "gradients")
    images, labels = torch.randn(4, 3, 2, 2, generator=generator), torch.randn(4, 2, generator=generator)
    rate = torch.randn((), generator=generator)
    return MatchingGradients(float(torch.rand((), generator=generator)), images, labels if soft else None, rate)


def parts(one: MatchingGradients) -> list[torch.Tensor]:
    found = [torch.tensor(one.loss), one.images, one.learning_rate]
    return found if one.labels is None else [*found, one.labels]


@pytest.mark.parametrize("soft", [True, False])
def test_an_iteration_is_the_mean_of_its_turns_which_follow_each_other(soft):
    asked = []

    def match(turn: int) -> MatchingGradients:
        asked.append(turn)
        return gradients(turn, soft)

    found = [mean_of_turns(tiny_problem(), 3, iteration, match) for iteration in range(2)]
    assert asked == list(range(6))
    for iteration, one in enumerate(found):
        turns = [parts(gradients(3 * iteration + number, soft)) for number in range(3)]
        for part, of_turns in zip(parts(one), zip(*turns, strict=True), strict=True):
            torch.testing.assert_close(part, torch.stack(of_turns).mean(0))


def test_one_turn_is_the_iteration_itself():
    only = gradients(5)
    assert mean_of_turns(tiny_problem(), 1, 5, {5: only}.__getitem__) is only


def test_peers_share_the_turns_out():
    asked: list[list[int]] = []
    found = []
    for rank in range(2):
        asked.append([])

        def match(turn: int, mine: list[int] = asked[-1]) -> MatchingGradients:
            mine.append(turn)
            return gradients(turn)

        problem = tiny_problem(runtime=Runtime(peers=Pretended(rank, 2)))
        found.append(parts(mean_of_turns(problem, 3, 2, match)))
    assert asked == [[6], [7, 8]]
    alone = parts(mean_of_turns(tiny_problem(), 3, 2, gradients))
    for whole, *shares in zip(alone, *found, strict=True):
        torch.testing.assert_close(sum(shares), whole)
