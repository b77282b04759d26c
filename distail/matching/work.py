"""How much computing and memory trajectory matching will ask for."""

from __future__ import annotations

from collections.abc import Iterable

from distail.experts.school import missing_epochs
from distail.experts.spec import ClassifierSpec, ExpertNeed
from distail.matching.settings import MatchingSettings
from distail.problem import Load, Problem, Work

TANGENT_PASS = 2.25
"""Cost of a pass with tangents and its reverse, in forward and backward passes of the same images; measured."""
_UNROLLED_EXTRA = 1.0
"""What the gradients of the weights add to it."""
_VECTORS_OF_EXPERTS = 4
"""Of an expert in training: where it stands, where GSAM looks, and two gradients."""
_LABELLING_BATCH = 256
"""Images that experts choose from or label at once."""


def matching_work(
    problem: Problem,
    needs: Iterable[ExpertNeed],
    settings: MatchingSettings,
    iterations: int,
    *,
    unrolled: bool = False,
    classifier_steps: int = 0,
    label_experts: int = 0,
) -> Work:
    """Experts that the bank lacks, and the passes of all iterations.

    Args:
        problem: data and bank.
        needs: of the method.
        settings: of the method.
        iterations: of the method.
        unrolled: whether the exact gradient is taken.
        classifier_steps: steps on a frozen backbone in one iteration.
        label_experts: experts held at once to choose and label the initial images.
    """
    experts = expert_work(problem, needs)
    batch = min(settings.batch_size, problem.num_classes * problem.images_per_class)
    turns = iterations * settings.experts_per_iteration
    matched = turns * settings.steps * batch * (1 + TANGENT_PASS + (_UNROLLED_EXTRA if unrolled else 0))
    on_classifier = turns * classifier_steps * batch
    loads = [*experts.loads, _student_load(settings, batch, unrolled, classifier_steps)]
    if label_experts:
        loads.append(Load(_LABELLING_BATCH, "forward", shared=True, parameter_vectors=label_experts))
    return Work(
        forward=experts.forward + on_classifier,
        forward_backward=experts.forward_backward + int(matched) + on_classifier,
        loads=tuple(loads),
    )


def expert_work(problem: Problem, needs: Iterable[ExpertNeed]) -> Work:
    """Training the experts that the bank lacks."""
    forward = backward = batch = 0
    for need, epochs in missing_epochs(problem.experts, problem.ground, needs):
        batch = max(batch, min(need.spec.batch_size, len(problem.train)) if epochs else 0)
        if isinstance(need.spec, ClassifierSpec):
            forward += epochs * problem.num_classes * max(problem.train.class_counts)
        else:
            backward += epochs * len(problem.train) * (2 if need.spec.gsam_rho else 1)
    load = Load(batch, shared=True, parameter_vectors=_VECTORS_OF_EXPERTS, float_images=True)
    return Work(forward, backward, (load,) if batch else ())


def _student_load(settings: MatchingSettings, batch: int, unrolled: bool, classifier_steps: int) -> Load:
    """Of one iteration: θ of every step is kept for the second pass, and the exact gradient keeps λ beside it.

    The engine keeps the graph of one step at a time in both forms; the plain one unrolls all steps in one graph, and
    keeps whole vectors of students that train the classifier alone too.
    """
    if settings.engine == "fast":
        vectors = settings.steps + 1 + int(unrolled)
        return Load(batch, "tangents", shared=True, parameter_vectors=vectors)
    steps = max(settings.steps, classifier_steps)
    graphs = settings.steps if unrolled else 1
    return Load(batch, "double_backward", graphs=graphs, parameter_vectors=steps + 1)
