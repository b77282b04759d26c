"""`Targets`: what a network should answer to the images of a batch."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from distail.data.mixing import Mixture


@dataclass(frozen=True, eq=False)
class Targets:
    """Hard labels, soft ones, or both, which losses choose from; a slice of it is that part of the batch.

    Attributes:
        labels: (b,) hard labels as class indices; (b, classes) each class' share of them where images are mixed; None
            where there are only soft ones.
        logits: (b, classes) soft labels as logits, or None.
        probabilities: (b, classes) soft labels as probabilities, or None; where logits are there as well, those that
            mixing made of the single images' probabilities.
    """

    labels: Int64[Tensor, " b"] | Float[Tensor, "b k"] | None = None
    logits: Float[Tensor, "b k"] | None = None
    probabilities: Float[Tensor, "b k"] | None = None

    @property
    def are_soft(self) -> bool:
        """Whether there are soft labels."""
        return self.logits is not None or self.probabilities is not None

    @property
    def for_cross_entropy(self) -> Int64[Tensor, " b"] | Float[Tensor, "b k"]:
        """Class probabilities: the soft labels', else the hard ones' shares; or class indices."""
        if self.probabilities is not None:
            return self.probabilities
        if self.logits is not None:
            return self.logits.softmax(dim=1)
        assert self.labels is not None, "targets of neither kind"
        return self.labels

    def tensors(self) -> dict[str, Tensor]:
        """Those that there are, by name."""
        found = {"labels": self.labels, "logits": self.logits, "probabilities": self.probabilities}
        return {name: tensor for name, tensor in found.items() if tensor is not None}

    def __getitem__(self, part: slice | Int64[Tensor, " m"]) -> Targets:
        """The targets of some images of the batch."""
        return Targets(**{name: tensor[part] for name, tensor in self.tensors().items()})

    def mixed(self, mixture: Mixture, num_classes: int) -> Targets:
        """Targets of images that were mixed like this: each kind by the shares, probabilities before logits."""
        labels, logits, probabilities = self.labels, self.logits, self.probabilities
        if labels is not None:
            shares = labels if labels.is_floating_point() else F.one_hot(labels, num_classes).float()
            labels = mixture.of(shares)
        if self.are_soft:
            probabilities = mixture.of(self.for_cross_entropy)
        return Targets(labels, None if logits is None else mixture.of(logits), probabilities)
