"""Loss and parameter gradient of a batch, shared among CPU threads where images do not mix."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from distail.models.network import Network
from distail.parallel import map_chunks
from distail.runtime import Runtime, preferred_layout
from distail.training.technique import Loss, cross_entropy


def batch_gradients(
    network: Network,
    images: Float[Tensor, "b c h w"],
    targets: Float[Tensor, "b k"] | Int64[Tensor, " b"],
    runtime: Runtime,
    loss: Loss = cross_entropy,
    epoch: int = 0,
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Mean loss and its gradients, in `parameters()` order; zeros for parameters that play no part.

    Equal to `backward()` of the mean loss on the whole batch up to the order of sums.

    Args:
        network: in the mode it should run in; with batch norm, running statistics move as usual.
        images: preprocessed and augmented, on the device.
        targets: class indices or class probabilities.
        loss, epoch: what is minimised, and where in the training it is.
    """
    parameters = tuple(network.parameters())
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    layout = preferred_layout(network)

    def of_part(part: slice) -> tuple[Tensor, tuple[Tensor, ...]]:
        with torch.enable_grad():
            with runtime.autocast():
                logits = network(images[part].contiguous(memory_format=layout))
            value = loss(logits.float(), targets[part], epoch) / len(images)
            found = iter(torch.autograd.grad(value, trained, materialize_grads=True))
            gradients = (next(found) if one.requires_grad else torch.zeros_like(one) for one in parameters)
            return value.detach(), tuple(gradients)

    if network.mixes_images:
        return of_part(slice(0, len(images)))
    losses, gradients = zip(*map_chunks(of_part, len(images), runtime.device), strict=True)
    return torch.stack(losses).sum(), tuple(torch.stack(parts).sum(0) for parts in zip(*gradients, strict=True))
