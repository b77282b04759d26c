"""Graph cut: real images that resemble their class much and each other little.

Paper: Iyer et al., ALT 2021, arXiv:2006.15412; as a coreset baseline in DeepCore, arXiv:2204.08499.
Rule: per class, greedily add x with the largest λ·Σ_{i in class} s(i,x) − 2·Σ_{j picked} s(j,x), λ = 1, where
s = ½ + ½ cos of the loss gradients of the last layer.
Deviation: DeepCore builds the gradient vectors; here only their cosines are, from the factors
⟨g,h⟩ = ⟨p−y, q−y⟩ · (⟨e,f⟩ + 1), with embeddings e, f and probabilities p, q, which needs 1/C of the memory.
Published for CIFAR-10-LT, ConvNet-3, imbalance 100, IPC 10: 22.9 ± 0.9 (arXiv:2408.14506, as reprinted by RLDD).
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

_ROWS = 1024
"""Rows of the similarity matrix held at once, to bound memory at _ROWS · n floats."""


class GraphCut(Method):
    """Greedy maximisation of the graph-cut function in each class."""

    paper: ClassVar[str] = "Iyer et al., ALT 2021, arXiv:2006.15412"
    summary: ClassVar[str] = "real images that resemble their class much and each other little"

    selection_epochs: int = Field(default=40, ge=1)
    """Epochs of training of the network whose gradients are used (DeepCore: 40)."""
    coverage: float = Field(default=1.0, gt=0)
    """λ, the weight of resembling the class against not resembling what is picked (DeepCore: 1)."""

    def work(self, problem: Problem) -> Work:
        """Training of the selection network, and one look at every image."""
        return selection_work(problem, self.selection_epochs)

    def distill(self, problem: Problem) -> Synthetic:
        """Trains the selection network and picks."""
        features = trained_features(problem, self.selection_epochs)

        def choose(label: int, of_class: Int64[Tensor, " n"], count: int) -> Int64[Tensor, " k"]:
            residual = features.probabilities[of_class].clone()
            residual[:, label] -= 1.0
            similarity = GradientSimilarity(residual, features.embeddings[of_class])
            return of_class[cut(similarity, count, self.coverage)]

        return select_real_images(problem, choose)


class GradientSimilarity:
    """½ + ½ cos between last-layer gradients of the points of one class, a block of rows at a time."""

    def __init__(self, residual: Float[Tensor, "n k"], embeddings: Float[Tensor, "n f"]) -> None:
        # The bias gradient is the residual itself, which equals appending a constant 1 to the embedding.
        with_bias = torch.cat([embeddings, torch.ones(len(embeddings), 1)], dim=1)
        self._residual = torch.nn.functional.normalize(residual, dim=1)
        self._embeddings = torch.nn.functional.normalize(with_bias, dim=1)

    def __len__(self) -> int:
        return len(self._residual)

    def rows(self, index: Int64[Tensor, " m"]) -> Float[Tensor, "m n"]:
        """Similarities of these points to all points, in 0..1."""
        cosine = (self._residual[index] @ self._residual.T) * (self._embeddings[index] @ self._embeddings.T)
        return 0.5 + 0.5 * cosine


def cut(similarity: GradientSimilarity, count: int, coverage: float) -> Int64[Tensor, " k"]:
    """Positions of `count` points picked greedily by graph-cut gain, without repeats."""
    everything = torch.arange(len(similarity))
    gain = coverage * torch.cat([similarity.rows(rows).sum(dim=1) for rows in everything.split(_ROWS)])
    picked = []
    for _ in range(count):
        best = int(gain.argmax())
        picked.append(best)
        gain = gain - 2.0 * similarity.rows(torch.tensor([best]))[0]
        gain[best] = -torch.inf
    return torch.tensor(picked, dtype=torch.int64)
