"""Losses that make up for the long tail; each is summed over the images, as the training loop asks."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from distail.training.technique import Loss


def weighted(weights: Float[Tensor, " k"], counts: tuple[int, ...], from_epoch: int = 0) -> Loss:
    """w_y · CE(z), from an epoch on; plain cross-entropy before.

    Weights are scaled to mean 1 over the images, or else the weighted loss, and so the steps, would shrink with the
    imbalance (to a sixth for inverse frequencies and 12,406 images of CIFAR-10-LT) beside the weight decay. Dividing
    each batch's sum by its weights, as torch's weighted cross-entropy and released code do, comes to the same on
    average; here a batch with tail images counts for more, as in equation 2 of arXiv:1901.05555.

    Args:
        weights: of the classes, up to a factor.
        counts: images of each class that are trained on, each as often as any other.
    """
    images = torch.tensor(counts, dtype=torch.float64)
    weights = weights * (images.sum() / (images * weights).sum())

    def loss(logits: Float[Tensor, "b k"], targets: Int64[Tensor, " b"], epoch: int) -> Tensor:
        losses = F.cross_entropy(logits, targets, reduction="none")
        return (losses * weights.to(logits)[targets]).sum() if epoch >= from_epoch else losses.sum()

    return loss


def inverse_frequency_weights(counts: tuple[int, ...], power: float = 1.0) -> Float[Tensor, " k"]:
    """n_c^-power."""
    return torch.tensor(counts, dtype=torch.float64) ** -power


def focal(gamma: float) -> Loss:
    """(1 - p_y)^γ · CE(z): images that are classified well count for less.

    Source: Lin et al., ICCV 2017, arXiv:1708.02002, equation 4.
    """

    def loss(logits: Float[Tensor, "b k"], targets: Int64[Tensor, " b"], epoch: int) -> Tensor:
        losses = F.cross_entropy(logits, targets, reduction="none")
        # 1 - p_y, without the rounding to 0 whose power below 1 has no finite slope
        doubt = (-torch.expm1(-losses)).clamp_min(torch.finfo(losses.dtype).tiny)
        return (doubt**gamma * losses).sum()

    return loss


def shifted(shift: Float[Tensor, " k"]) -> Loss:
    """CE(z + shift), against labels or shares of classes: what the network itself answers need not hold the shift."""

    def loss(logits: Float[Tensor, "b k"], targets: Float[Tensor, "b k"] | Int64[Tensor, " b"], epoch: int) -> Tensor:
        return F.cross_entropy(logits + shift.to(logits), targets, reduction="sum")

    return loss


def with_margins(margins: Float[Tensor, " k"], then: Loss) -> Loss:
    """Another loss of the logits from which the true class' margin is taken away."""

    def loss(logits: Float[Tensor, "b k"], targets: Int64[Tensor, " b"], epoch: int) -> Tensor:
        taken = F.one_hot(targets, logits.shape[1]) * margins.to(logits)
        return then(logits - taken, targets, epoch)

    return loss
