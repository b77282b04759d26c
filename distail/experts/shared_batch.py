"""A batch of real images shared out among peers, whose gradients come together as that of the whole batch."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from distail.data.augment import DSA
from distail.experts.sharpness import Gradient
from distail.peers import Peers
from distail.training.targets import Targets
from distail.training.training_set import TrainingSet


@dataclass(frozen=True, eq=False)
class BatchPart:
    """What one process sees of a batch.

    Attributes:
        images: augmented, on the device; none where there are more processes than images.
        targets: of these images.
        weight: of this part's mean in that of the batch.
        peers: who see the other parts.
    """

    images: Float[Tensor, "b c h w"]
    targets: Targets
    weight: float
    peers: Peers

    @staticmethod
    def of(
        data: TrainingSet,
        indices: Int64[Tensor, " n"],
        augment: DSA,
        generator: torch.Generator,
        peers: Peers,
        *,
        whole: bool = False,
    ) -> BatchPart:
        """This process's part, augmented by what is drawn for the whole batch.

        Args:
            data: where images come from.
            indices: of the batch.
            augment: what to draw.
            generator: in the same state in every process, and moved on alike.
            peers: who share the batch.
            whole: every process sees the whole batch, as where images of a batch mix.
        """
        drawn = augment.sample(len(indices), data.image_shape, generator)
        part = slice(0, len(indices)) if whole else peers.share(len(indices))
        mine = indices[part]
        weight = 1 / peers.size if whole else len(mine) / len(indices)
        images = data.images(mine)
        if len(mine):
            images = augment.apply(images, drawn[part])
        return BatchPart(images, data.targets(mine, images), weight, peers)

    def shared(self, gradient: Gradient) -> Gradient:
        """Loss and gradient of the whole batch, where `gradient` gives the means of this part."""
        if self.peers.size == 1:
            return gradient

        def together(at: Float[Tensor, " p"]) -> tuple[Tensor, Float[Tensor, " p"]]:
            found = torch.zeros(len(at) + 1, dtype=at.dtype, device=at.device)
            if len(self.images):
                loss, direction = gradient(at)
                found = self.weight * torch.cat([direction, torch.as_tensor(loss).reshape(1).to(direction)])
            total = self.peers.sum(found)
            return total[-1], total[:-1]

        return together
