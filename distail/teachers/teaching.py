"""Networks trained on all the long-tailed images, kept beside a problem's experts and found again.

A teacher is kept like any whole baseline (`baselines/_fitting.py`), and so is the state of one in training.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

from distail.baselines._baseline import Baseline
from distail.baselines._fitting import fit, fit_key
from distail.baselines._registry import build_baseline
from distail.baselines._task import Task
from distail.experts.bank import ExpertBank
from distail.learn.kept import KeptNetworks
from distail.models.architecture import check_architecture, with_batch_norm
from distail.models.saved import SavedNetwork
from distail.problem import Load, Problem, Work
from distail.teachers.spec import TeacherSpec
from distail.training.recipe import TrainRecipe

FOLDER = "teachers"
"""Where teachers lie in the folder of an expert bank."""
_VECTORS = 3
"""Parameters, momentum and update, beside the gradient."""


def teach(problem: Problem, spec: TeacherSpec) -> SavedNetwork:
    """The network that a spec describes, trained on all the problem's training images, or found where it was kept.

    It sees what the problem's networks see, through the problem's own preprocessing, and is on the problem's device, in
    evaluation mode. A baseline that chooses a setting holds a tenth of each class out for it.

    What is found instead of trained counts into the bank's `reused_seconds`. Of several processes that need the same
    teacher one trains it, and the others wait.

    Raises:
        DistailError: an unknown baseline, setting, network or key of the training; a class with a single image where
            some must be held out; training diverges; a kept file is damaged; or the bank is no folder.
        Claimed: another process trains it, and the bank does not wait.
    """
    plan = _Plan.of(problem, spec)
    with problem.expert_bank() as bank:
        bank.require_folder()
        begun = time.perf_counter()
        fitted = fit(spec.baseline, plan.baseline, plan.task(), _kept_in(bank))
        bank.reused_seconds += max(0.0, fitted.seconds - (time.perf_counter() - begun))
        return fitted.saved


def teacher_architecture(problem: Problem, spec: TeacherSpec) -> str:
    """The network of a teacher: that of its spec, or the problem's own with batch norm."""
    return spec.architecture or with_batch_norm(problem.architecture)


def teaching_work(problem: Problem, spec: TeacherSpec) -> Work:
    """What `teach` passes through networks; nothing where the problem's bank holds the teacher.

    Raises:
        DistailError: an unknown baseline, setting, network or key of the training.
    """
    plan = _Plan.of(problem, spec)
    if problem.experts is not None and _kept_in(problem.experts).holds(plan.key()):
        return Work()
    work = plan.baseline.work(problem.train.class_counts, plan.recipe)
    batch = min(plan.recipe.batch_size, len(problem.train))
    return replace(work, loads=(Load(batch, parameter_vectors=_VECTORS),))


def _kept_in(bank: ExpertBank) -> KeptNetworks:
    return KeptNetworks(bank.path / FOLDER, bank.wait)


@dataclass(frozen=True, eq=False)
class _Plan:
    """A spec made definite for a problem."""

    problem: Problem
    spec: TeacherSpec
    baseline: Baseline
    recipe: TrainRecipe
    architecture: str

    @staticmethod
    def of(problem: Problem, spec: TeacherSpec) -> _Plan:
        """Refuses what cannot be trained."""
        baseline = build_baseline(spec.baseline, spec.settings)
        architecture = teacher_architecture(problem, spec)
        check_architecture(architecture)
        return _Plan(problem, spec, baseline, baseline.recipe_with(spec.train), architecture)

    def task(self) -> Task:
        """What the baseline gets to see, with nothing held out yet."""
        problem = self.problem
        return Task(
            everything=problem.train,
            train=problem.train,
            validation=None,
            architecture=self.architecture,
            recipe=self.recipe,
            seed=self.spec.seed,
            runtime=problem.runtime,
            progress=problem.progress,
            given_preprocessing=problem.preprocessing,
        )

    def key(self) -> str:
        """What the network is kept under."""
        return fit_key(self.spec.baseline, self.baseline, self.task())
