"""One epoch of a classifier expert: the last layer, every class equally often, on features of a frozen backbone.

The backbone never changes, so a step needs one forward pass to the features; the gradient of the linear layer, and
the second one that GSAM asks for, have a closed form on them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from distail.data.augment import DSA
from distail.data.image_set import ImageSet
from distail.experts.shared_batch import BatchPart
from distail.experts.sharpness import gsam_direction
from distail.experts.spec import ClassifierSpec
from distail.models.embedding import batch_features
from distail.models.network import Network
from distail.runtime import Runtime
from distail.seeding import torch_generator
from distail.training.class_balance import class_aware_order, class_balanced_weights
from distail.training.max_norm import longest_row, shortened_rows
from distail.training.training_set import TrainingSet


@dataclass(frozen=True, eq=False)
class ClassifierLesson:
    """What stays the same over all epochs of one classifier expert.

    Attributes:
        backbone: the finished representation expert, in evaluation mode.
        data: the long-tailed images.
        class_indices: positions of each class's images in `data`.
        class_weights: (classes,) factor of the loss, or None.
        longest_row: length that rows of the weight are cut to, or None.
    """

    backbone: Network
    data: TrainingSet
    class_indices: tuple[Int64[Tensor, " _"], ...]
    class_weights: Float[Tensor, " k"] | None
    longest_row: float | None

    @staticmethod
    def of(backbone: Network, data: TrainingSet, train: ImageSet, spec: ClassifierSpec) -> ClassifierLesson:
        """The lesson that `spec` describes, on these images."""
        weights = None
        if spec.loss == "class_balanced":
            weights = class_balanced_weights(train.class_counts, spec.beta).to(backbone.classifier.weight.device)
        longest = None if spec.max_norm is None else longest_row(backbone.classifier.weight, spec.max_norm)
        indices = tuple(train.indices_of(label) for label in range(train.num_classes))
        return ClassifierLesson(backbone.eval(), data, indices, weights, longest)


def train_classifier_epoch(
    parameters: Float[Tensor, " p"],
    lesson: ClassifierLesson,
    spec: ClassifierSpec,
    expert: int,
    epoch: int,
    runtime: Runtime,
) -> tuple[Float[Tensor, " p"], float]:
    """Weight and bias after one more epoch, flat as in `FlatLayout`, and the epoch's mean loss.

    Peers, who all call this, share out every batch.

    Args:
        parameters: classes * features weights, then the biases; not written to.
        lesson: backbone and data.
        expert: number of the expert.
        epoch: number of the epoch, from 0.
    """
    augment = DSA(strategy=spec.augmentation)
    generator = torch_generator(spec.base.seed, "classifier epoch", expert, epoch)
    order = class_aware_order(lesson.class_indices, spec.images_per_visit, generator)
    total = torch.zeros((), device=runtime.device)
    for indices in order.split(spec.batch_size):
        batch = BatchPart.of(lesson.data, indices, augment, generator, runtime.peers)
        features = batch_features(lesson.backbone, batch.images, runtime) if len(batch.images) else torch.empty(0)

        def gradient(
            at: Float[Tensor, " p"], features: Tensor = features, targets: Tensor = batch.targets.for_cross_entropy
        ) -> tuple[Tensor, Float[Tensor, " p"]]:
            return linear_gradient(at, features, targets, lesson.class_weights)

        loss, direction = gsam_direction(batch.shared(gradient), parameters, spec.gsam_rho, spec.gsam_alpha)
        parameters = parameters - spec.learning_rate * (direction + spec.weight_decay * parameters)
        if lesson.longest_row is not None:
            parameters = _shortened_rows(parameters, lesson.backbone.feature_size, lesson.longest_row)
        total += loss * len(indices)
    return parameters, float(total) / len(order)


def linear_gradient(
    parameters: Float[Tensor, " p"],
    features: Float[Tensor, "b f"],
    targets: Int64[Tensor, " b"],
    class_weights: Float[Tensor, " k"] | None,
) -> tuple[Tensor, Float[Tensor, " p"]]:
    """Mean (weighted) cross-entropy of a linear layer, and its gradient in closed form."""
    weight, bias = _as_layer(parameters, features.shape[1])
    log_probabilities = F.log_softmax(F.linear(features, weight, bias), dim=1)  # b k
    factor = torch.ones_like(features[:, 0]) if class_weights is None else class_weights[targets]
    factor = factor / len(features)
    loss = -(log_probabilities.gather(1, targets[:, None])[:, 0] * factor).sum()
    residual = log_probabilities.exp()
    residual[torch.arange(len(targets), device=targets.device), targets] -= 1
    residual *= factor[:, None]
    return loss, torch.cat([(residual.T @ features).flatten(), residual.sum(0)])


def _shortened_rows(parameters: Float[Tensor, " p"], feature_size: int, longest: float) -> Float[Tensor, " p"]:
    weight, bias = _as_layer(parameters, feature_size)
    return torch.cat([shortened_rows(weight, longest).flatten(), bias])


def _as_layer(parameters: Float[Tensor, " p"], feature_size: int) -> tuple[Float[Tensor, "k f"], Float[Tensor, " k"]]:
    num_classes = len(parameters) // (feature_size + 1)
    return parameters[: num_classes * feature_size].view(num_classes, feature_size), parameters[-num_classes:]
