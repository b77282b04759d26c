"""EDC's and SRe2L's distance of statistics, written out one number at a time."""

import torch
from torch import Tensor


def spread(numbers: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and population variance of all numbers."""
    mean = numbers.sum() / numbers.numel()
    return mean, ((numbers - mean) ** 2).sum() / numbers.numel()


def channel_statistics(inputs: Tensor) -> tuple[Tensor, Tensor]:
    """(mean, variance) of each channel."""
    found = [spread(inputs[:, channel]) for channel in range(inputs.shape[1])]
    return torch.stack([mean for mean, _ in found]), torch.stack([variance for _, variance in found])


def patch_statistics(inputs: Tensor) -> tuple[Tensor, Tensor]:
    """(mean, variance) of each patch of 4x4, row by row; sides are multiples of 4."""
    found = []
    for top in range(0, inputs.shape[2], 4):
        for left in range(0, inputs.shape[3], 4):
            found.append(spread(inputs[:, :, top : top + 4, left : left + 4]))
    return torch.stack([mean for mean, _ in found]), torch.stack([variance for _, variance in found])


def distance(found: tuple[Tensor, Tensor], wanted: tuple[Tensor, Tensor]) -> Tensor:
    """‖m − m'‖ + ‖v − v'‖."""
    return sum(((one - other) ** 2).sum().sqrt() for one, other in zip(found, wanted, strict=True))


def smoothed(running: Tensor | None, batch: Tensor, alpha: float) -> tuple[Tensor, Tensor]:
    """What is compared, with the batch's gradient, and the running mean afterwards."""
    after = batch.detach() if running is None else alpha * running + (1 - alpha) * batch.detach()
    return batch + (after - batch).detach(), after


def rounds(scores: list[list[float]], count: int) -> list[tuple[int, int]]:
    """(image, crop) in the order in which RLDD's rounds choose them."""
    order = sorted(range(len(scores)), key=lambda image: min(scores[image]))
    used: set[tuple[int, int]] = set()
    chosen: list[tuple[int, int]] = []
    while len(chosen) < count:
        if len(used) == len(scores) * len(scores[0]):
            used.clear()
        for image in order:
            free = [crop for crop in range(len(scores[image])) if (image, crop) not in used]
            best = min(free, key=lambda crop, image=image: scores[image][crop])
            used.add((image, best))
            chosen.append((image, best))
            if len(chosen) == count:
                break
    return chosen
