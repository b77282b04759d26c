"""Two mixed views of the same pairs of images: their MixUp and their CutMix, with one share for both.

Source: Du et al., CVPR 2023, arXiv:2305.08661, released code: the label of both views is λ y_A + (1 - λ) y_B with the
    share λ ~ Beta(1, 1) as it was drawn, though a rectangle that is cut off at a border is smaller.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from distail.data.augment_chain import DSAChain
from distail.data.mixing import span_of
from distail.training.technique import Batches
from distail.training.training_set import TrainingSet

Looks = tuple[Tensor, Tensor]
"""Two augmentations of the same images, the first for MixUp, the second for CutMix."""


@dataclass(frozen=True, eq=False)
class MixedViews:
    """Two views of the same pairs of images.

    Attributes:
        whole: MixUp, λ of the first image and 1 - λ of its partner everywhere.
        part: CutMix, a rectangle of the partner in the first image.
        targets: the labels of both.
    """

    whole: Float[Tensor, "b c h w"]
    part: Float[Tensor, "b c h w"]
    targets: Float[Tensor, "b k"]


def mixed_views(
    first: Looks,
    partners: Looks,
    targets: Float[Tensor, "b k"],
    partner_targets: Float[Tensor, "b k"],
    generator: torch.Generator,
) -> MixedViews:
    """Both views of pairs of images, with one share and one rectangle for the batch.

    The rectangle's share of the area is 1 - λ before it is clipped at the borders.

    Args:
        first, partners: two augmentations of each image, the first for MixUp, the second for CutMix; not written into.
        targets, partner_targets: class probabilities.
        generator: on the CPU.
    """
    share = float(torch.rand((), generator=generator))
    height, width = first[1].shape[2:]
    rows = span_of(height, (1 - share) ** 0.5, generator)
    columns = span_of(width, (1 - share) ** 0.5, generator)
    part = first[1].clone()
    part[:, :, rows, columns] = partners[1][:, :, rows, columns]
    return MixedViews(
        whole=share * first[0] + (1 - share) * partners[0],
        part=part,
        targets=share * targets + (1 - share) * partner_targets,
    )


@dataclass(frozen=True, eq=False)
class Lessons:
    """What a network learns from by mixtures.

    Attributes:
        data: images with hard labels; an epoch looks at all of them once, shuffled.
        partners: the images that these are mixed with: as many in batches of the same sizes.
    """

    data: TrainingSet
    partners: Batches

    def views(
        self, indices: Int64[Tensor, " b"], partners: Int64[Tensor, " b"], augment: DSAChain, generator: torch.Generator
    ) -> MixedViews:
        """A batch, each image in two augmentations."""
        first, own = self._look(indices, augment, generator)
        others, theirs = self._look(partners, augment, generator)
        return mixed_views(first, others, own, theirs, generator)

    def _look(self, indices: Tensor, augment: DSAChain, generator: torch.Generator) -> tuple[Looks, Tensor]:
        images = self.data.images(indices)
        looks = augment(images, generator), augment(images, generator)
        labels = self.data.targets(indices, images).labels
        assert labels is not None, "real images have hard labels"
        return looks, F.one_hot(labels, self.data.num_classes).to(images.dtype)
