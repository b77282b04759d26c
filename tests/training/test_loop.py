import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from distail.data.augment import DSA
from distail.data.mixing import Mixture
from distail.errors import DistailError
from distail.models import Network, build_network
from distail.progress import Progress
from distail.runtime import Runtime
from distail.seeding import torch_generator
from distail.training.loop import Selection, train_network
from distail.training.recipe import TrainRecipe
from distail.training.state import History
from distail.training.targets import Targets
from distail.training.training_set import TensorTrainingSet, shuffled_batches
from tests.methods import tiny  # noqa: F401  one thread
from tests.reference import training as reference

NUM_IMAGES, NUM_CLASSES, BATCH_SIZE, SEED = 11, 3, 4, 7
IMAGES = torch.randn(NUM_IMAGES, 3, 8, 8, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(NUM_IMAGES) % NUM_CLASSES
DATA = TensorTrainingSet(IMAGES, Targets(LABELS), NUM_CLASSES)


def recipe(**settings: Any) -> TrainRecipe:
    return TrainRecipe(**{"epochs": 4, "batch_size": BATCH_SIZE, "learning_rate": 0.05, **settings})


def new_network(architecture: str = "convnet2-w8") -> Network:
    return build_network(architecture, (3, 8, 8), NUM_CLASSES, seed=3)


def train(network: nn.Module, data: TensorTrainingSet = DATA, **settings: Any) -> History:
    how = settings.pop("recipe", None) or recipe()
    return train_network(network, data, how, **{"seed": SEED, "runtime": Runtime(), **settings})


def drawn_batches(how: TrainRecipe, targets: Tensor, num_epochs: int) -> list[list[tuple[Tensor, Tensor]]]:
    """The batches and augmentations of each epoch, from the generators that the loop names."""
    epochs = []
    for epoch in range(num_epochs):
        generator = torch_generator(SEED, "epoch", epoch)
        order = torch.randperm(NUM_IMAGES, generator=generator)
        batches = []
        for start in range(0, NUM_IMAGES, how.batch_size):
            picked = order[start : start + how.batch_size]
            batches.append((DSA(how.augmentation)(IMAGES[picked], generator), targets[picked]))
        epochs.append(batches)
    return epochs


def one_hot(labels: Tensor) -> Tensor:
    return nn.functional.one_hot(labels, NUM_CLASSES).float()


def assert_same_weights(first: nn.Module, second: nn.Module, **tolerance: float) -> None:
    for name, value in first.state_dict().items():
        torch.testing.assert_close(value, second.state_dict()[name], **(tolerance or {"rtol": 0, "atol": 0}))


@pytest.mark.parametrize("augmentation", ["none", "color_crop_cutout_flip_scale_rotate"])
def test_the_step_schedule_is_the_released_loop(augmentation):
    """One epoch more than named; a tenth of the rate after epoch E // 2 + 1, with the momentum forgotten."""
    how = recipe(augmentation=augmentation)
    network, expected = new_network(), new_network()
    history = train(network, recipe=how)
    losses = reference.train(
        expected,
        drawn_batches(how, one_hot(LABELS), num_epochs=5),
        learning_rate=lambda epoch, step: 0.05 if epoch <= 3 else 0.005,  # E // 2 + 1 = 3
        momentum=0.9,
        weight_decay=5e-4,
        forget_after=3,
    )
    assert history.losses == pytest.approx(losses, rel=1e-5)
    assert history.kept_epoch == 4
    assert_same_weights(network, expected, rtol=1e-4, atol=1e-6)


def test_the_cosine_schedule_falls_from_the_full_rate_towards_zero():
    how = recipe(schedule="cosine", momentum=0.5, weight_decay=0.01)
    network, expected = new_network(), new_network()
    history = train(network, recipe=how)
    losses = reference.train(
        expected,
        drawn_batches(how, one_hot(LABELS), num_epochs=4),
        learning_rate=lambda epoch, step: 0.05 * 0.5 * (1 + math.cos(math.pi * (3 * epoch + step) / 12)),
        momentum=0.5,
        weight_decay=0.01,
    )
    assert history.losses == pytest.approx(losses, rel=1e-5)
    assert_same_weights(network, expected, rtol=1e-4, atol=1e-6)


def test_the_constant_schedule_stays():
    how = recipe(schedule="constant", epochs=3)
    network, expected = new_network(), new_network()
    history = train(network, recipe=how)
    losses = reference.train(
        expected, drawn_batches(how, one_hot(LABELS), num_epochs=3), lambda epoch, step: 0.05, 0.9, 5e-4
    )
    assert history.losses == pytest.approx(losses, rel=1e-5)
    assert_same_weights(network, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("architecture", "rate"), [("convnet2-w352", 0.01), ("convnet2-w8", 0.05)])
def test_large_networks_have_a_step_size_of_their_own(architecture, rate):
    network, expected = new_network(architecture), new_network(architecture)
    found = train(network, recipe=recipe(learning_rate_large=0.01))
    assert found.losses == train(expected, recipe=recipe(learning_rate=rate)).losses
    assert_same_weights(network, expected)


def test_soft_targets_are_those_of_the_equation():
    soft = torch.randn(NUM_IMAGES, NUM_CLASSES, generator=torch.Generator().manual_seed(1)).softmax(1)
    how = recipe(schedule="constant", epochs=2)
    network, expected = new_network(), new_network()
    history = train(network, TensorTrainingSet(IMAGES, Targets(probabilities=soft), NUM_CLASSES), recipe=how)
    losses = reference.train(expected, drawn_batches(how, soft, num_epochs=2), lambda epoch, step: 0.05, 0.9, 5e-4)
    assert history.losses == pytest.approx(losses, rel=1e-5)
    assert_same_weights(network, expected, rtol=1e-4, atol=1e-6)


def test_certain_soft_targets_are_hard_ones():
    hard, soft = new_network(), new_network()
    hard_history = train(hard)
    soft_history = train(soft, TensorTrainingSet(IMAGES, Targets(probabilities=one_hot(LABELS)), NUM_CLASSES))
    assert hard_history.losses == pytest.approx(soft_history.losses, rel=1e-5)
    assert_same_weights(hard, soft, rtol=1e-4, atol=1e-6)


class SeenViews(TensorTrainingSet):
    """Answers from the augmented views that it is shown, as a teacher does."""

    def targets(self, indices: Tensor, views: Tensor, mixture: Mixture | None = None) -> Targets:
        return Targets(probabilities=one_hot((views.mean((1, 2, 3)) > 0).long()))


def test_targets_may_depend_on_the_augmented_views():
    how = recipe(schedule="constant", epochs=2)
    network, expected = new_network(), new_network()
    train(network, SeenViews(IMAGES, Targets(LABELS), NUM_CLASSES), recipe=how)
    epochs = [
        [(views, one_hot((views.mean((1, 2, 3)) > 0).long())) for views, _ in batches]
        for batches in drawn_batches(how, LABELS, num_epochs=2)
    ]
    reference.train(expected, epochs, lambda epoch, step: 0.05, 0.9, 5e-4)
    assert_same_weights(network, expected, rtol=1e-4, atol=1e-6)


def test_it_learns():
    network = new_network()
    history = train(network, recipe=recipe(epochs=60, augmentation="none"))
    assert history.losses[-1] < 0.1 < history.losses[0]
    assert torch.equal(network(IMAGES).argmax(1), LABELS)


def test_the_seed_decides_every_bit():
    first, again, other = new_network(), new_network(), new_network()
    history = train(first)
    torch.manual_seed(99)
    assert train(again).losses == history.losses
    assert_same_weights(first, again)
    assert train(other, seed=SEED + 1).losses != history.losses


def test_global_randomness_is_left_alone():
    before = torch.get_rng_state()
    train(new_network())
    assert torch.equal(torch.get_rng_state(), before)


def test_an_epoch_depends_on_its_number_alone():
    """A shorter run is the beginning of a longer one, which resuming and snapshots rely on."""
    short, long = recipe(epochs=2, schedule="constant"), recipe(epochs=4, schedule="constant")
    assert train(new_network(), recipe=long).losses[:2] == train(new_network(), recipe=short).losses


def test_trains_in_training_mode_and_ends_in_evaluation_mode():
    network = new_network("convnet2-w8-batch").eval()
    before = network.backbone[1].running_mean.clone()
    train(network)
    assert not network.training
    assert not torch.equal(network.backbone[1].running_mean, before)


@pytest.mark.parametrize("schedule", ["step", "cosine"])
def test_divergence_is_an_error_that_names_the_learning_rate(schedule):
    with pytest.raises(DistailError, match=r"loss became (nan|inf) in epoch [01]\. Lower.*\(now 1e\+30\)"):
        train(new_network("convnet1-w8-none"), recipe=recipe(learning_rate=1e30, schedule=schedule))


class Scripted:
    """Gives out scores in turn, and remembers the networks that it saw."""

    def __init__(self, *scores: float) -> None:
        self.scores, self.seen = list(scores), []

    def __call__(self, network: Network) -> float:
        network.eval()  # as any honest validation does; training must not suffer from it
        self.seen.append({name: value.clone() for name, value in network.state_dict().items()})
        return self.scores[len(self.seen) - 1]


def test_selection_keeps_the_best_epoch_whole():
    network, judge = new_network("convnet2-w8-batch"), Scripted(0.1, 0.7, 0.3, 0.7, 0.5)
    history = train(network, selection=Selection(judge, every=1))
    assert history.validation == [(0, 0.1), (1, 0.7), (2, 0.3), (3, 0.7), (4, 0.5)]
    assert history.kept_epoch == 1  # the first of equals
    assert len(history.losses) == 5
    assert not network.training
    for name, value in network.state_dict().items():
        assert torch.equal(value, judge.seen[1][name]), name
    assert not all(torch.equal(value, judge.seen[4][name]) for name, value in network.state_dict().items())


def test_selection_looks_every_so_often_and_at_the_end():
    judge = Scripted(0.1, 0.2, 0.3)
    history = train(new_network(), recipe=recipe(epochs=5), selection=Selection(judge, every=4))
    assert [epoch for epoch, _ in history.validation] == [0, 4, 5]
    assert history.kept_epoch == 5


def test_looking_does_not_change_what_is_learned():
    plain = train(new_network("convnet2-w8-batch"))
    looked = train(new_network("convnet2-w8-batch"), selection=Selection(Scripted(*map(float, range(5))), every=1))
    assert looked.losses == plain.losses


def test_nothing_but_the_given_data_is_looked_at():
    """The loop reads its training set and nothing else; validation data are the judge's own affair."""
    asked: list[int] = []

    class Watched(TensorTrainingSet):
        def images(self, indices: Tensor) -> Tensor:
            asked.extend(indices.tolist())
            return super().images(indices)

    judge = Scripted(*map(float, range(5)))
    train(new_network(), Watched(IMAGES, Targets(LABELS), NUM_CLASSES), selection=Selection(judge, every=1))
    assert sorted(asked) == sorted(list(range(NUM_IMAGES)) * 5)  # five epochs, no look between


def test_without_selection_the_last_epoch_is_kept():
    network = new_network()
    history = train(network)
    assert history.kept_epoch == 4
    assert history.validation == []


class Recorded(Progress):
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.tasks: list[tuple[str, int]] = []
        self.figures: list[float] = []

    def task(self, title: str, total: int, done: int = 0) -> Any:
        from contextlib import nullcontext

        self.tasks.append((title, total))
        return nullcontext(lambda steps=1, **figures: self.figures.append(figures["loss"]))

    def say(self, message: str) -> None:
        pytest.fail("training has nothing to say")


def test_progress_counts_epochs_and_shows_the_loss():
    shown = Recorded()
    history = train(new_network(), progress=shown, title="training an expert")
    assert shown.tasks == [("training an expert", 5)]
    assert shown.figures == history.losses


def test_bfloat16_trains_single_precision_weights():
    network = new_network()
    history = train(network, runtime=Runtime("cpu", "bf16"))
    assert all(value.dtype == torch.float32 for value in network.state_dict().values())
    assert history.losses == pytest.approx(train(new_network()).losses, rel=0.05)


def test_an_unknown_augmentation_is_a_clear_error():
    with pytest.raises(DistailError, match=r"Unknown augmentation 'crp'.*'crop'"):
        train(new_network(), recipe=recipe(augmentation="crp"))


def test_batches_are_those_of_the_training_set():
    """The order drawn above for the reference is the order of `shuffled_batches`."""
    order = torch.randperm(NUM_IMAGES, generator=torch_generator(SEED, "epoch", 0))
    batches = shuffled_batches(NUM_IMAGES, BATCH_SIZE, torch_generator(SEED, "epoch", 0))
    assert torch.equal(torch.cat(batches), order)


def test_a_single_image_left_over_does_not_stop_deep_batch_norm():
    nine = TensorTrainingSet(IMAGES[:9], Targets(LABELS[:9]), NUM_CLASSES)
    history = train(new_network("resnet18-batch"), nine, recipe=recipe(epochs=1))
    assert math.isfinite(history.losses[-1])
