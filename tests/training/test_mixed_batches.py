"""Mixing, optimisers and views in the loop: what is drawn when, and what the network answers to."""

import pytest
import torch
from torch import Tensor

from distail.baselines._registry import build_baseline
from distail.baselines._task import Task
from distail.data.augment_chain import DSAChain
from distail.data.mixing import Mixture, cutmix, mixup
from distail.errors import DistailError
from distail.seeding import torch_generator
from distail.training.targets import Targets
from distail.training.training_set import TensorTrainingSet
from tests.evaluation.separable import ARCHITECTURE, TRAIN
from tests.reference import training as reference
from tests.training.test_loop import (
    BATCH_SIZE,
    DATA,
    IMAGES,
    LABELS,
    NUM_CLASSES,
    NUM_IMAGES,
    SEED,
    assert_same_weights,
    new_network,
    one_hot,
    recipe,
    train,
)

MIX = {"cutmix": cutmix, "mixup": mixup}


class Watched(TensorTrainingSet):
    """Remembers the views and mixtures that it was asked about."""

    seen: list[tuple[Tensor, Mixture | None]]

    def targets(self, indices: Tensor, views: Tensor, mixture: Mixture | None = None) -> Targets:
        self.seen.append((views, mixture))
        return super().targets(indices, views, mixture)


def watched(**settings) -> list[tuple[Tensor, Mixture | None]]:
    data = Watched(IMAGES, Targets(LABELS), NUM_CLASSES)
    object.__setattr__(data, "seen", [])
    train(new_network(), data, recipe=recipe(schedule="constant", **settings))
    return data.seen


@pytest.mark.parametrize("mixing", ["cutmix", "mixup"])
def test_batches_are_augmented_then_mixed_and_so_are_their_labels(mixing):
    how = recipe(schedule="constant", epochs=2, mixing=mixing, augmentation="resized+flip", smallest_crop=0.5)
    network, expected = new_network(), new_network()
    history = train(network, recipe=how)
    augment, epochs = DSAChain("resized+flip", 0.5), []
    for epoch in range(2):
        generator, batches = torch_generator(SEED, "epoch", epoch), []
        for picked in torch.randperm(NUM_IMAGES, generator=generator).split(BATCH_SIZE):
            views = augment(IMAGES[picked], generator)
            torch.rand((), generator=generator)  # whether to mix
            mixed = MIX[mixing](views, generator)
            batches.append((mixed.images, mixed.mixture.of(one_hot(LABELS[picked]))))
        epochs.append(batches)
    losses = reference.train(expected, epochs, lambda epoch, step: 0.05, 0.9, 5e-4)
    assert history.losses == pytest.approx(losses, rel=1e-5)
    assert_same_weights(network, expected, rtol=1e-4, atol=1e-6)


def test_a_share_of_the_batches_is_mixed():
    mixtures = [mixture for _, mixture in watched(epochs=100, mixing="cutmix", mixing_probability=0.3)]
    share = sum(mixture is not None for mixture in mixtures) / len(mixtures)
    assert 0.2 < share < 0.4
    assert all(mixture is None for _, mixture in watched(mixing="none"))
    assert all(mixture is None for _, mixture in watched(mixing="cutmix", mixing_probability=0.0))


def test_adamw_is_torchs():
    how = recipe(schedule="constant", epochs=3, augmentation="none", optimizer="adamw", weight_decay=0.01)
    # Without a norm, behind which biases have gradients that are nothing but rounding, of any sign.
    network, expected = new_network("convnet2-w8-none"), new_network("convnet2-w8-none").train()
    train(network, recipe=how)
    optimizer = torch.optim.AdamW(expected.parameters(), lr=0.05, weight_decay=0.01)
    for epoch in range(3):
        generator = torch_generator(SEED, "epoch", epoch)
        for picked in torch.randperm(NUM_IMAGES, generator=generator).split(BATCH_SIZE):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(expected(IMAGES[picked]), LABELS[picked]).backward()
            optimizer.step()
    assert_same_weights(network, expected, rtol=1e-3, atol=1e-5)


def test_a_student_of_logits_learns_them():
    logits = torch.randn(NUM_IMAGES, NUM_CLASSES, generator=torch.Generator().manual_seed(1))
    data = TensorTrainingSet(IMAGES, Targets(LABELS, logits), NUM_CLASSES)
    network = new_network()
    how = recipe(epochs=80, augmentation="none", loss="squared_error", optimizer="adamw", learning_rate=0.01)
    history = train(network, data, recipe=how)
    assert history.losses[-1] < 0.05 * history.losses[0]
    torch.testing.assert_close(network(IMAGES), logits, atol=0.5, rtol=0)


def test_a_bad_part_of_a_strategy_is_the_usual_error():
    with pytest.raises(DistailError, match=r"Unknown augmentation 'resiezd'.*'resized'"):
        train(new_network(), recipe=recipe(augmentation="flip+resiezd"))


def test_a_loss_against_hard_labels_says_what_to_do():
    with pytest.raises(DistailError, match="loss=divergence is for soft labels"):
        train(new_network(), DATA, recipe=recipe(loss="divergence"))


TAKING = ("cross_entropy", "balanced_softmax", "logit_adjustment", "crt")
REFUSING = ("focal", "class_balanced_loss", "inverse_frequency", "ldam_drw", "weight_balancing")


@pytest.mark.parametrize("name", [*TAKING, *REFUSING])
def test_baselines_take_mixed_images_where_their_loss_can(name):
    how = recipe(epochs=1, mixing="cutmix")
    task = Task(TRAIN, TRAIN, None, ARCHITECTURE, how)
    if name in TAKING:
        assert build_baseline(name, {}).fit(task).history.losses[-1] > 0
    else:
        with pytest.raises(DistailError, match="mixing=none"):
            build_baseline(name, {}).fit(task)
