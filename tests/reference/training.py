"""Supervised training written out: cross-entropy, SGD with momentum and weight decay."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn


def cross_entropy(logits: Tensor, probabilities: Tensor) -> Tensor:
    return -(probabilities * (logits - logits.logsumexp(1, keepdim=True))).sum(1).mean()


class SGD:
    """v ← μ·v + (g + λ·w), w ← w − η·v; `forget` begins again with v = 0."""

    def __init__(self, network: nn.Module, momentum: float, weight_decay: float) -> None:
        self.parameters = list(network.parameters())
        self.momentum, self.weight_decay = momentum, weight_decay
        self.forget()

    def forget(self) -> None:
        self.velocity = [torch.zeros_like(parameter) for parameter in self.parameters]

    def step(self, loss: Tensor, learning_rate: float) -> None:
        gradients = torch.autograd.grad(loss, self.parameters)
        with torch.no_grad():
            for parameter, velocity, gradient in zip(self.parameters, self.velocity, gradients, strict=True):
                velocity.mul_(self.momentum).add_(gradient + self.weight_decay * parameter)
                parameter -= learning_rate * velocity


def train(
    network: nn.Module,
    epochs: Sequence[Sequence[tuple[Tensor, Tensor]]],
    learning_rate: Callable[[int, int], float],
    momentum: float,
    weight_decay: float,
    forget_after: int | None = None,
) -> list[float]:
    """Mean loss of each epoch; `epochs` holds (images, class probabilities), the rate is of (epoch, step)."""
    optimizer, losses = SGD(network, momentum, weight_decay), []
    for epoch, batches in enumerate(epochs):
        total, count = 0.0, 0
        for step, (images, probabilities) in enumerate(batches):
            loss = cross_entropy(network(images), probabilities)
            optimizer.step(loss, learning_rate(epoch, step))
            total, count = total + float(loss.detach()) * len(images), count + len(images)
        losses.append(total / count)
        if epoch == forget_after:
            optimizer.forget()
    return losses
