"""Whose turn it is: which expert, and which of its epochs, an iteration matches.

A function of the problem's seed and the number of the turn, so that a resumed run goes on with the same experts. An
iteration has as many turns as it matches experts; where that is one, turn i is iteration i. Peers share the turns out,
and only the gradients that come of them are summed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from distail.matching.settings import CurriculumSettings
from distail.matching.sweep import MatchingGradients
from distail.matching.trainable import joined, total
from distail.problem import Problem


@dataclass(frozen=True)
class StartEpochs:
    """Range of expert epochs that students start from.

    Attributes:
        lowest: first epoch that may be drawn.
        highest: the epoch after the last one that may be drawn.
        initial_highest: with a curriculum, where `highest` stands in iteration 0; None for no curriculum.
        expansion_end: iteration in which the range has grown to its full size.

    Source: the curriculum ("sequential generation") is that of Guo et al., DATM, arXiv:2310.05773.
    """

    lowest: int
    highest: int
    initial_highest: int | None = None
    expansion_end: int = 1

    @staticmethod
    def of(settings: CurriculumSettings) -> StartEpochs:
        """The range that these fields describe."""
        return StartEpochs(
            settings.min_start_epoch,
            settings.max_start_epoch,
            settings.initial_max_start_epoch,
            settings.expansion_end,
        )

    def bound(self, iteration: int) -> int:
        """The epoch after the last one that may be drawn in this iteration."""
        if self.initial_highest is None:
            return self.highest
        grown = (self.highest - self.initial_highest) * iteration // max(self.expansion_end, 1)
        return min(self.initial_highest + grown, self.highest)

    def draw(self, problem: Problem, purpose: str, iteration: int, turn: int | None = None) -> int:
        """Uniform in the range of this iteration; for one of its turns, where it has several."""
        generator = problem.generator("epoch", purpose, iteration if turn is None else turn)
        return int(torch.randint(self.lowest, self.bound(iteration), (), generator=generator))


def expert_turn(problem: Problem, purpose: str, turn: int, num_experts: int) -> int:
    """Number of the expert to match: all in shuffled order, then all in another."""
    cycle, place = divmod(turn, num_experts)
    order = torch.randperm(num_experts, generator=problem.generator("expert order", purpose, cycle))
    return int(order[place])


def mean_of_turns(
    problem: Problem, num_turns: int, iteration: int, match: Callable[[int], MatchingGradients]
) -> MatchingGradients:
    """Matching loss and gradients of an iteration: the means over its turns, of which each process takes some.

    Args:
        problem: its runtime knows the peers.
        num_turns: turns an iteration; at least as many as there are peers.
        iteration: its number.
        match: loss and gradients of one turn.
    """
    if num_turns == 1:
        return match(iteration)
    peers = problem.runtime.peers
    mine = range(num_turns)[peers.share(num_turns)]
    found = [match(iteration * num_turns + number) for number in mine]
    whole = peers.sum(total([_packed(one) for one in found])) / num_turns
    return _unpacked(whole, found[0])


def _packed(one: MatchingGradients) -> Tensor:
    """Everything in one vector, which is sent at once."""
    loss = one.images.new_tensor([one.loss])
    return joined([loss, one.learning_rate, one.images, *([] if one.labels is None else [one.labels])])


def _unpacked(vector: Tensor, like: MatchingGradients) -> MatchingGradients:
    end = 2 + like.images.numel()
    labels = None if like.labels is None else vector[end:].view_as(like.labels)
    return MatchingGradients(float(vector[0]), vector[2:end].view_as(like.images), labels, vector[1])
