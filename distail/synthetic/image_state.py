"""What methods that descend on images carry from one iteration to the next."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from distail.errors import DistailError
from distail.problem import Problem

_ADAM_EPS = 1e-8


@dataclass(frozen=True, eq=False)
class ImageState:
    """Images under gradient descent with momentum, or under Adam.

    Attributes:
        images: (n, channels, height, width), on the device.
        velocity: of the same shape; Adam's mean of gradients.
        iteration: how many are done.
        squares: Adam's mean of squared gradients; None without Adam.
    """

    images: Float[Tensor, "n c h w"]
    velocity: Float[Tensor, "n c h w"]
    iteration: int = 0
    squares: Float[Tensor, "n c h w"] | None = None

    @staticmethod
    def resumed(problem: Problem, start: Float[Tensor, "n c h w"], *, as_pixels: bool = False) -> ImageState:
        """The state that a killed run left in the problem's checkpoint, or the start, which the problem is told.

        Args:
            problem: data, device and checkpoint.
            start: initial images, class by class.
            as_pixels: whether they, and so the state, are pixels in 0..1 instead of preprocessed images.
        """
        saved = problem.checkpoint.load()
        if saved is None:
            start = start.to(problem.runtime.device)
            problem.begin(problem.preprocessing.apply(start) if as_pixels else start)
            return ImageState(start, torch.zeros_like(start))
        return ImageState.unpacked(problem, *saved)

    @staticmethod
    def under_adam(start: Float[Tensor, "n c h w"]) -> ImageState:
        """Where Adam begins."""
        return ImageState(start, torch.zeros_like(start), squares=torch.zeros_like(start))

    @staticmethod
    def unpacked(problem: Problem, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> ImageState:
        """What a checkpoint holds, on the problem's device."""
        device = problem.runtime.device
        squares = tensors["squares"].to(device) if "squares" in tensors else None
        images, velocity = (tensors[name].to(device) for name in ("images", "velocity"))
        return ImageState(images, velocity, int(values["iteration"]), squares)

    def moved(self, gradient: Float[Tensor, "n c h w"], learning_rate: float, momentum: float) -> ImageState:
        """After one step of SGD, in the same iteration."""
        velocity = momentum * self.velocity + gradient
        return replace(self, images=self.images - learning_rate * velocity, velocity=velocity)

    def moved_by_adam(
        self, gradient: Float[Tensor, "n c h w"], learning_rate: float, betas: tuple[float, float]
    ) -> ImageState:
        """After one step of Adam, of which so many were taken before as iterations are done; in the same iteration.

        Source: Kingma & Ba, ICLR 2015, arXiv:1412.6980.
        """
        assert self.squares is not None, "the state was not made for Adam"
        steps = self.iteration + 1
        velocity = betas[0] * self.velocity + (1 - betas[0]) * gradient
        squares = betas[1] * self.squares + (1 - betas[1]) * gradient.square()
        mean, square = velocity / (1 - betas[0] ** steps), squares / (1 - betas[1] ** steps)
        images = self.images - learning_rate * mean / (square.sqrt() + _ADAM_EPS)
        return replace(self, images=images, velocity=velocity, squares=squares)

    def moved_in_class(
        self, gradient: Float[Tensor, "k c h w"], label: int, learning_rate: float, momentum: float
    ) -> ImageState:
        """`moved` by the gradient of one class, as in code that has one optimiser for all images.

        The images of the other classes follow their momentum.

        Args:
            gradient: of the class's k images; every class has as many.
            label: the class.
            learning_rate, momentum: of SGD.
        """
        whole = torch.zeros_like(self.images)
        whole[label * len(gradient) : (label + 1) * len(gradient)] = gradient
        return self.moved(whole, learning_rate, momentum)

    def packed(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors and values for a checkpoint."""
        tensors = {"images": self.images, "velocity": self.velocity}
        if self.squares is not None:
            tensors["squares"] = self.squares
        return tensors, {"iteration": self.iteration}

    def is_finite(self, loss: float) -> bool:
        """Whether the loss that led here and the images are numbers."""
        return math.isfinite(loss) and bool(torch.isfinite(self.images).all())


def divergence(
    name: str,
    loss: float,
    iteration: int,
    image_lr: float,
    *,
    network_lr: float | None = None,
    iterations_stand_alone: bool = True,
) -> DistailError:
    """What to raise where the loss or the images are no longer finite, after the last good state has been saved.

    Args:
        name: of the method.
        loss: of the iteration that went wrong.
        iteration: which one; so many are good.
        image_lr: the step size on the images.
        network_lr: that of networks that train on the images, which may be what went wrong.
        iterations_stand_alone: see `Method`; only then can a set be made of what was learned before.
    """
    other = "" if network_lr is None else f" or network_lr (now {network_lr:g})"
    told = (
        f"{name}: the loss became {loss:g} or the images are no longer finite in iteration {iteration}. Lower image_lr "
        f"(now {image_lr:g}){other} and start anew."
    )
    if not iterations_stand_alone:
        return DistailError(told)
    return DistailError(
        f"{told} What was learned before is kept: `--resume --set iterations={iteration}` makes a set of it."
    )
