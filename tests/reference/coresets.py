"""Coreset rules written out, float64, one point at a time.

Herding: Welling, ICML 2009, as in iCaRL, arXiv:1611.07725. K-center greedy: Sener & Savarese, arXiv:1708.00489.
Graph cut: Iyer et al., arXiv:2006.15412, on last-layer gradients as in DeepCore, arXiv:2204.08499.
"""

import torch
from torch import Tensor


def herding(points: Tensor, count: int) -> list[int]:
    points = points.double()
    mean = points.mean(0)
    picked: list[int] = []
    for k in range(count):
        wanted = (k + 1) * mean
        for i in picked:
            wanted = wanted - points[i]
        free = [i for i in range(len(points)) if i not in picked]
        picked.append(min(free, key=lambda i: float((points[i] - wanted).norm())))
    return picked


def k_center(points: Tensor, count: int, start: int) -> list[int]:
    points = points.double()
    picked = [start]
    while len(picked) < count:
        free = [i for i in range(len(points)) if i not in picked]
        picked.append(max(free, key=lambda i: min(float((points[i] - points[j]).norm()) for j in picked)))
    return picked


def last_layer_gradients(embeddings: Tensor, probabilities: Tensor, label: int) -> Tensor:
    """One row a point: gradient of the cross-entropy with respect to the bias, then the weight, flattened."""
    rows = []
    for embedding, probability in zip(embeddings.double(), probabilities.double(), strict=True):
        bias = probability.clone()
        bias[label] -= 1
        rows.append(torch.cat([bias, torch.outer(bias, embedding).flatten()]))
    return torch.stack(rows)


def similarities(gradients: Tensor) -> Tensor:
    """1/2 + cos/2 of each pair."""
    n = len(gradients)
    result = torch.empty(n, n, dtype=torch.float64)
    for i in range(n):
        for j in range(n):
            cosine = gradients[i] @ gradients[j] / (gradients[i].norm() * gradients[j].norm())
            result[i, j] = 0.5 + 0.5 * cosine
    return result


def graph_cut(similarity: Tensor, count: int, coverage: float = 1.0) -> list[int]:
    picked: list[int] = []
    for _ in range(count):
        gains = {}
        for x in range(len(similarity)):
            if x not in picked:
                alike = sum(float(similarity[i, x]) for i in range(len(similarity)))
                gains[x] = coverage * alike - 2 * sum(float(similarity[j, x]) for j in picked)
        picked.append(max(gains, key=gains.__getitem__))
    return picked
