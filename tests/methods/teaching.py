"""What tests of methods with a teacher share."""

from typing import Any

from distail.methods._method import Method
from distail.methods._registry import build_method, find_method
from distail.problem import Problem
from distail.teachers.spec import TeacherSpec
from distail.teachers.teaching import teach
from tests.methods.tiny import CHEAP_TEACHER, CountedImages, cheap_settings, largest_batch

SHARP_TEACHER = TeacherSpec(
    train={"epochs": 15, "batch_size": 8, "learning_rate": 0.05, "warmup": 0.0, "augmentation": "none"}
)
"""Trained until it knows the tiny images."""


def quick(name: str, **settings: Any) -> Method:
    """The method with tiny settings."""
    return build_method(name, {**cheap_settings(find_method(name)), **settings})


def assert_work_is_what_it_computes(method: Method, problem: Problem, specs: tuple[TeacherSpec, ...]) -> None:
    """All networks are those of the problem, which has batch norm, so that images are counted as they are."""
    with CountedImages(channels=problem.train.image_shape[0]) as counted:
        method.distill(problem)
    work = method.work(problem)
    assert (counted.forward, counted.forward_backward) == (work.forward, work.forward_backward)
    assert counted.batch <= largest_batch(work)
    assert all(teach(problem, spec).architecture == problem.architecture for spec in specs)


__all__ = ["CHEAP_TEACHER", "SHARP_TEACHER", "assert_work_is_what_it_computes", "quick"]
