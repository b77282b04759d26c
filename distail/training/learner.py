"""A network that learns a batch at a time, for methods in which networks and images change in turns."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from distail.artifact import with_prefix
from distail.errors import DistailError
from distail.models.network import Network
from distail.runtime import Runtime, preferred_layout
from distail.training.gradients import BatchPass, batch_pass
from distail.training.targets import Targets

_NETWORK, _VELOCITY = "network.", "velocity."


class Learner:
    """A network and its momentum: SGD on cross-entropy, with fused kernels.

    Args:
        network: changed in place by `step`; it goes to the runtime's device, and `fused` is set.
        runtime: where and how precisely to compute.
        learning_rate, momentum, weight_decay: of SGD.
    """

    def __init__(
        self, network: Network, runtime: Runtime, *, learning_rate: float, momentum: float, weight_decay: float
    ) -> None:
        layout = preferred_layout(network)
        network.to(runtime.device, memory_format=layout)  # type: ignore[call-overload]
        network.fused = True
        self.network = network
        self.runtime = runtime
        self._learning_rate, self._momentum, self._weight_decay = learning_rate, momentum, weight_decay
        self._velocity = [torch.zeros_like(parameter) for parameter in network.parameters()]

    def step(self, images: Float[Tensor, "b c h w"], targets: Targets) -> BatchPass:
        """One step on a batch; returns what it was computed from.

        Raises:
            DistailError: the loss is not finite.
        """
        self.network.train()
        found = batch_pass(self.network, images, targets, self.runtime)
        if not math.isfinite(loss := float(found.loss)):
            raise DistailError(
                f"The loss of a network in training became {loss}. Lower network_lr (now {self._learning_rate:g})."
            )
        with torch.no_grad():
            together = zip(self.network.parameters(), self._velocity, found.gradients, strict=True)
            for parameter, velocity, gradient in together:
                velocity.mul_(self._momentum).add_(gradient).add_(parameter, alpha=self._weight_decay)
                parameter.sub_(velocity, alpha=self._learning_rate)
        return found

    def tensors(self) -> dict[str, Tensor]:
        """Everything that the next step depends on, by name; not copied."""
        velocities = {f"{_VELOCITY}{number}": tensor for number, tensor in enumerate(self._velocity)}
        return {f"{_NETWORK}{name}": tensor for name, tensor in self.network.state_dict().items()} | velocities

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Goes back to what `tensors` gave."""
        self.network.load_state_dict(with_prefix(tensors, _NETWORK))
        for number, velocity in enumerate(self._velocity):
            velocity.copy_(tensors[f"{_VELOCITY}{number}"])
