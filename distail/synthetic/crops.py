"""Crops of real images that a trained network is most sure of, class by class.

From every real image some random boxes are cut and enlarged to full size, and the network's cross-entropy with the
image's label judges them. Rounds choose among them: images in ascending order of their best cross-entropy each give
their best crop that was not given yet, until there are enough; once all crops of all images are given, it begins anew.
With as many images as are wanted that is the best crop of the images with the lowest cross-entropy, which is RDED's
choice; with fewer it is RLDD's, and no class is too small.

Only boxes and their scores are kept, and the chosen crops are cut again, so that memory does not grow with the images.

Sources: Sun et al., RDED, CVPR 2024, arXiv:2312.03526; RLDD, AAAI 2026 (rounds).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from distail.data.augment import DSA, DSAParameters
from distail.models import Network
from distail.problem import Load, Problem, Work
from distail.synthetic.layer_inputs import at_rest
from distail.synthetic.mosaic import compose

_BATCH = 250
"""Crops that are judged at once."""


def confident_crops(
    problem: Problem,
    network: Network,
    *,
    crops_per_image: int,
    max_images: int | None,
    smallest: float,
    factor: int = 1,
) -> Float[Tensor, "n c h w"]:
    """IPC images of each class that are put together from the crops of which the network is most sure, on the device.

    Args:
        problem: real images and seed.
        network: judges; on the device, left as it was.
        crops_per_image: how many boxes are tried.
        max_images: of each class that are looked at, chosen at random; all of them when None.
        smallest: share of an image's area that a box takes at least.
        factor: crops a side of each image. Above 1 a crop is reduced to its share of the image, from full size, and is
            judged in the middle of an image that preprocessing makes zero elsewhere.
    """
    chosen = []
    with at_rest(network), problem.progress.task("judging crops", problem.num_classes) as advance:
        for label in range(problem.num_classes):
            generator = problem.generator("crops", label)
            of_class = problem.train.indices_of(label)
            picked = of_class[torch.randperm(len(of_class), generator=generator)[:max_images]]
            sources = picked.repeat_interleave(crops_per_image)
            boxes = boxes_from(smallest).sample(len(sources), problem.train.image_shape, generator)
            scores = _scores(problem, network, sources, boxes, label, factor).view(-1, crops_per_image)
            wanted = chosen_in_rounds(scores, problem.images_per_class * factor**2)
            pixels = compose(_cut(problem, sources[wanted], boxes[wanted]), factor)
            chosen.append(problem.preprocessing.apply(pixels))
            advance()
    return torch.cat(chosen)


def boxes_from(smallest: float) -> DSA:
    """Draws boxes of the image's form, of areas from this share of it on, and cuts them."""
    return DSA("resized", smallest_crop=smallest, stretch=1.0)


def chosen_in_rounds(scores: Float[Tensor, "n m"], count: int) -> Int64[Tensor, " k"]:
    """Positions of `count` crops in the flattened scores, in the order in which they are chosen.

    Args:
        scores: of m crops of each of n images; low is good. Equal ones go by position.
        count: how many are wanted; beyond n * m they repeat.
    """
    num_images, num_crops = scores.shape
    best_first = scores.argsort(dim=1, stable=True)  # n m
    images = scores.min(dim=1).values.argsort(stable=True)
    places = torch.arange(count)
    image, turn = images[places % num_images], places // num_images % num_crops
    return image * num_crops + best_first[image, turn]


def crops_work(
    problem: Problem, architecture: str, *, crops_per_image: int, max_images: int | None, factor: int = 1
) -> Work:
    """Judging passes every crop forward."""
    counts = [count if max_images is None else min(count, max_images) for count in problem.train.class_counts]
    crops = sum(counts) * crops_per_image
    largest = max(max(counts) * crops_per_image, problem.images_per_class * factor**2)
    load = Load(min(largest, _BATCH), "forward", architecture=architecture)
    return Work(forward=int(crops * problem.relative_cost(architecture)), loads=(load,))


def _cut(problem: Problem, sources: Int64[Tensor, " n"], boxes: DSAParameters) -> Float[Tensor, "n c h w"]:
    """Pixels in 0..1 of the boxes, at full size, on the device."""
    pixels = problem.train.images[sources].to(problem.runtime.device).float() / 255
    return DSA("resized").apply(pixels, boxes)


@torch.no_grad()
def _scores(
    problem: Problem, network: Network, sources: Int64[Tensor, " n"], boxes: DSAParameters, label: int, factor: int
) -> Float[Tensor, " n"]:
    """Cross-entropy of every box with the class."""
    found = []
    for positions in torch.arange(len(sources)).split(_BATCH):
        pixels = _cut(problem, sources[positions], boxes[positions])
        inputs = problem.preprocessing.apply(_alone(problem, pixels, factor))
        with problem.runtime.autocast():
            logits = network(inputs).float()
        labels = torch.full((len(positions),), label, device=logits.device)
        found.append(F.cross_entropy(logits, labels, reduction="none").cpu())
    return torch.cat(found)


def _alone(problem: Problem, pixels: Float[Tensor, "n c h w"], factor: int) -> Float[Tensor, "n c h w"]:
    """Each crop at the size that it has among others, in the middle of what preprocessing makes zero."""
    if factor == 1:
        return pixels
    _, _, height, width = pixels.shape
    small = F.avg_pool2d(pixels, factor)
    top, left = (height - small.shape[2]) // 2, (width - small.shape[3]) // 2
    canvas = problem.preprocessing.invert(torch.zeros_like(pixels))
    canvas[:, :, top : top + small.shape[2], left : left + small.shape[3]] = small
    return canvas
