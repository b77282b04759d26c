"""Which network a teacher has, and how much computing it asks for."""

from __future__ import annotations

from collections.abc import Iterable

from distail.baselines._registry import find_baseline
from distail.models.architecture import with_batch_norm
from distail.problem import Load, Problem, Work
from distail.teachers.spec import TeacherSpec
from distail.training.recipe import TrainRecipe


def teacher_architecture(problem: Problem, spec: TeacherSpec) -> str:
    """The network of a teacher: that of its spec, or the problem's own with batch norm."""
    return spec.architecture or with_batch_norm(problem.architecture)


def teaching_work(problem: Problem, specs: Iterable[TeacherSpec]) -> Work:
    """Training teachers of which none has been kept, counted in images through the problem's network."""
    images, loads = 0.0, []
    for spec in specs:
        architecture = teacher_architecture(problem, spec)
        recipe = TrainRecipe.model_validate({**find_baseline(spec.baseline).recipe.model_dump(), **spec.train})
        images += recipe.num_epochs * len(problem.train) * problem.relative_cost(architecture)
        loads.append(Load(min(recipe.batch_size, len(problem.train)), shared=True, architecture=architecture))
    return Work(forward_backward=int(images), loads=tuple(loads))
