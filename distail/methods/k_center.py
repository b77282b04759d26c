"""K-center greedy: real images that leave no other image of their class far from a picked one.

Paper: Sener & Savarese, ICLR 2018, arXiv:1708.00489; as a coreset baseline in DeepCore, arXiv:2204.08499.
Rule: per class, start at a random image, then add the image whose nearest picked one is farthest (Euclidean).
Deviation: features come from a network trained on the long-tailed data; DeepCore's ImageNet weights would bring in
knowledge that the data do not hold.
Published for CIFAR-10-LT, ConvNet-3, imbalance 100, IPC 10: 16.2 ± 0.5 (arXiv:2408.14506, as reprinted by RLDD).
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


class KCenter(Method):
    """Greedy 2-approximation of the k-center problem in each class."""

    paper: ClassVar[str] = "Sener & Savarese, ICLR 2018, arXiv:1708.00489"
    summary: ClassVar[str] = "real images that cover their class in feature space"

    selection_epochs: int = Field(default=40, ge=1)
    """Epochs of training of the network whose features are used (DeepCore: 40)."""

    def work(self, problem: Problem) -> Work:
        """Training of the selection network, and one look at every image."""
        return selection_work(problem, self.selection_epochs)

    def distill(self, problem: Problem) -> Synthetic:
        """Trains the selection network and picks."""
        embeddings = trained_features(problem, self.selection_epochs).embeddings

        def choose(label: int, of_class: Int64[Tensor, " n"], count: int) -> Int64[Tensor, " k"]:
            generator = problem.generator("k-center start", label)
            start = int(torch.randint(len(of_class), (1,), generator=generator))
            return of_class[cover(embeddings[of_class], count, start)]

        return select_real_images(problem, choose)


def cover(embeddings: Float[Tensor, "n f"], count: int, start: int) -> Int64[Tensor, " k"]:
    """Positions of `count` points picked by farthest-first traversal from `start`, without repeats."""
    picked = [start]
    nearest = (embeddings - embeddings[start]).square().sum(dim=1)  # (n,) to the nearest picked point
    nearest[start] = -1.0
    while len(picked) < count:
        farthest = int(nearest.argmax())
        picked.append(farthest)
        nearest = torch.minimum(nearest, (embeddings - embeddings[farthest]).square().sum(dim=1))
        nearest[farthest] = -1.0  # a duplicate of a picked image is at distance 0, a picked one must rank below it
    return torch.tensor(picked, dtype=torch.int64)
