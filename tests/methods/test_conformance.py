"""What every method promises. None is named here: a new method is tested without being asked."""

import inspect
import json
import math
import random
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from distail.distilled import DistilledSet, load_distilled
from distail.errors import DistailError
from distail.methods._method import Method
from distail.methods._registry import build_method, find_method, method_names
from distail.problem import Problem, Synthetic
from tests.methods.tiny import CHEAP, cheap_settings, largest_batch, tiny_problem

pytestmark = pytest.mark.parametrize("name", method_names())


def cheap(name: str, **limits: int) -> Method:
    return build_method(name, cheap_settings(find_method(name), {**CHEAP, **limits}))


def distill(name: str, **problem: Any) -> Synthetic:
    return cheap(name).distill(tiny_problem(**problem))


def parts(synthetic: Synthetic) -> dict[str, Tensor]:
    """All tensors that a method made."""
    found = {"images": synthetic.images, "labels": synthetic.labels}
    if synthetic.soft_labels is not None:
        found["soft_labels"] = synthetic.soft_labels
    if synthetic.real_indices is not None:
        found["real_indices"] = synthetic.real_indices
    if synthetic.learning_rate is not None:
        found["learning_rate"] = torch.tensor(synthetic.learning_rate)
    return found


def assert_same_bits(first: Synthetic, second: Synthetic) -> None:
    assert parts(first).keys() == parts(second).keys()
    for name, tensor in parts(first).items():
        assert torch.equal(tensor, parts(second)[name]), name


def assert_whole(synthetic: Synthetic, problem: Problem) -> None:
    """Right shapes and types, balanced and class by class, finite, on the CPU."""
    num_images = problem.num_classes * problem.images_per_class
    expected = [label for label in range(problem.num_classes) for _ in range(problem.images_per_class)]
    assert synthetic.images.shape == (num_images, *problem.train.image_shape)
    assert synthetic.images.dtype == torch.float32
    assert synthetic.labels.tolist() == expected
    assert not synthetic.images.requires_grad
    for tensor in parts(synthetic).values():
        assert tensor.device.type == "cpu"
        assert bool(torch.isfinite(tensor).all())
    if synthetic.soft_labels is not None:
        assert synthetic.soft_labels.shape == (num_images, problem.num_classes)
    if synthetic.learning_rate is not None:
        assert synthetic.learning_rate > 0
    if synthetic.real_indices is not None:
        assert torch.equal(problem.train.labels[synthetic.real_indices], synthetic.labels)
        assert torch.equal(problem.real(synthetic.real_indices), synthetic.images)


@pytest.mark.parametrize(
    "problem",
    [
        pytest.param({}, id="a class of one image, fewer than IPC"),
        pytest.param({"counts": (2, 2), "images_per_class": 5}, id="all classes smaller than IPC"),
        pytest.param({"images_per_class": 1}, id="IPC 1"),
        pytest.param({"counts": (1, 1)}, id="nothing but single images"),
        pytest.param({"shape": (1, 8, 8)}, id="grey"),
        pytest.param({"shape": (3, 8, 12)}, id="wide"),
        pytest.param({"shape": (3, 11, 8)}, id="tall and odd"),
        pytest.param({"architecture": "convnet2-w8-batch"}, id="batch normalisation"),
    ],
)
def test_makes_a_whole_balanced_set(name: str, problem: dict[str, Any]):
    posed, method = tiny_problem(**problem), cheap(name)
    if any(side % math.isqrt(method.images_in_one) for side in posed.train.image_shape[1:]):
        with pytest.raises(DistailError, match=r"mosaic .*--image-size"):
            method.distill(posed)
        return
    made = method.distill(posed)
    assert_whole(made, posed)
    assert (made.soft_labels is not None) == method.stores_soft_labels
    assert (made.teacher is not None) == method.keeps_teacher
    assert made.mosaic**2 == method.images_in_one


def test_the_seed_decides_every_bit(name: str):
    counts = (20, 15, 3)
    first = distill(name, counts=counts)
    torch.manual_seed(123)  # what the rest of the process draws must not matter
    np.random.seed(123)  # noqa: NPY002
    random.seed(123)
    assert_same_bits(first, distill(name, counts=counts))
    assert any(not torch.equal(first.images, distill(name, counts=counts, seed=seed).images) for seed in (1, 2, 3))


def test_leaves_inputs_and_global_state_alone(name: str, monkeypatch):
    problem = tiny_problem()
    images, labels, content = problem.train.images, problem.train.labels, problem.train.content_hash
    fitted = {key: tensor.clone() for key, tensor in problem.preprocessing.to_tensors().items()}
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()  # noqa: NPY002
    settings = (torch.is_grad_enabled(), torch.get_num_threads(), torch.get_default_dtype())
    # The type checker of the tests draws from Python's generator, so its state says nothing; seeding would.
    monkeypatch.setattr(random, "seed", lambda *_: pytest.fail("seeds Python's generator"))

    cheap(name).distill(problem)

    assert torch.equal(torch_state, torch.get_rng_state())
    assert all(map(np.array_equal, numpy_state, np.random.get_state()))  # noqa: NPY002
    assert (torch.is_grad_enabled(), torch.get_num_threads(), torch.get_default_dtype()) == settings
    assert problem.train.images is images
    assert problem.train.labels is labels
    assert type(problem.train)(images, labels, problem.train.class_names).content_hash == content
    assert all(torch.equal(problem.preprocessing.to_tensors()[key], fitted[key]) for key in fitted)


def test_result_does_not_alias_the_inputs(name: str):
    problem = tiny_problem()
    synthetic = cheap(name).distill(problem)
    content = problem.train.images.clone()
    synthetic.images.fill_(0.0)
    synthetic.labels.fill_(0)
    assert torch.equal(problem.train.images, content)
    assert problem.train.labels.max() == 2


