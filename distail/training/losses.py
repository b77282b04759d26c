"""What the training loop minimises: against hard labels cross-entropy, against soft ones the recipe's loss."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from distail.errors import DistailError
from distail.training.recipe import TrainRecipe
from distail.training.targets import Targets
from distail.training.technique import Technique, cross_entropy

BatchLoss = Callable[[Tensor, Targets, int], Tensor]
"""From logits, targets and the epoch to the sum, not the mean, of the images' losses: threads share a batch."""


def plain_loss(logits: Float[Tensor, "b k"], targets: Targets, epoch: int) -> Float[Tensor, ""]:
    """Cross-entropy, summed over the images; against soft labels where there are any."""
    return cross_entropy(logits, targets.for_cross_entropy, epoch)


def batch_loss(recipe: TrainRecipe, technique: Technique) -> BatchLoss:
    """The recipe's loss, or that of a technique that has one of its own.

    Raises:
        DistailError: the technique's loss is to be one against soft labels as well.
    """
    if technique.loss is None:
        return recipe_loss(recipe)
    if recipe.loss != "cross_entropy" or recipe.hard_weight:
        raise DistailError(
            f"This way to train has a loss of its own, which loss={recipe.loss} and hard_weight={recipe.hard_weight:g} "
            "cannot change. Leave them out."
        )
    own, takes_shares = technique.loss, technique.takes_shares

    def loss(logits: Float[Tensor, "b k"], targets: Targets, epoch: int) -> Float[Tensor, ""]:
        wanted = targets.for_cross_entropy
        if wanted.is_floating_point() and not takes_shares:
            raise DistailError(
                "This way to train has a loss of single labels, which cannot tell how much of each class there is in a "
                f"mixed image. Train with mixing=none (now {recipe.mixing}) and hard labels, or by a loss that can: "
                "cross_entropy, balanced_softmax or logit_adjustment."
            )
        return own(logits, wanted, epoch)

    return loss


def recipe_loss(recipe: TrainRecipe) -> BatchLoss:
    """The loss that a recipe names, with its cross-entropy against hard labels.

    It raises a DistailError when it is given targets without what it compares with.
    """
    soft_loss = {"cross_entropy": plain_loss, "squared_error": _squared_error, "divergence": _divergence(recipe)}
    against_soft = soft_loss[recipe.loss]
    weight = recipe.hard_weight
    if recipe.loss == "cross_entropy" and not weight:
        return plain_loss

    def loss(logits: Float[Tensor, "b k"], targets: Targets, epoch: int) -> Float[Tensor, ""]:
        if not targets.are_soft:
            raise _soft_labels_missing(recipe)
        total = against_soft(logits, targets, epoch)
        if not weight:
            return total
        if targets.labels is None:
            raise DistailError("hard_weight needs hard labels, and these images have only soft ones. Set it to 0.")
        return total + weight * cross_entropy(logits, targets.labels, epoch)

    return loss


def _squared_error(logits: Float[Tensor, "b k"], targets: Targets, epoch: int) -> Float[Tensor, ""]:
    """Mean over classes of (z - t)², summed over the images."""
    if targets.logits is None:
        raise DistailError(
            "loss=squared_error compares logits, and these soft labels are probabilities. Use loss=divergence or "
            "loss=cross_entropy."
        )
    return F.mse_loss(logits, targets.logits, reduction="sum") / logits.shape[1]


def _divergence(recipe: TrainRecipe) -> BatchLoss:
    """KL(softmax(t/T) ‖ softmax(z/T)), summed over the images; not multiplied by T², as in SRe2L's and RDED's code."""
    temperature = recipe.temperature

    def loss(logits: Float[Tensor, "b k"], targets: Targets, epoch: int) -> Float[Tensor, ""]:
        # Logarithms of probabilities are logits, up to a constant that does not matter here.
        soft = targets.for_cross_entropy
        wanted = soft.clamp_min(torch.finfo(soft.dtype).tiny).log() if targets.logits is None else targets.logits
        own, wanted = (F.log_softmax(side / temperature, dim=1) for side in (logits, wanted))
        return F.kl_div(own, wanted, reduction="sum", log_target=True)

    return loss


def _soft_labels_missing(recipe: TrainRecipe) -> DistailError:
    named = f"hard_weight={recipe.hard_weight:g}" if recipe.loss == "cross_entropy" else f"loss={recipe.loss}"
    return DistailError(
        f"{named} is for soft labels, and these images have only hard ones. Train with loss=cross_entropy and "
        "hard_weight=0, or name soft labels: --labels static where the set stores some, or --labels teacher."
    )
