"""Loss and parameter gradient of a batch, shared among CPU threads where images do not mix."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from distail.models.network import Network
from distail.parallel import map_chunks
from distail.runtime import Runtime, preferred_layout
from distail.training.losses import BatchLoss, plain_loss
from distail.training.targets import Targets

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class BatchPass:
    """What one pass of a batch through a network gives.

    Attributes:
        loss: mean over the images.
        gradients: one a parameter, in `parameters()` order; zeros for those that play no part.
        logits: (b, k), without a graph.
    """

    loss: Tensor
    gradients: tuple[Tensor, ...]
    logits: Float[Tensor, "b k"]


def batch_gradients(
    network: Network,
    images: Float[Tensor, "b c h w"],
    targets: Targets,
    runtime: Runtime,
    loss: BatchLoss = plain_loss,
    epoch: int = 0,
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Mean loss and its gradients, in `parameters()` order; see `batch_pass`."""
    found = batch_pass(network, images, targets, runtime, loss, epoch)
    return found.loss, found.gradients


def batch_pass(
    network: Network,
    images: Float[Tensor, "b c h w"],
    targets: Targets,
    runtime: Runtime,
    loss: BatchLoss = plain_loss,
    epoch: int = 0,
) -> BatchPass:
    """Mean loss, its gradients, and the logits.

    Equal to `backward()` of the mean loss on the whole batch up to the order of sums.

    Args:
        network: in the mode it should run in; with batch norm, running statistics move as usual.
        images: preprocessed and augmented, on the device.
        targets: of these images.
        loss, epoch: what is minimised, and where in the training it is.
    """
    parameters = tuple(network.parameters())
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    layout = preferred_layout(network)

    def of_part(part: slice) -> BatchPass:
        with torch.enable_grad():
            with runtime.autocast():
                logits = network(images[part].contiguous(memory_format=layout))
            value = loss(logits.float(), targets[part], epoch) / len(images)
            found = iter(torch.autograd.grad(value, trained, materialize_grads=True))
            gradients = (next(found) if one.requires_grad else torch.zeros_like(one) for one in parameters)
            return BatchPass(value.detach(), tuple(gradients), logits.detach())

    parts = in_parts(of_part, network, len(images), runtime)
    mean, gradients = summed([(part.loss, part.gradients) for part in parts])
    return BatchPass(mean, gradients, logits=torch.cat([part.logits for part in parts]))


def in_parts(of_part: Callable[[slice], T], network: Network, num_images: int, runtime: Runtime) -> list[T]:
    """`of_part` of a whole batch where images mix, and of parts of it, side by side on CPU threads, where not."""
    if network.mixes_images:
        return [of_part(slice(0, num_images))]
    return map_chunks(of_part, num_images, runtime.device)


def summed(parts: Sequence[tuple[Tensor, Sequence[Tensor]]]) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Loss and gradients, each summed over the parts of a batch in their order."""
    if len(parts) == 1:
        return parts[0][0], tuple(parts[0][1])
    together = zip(*(gradients for _, gradients in parts), strict=True)
    return torch.stack([loss for loss, _ in parts]).sum(), tuple(torch.stack(one).sum(0) for one in together)
