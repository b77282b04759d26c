"""Images whose classes differ in their means by far more than the noise: easy to learn, quick to score."""

from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch

from distail.data.image_set import ImageSet
from distail.data.preprocess import PreprocessingKind, fit_preprocessing
from distail.distilled import DistilledSet
from distail.evaluation.recipe import EvaluationRecipe
from distail.evaluation.result import Evaluation
from distail.progress import Progress
from distail.training.recipe import TrainRecipe

torch.set_num_threads(1)  # a second thread only waits on tensors this small

NAMES = ("ant", "bee", "cow")
SHAPE = (3, 8, 8)
ARCHITECTURE = "convnet2-w8"


def images_of(counts: Sequence[int], seed: int, shape: tuple[int, int, int] = SHAPE, **parts: Any) -> ImageSet:
    """Classes of these sizes; the means are always the same, the noise depends on the seed."""
    means = torch.randint(30, 226, (len(counts), *shape), generator=torch.Generator().manual_seed(99))
    labels = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    noise = 20 * torch.randn(len(labels), *shape, generator=torch.Generator().manual_seed(seed))
    pixels = (means[labels] + noise).round().clamp(0, 255).to(torch.uint8)
    return ImageSet(pixels, labels, parts.pop("class_names", NAMES[: len(counts)]), **parts)


TRAIN = images_of((30, 12, 4), seed=1, origin="train images")
TEST = images_of((6, 6, 6), seed=2, origin="test images")


def make_set(train: ImageSet = TRAIN, kind: PreprocessingKind = "normalize", **parts: Any) -> DistilledSet:
    """Two images of each class, noiseless relatives of the training images."""
    chosen = images_of([2] * train.num_classes, seed=3, shape=train.image_shape)
    preprocessing = fit_preprocessing(train, kind)
    images = preprocessing.apply(chosen.images)
    return DistilledSet(
        **{
            "images": images,
            "labels": chosen.labels,
            "class_names": train.class_names,
            "preprocessing": preprocessing,
            **parts,
        }
    )


def soft_labels(strength: float) -> torch.Tensor:
    """Logits for the images of `make_set`, of this size for the right class and 0 for the others."""
    labels = make_set().labels
    return strength * torch.nn.functional.one_hot(labels, len(NAMES)).float()


def quick(**changes: Any) -> EvaluationRecipe:
    """One small student, trained for a blink."""
    train = TrainRecipe(epochs=changes.pop("epochs", 12), learning_rate=0.05, schedule="constant", augmentation="none")
    return EvaluationRecipe(**{"architectures": (ARCHITECTURE,), "seeds": 1, "train": train, **changes})


def scores_of(evaluation: Evaluation) -> list[object]:
    """All that is reproducible: everything but the wall time."""
    return [replace(student, train_seconds=0.0) for student in evaluation.students]


class Said(Progress):
    """Remembers what it is told, and whether a task is under way."""

    def __init__(self) -> None:
        self.titles: list[str] = []
        self.messages: list[str] = []
        self.busy = False

    @contextmanager
    def task(self, title: str, total: int, done: int = 0):
        self.titles.append(title)
        self.busy = True
        try:
            yield lambda steps=1, **figures: None
        finally:
            self.busy = False

    def say(self, message: str) -> None:
        self.messages.append(message)
