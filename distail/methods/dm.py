"""DM, distribution matching: synthetic images whose mean features equal those of real ones, in random networks.

Paper: Zhao & Bilen, WACV 2023, arXiv:2110.04181.
Equation: minimise Σ_c ‖mean φ(A(real_c)) − mean φ(A(syn_c))‖² over the images, φ the flattened features of a new
random network in every iteration, A the same DSA augmentation on both.
Deviations from the released code: all classes go through the network together, which gives the same gradient and is
faster; with batch norm the classes may have unequal batch sizes, where the released reshape needs 256 each.
Published for balanced CIFAR-10, ConvNet-3, IPC 1/10/50: 26.0/48.9/63.0. No long-tailed number is published.
"""

from dataclasses import replace
from typing import ClassVar

import torch
from jaxtyping import Float, Int64
from pydantic import Field
from torch import Tensor

from distail.data.augment import DSA
from distail.methods._method import Method
from distail.models import Network
from distail.models.embedding import wide
from distail.problem import Load, Problem, Synthetic, Work, class_major_labels
from distail.synthetic.image_state import ImageState, divergence
from distail.synthetic.selection import random_choice, select_real_images
from distail.training.recipe import DSA_ALL

_CHUNK = 256
"""Real images embedded at once where the network allows it; the gradient does not pass through them."""


class DM(Method):
    """Distribution matching by gradient descent on the images."""

    paper: ClassVar[str] = "Zhao & Bilen, WACV 2023, arXiv:2110.04181"
    summary: ClassVar[str] = "match mean features of real and synthetic images in random networks"
    iterations_stand_alone: ClassVar[bool] = True
    batch_field: ClassVar[str | None] = "real_batch"

    iterations: int = Field(default=20_000, ge=1)
    """Image updates, each with a new random network (paper: 20,000)."""
    real_batch: int = Field(default=256, ge=1)
    """Real images of each class an iteration, without repeats; smaller classes give all they have (paper: 256)."""
    image_lr: float = Field(default=1.0, gt=0)
    """SGD step size on the images (paper: 1 up to IPC 50, 10 above)."""
    momentum: float = Field(default=0.5, ge=0, lt=1)
    """SGD momentum on the images (paper: 0.5)."""
    augmentation: str = DSA_ALL
    """DSA operations, siamese: one set of parameters a class for real and synthetic images alike."""

    def work(self, problem: Problem) -> Work:
        """Every iteration embeds a real batch of each class, and descends on all synthetic images."""
        real = sum(min(self.real_batch, count) for count in problem.train.class_counts)
        synthetic = problem.num_classes * problem.images_per_class
        loads = Load(synthetic), Load(min(real, _CHUNK), "forward")
        return Work(self.iterations * real, self.iterations * synthetic, loads)

    def distill(self, problem: Problem) -> Synthetic:
        """Starts from random real images and descends.

        Raises:
            DistailError: the loss or the images are no longer finite, or the augmentation is unknown. The last good
                state is in the checkpoint.
        """
        start = select_real_images(problem, random_choice(problem))
        state = ImageState.resumed(problem, start.images)
        with problem.progress.task("dm", self.iterations, state.iteration) as advance:
            while state.iteration < self.iterations:
                iteration = state.iteration
                loss, gradient = self._gradient(problem, state.images, iteration)
                after = state.moved(gradient, self.image_lr, self.momentum)
                if not after.is_finite(loss):
                    problem.checkpoint.save(*state.packed(), now=True)
                    raise divergence("dm", loss, iteration, self.image_lr)
                state = replace(after, iteration=iteration + 1)
                problem.log(iteration, loss=loss)
                problem.checkpoint.save(*state.packed())
                advance(loss=loss)
        return Synthetic(state.images.cpu(), start.labels)

    def _gradient(
        self, problem: Problem, images: Float[Tensor, "n c h w"], iteration: int
    ) -> tuple[float, Float[Tensor, "n c h w"]]:
        """The loss and its gradient in one random network."""
        network = problem.network("dm network", iteration).train()
        generator = problem.generator("dm batch", iteration)
        augment = DSA(strategy=self.augmentation)
        leaf = images.detach().requires_grad_()
        real, synthetic, real_labels = [], [], []
        for label in range(problem.num_classes):
            of_class = problem.train.indices_of(label)
            picked = of_class[torch.randperm(len(of_class), generator=generator)[: self.real_batch]]
            parameters = augment.sample(len(picked), problem.train.image_shape, generator, shared=True)
            real.append(augment.apply(problem.real(picked), parameters))
            own = leaf[label * problem.images_per_class : (label + 1) * problem.images_per_class]
            synthetic.append(augment.apply(own, parameters))
            real_labels.append(torch.full((len(picked),), label))
        labels = class_major_labels(problem.num_classes, problem.images_per_class)
        with problem.runtime.autocast():
            with torch.no_grad():
                embedded = torch.cat([network.features(part) for part in _chunks(network, torch.cat(real))])
                target = class_means(embedded, torch.cat(real_labels), problem.num_classes)
            means = class_means(network.features(torch.cat(synthetic)), labels, problem.num_classes)
        loss = (means - target).square().sum()
        (gradient,) = torch.autograd.grad(loss, leaf)
        return float(loss.detach()), gradient


def _chunks(network: Network, images: Float[Tensor, "n c h w"]) -> tuple[Float[Tensor, "m c h w"], ...]:
    """Bounds memory. Batch norm must see all classes at once, since its statistics are those of the batch."""
    return images.split(len(images) if network.mixes_images else _CHUNK)


def class_means(features: Float[Tensor, "n f"], labels: Int64[Tensor, " n"], num_classes: int) -> Float[Tensor, "k f"]:
    """Mean feature vector of each class, accumulated in at least float32."""
    features = wide(features)
    labels = labels.to(features.device)
    total = torch.zeros(num_classes, features.shape[1], dtype=features.dtype, device=features.device)
    counts = torch.bincount(labels, minlength=num_classes).to(features.dtype)
    return total.index_add(0, labels, features) / counts[:, None]
