"""Training by global and local mixture consistency with cumulative re-weighting (GLMC).

Every step looks at two mixed views of the same pairs of images: their MixUp, which is global, and their CutMix, which
is local. Predictions made from one view should point where projections of the other do, and two classifiers learn the
mixed labels: a plain one, which counts at first, and a re-balanced one, whose weight grows with the epochs and which is
the one that is kept.

    L = γ1 · Σ_v -cos(p_v, sg z_v') + γ2 · Σ_v [(1 - α) CE(plain_v, y) - α Σ_k w_k y_k log softmax_k(balanced_v)]

v' is the other view, α = (t/T)² in epoch t of T, z = P f, p = Q z with linear P and Q of the features f.

Source: Du et al., CVPR 2023, arXiv:2305.08661, and its released code.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from distail.checkpoint import Checkpoint, NoCheckpoint
from distail.data.augment_chain import DSAChain
from distail.errors import DistailError
from distail.models.network import Network
from distail.progress import Progress
from distail.runtime import Runtime, preferred_layout
from distail.seeding import isolated_seed, torch_generator
from distail.training.gradients import in_parts, summed
from distail.training.loop import for_network, new_optimizer, require_finite
from distail.training.mixed_views import Lessons, MixedViews
from distail.training.recipe import TrainRecipe
from distail.training.schedule import decay_epoch, learning_rate
from distail.training.state import History, TrainingState, training_name
from distail.training.training_set import shuffled_batches

StillSide = Literal["projection", "prediction"]


@dataclass(frozen=True, eq=False)
class Answers:
    """What a network in training says of one view, in float32 at least.

    Attributes:
        plain, balanced: logits of the two classifiers.
        projected, predicted: z and p.
    """

    plain: Float[Tensor, "b k"]
    balanced: Float[Tensor, "b k"]
    projected: Float[Tensor, "b d"]
    predicted: Float[Tensor, "b d"]


@dataclass(frozen=True, eq=False)
class MixtureLoss:
    """What is minimised.

    Attributes:
        class_weights: w, of the re-balanced classifier's loss.
        consistency: γ1.
        debias: γ2.
        still: which side of the consistency takes no gradient: the 'projection' z, as in the formula above, or the
            'prediction' p, with -cos(z_v, sg p_v') in its place; Q is then not trained.
    """

    class_weights: Float[Tensor, " k"]
    consistency: float = 1.0
    debias: float = 1.0
    still: StillSide = "projection"

    def __call__(self, views: tuple[Answers, Answers], targets: Float[Tensor, "b k"], done: float) -> Float[Tensor, ""]:
        """The loss, summed over the images.

        Args:
            views: what the network answers to both views of the images.
            targets: mixed labels, of both.
            done: t/T, from 0 to 1.
        """
        first, second = views
        alpha = done**2
        loss = self.consistency * (self._apart(first, second) + self._apart(second, first))
        weighted = targets * self.class_weights.to(targets)
        for view in views:
            plain = F.cross_entropy(view.plain, targets, reduction="sum")
            balanced = F.cross_entropy(view.balanced, weighted, reduction="sum")
            loss = loss + self.debias * ((1 - alpha) * plain + alpha * balanced)
        return loss

    def _apart(self, view: Answers, other: Answers) -> Tensor:
        if self.still == "projection":
            return -F.cosine_similarity(view.predicted, other.projected.detach()).sum()
        return -F.cosine_similarity(view.projected, other.predicted.detach()).sum()


class TwoHeaded(Network):
    """A network in training, with what training takes beside it; the network's own classifier is the re-balanced one.

    Args:
        network: is trained in place.
        projection_size: numbers of a projection and of a prediction.
        seed: of the initial weights of all that is added.
    """

    def __init__(self, network: Network, projection_size: int, seed: int) -> None:
        super().__init__()
        num_features, num_classes = network.feature_size, network.classifier.out_features
        self.feature_size = num_features
        self.network = network
        with isolated_seed(seed, "heads"), torch.device("cpu"):
            self.plain = nn.Linear(num_features, num_classes)
            self.projection = nn.Linear(num_features, projection_size)
            self.prediction = nn.Linear(projection_size, projection_size)
        self.classifier = network.classifier

    @property
    def mixes_images(self) -> bool:
        """As the network."""
        return self.network.mixes_images

    def features(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n f"]:
        """Those of the network."""
        return self.network.features(images)

    def answers(self, images: Float[Tensor, "b c h w"], runtime: Runtime) -> Answers:
        """All that the loss asks about preprocessed images."""
        with runtime.autocast():
            features = self.features(images)
            projected = self.projection(features)
            found = (self.plain(features), self.classifier(features), projected, self.prediction(projected))
        return Answers(*(one.float() if one.dtype == torch.bfloat16 else one for one in found))


def mixture_pass(
    model: TwoHeaded, views: MixedViews, loss: MixtureLoss, done: float, runtime: Runtime
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Mean loss of a batch and its gradients, one a parameter, shared among CPU threads where images do not mix.

    Args:
        model: in the mode it should run in; running statistics of batch norm move with each of the views.
        views: on the device.
        loss: what is minimised.
        done: t/T.
        runtime: where and how precisely to compute.
    """
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    layout = preferred_layout(model)
    count = len(views.targets)

    def of_part(part: slice) -> tuple[Tensor, tuple[Tensor, ...]]:
        with torch.enable_grad():
            whole, local = (
                model.answers(images[part].contiguous(memory_format=layout), runtime)
                for images in (views.whole, views.part)
            )
            value = loss((whole, local), views.targets[part], done) / count
            return value.detach(), torch.autograd.grad(value, parameters, materialize_grads=True)

    return summed(in_parts(of_part, model, count, runtime))


def train_by_mixture(
    model: TwoHeaded,
    lessons: Lessons,
    loss: MixtureLoss,
    recipe: TrainRecipe,
    *,
    seed: int,
    runtime: Runtime,
    progress: Progress,
    title: str,
    checkpoint: Checkpoint | None = None,
) -> History:
    """Trains a network in place by SGD; it ends in evaluation mode.

    Batches, augmentation and mixtures depend on `seed` and the epoch alone.

    Args:
        checkpoint: where the state is left between epochs, and taken up from there; nowhere when omitted.

    Raises:
        DistailError: the recipe asks for what mixtures leave no room for, or the loss is no longer finite.
    """
    if recipe.mixing != "none" or recipe.average:
        raise DistailError(
            "Training by mixture consistency mixes images itself, and keeps the last weights. Leave out 'mixing' and "
            "'average'."
        )
    model.to(runtime.device, memory_format=preferred_layout(model))  # type: ignore[call-overload]
    model.train()
    fused_before, model.network.fused = model.network.fused, True
    recipe = for_network(recipe, model.network)
    state = TrainingState(model, new_optimizer(model, recipe))
    history, checkpoint = state.history, checkpoint or NoCheckpoint()
    name = training_name(title, lessons.data, recipe, seed, checkpoint)
    done = state.take_up(checkpoint, name)
    with progress.task(title, recipe.num_epochs, done) as advance:
        for epoch in range(done, recipe.num_epochs):
            mean = _train_epoch(model, lessons, loss, recipe, state.optimizer, runtime, seed, epoch)
            history.losses.append(require_finite(mean, epoch, recipe))
            history.kept_epoch = epoch
            if recipe.schedule == "step" and epoch == decay_epoch(recipe):
                state.optimizer = new_optimizer(model, recipe)
            state.keep(checkpoint, name)
            advance(loss=mean)
    model.network.fused = fused_before
    model.eval()
    return history


def _train_epoch(
    model: TwoHeaded,
    lessons: Lessons,
    loss: MixtureLoss,
    recipe: TrainRecipe,
    optimizer: torch.optim.Optimizer,
    runtime: Runtime,
    seed: int,
    epoch: int,
) -> float:
    """One epoch; returns the mean loss."""
    generator = torch_generator(seed, "epoch", epoch)
    batches = shuffled_batches(len(lessons.data), recipe.batch_size, generator)
    pairs = list(zip(batches, lessons.partners(epoch, generator), strict=True))
    augment = DSAChain(recipe.augmentation, recipe.smallest_crop, lessons.data.preprocessing)
    total = torch.zeros((), device=runtime.device)
    for step, (indices, partners) in enumerate(pairs):
        optimizer.param_groups[0]["lr"] = learning_rate(recipe, epoch, step, len(pairs))
        views = lessons.views(indices, partners, augment, generator)
        value, gradients = mixture_pass(model, views, loss, epoch / recipe.num_epochs, runtime)
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        for parameter, gradient in zip(trained, gradients, strict=True):
            parameter.grad = gradient
        optimizer.step()
        total += value * len(indices)
    return float(total) / len(lessons.data)