def test_what_changes_images_tells_what_it_begins_with(name: str):
    told: list[Tensor] = []
    problem = tiny_problem(begin=lambda images: told.append(images.clone()))
    method = cheap(name)
    made = method.distill(problem)
    if "iterations" not in type(method).model_fields:
        assert told == []
        assert made.real_indices is not None or name == "rded"  # which puts crops together, once
        return
    assert len(told) == 1
    assert told[0].shape == made.images.shape
    assert bool(torch.isfinite(told[0]).all())
    assert not torch.equal(told[0].cpu(), made.images)


def test_an_empty_class_is_a_clear_error(name: str):
    with pytest.raises(DistailError, match=r"class 1.*add images, or remove the class"):
        distill(name, counts=(4, 0, 2))


def test_what_it_makes_survives_saving(name: str, tmp_path):
    problem = tiny_problem()
    made = cheap(name).distill(problem)
    whole = DistilledSet(
        images=made.images,
        labels=made.labels,
        class_names=problem.train.class_names,
        preprocessing=problem.preprocessing,
        soft_labels=made.soft_labels,
        learning_rate=made.learning_rate,
        mosaic=made.mosaic,
    )
    whole.save(tmp_path / "set.safetensors")
    read = load_distilled(tmp_path / "set.safetensors")
    assert torch.equal(read.images, made.images)
    assert torch.equal(read.labels, made.labels)
    assert (read.learning_rate, read.mosaic) == (made.learning_rate, made.mosaic)
    assert len(read.decoded()) == len(made.labels) * made.mosaic**2
    assert (read.soft_labels is None) == (made.soft_labels is None)
    if made.soft_labels is not None:
        assert torch.equal(read.soft_labels, made.soft_labels)
    # Pixels come back through the inverse as they would for real images.
    if made.real_indices is not None:
        assert torch.equal(read.to_pixels(), problem.train.images[made.real_indices])


class KilledError(Exception):
    """Stands for the loss of power."""


class Notebook:
    """A checkpoint in memory: writes every `every`-th state, and kills the run at call number `kill_at`."""

    def __init__(self, every: int = 1, kill_at: int | None = None) -> None:
        self.every, self.kill_at = every, kill_at
        self.calls = 0
        self.state: tuple[dict[str, Tensor], str] | None = None

    def load(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        if self.state is None:
            return None
        return {name: tensor.clone() for name, tensor in self.state[0].items()}, json.loads(self.state[1])

    def save(self, tensors: Mapping[str, Tensor], values: Mapping[str, Any], *, now: bool = False) -> None:
        self.calls += 1
        if now or self.calls % self.every == 0:
            copies = {name: tensor.detach().clone() for name, tensor in tensors.items()}
            self.state = (copies, json.dumps(dict(values)))
        if self.calls == self.kill_at:
            raise KilledError


def test_a_killed_run_resumes_to_the_same_bits(name: str):
    method = cheap(name, iterations=3)
    uninterrupted = Notebook()
    whole = method.distill(tiny_problem(checkpoint=uninterrupted))
    if not uninterrupted.calls:
        pytest.skip("keeps no state: it is quick enough to begin again")
    # Kept at every step; and at every second, where what is kept is older than the kill.
    calls = range(1, uninterrupted.calls + 1)
    for every, kill_at in [(1, call) for call in calls] + [(2, call) for call in calls if call % 2]:
        notebook = Notebook(every, kill_at)
        with pytest.raises(KilledError):
            method.distill(tiny_problem(checkpoint=notebook))
        notebook.calls, notebook.kill_at = 0, None
        assert_same_bits(whole, method.distill(tiny_problem(checkpoint=notebook)))
        # It must go on from the state, not begin again.
        assert notebook.calls == uninterrupted.calls - kill_at // every * every


def test_work_is_estimated_without_doing_it(name: str):
    problem = tiny_problem()
    work = find_method(name)().work(problem)  # the paper's settings would take minutes to hours
    assert min(work.forward, work.forward_backward, largest_batch(work)) >= 0
    assert (largest_batch(work) > 0) == (work.forward + work.forward_backward > 0)


def test_an_unknown_hyperparameter_names_the_closest(name: str):
    known = next(iter(find_method(name).model_fields), None)
    if known is None:
        with pytest.raises(DistailError, match=rf"method {name}: unknown key 'typo'"):
            build_method(name, {"typo": 1})
        return
    with pytest.raises(DistailError, match=rf"method {name}: unknown key '{known}x'\. Did you mean '{known}'\?"):
        build_method(name, {known + "x": 1})


def test_an_unknown_augmentation_is_a_clear_error(name: str):
    if "augmentation" not in find_method(name).model_fields:
        return
    settings = {**cheap_settings(find_method(name)), "augmentation": "flp"}
    with pytest.raises(DistailError, match=r"Unknown augmentation 'flp'.*'flip'"):
        build_method(name, settings).distill(tiny_problem())


def test_is_documented(name: str):
    method = find_method(name)
    assert method.__doc__ != Method.__doc__
    for text in (method.paper, method.summary):
        assert text.strip() == text
        assert len(text) >= 8
        assert "\n" not in text
    for field_name, field in method.model_fields.items():
        assert field.description, f"{field_name} has no docstring"
        assert not field.is_required(), f"{field_name} has no default"
    module = sys.modules[method.__module__]
    assert len(inspect.getdoc(module) or "") >= 80


def test_defaults_are_valid_and_frozen(name: str):
    method = build_method(name, {})
    assert build_method(name, method.model_dump()) == method
    with pytest.raises(Exception, match="frozen"):
        method.anything = 1
