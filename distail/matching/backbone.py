"""Features of a network, and their derivative along a direction of parameters, as pure functions of the parameters."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import TypeGuard, TypeVar

from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.modules.batchnorm import _BatchNorm

from distail.models import Network
from distail.models.convnet import ConvNet
from distail.parallel import map_chunks
from distail.runtime import Runtime, preferred_layout

T = TypeVar("T")


class Backbone:
    """The feature extractor of a network in training mode.

    A ConvNet without batch normalisation has tangents, and takes a batch in parts, side by side on the CPU's threads
    and with fused kernels. Every other network takes it whole and by its own layers. Forward-mode differentiation would
    give them tangents too, but it saves a fifth of the time at best, and in torch 2.13 the reverse of it is wrong
    without a word for batch, layer and instance norm, where that of a reverse pass is right.

    Args:
        network: copied. The running statistics of batch normalisation are left out of the copy, so that a student
            depends on its parameters alone, unless they are frozen.
        runtime: where and how precisely to compute.
        frozen_statistics: batch normalisation takes the network's running statistics and never those of a batch.

    Attributes:
        has_tangents: whether `tangent_features` may be called.
    """

    def __init__(self, network: Network, runtime: Runtime, *, frozen_statistics: bool = False) -> None:
        self.runtime = runtime
        own = copy.deepcopy(network).to(runtime.device).train()
        own.fused = False
        _treat_statistics(own, frozen_statistics)
        self._layout = preferred_layout(own)
        self._module = _Features(own)
        self._names = tuple(f"network.{name}" for name, _ in own.named_parameters())
        self._fast: ConvNet | None = None
        if goes_by_tangents(own):
            self._fast = copy.deepcopy(own)
            self._fast.fused = True
        self.has_tangents = self._fast is not None

    def map_parts(self, function: Callable[[slice], T], num_images: int) -> list[T]:
        """`function` of parts of a batch that may go through the network apart from each other; results in order.

        Args:
            function: called in other threads, where grad mode and autocast are those of a new thread.
            num_images: size of the batch.
        """
        if self._fast is None:
            return [function(slice(0, num_images))]
        return map_chunks(function, num_images, self.runtime.device)

    def features(self, parameters: Sequence[Tensor], images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b f"]:
        """What the classifier sees; differentiable once by parameters and images.

        Args:
            parameters: of the whole network, in the order of `parameters()`.
            images: augmented, on the device.
        """
        if self._fast is None:
            return self.plain_features(parameters, images)
        with self.runtime.autocast():
            return self._fast.features_with(parameters, images)

    def plain_features(self, parameters: Sequence[Tensor], images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b f"]:
        """`features` by the network's own layers; differentiable any number of times.

        Args:
            parameters: of the whole network, in the order of `parameters()`.
            images: augmented, on the device.
        """
        images = images.contiguous(memory_format=self._layout)
        named = dict(zip(self._names, parameters, strict=True))
        # Fused attention has no second derivative.
        with self.runtime.autocast(), sdpa_kernel(SDPBackend.MATH):
            return functional_call(self._module, named, (images,))

    def tangent_features(
        self, parameters: Sequence[Tensor], direction: Sequence[Tensor], images: Float[Tensor, "b c h w"]
    ) -> tuple[Float[Tensor, "b f"], Float[Tensor, "b f"]]:
        """(features, their derivative along `direction`); both differentiable once by parameters and images.

        Args:
            parameters: of the whole network, in the order of `parameters()`.
            direction: one tensor a parameter.
            images: augmented, on the device.
        """
        assert self._fast is not None, "ask has_tangents first"
        with self.runtime.autocast():
            return self._fast.tangent_features(parameters, direction, images)


def goes_by_tangents(network: Network) -> TypeGuard[ConvNet]:
    """Whether a `Backbone` of this network has tangents."""
    return isinstance(network, ConvNet) and not network.mixes_images


class _Features(nn.Module):
    """`features` of a network as a module's forward, which is what `functional_call` calls."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return self.network.features(images)


def _treat_statistics(network: nn.Module, frozen: bool) -> None:
    for module in network.modules():
        if isinstance(module, _BatchNorm):
            if frozen:
                module.eval()
            else:
                module.track_running_stats = False
                module.running_mean = module.running_var = module.num_batches_tracked = None
