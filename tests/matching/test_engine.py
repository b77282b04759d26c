"""The engine against the eager oracle in float64, and against the loss itself."""

import pytest
import torch
from matching.worlds import COUNTS, assert_alike, make_world, relative

from distail.data.augment import DSA
from distail.errors import DistailError
from distail.matching import (
    InnerLoss,
    match_classifier,
    match_classifier_plainly,
    match_trajectory,
    match_trajectory_plainly,
)
from distail.matching.trainable import Batch

LOSSES = {
    "plain": InnerLoss.plain(),
    "weighted": InnerLoss.distribution_agnostic(COUNTS, "weighted"),
    "adjusted": InnerLoss.distribution_agnostic(COUNTS, "adjusted", 0.7),
    "both": InnerLoss.distribution_agnostic(COUNTS, "both"),
}
either_form = pytest.mark.parametrize("unrolled", [False, True], ids=["tesla", "unrolled"])


@either_form
@pytest.mark.parametrize("matched", ["all", "backbone"])
@pytest.mark.parametrize("hard", [False, True], ids=["soft", "hard"])
def test_trajectory(unrolled: bool, matched: str, hard: bool) -> None:
    world = make_world(hard=hard)
    found = world.match(match_trajectory, matched=matched, unrolled=unrolled)
    assert_alike(found, world.match(match_trajectory_plainly, matched=matched, unrolled=unrolled))
    assert (found.labels is None) == hard


@either_form
@pytest.mark.parametrize("hard", [False, True], ids=["soft", "hard"])
def test_classifier(unrolled: bool, hard: bool) -> None:
    world = make_world(hard=hard).classifier_only()
    found = world.match(match_classifier, unrolled=unrolled)
    assert_alike(found, world.match(match_classifier_plainly, unrolled=unrolled))


@pytest.mark.parametrize("form", LOSSES)
@pytest.mark.parametrize("hard", [False, True], ids=["soft", "hard"])
def test_losses(form: str, hard: bool) -> None:
    world = make_world(loss=LOSSES[form], hard=hard, num_steps=2)
    for options in ({"matched": "backbone"}, {"unrolled": True}):
        assert_alike(world.match(match_trajectory, **options), world.match(match_trajectory_plainly, **options))
    world = world.classifier_only()
    assert_alike(world.match(match_classifier), world.match(match_classifier_plainly))


@pytest.mark.parametrize(
    ("architecture", "side"),
    [
        ("convnet3-w8", 32),
        ("convnet3-w6", 8),  # the last maps hold one number: no normalisation
        ("convnet2-w5", 10),  # an odd map is pooled
        ("convnet2-w4-group", 8),
        ("convnet2-w4-none", 8),
        ("convnet2-w6-batch", 8),
        ("residual", 8),
        ("smooth", 8),
        ("attention", 8),
    ],
)
@either_form
def test_architectures(architecture: str, side: int, unrolled: bool) -> None:
    world = make_world(architecture, side, num_steps=3)
    found = world.match(match_trajectory, unrolled=unrolled)
    assert_alike(found, world.match(match_trajectory_plainly, unrolled=unrolled))
    world = world.classifier_only()
    found = world.match(match_classifier, unrolled=unrolled)
    assert_alike(found, world.match(match_classifier_plainly, unrolled=unrolled))


@pytest.mark.parametrize("architecture", ["resnet18", "vgg11", "alexnet"])
def test_large_architectures(architecture: str) -> None:
    world = make_world(architecture, 8, num_images=2, batch_size=2, num_steps=1)
    assert_alike(world.match(match_trajectory), world.match(match_trajectory_plainly))


@pytest.mark.parametrize("operation", ["color", "crop", "cutout", "flip", "scale", "rotate", "none"])
def test_gradients_reach_the_images_before_augmentation(operation: str) -> None:
    world = make_world(augment=DSA(strategy=operation), num_steps=2)
    assert_alike(world.match(match_trajectory), world.match(match_trajectory_plainly))


def test_batches_larger_than_a_part() -> None:
    world = make_world(num_images=70, batch_size=70, num_steps=2)
    for unrolled in (False, True):
        found = world.match(match_trajectory, unrolled=unrolled)
        assert_alike(found, world.match(match_trajectory_plainly, unrolled=unrolled))
    world = world.classifier_only()
    assert_alike(world.match(match_classifier), world.match(match_classifier_plainly))


