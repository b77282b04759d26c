"""Herding: real images whose running mean follows the mean of their class in feature space.

Paper: Welling, ICML 2009; as used for class exemplars by Rebuffi et al., iCaRL, arXiv:1611.07725.
Equation: the (k+1)-th pick is the image nearest to (k+1)·mean − Σ picked, in Euclidean distance.
Deviation: features come from a network trained on the long-tailed data, since a pretrained one would bring in
knowledge that the data do not hold. No long-tailed number of it is published.
"""

from typing import ClassVar

import torch
from jaxtyping import Float, Int64
from pydantic import Field
from torch import Tensor

from distail.methods._method import Method
from distail.problem import Problem, Synthetic, Work
from distail.synthetic.features import selection_work, trained_features
from distail.synthetic.selection import select_real_images


class Herding(Method):
    """Greedy approximation of each class mean."""

    paper: ClassVar[str] = "Welling, ICML 2009; iCaRL, arXiv:1611.07725"
    summary: ClassVar[str] = "real images whose mean follows the class mean in feature space"

    selection_epochs: int = Field(default=40, ge=1)
    """Epochs of training of the network whose features are used (DeepCore: 40)."""

    def work(self, problem: Problem) -> Work:
        """Training of the selection network, and one look at every image."""
        return selection_work(problem, self.selection_epochs)

    def distill(self, problem: Problem) -> Synthetic:
        """Trains the selection network and picks."""
        embeddings = trained_features(problem, self.selection_epochs).embeddings

        def choose(label: int, of_class: Int64[Tensor, " n"], count: int) -> Int64[Tensor, " k"]:
            return of_class[herd(embeddings[of_class], count)]

        return select_real_images(problem, choose)


def herd(embeddings: Float[Tensor, "n f"], count: int) -> Int64[Tensor, " k"]:
    """Positions of `count` points picked by herding, in order, without repeats."""
    mean = embeddings.mean(dim=0)
    total = torch.zeros_like(mean)
    free = torch.ones(len(embeddings), dtype=torch.bool)
    picked = []
    for k in range(count):
        distances = (embeddings - ((k + 1) * mean - total)).square().sum(dim=1)
        best = int(distances.masked_fill(~free, torch.inf).argmin())
        picked.append(best)
        free[best] = False
        total += embeddings[best]
    return torch.tensor(picked, dtype=torch.int64)
