"""How much computing several teachers ask for, relative to the network of the problem."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from distail.problem import Problem, Work
from distail.teachers.spec import TeacherSpec
from distail.teachers.teaching import teacher_architecture, teaching_work


def teachers_work(problem: Problem, specs: Iterable[TeacherSpec]) -> Work:
    """Training the teachers that the bank lacks, counted in images through the problem's network."""
    total = Work()
    for spec in specs:
        architecture, passes = teacher_architecture(problem, spec), teaching_work(problem, spec)
        cost = problem.relative_cost(architecture)
        loads = tuple(replace(load, architecture=architecture) for load in passes.loads)
        total += Work(int(passes.forward * cost), int(passes.forward_backward * cost), loads)
    return total