def test_images_that_no_step_used_have_no_gradient() -> None:
    world = make_world(num_images=10, batch_size=3, num_steps=2)
    used = torch.cat([step.indices for step in world.steps.steps])
    unused = [i for i in range(10) if i not in used]
    found = world.match(match_trajectory)
    assert found.labels is not None
    assert unused
    assert not found.images[unused].any()
    assert not found.labels[unused].any()
    assert all(found.images[i].any() for i in used)


def test_the_two_forms_agree_for_one_step_and_differ_for_more() -> None:
    one = make_world(num_steps=1)
    assert_alike(one.match(match_trajectory), one.match(match_trajectory, unrolled=True), 1e-13)
    more = make_world(num_steps=3)
    tesla, exact = more.match(match_trajectory), more.match(match_trajectory, unrolled=True)
    assert tesla.loss == exact.loss
    assert relative(tesla.images, exact.images) > 1e-3
    assert relative(tesla.learning_rate, exact.learning_rate) > 1e-3


@pytest.mark.parametrize("phase", ["trajectory", "classifier"])
@pytest.mark.parametrize("architecture", ["convnet2-w6", "convnet2-w6-batch", "smooth"])
def test_the_unrolled_form_is_the_derivative_of_the_loss(architecture: str, phase: str) -> None:
    match = match_trajectory if phase == "trajectory" else match_classifier
    world = make_world(architecture, num_steps=4, loss=LOSSES["both"]).classifier_only()
    found = world.match(match, unrolled=True)
    generator = torch.Generator().manual_seed(1)
    for name in ("learning_rate", "images", "targets"):
        value, slope = getattr(world, name), getattr(found, "labels" if name == "targets" else name)
        towards = torch.randn(value.shape, generator=generator, dtype=torch.float64)
        ahead, behind = (world.with_(**{name: value + sign * 1e-6 * towards}).match(match).loss for sign in (1, -1))
        assert float((slope * towards).sum()) == pytest.approx((ahead - behind) / 2e-6, rel=1e-4)


def test_a_student_that_does_not_move_has_loss_one() -> None:
    world = make_world()
    still = world.with_(learning_rate=torch.zeros((), dtype=torch.float64))
    found = still.match(match_trajectory)
    assert found.loss == pytest.approx(1, abs=1e-14)
    assert not found.images.any()
    assert found.learning_rate != 0


def test_a_perfect_match_asks_for_nothing() -> None:
    world = make_world(num_steps=1, augment=DSA(strategy="none"), batch_size=10)
    step = world.network.gradient(world.start, Batch(world.images, world.targets, world.loss, len(world.images)))
    found = world.with_(target=world.start - world.learning_rate * step.parameters).match(match_trajectory)
    assert found.loss < 1e-25
    assert float(found.images.abs().max()) < 1e-12


def test_an_expert_that_did_not_move_is_refused() -> None:
    world = make_world()
    still = world.with_(target=world.start)
    for match in (match_trajectory, match_trajectory_plainly, match_classifier, match_classifier_plainly):
        with pytest.raises(DistailError, match="Choose snapshots further apart"):
            still.match(match)
    # The classifier of this expert moved, which does not count here.
    first = world.network.classifier_start
    target = torch.cat([world.start[:first], world.target[first:]])
    with pytest.raises(DistailError, match="Choose snapshots further apart"):
        world.with_(target=target).match(match_trajectory, matched="backbone")


def test_a_diverged_expert_is_refused() -> None:
    world = make_world()
    with pytest.raises(DistailError, match="moved by nan"):
        world.with_(target=torch.full_like(world.target, torch.nan)).match(match_trajectory)


@pytest.mark.parametrize("architecture", ["convnet2-w6", "convnet2-w6-batch"])
def test_arguments_and_random_state_are_left_alone(architecture: str) -> None:
    world = make_world(architecture)
    network = world.network.network
    names = ("images", "targets", "learning_rate", "start", "target")
    before = {name: getattr(world, name).clone() for name in names}
    weights = {name: value.clone() for name, value in network.state_dict().items()}
    random_state = torch.random.get_rng_state()
    with torch.no_grad():
        first = world.match(match_trajectory, unrolled=True)
    again = world.match(match_trajectory, unrolled=True)
    assert torch.equal(first.images, again.images)
    assert all(torch.equal(before[name], getattr(world, name)) for name in names)
    assert all(torch.equal(weights[name], value) for name, value in network.state_dict().items())
    assert torch.equal(random_state, torch.random.get_rng_state())
    assert not any(getattr(again, name).requires_grad for name in ("images", "labels", "learning_rate"))
