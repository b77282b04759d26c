"""Which network a teacher has, and how much computing it asks for."""

from __future__ import annotations

from collections.abc import Iterable

from distail.baselines._registry import build_baseline
from distail.models.architecture import with_batch_norm
from distail.problem import Load, Problem, Work
from distail.teachers.spec import TeacherSpec


def teacher_architecture(problem: Problem, spec: TeacherSpec) -> str:
    """The network of a teacher: that of its spec, or the problem's own with batch norm."""
    return spec.architecture or with_batch_norm(problem.architecture)


def teaching_work(problem: Problem, specs: Iterable[TeacherSpec]) -> Work:
    """Training teachers of which none has been kept, counted in images through the problem's network."""
    total = Work()
    for spec in specs:
        architecture = teacher_architecture(problem, spec)
        baseline = build_baseline(spec.baseline, spec.settings)
        recipe = baseline.recipe_with(spec.train)
        passes, cost = baseline.work(problem.train.class_counts, recipe), problem.relative_cost(architecture)
        load = Load(min(recipe.batch_size, len(problem.train)), shared=True, architecture=architecture)
        total += Work(int(passes.forward * cost), int(passes.forward_backward * cost), (load,))
    return total
