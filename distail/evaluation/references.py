"""Random real images, as many as a distilled set has: the reference that a set has to beat."""

from __future__ import annotations

from distail.data.image_set import ImageSet
from distail.distilled import DistilledSet
from distail.problem import Problem, class_major_labels
from distail.synthetic.selection import random_choice, select_indices


def random_subset(like: DistilledSet, train: ImageSet, seed: int) -> DistilledSet:
    """As many random real images of each class as `like` has on average, in its preprocessing."""
    per_class = max(1, round(len(like) / like.num_classes))
    draw = random_choice(Problem(train, like.preprocessing, per_class, seed=seed))
    indices = select_indices(train, per_class, draw)
    return DistilledSet(
        images=like.preprocessing.apply(train.images[indices]),
        labels=class_major_labels(like.num_classes, per_class),
        class_names=like.class_names,
        preprocessing=like.preprocessing,
    )
