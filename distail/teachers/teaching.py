"""Trains a teacher, or takes it from where one like it has been kept."""

from __future__ import annotations

from distail.baselines._registry import build_baseline
from distail.baselines._task import Task, with_validation
from distail.learn.kept import KeptNetworks
from distail.models.saved import SavedNetwork
from distail.problem import Problem
from distail.teachers.spec import TeacherSpec
from distail.teachers.work import teacher_architecture


def teach(problem: Problem, spec: TeacherSpec) -> SavedNetwork:
    """A network trained on all the problem's images by a baseline, on the device and in evaluation mode.

    Raises:
        DistailError: there is no such baseline, a setting is unknown, or training diverges.
    """
    baseline = build_baseline(spec.baseline, spec.settings)
    with problem.expert_bank() as bank:
        task = Task(
            everything=problem.train,
            train=problem.train,
            validation=None,
            architecture=teacher_architecture(problem, spec),
            recipe=baseline.recipe_with(spec.train),
            seed=spec.seed,
            preprocessing_kind=problem.preprocessing.kind,
            runtime=problem.runtime,
            progress=problem.progress,
            kept=KeptNetworks(bank.path / "teachers"),
        )
        saved = baseline.fit(with_validation(task) if baseline.needs_validation else task).saved
    saved.network.to(problem.runtime.device).eval()
    return saved
