"""Gradient matching written out: the gradient of the gradient, by autograd, row by row.

DC: Zhao et al., ICLR 2021, arXiv:2006.05929 (cosines of rows). IDC: Kim et al., ICML 2022, arXiv:2205.14959 (squared
differences of convolutions).
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

Distance = Callable[[Sequence[Tensor], Sequence[Tensor]], Tensor]


def row_cosines(found: Sequence[Tensor], wanted: Sequence[Tensor]) -> Tensor:
    total = torch.zeros((), dtype=torch.float64)
    for one, other in zip(found, wanted, strict=True):
        if one.ndim == 1:
            continue
        for row, wanted_row in zip(one, other, strict=True):
            a, b = row.flatten(), wanted_row.flatten()
            total = total + 1 - a @ b / (a.norm() * b.norm() + 1e-6)
    return total


def convolutions(found: Sequence[Tensor], wanted: Sequence[Tensor]) -> Tensor:
    total = torch.zeros((), dtype=torch.float64)
    for one, other in zip(found, wanted, strict=True):
        if one.ndim == 4:
            total = total + ((one - other) ** 2).sum()
    return total


def class_loss(network: nn.Module, real: Tensor, synthetic: Tensor, label: int, distance: Distance) -> Tensor:
    """Carries a graph to `synthetic`; the network is used in the mode it is in."""
    gradients = []
    for images in (real.detach(), synthetic):
        labels = torch.full((len(images),), label)
        loss = nn.functional.cross_entropy(network(images), labels)
        gradients.append(torch.autograd.grad(loss, list(network.parameters()), create_graph=True))
    return distance(gradients[1], [gradient.detach() for gradient in gradients[0]])
