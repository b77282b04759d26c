from typing import Any

import pytest
import torch
from torch import Tensor

from distail.errors import DistailError
from distail.models import build_network
from distail.progress import SilentProgress
from distail.runtime import Runtime
from distail.training.mixed_views import Lessons, MixedViews
from distail.training.mixture import Answers, MixtureLoss, TwoHeaded, mixture_pass, train_by_mixture
from distail.training.recipe import TrainRecipe
from distail.training.state import History
from distail.training.targets import Targets
from distail.training.training_set import TensorTrainingSet
from tests.methods import tiny  # noqa: F401  one thread
from tests.reference import glmc as reference

WEIGHTS = torch.tensor([0.2, 1.1, 1.7], dtype=torch.float64)
SIZE = 6


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def answers(seed: int, count: int = SIZE) -> Answers:
    found = (random(count, width, seed=10 * seed + part) for part, width in enumerate((3, 3, 5, 5)))
    return Answers(*(one.requires_grad_() for one in found))


TARGETS = random(SIZE, 3, seed=99).softmax(1)


@pytest.mark.parametrize("still", ["projection", "prediction"])
@pytest.mark.parametrize(("epoch", "epochs"), [(0, 10), (3, 10), (10, 10)])
def test_the_loss_is_the_formula(still, epoch, epochs):
    views = answers(1), answers(2)
    loss = MixtureLoss(WEIGHTS, 4.0, 0.5, still)
    rows = [
        [getattr(view, name).tolist() for name in ("plain", "balanced", "projected", "predicted")] for view in views
    ]
    expected = sum(
        reference.loss(
            *(tuple(part[number] for part in view) for view in rows),
            *(TARGETS[number].tolist(), WEIGHTS.tolist(), epoch, epochs, still, 4.0, 0.5),
        )
        for number in range(SIZE)
    )
    assert float(loss(views, TARGETS, epoch / epochs).detach()) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize(("still", "moved"), [("projection", "predicted"), ("prediction", "projected")])
def test_one_side_of_the_consistency_is_held_still(still, moved):
    views = answers(1), answers(2)
    MixtureLoss(WEIGHTS, 1.0, 0.0, still)(views, TARGETS, 0.5).backward()
    for view in views:
        assert {name for name in ("projected", "predicted") if getattr(view, name).grad is not None} == {moved}


def test_each_classifier_has_its_turn():
    for done, weight in ((0.0, "balanced"), (1.0, "plain")):
        views = answers(1), answers(2)
        MixtureLoss(WEIGHTS)(views, TARGETS, done).backward()
        assert float(getattr(views[0], weight).grad.abs().max()) == 0


def two_headed(architecture: str = "convnet2-w8") -> TwoHeaded:
    return TwoHeaded(build_network(architecture, (3, 8, 8), 3, seed=3), 5, seed=4)


def views_of(count: int) -> MixedViews:
    whole, part = (random(count, 3, 8, 8, seed=seed).float() for seed in (1, 2))
    return MixedViews(whole, part, random(count, 3, seed=3).float().softmax(1))


@pytest.mark.parametrize("count", [1, 33, 70])
@pytest.mark.parametrize("architecture", ["convnet2-w8", "convnet2-w8-batch"])
@pytest.mark.parametrize("fused", [False, True], ids=["plain", "fused"])
def test_a_pass_is_backward_on_the_whole_batch(count, architecture, fused):
    model, other, views = two_headed(architecture), two_headed(architecture), views_of(count)
    loss = MixtureLoss(WEIGHTS)
    asked = tuple(other.answers(images, Runtime()) for images in (views.whole, views.part))
    expected = loss(asked, views.targets, 0.6) / count
    expected.backward()
    model.network.fused = fused
    value, gradients = mixture_pass(model, views, loss, 0.6, Runtime())
    torch.testing.assert_close(value, expected.detach(), rtol=1e-5, atol=1e-6)
    for gradient, parameter in zip(gradients, other.parameters(), strict=True):
        torch.testing.assert_close(gradient, parameter.grad, rtol=1e-3, atol=1e-5)
    for name, buffer in model.named_buffers():
        torch.testing.assert_close(buffer, dict(other.named_buffers())[name])


def test_the_networks_own_classifier_is_the_balanced_one():
    model = two_headed()
    images = views_of(4).whole
    asked = model.answers(images, Runtime())
    assert torch.equal(asked.balanced, model.network(images))
    assert torch.equal(asked.balanced, model(images))
    assert not torch.equal(asked.plain, asked.balanced)
    names = [name for name, _ in model.named_parameters()]
    assert len(names) == len(set(names)) == len(list(model.network.parameters())) + 6


def train(model: TwoHeaded, *, precision: Any = "fp32", **changes: Any) -> History:
    images, labels = random(11, 3, 8, 8).float(), torch.arange(11) % 3
    recipe = TrainRecipe(
        **{"epochs": 3, "batch_size": 4, "learning_rate": 0.05, "schedule": "cosine", "augmentation": "crop", **changes}
    )
    draw = Lessons(
        TensorTrainingSet(images, Targets(labels), 3), lambda epoch, generator: list(torch.arange(11).split(4))
    )
    runtime = Runtime("cpu", precision)
    return train_by_mixture(
        model, draw, MixtureLoss(WEIGHTS), recipe, seed=1, runtime=runtime, progress=SilentProgress(), title="training"
    )


def test_training_repeats_itself_and_leaves_the_network_ready():
    first, second = two_headed(), two_headed()
    assert train(first) == train(second)
    assert not first.training
    assert not first.network.training
    assert first.network.fused is False
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name]), name


def test_a_prediction_held_still_is_not_trained():
    model = two_headed()
    _, gradients = mixture_pass(model, views_of(4), MixtureLoss(WEIGHTS, still="prediction"), 0.5, Runtime())
    named = dict(zip((name for name, _ in model.named_parameters()), gradients, strict=True))
    assert float(named["prediction.weight"].abs().max()) == 0 < float(named["projection.weight"].abs().max())


@pytest.mark.parametrize("schedule", ["step", "constant"])
def test_other_schedules(schedule):
    history = train(two_headed(), schedule=schedule)
    assert len(history.losses) == (4 if schedule == "step" else 3)
    assert history.kept_epoch == len(history.losses) - 1


@pytest.mark.parametrize(("architecture", "rate"), [("convnet2-w352", 0.001), ("convnet2-w8", 0.02)])
def test_large_networks_have_a_step_size_of_their_own(architecture, rate):
    found = train(two_headed(architecture), learning_rate=0.02, learning_rate_large=0.001)
    assert found.losses == train(two_headed(architecture), learning_rate=rate).losses


def test_bf16_goes_the_same_way():
    exact, coarse = two_headed("convnet2-w8-batch"), two_headed("convnet2-w8-batch")
    wanted, found = train(exact).losses, train(coarse, precision="bf16").losses
    assert found == pytest.approx(wanted, abs=0.05)
    assert {parameter.dtype for parameter in coarse.parameters()} == {torch.float32}


@pytest.mark.parametrize("changes", [{"mixing": "cutmix"}, {"average": 0.9}])
def test_what_leaves_no_room_for_mixtures_is_refused(changes):
    with pytest.raises(DistailError, match="Leave out 'mixing' and 'average'"):
        train(two_headed(), **changes)
