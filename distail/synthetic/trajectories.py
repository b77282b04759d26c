"""Trajectory matching that starts from random real images and keeps hard labels: what MTT, FTD and TESLA share."""

from __future__ import annotations

import torch

from distail.experts.bank import ExpertBank, shelf_of
from distail.experts.school import train_experts
from distail.experts.spec import ExpertNeed, RepresentationSpec
from distail.matching.descent import Descent, Learned, descend
from distail.matching.losses import InnerLoss
from distail.matching.phases import RepresentationPhase, TargetsAt
from distail.matching.settings import MatchingSettings
from distail.matching.turns import StartEpochs
from distail.problem import Problem
from distail.synthetic.selection import random_choice, select_real_images


def experts_in_reach(settings: MatchingSettings, spec: RepresentationSpec, max_start_epoch: int) -> ExpertNeed:
    """All experts, as far as students that start before `max_start_epoch` can be compared with them."""
    last = max_start_epoch - 1 + settings.expert_span
    return ExpertNeed(spec=spec, num_experts=settings.num_experts, epochs=last)


def match_from_random_images(
    problem: Problem,
    bank: ExpertBank,
    spec: RepresentationSpec,
    max_start_epoch: int,
    descent: Descent,
    *,
    unrolled: bool,
    labels_by: TargetsAt | None = None,
) -> Learned:
    """Trains the experts that the bank lacks, and descends from random real images.

    Args:
        problem: data, seed and device.
        bank: where experts are.
        spec: of the experts.
        max_start_epoch: students start from expert epochs before this one.
        descent: step sizes.
        unrolled: the exact gradient, or TESLA's.
        labels_by: hard labels are replaced by what the target expert answers, if given.

    Raises:
        DistailError: training an expert or matching diverges.
    """
    settings = descent.settings
    train_experts(bank, problem.ground, [experts_in_reach(settings, spec, max_start_epoch)])
    phase = RepresentationPhase(
        problem=problem,
        settings=settings,
        shelf=shelf_of(bank, problem.ground, spec),
        starts=StartEpochs(0, max_start_epoch),
        loss=InnerLoss.plain(),
        unrolled=unrolled,
        labels_by=labels_by,
    )
    images = select_real_images(problem, random_choice(problem)).images.to(problem.runtime.device)
    start = Learned(images, None, torch.tensor(settings.initial_learning_rate, device=images.device))
    return descend(problem, descent, start, lambda learned, iteration: [(1.0, phase(learned, iteration))])
