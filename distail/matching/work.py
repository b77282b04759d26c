"""How much computing trajectory matching will ask for."""

from __future__ import annotations

from collections.abc import Iterable

from distail.experts.school import missing_epochs
from distail.experts.spec import ClassifierSpec, ExpertNeed
from distail.problem import Problem, Work

TANGENT_PASS = 2.25
"""Cost of a pass with tangents and its reverse, in forward and backward passes of the same images; measured."""
_UNROLLED_EXTRA = 1.0
"""What the gradients of the weights add to it."""


def matching_work(
    problem: Problem,
    needs: Iterable[ExpertNeed],
    iterations: int,
    batch_size: int,
    steps: int,
    *,
    unrolled: bool = False,
    classifier_steps: int = 0,
) -> Work:
    """Experts that the bank lacks, and the passes of all iterations.

    Args:
        problem: data and bank.
        needs: of the method.
        iterations: of the method.
        batch_size: synthetic images a step.
        steps: of the student in one iteration.
        unrolled: whether the exact gradient is taken.
        classifier_steps: steps on a frozen backbone in one iteration.
    """
    batch = min(batch_size, problem.num_classes * problem.images_per_class)
    matched = iterations * steps * batch * (1 + TANGENT_PASS + (_UNROLLED_EXTRA if unrolled else 0))
    forward = backward = 0
    expert_batch = 0
    for need, epochs in missing_epochs(problem.experts, problem.ground, needs):
        expert_batch = max(expert_batch, min(need.spec.batch_size, len(problem.train)))
        if isinstance(need.spec, ClassifierSpec):
            forward += epochs * problem.num_classes * max(problem.train.class_counts)
        else:
            backward += epochs * len(problem.train) * (2 if need.spec.gsam_rho else 1)
    on_classifier = iterations * classifier_steps * batch
    return Work(
        forward=forward + on_classifier,
        forward_backward=backward + int(matched) + on_classifier,
        batch=max(batch, expert_batch),
    )
