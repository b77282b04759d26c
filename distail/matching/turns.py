"""Whose turn it is: which expert, and which of its epochs, an iteration matches.

A function of the problem's seed and the iteration, so that a resumed run goes on with the same experts.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from distail.matching.settings import CurriculumSettings
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

    def draw(self, problem: Problem, purpose: str, iteration: int) -> int:
        """Uniform in the range of this iteration."""
        bound = self.bound(iteration)
        return int(torch.randint(self.lowest, bound, (), generator=problem.generator("epoch", purpose, iteration)))


def expert_turn(problem: Problem, purpose: str, iteration: int, num_experts: int) -> int:
    """Number of the expert to match: all in shuffled order, then all in another."""
    turn, place = divmod(iteration, num_experts)
    order = torch.randperm(num_experts, generator=problem.generator("expert order", purpose, turn))
    return int(order[place])
