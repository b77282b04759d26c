"""Memory, threads and precision of the engine."""

from __future__ import annotations

import weakref
from typing import Any, NamedTuple

import pytest
import torch
from matching.worlds import World, make_world
from torch import Tensor

from distail.matching import (
    MatchingGradients,
    match_classifier,
    match_classifier_plainly,
    match_trajectory,
    match_trajectory_plainly,
)


class SavedBytes:
    """Bytes that graphs hold, now and at most."""

    def __init__(self) -> None:
        self.now = self.peak = 0

    def pack(self, tensor: Tensor) -> Any:
        holder = _Holder(tensor)
        size = tensor.nbytes
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(holder, self._release, size)
        return holder

    def _release(self, size: int) -> None:
        self.now -= size


class _Holder:
    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor


def peak_bytes(world: World, match: Any, **options: Any) -> int:
    saved = SavedBytes()
    with torch.autograd.graph.saved_tensors_hooks(saved.pack, lambda holder: holder.tensor):
        world.match(match, **options)
    return saved.peak


@pytest.mark.parametrize("architecture", ["convnet2-w6", "residual"])
def test_graphs_do_not_grow_with_the_steps(architecture: str) -> None:
    short, long = (make_world(architecture, num_images=8, batch_size=8, num_steps=n) for n in (2, 12))
    for unrolled in (False, True):
        few, many = (peak_bytes(world, match_trajectory, unrolled=unrolled) for world in (short, long))
        assert 0 < many <= 1.2 * few
    few, many = (peak_bytes(world.classifier_only(), match_classifier) for world in (short, long))
    assert 0 < many <= 1.2 * few
    # The same measure sees the graph that the oracle keeps.
    few, many = (peak_bytes(world, match_trajectory_plainly, unrolled=True) for world in (short, long))
    assert many > 4 * few


class Errors(NamedTuple):
    """Relative errors."""

    loss: float
    images: float
    labels: float
    learning_rate: float


def errors(found: MatchingGradients, wanted: MatchingGradients) -> Errors:
    assert found.labels is not None
    assert wanted.labels is not None
    return Errors(
        abs(found.loss - wanted.loss) / wanted.loss,
        distance(found.images, wanted.images),
        distance(found.labels, wanted.labels),
        distance(found.learning_rate, wanted.learning_rate),
    )


def distance(found: Tensor, wanted: Tensor) -> float:
    return float((found - wanted).norm() / wanted.norm())


MATCHES = {
    "tesla": (match_trajectory, match_trajectory_plainly, {}),
    "unrolled": (match_trajectory, match_trajectory_plainly, {"unrolled": True}),
    "classifier": (match_classifier, match_classifier_plainly, {}),
}


@pytest.mark.parametrize(("precision", "bound"), [("fp32", 3e-5), ("bf16", 0.3)])
@pytest.mark.parametrize("form", MATCHES)
def test_precision(form: str, precision: str, bound: float) -> None:
    engine, oracle, options = MATCHES[form]
    world = make_world("convnet3-w16", 16, num_images=32, batch_size=16, num_steps=4).classifier_only()
    exact = world.match(engine, **options)
    found, plainly = (world.in_precision(precision).match(match, **options) for match in (engine, oracle))
    assert found.images.dtype == torch.float32
    assert max(errors(found, exact)) < bound
    # Rounding by these formulas is no worse than by the eager ones.
    assert errors(found, exact).images < 1.5 * errors(plainly, exact).images


@pytest.mark.parametrize("form", MATCHES)
def test_threads_do_not_change_the_bits(form: str) -> None:
    engine, _, options = MATCHES[form]
    world = make_world("convnet2-w6", num_images=100, batch_size=100, num_steps=2).in_precision("fp32")
    alone = world.match(engine, **options)
    threads = torch.get_num_threads()
    try:
        for more in (2, 3):
            torch.set_num_threads(more)
            found = world.match(engine, **options)
            assert found.loss == alone.loss
            for name in ("images", "labels", "learning_rate"):
                assert torch.equal(getattr(found, name), getattr(alone, name))
    finally:
        torch.set_num_threads(threads)
