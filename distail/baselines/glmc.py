"""GLMC: global and local mixture consistency with cumulative re-weighting, in one stage.

Pairs of images, one from the order of the epoch and one drawn by class, are mixed twice, by MixUp and by CutMix, with
one share λ ~ Beta(1, 1). A consistency loss (`training/mixture.py`) brings the two views together; the plain classifier
learns at first, the re-balanced one, which is kept, more and more: α = (t/T)².

Source: Du et al., CVPR 2023, arXiv:2305.08661, and its released code, whose wide ResNet-32 is reported at 88.5% on
    CIFAR-10-LT with imbalance 100 (92.3% before its sampling was corrected). Deviations: the last epoch is kept, where
    theirs is the best on the test images; layers are initialised as elsewhere here.

RLDD's debiased experts (AAAI 2026) are networks of this kind: label_exponent=0.8, weights_sum_to=one,
stop_gradient=prediction, consistency=1, and debias=1, or 0.5 on CIFAR-100, for 200 epochs with batch 64. That is its
formula as printed; step size, weight decay and how partners are drawn are not, and stay GLMC's.
"""

from typing import ClassVar, Literal

from pydantic import Field

from distail.baselines._baseline import Baseline
from distail.baselines._losses import inverse_frequency_weights
from distail.baselines._sampling import drawn_batches, power_probabilities
from distail.baselines._task import Fitted, Task
from distail.models import build_network
from distail.models.saved import SavedNetwork
from distail.problem import Work
from distail.seeding import derive_seed
from distail.training.mixed_views import Lessons
from distail.training.mixture import MixtureLoss, StillSide, TwoHeaded, train_by_mixture
from distail.training.recipe import TrainRecipe


class GLMC(Baseline):
    """Mixtures seen twice, and a classifier whose re-balanced loss sets in little by little."""

    paper: ClassVar[str] = "Du et al., CVPR 2023, arXiv:2305.08661"
    summary: ClassVar[str] = "consistent mixtures of images, re-weighted more and more"
    recipe: ClassVar[TrainRecipe] = TrainRecipe(
        epochs=200,
        batch_size=64,
        learning_rate=0.01,
        weight_decay=5e-3,
        schedule="cosine",
        warmup=0.05,
        augmentation="crop+flip",
    )

    label_exponent: float = Field(default=1.2, ge=0)
    """Power q of the label weights n_c^-q (GLMC: 1.2 with imbalance 50 and 100, else 1; RLDD: 0.8)."""
    weights_sum_to: Literal["classes", "one"] = "classes"
    """What the label weights add up to: the number of classes (GLMC), or one (RLDD, as printed)."""
    resample_exponent: float = Field(default=0.0, ge=0)
    """The partners of images are drawn with class probabilities n_c^(1 - this) (GLMC: 0 or 0.2)."""
    consistency: float = Field(default=1.0, ge=0)
    """Weight of the consistency (GLMC: CIFAR-10 1, or 2 with imbalance 10; CIFAR-100 4 to 6; RLDD: 1)."""
    debias: float = Field(default=1.0, ge=0)
    """Weight of both classifiers' losses (GLMC: 1; RLDD: 0.5 on CIFAR-100)."""
    stop_gradient: StillSide = "projection"
    """Side of the consistency without gradient: projection (GLMC), or prediction (RLDD, as printed)."""
    projection_size: int = Field(default=128, ge=1)
    """Numbers of a projection (GLMC: 128, or 256 for ResNet-18 and larger)."""

    def work(self, counts: tuple[int, ...], recipe: TrainRecipe) -> Work:
        """Every image passes twice an epoch."""
        return Work(forward_backward=2 * recipe.num_epochs * sum(counts))

    def fit(self, task: Task) -> Fitted:
        """Trains a network; what training takes beside it is given up."""
        images, recipe = task.train, task.recipe
        network = build_network(
            task.architecture, images.image_shape, images.num_classes, derive_seed(task.seed, "student")
        )
        network.require_linear_classifier("GLMC")
        history = train_by_mixture(
            TwoHeaded(network, self.projection_size, derive_seed(task.seed, "glmc")),
            self._lessons(task),
            self._loss(images.class_counts),
            recipe,
            seed=derive_seed(task.seed, "student training"),
            runtime=task.runtime,
            progress=task.progress,
            title=f"training {task.architecture}, seed {task.seed}",
            checkpoint=task.checkpoint,
        )
        saved = SavedNetwork(
            network=network,
            architecture=task.architecture,
            image_shape=images.image_shape,
            class_names=images.class_names,
            preprocessing=task.preprocessing,
            provenance={"recipe": recipe.model_dump(), "seed": task.seed},
        )
        return Fitted(saved, history, len(images))

    def _lessons(self, task: Task) -> Lessons:
        probabilities = power_probabilities(task.train.class_counts, 1 - self.resample_exponent)
        draw = drawn_batches(task.train.labels, lambda epoch: probabilities, task.recipe.batch_size)
        return Lessons(task.classroom.data, draw)

    def _loss(self, counts: tuple[int, ...]) -> MixtureLoss:
        weights = inverse_frequency_weights(counts, self.label_exponent)
        weights = weights * ((1 if self.weights_sum_to == "one" else len(counts)) / weights.sum())
        return MixtureLoss(weights, self.consistency, self.debias, self.stop_gradient)
