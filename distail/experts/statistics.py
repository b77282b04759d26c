"""Running statistics of batch normalisation for networks that come back from a bank, which keeps parameters alone."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from distail.models.network import Network
from distail.seeding import torch_generator

_BATCH = 256
_BATCHES = 8


@torch.no_grad()
def measure_statistics(
    network: Network, real: Callable[[Int64[Tensor, " b"]], Float[Tensor, "b c h w"]], num_images: int
) -> None:
    """Gives batch normalisation the statistics of some 2,000 real images, so that the network can predict.

    Parameters stay as they are, and so does a network without batch normalisation. The network is left in evaluation
    mode.

    Args:
        network: changed in place.
        real: preprocessed images at these positions, on the network's device.
        num_images: how many there are.
    """
    norms = [module for module in network.modules() if isinstance(module, _BatchNorm)]
    if norms:
        momenta = [norm.momentum for norm in norms]
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # a plain mean over batches
        network.train()
        order = torch.randperm(num_images, generator=torch_generator(0, "statistics", num_images))
        num_batches = min(max(num_images // _BATCH, 1), _BATCHES)
        for indices in order.split(_BATCH)[:num_batches]:  # without the last batch where it is smaller than the others
            network(real(indices))
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
    network.eval()
