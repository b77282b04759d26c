"""Labels of the final images by a teacher, which goes with the set."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from distail.data.labelled_views import LabelledViews, Teacher
from distail.models import Network
from distail.models.saved import SavedNetwork, batch_logits
from distail.problem import Load, Problem, Synthetic, Work, class_major_labels
from distail.progress import Progress
from distail.runtime import preferred_layout
from distail.synthetic.layer_inputs import at_rest
from distail.training.recipe import TrainRecipe

_BATCH = 256
"""Images labelled at once."""


def relabelled(
    problem: Problem,
    images: Float[Tensor, "n c h w"],
    teacher: SavedNetwork,
    students: TrainRecipe,
    num_views: int = 0,
) -> Synthetic:
    """The set of these images: the teacher's logits as soft labels, in fp32, the teacher, and how students train.

    Args:
        problem: how many classes and images there are.
        images: class by class, on the device.
        teacher: on the device, behind the problem's own preprocessing.
        students: how they train; boxes of labelled views are as small as those that their augmentation cuts.
        num_views: labelled views of each image; none when 0.
    """
    views = None
    with at_rest(teacher.network):

        def answer(seen: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k"]:
            return logits_in_batches(teacher.network, seen)

        logits = answer(images).cpu()
        if num_views:
            generator = problem.generator("labelled views")
            views = views_for(students, images, num_views, answer, generator, problem.progress)
    labels = class_major_labels(problem.num_classes, problem.images_per_class)
    return Synthetic(images.cpu(), labels, soft_labels=logits, teacher=teacher, training=students, views=views)


def logits_in_batches(network: Network, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k"]:
    """What a network says of preprocessed images, `_BATCH` of them at a time, in float32."""
    return torch.cat([batch_logits(network, batch) for batch in images.split(_BATCH)]).float()


def views_for(
    students: TrainRecipe,
    images: Float[Tensor, "n c h w"],
    num_views: int,
    teacher: Teacher,
    generator: torch.Generator,
    progress: Progress,
) -> LabelledViews:
    """Views as students see images who train like this, which they then go on mirroring if they did before.

    Args:
        students: say how small boxes are, and how often CutMix mixes them.
        images: preprocessed.
        num_views: of each image, at least 1.
        teacher: labels them.
        generator: on the CPU.
        progress: is told of every view of all images.
    """
    mixed = students.mixing_probability if students.mixing == "cutmix" else 0.0
    both = answers_for(students, teacher)
    with progress.task("labels of views", num_views) as advance:

        def answer(seen: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k"]:
            logits = both(seen)
            advance()
            return logits

        crop = students.smallest_crop
        return LabelledViews.drawn(images, num_views, answer, generator, smallest_crop=crop, mixed=mixed)


def answers_for(students: TrainRecipe, teacher: Teacher) -> Teacher:
    """The teacher, asked about both a view and its mirror image where students take one for the other."""
    return (lambda images: (teacher(images) + teacher(images.flip(3))) / 2) if students.mirrors else teacher


def relabelling_work(
    problem: Problem, architectures: Sequence[str], students: TrainRecipe | None = None, num_views: int = 0
) -> Work:
    """All images, and views of them and maybe their mirror images, pass forward through each of the networks."""
    num_images = problem.num_classes * problem.images_per_class
    looks = 1 + num_views * (2 if students and students.mirrors else 1)
    cost = sum(problem.relative_cost(architecture) for architecture in architectures)
    loads = (Load(min(num_images, _BATCH), "forward", architecture=architecture) for architecture in architectures)
    return Work(forward=int(num_images * looks * cost), loads=tuple(loads))


def ready(problem: Problem, teacher: SavedNetwork) -> Network:
    """The teacher's network on the device, in the memory layout of training, and in evaluation mode.

    A network that was read from a file has another layout at first, and the layout decides about roundings.
    """
    layout = preferred_layout(teacher.network)
    network = teacher.network.to(problem.runtime.device, memory_format=layout)  # type: ignore[call-overload]
    return network.eval()
