"""From images to groups of similar classes: train a network, embed, find centroids, measure distances, cut.

Source: Zheng et al., ICMSSP 2024. Deviations: features are those of training or held-out images unless the paper's test
images are asked for; a class with fewer images than centroids keeps comparable distances (`distances.py`); the number
of groups may be chosen (`choice.py`).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from distail.data.holdout import hold_out
from distail.data.image_set import ImageSet, require_same_classes
from distail.data.preprocess import Preprocessing
from distail.distilled import DistilledSet
from distail.errors import DistailError
from distail.groups.choice import GroupCount, best_count, nearest_centroids, two_stage_accuracy
from distail.groups.distances import ClassCentroids, class_centroids, class_distances
from distail.groups.grouping import Grouping
from distail.groups.max_cut import Cut, max_cut
from distail.groups.settings import GroupingSettings
from distail.learn.kept import KeptNetworks
from distail.learn.student import Classroom, train_student
from distail.models.embedding import embedded_by
from distail.models.saved import SavedNetwork
from distail.progress import Progress, SilentProgress
from distail.provenance import environment
from distail.runtime import Runtime
from distail.seeding import derive_seed, torch_generator
from distail.training.recipe import TrainRecipe
from distail.training.validation import balanced_accuracy

_HARDLY_BETTER = 1.5
"""Times the accuracy of chance below which features are not worth grouping."""


@dataclass(frozen=True, eq=False)
class FoundGroups:
    """A grouping and what it was found by.

    Attributes:
        grouping: which classes belong together.
        cut: the partition's sum of distances, and how far from the best it may be.
        distances: D of every two classes, in units of the features.
        features: of the images that were looked at.
        labels: the class of each of them.
        centroids: of each class.
        network: the trained network that the features come from.
        tried: what each number of groups reached on held-out images, where the number was to be chosen.
    """

    grouping: Grouping
    cut: Cut
    distances: Float64[Tensor, "k k"]
    features: Float[Tensor, "n f"]
    labels: Int64[Tensor, " n"]
    centroids: ClassCentroids
    network: SavedNetwork
    tried: tuple[GroupCount, ...] = ()


def find_grouping(
    train: ImageSet,
    preprocessing: Preprocessing,
    settings: GroupingSettings,
    architecture: str = "convnet3",
    seed: int = 0,
    runtime: Runtime | None = None,
    progress: Progress | None = None,
    *,
    lessons: DistilledSet | None = None,
    test: ImageSet | None = None,
    kept: KeptNetworks | None = None,
    num_groups: int | None = None,
    name: str = "",
) -> FoundGroups:
    """Finds groups of similar classes.

    Args:
        train: images that the network is trained on, and whose features are grouped unless settings say otherwise.
        preprocessing: fitted on `train`.
        settings: how.
        architecture: of the network.
        seed: of the network, its training, the held-out images, the centroids and the search.
        runtime: where to compute; the CPU in fp32 when omitted.
        progress: how to report; silent when omitted.
        lessons: a distilled set that the network is trained on in place of `train`, for as many steps.
        test: images that are looked at with features='test', and only then.
        kept: where trained networks are kept and taken from.
        num_groups: how many, in place of what settings say; all else is as with these, so that where the number was
            chosen on other data, images are held out all the same and groupings can be compared.
        name: of the data, for progress.

    Raises:
        DistailError: a class without images, in `lessons` too; other classes or image sizes in `lessons` or `test`;
            fewer than two groups or more than classes; training diverges.
    """
    runtime, progress = runtime or Runtime(), progress or SilentProgress()
    _require_sense(train, settings, lessons, test)
    parts = _Parts.of(train, settings, seed)
    classroom, recipe = _lessons(parts.rest, preprocessing, settings, runtime, lessons)
    title = f"training {architecture}{f' on {name}' if name else ''}, seed {seed}"
    student = train_student(classroom, architecture, recipe, seed, runtime, progress=progress, kept=kept, title=title)
    network = student.saved
    images = {"train": parts.rest, "heldout": parts.heldout_or_lent, "test": test}[settings.features]
    looked_at = _sampled(images, settings, seed)
    seen = embedded_by(network, looked_at.images, runtime)
    accuracy = balanced_accuracy(seen.probabilities.argmax(1), looked_at.labels)
    if accuracy < _HARDLY_BETTER / train.num_classes:
        progress.warn(
            f"{architecture}, seed {seed}, tells classes apart hardly better than chance ({accuracy:.0%} right, "
            "classes counted alike), so its groups mean little. Train it longer with --epochs, or choose another "
            "--arch."
        )
    centroids = class_centroids(
        seen.embeddings, looked_at.labels, train.class_names, settings.num_centroids, derive_seed(seed, "centroids")
    )
    distances = class_distances(centroids)
    tried: tuple[GroupCount, ...] = ()
    if num_groups is None and settings.num_groups == "auto":
        tried = _tried(distances, network, parts, settings, seed, runtime)
    count = best_count(tried).num_groups if tried else num_groups or int(settings.num_groups)
    cut = max_cut(distances, count, seed)
    provenance = {
        "origin": train.origin,
        "data_sha256": train.content_hash,
        "class_counts": list(train.class_counts),
        "trained_on": _described(parts.rest, lessons),
        "features": settings.features,
        "num_images": len(looked_at),
        "num_centroids": list(centroids.counts),
        "architecture": architecture,
        "balanced_accuracy": accuracy,
        "seed": seed,
        "settings": settings.model_dump(mode="json"),
        "cut": {"value": cut.value, "upper_bound": cut.upper_bound, "exact": cut.exact, "gap": cut.gap},
        "tried": [asdict(count) for count in tried],
        **environment(runtime),
    }
    grouping = Grouping(train.class_names, cut.group_of, provenance)
    return FoundGroups(grouping, cut, distances, seen.embeddings, looked_at.labels, centroids, network, tried)


@dataclass(frozen=True, eq=False)
class _Parts:
    """Training images, those held out of them, and those to look at in place of the latter.

    A class with a single image holds none out, but must have a place among the others: it lends that image.
    """

    rest: ImageSet
    heldout: ImageSet | None = None
    heldout_or_lent: ImageSet | None = None

    @staticmethod
    def of(train: ImageSet, settings: GroupingSettings, seed: int) -> _Parts:
        if settings.features != "heldout" and settings.num_groups != "auto":
            return _Parts(train)
        split = hold_out(train, settings.validation, derive_seed(seed, "grouping"), "validation")
        if len(split.held_out) == 0:
            raise DistailError(
                f"{train.origin}: every class has a single image, so none can be held out. Use features of training "
                "images, and say how many groups to make."
            )
        is_single = torch.tensor(train.class_counts) == 1
        lent = split.rest[is_single[train.labels[split.rest]]]
        return _Parts(
            train.subset(split.rest), train.subset(split.held_out), train.subset(torch.cat([split.held_out, lent]))
        )


def require_lessons_for(train: ImageSet, lessons: DistilledSet) -> None:
    """Refuses a distilled set that cannot stand in for these training images.

    Raises:
        DistailError: other classes, other image sizes, or a class without images in the set.
    """
    require_same_classes(train.class_names, train.origin, lessons.class_names, "the distilled set")
    if lessons.image_shape != train.image_shape:
        raise DistailError(
            f"The distilled set holds images of {lessons.image_shape} (channels, height, width), {train.origin} of "
            f"{train.image_shape}. Use a set that was made from images of the same size."
        )
    if 0 in lessons.class_counts:
        absent = lessons.class_names[lessons.class_counts.index(0)]
        raise DistailError(
            f"The distilled set has no image of class '{absent}', so a network trained on it knows nothing of that "
            "class and its group would be chance. Use a set with images of every class."
        )


def require_possible_groups(settings: GroupingSettings, num_classes: int) -> None:
    """Refuses fewer than two groups, and more than there are classes.

    Raises:
        DistailError: says how many can be made.
    """
    if isinstance(settings.num_groups, int) and not 2 <= settings.num_groups <= num_classes:
        raise DistailError(
            f"{num_classes} classes cannot be cut into {settings.num_groups} "
            f"{'group' if settings.num_groups == 1 else 'groups'}. Ask for 2 to {num_classes} groups."
        )


def _require_sense(
    train: ImageSet, settings: GroupingSettings, lessons: DistilledSet | None, test: ImageSet | None
) -> None:
    """Refuses before the training what would fail after it."""
    train.require_no_empty_class()
    require_possible_groups(settings, train.num_classes)
    if (settings.features == "test") != (test is not None):
        raise DistailError("features='test' and test images go together: pass both, or neither.")
    if lessons is not None:
        require_lessons_for(train, lessons)
    if test is not None:
        test.require_no_empty_class()
        require_same_classes(train.class_names, train.origin, test.class_names, "the test images")


def _lessons(
    images: ImageSet,
    preprocessing: Preprocessing,
    settings: GroupingSettings,
    runtime: Runtime,
    lessons: DistilledSet | None,
) -> tuple[Classroom, TrainRecipe]:
    """What the network learns from, and how: from the images, or for as many steps from the distilled set."""
    classroom = Classroom.of_images(images, preprocessing, runtime)
    recipe = settings.train_recipe()
    if lessons is not None:
        steps = settings.epochs * -(-len(images) // settings.batch_size)
        classroom = Classroom.of_distilled(lessons, "static", runtime)
        recipe = settings.train_recipe(-(-steps // -(-len(classroom.data) // settings.batch_size)))
    return classroom, recipe


def _sampled(images: ImageSet | None, settings: GroupingSettings, seed: int) -> ImageSet:
    """At most `max_images` of each class, drawn for each class by its name."""
    assert images is not None
    kept = []
    for label, name in enumerate(images.class_names):
        own = images.indices_of(label)
        if len(own) > settings.max_images:
            drawn = torch.randperm(len(own), generator=torch_generator(seed, "images looked at", name))
            own = own[drawn[: settings.max_images]]
        kept.append(own)
    return images.subset(torch.cat(kept))


def _tried(
    distances: Float64[Tensor, "k k"],
    network: SavedNetwork,
    parts: _Parts,
    settings: GroupingSettings,
    seed: int,
    runtime: Runtime,
) -> tuple[GroupCount, ...]:
    """Every number of groups, judged on the held-out images; none made, which is one group, for comparison."""
    known, heldout = _sampled(parts.rest, settings, seed), _sampled(parts.heldout, settings, seed)
    features = embedded_by(network, known.images, runtime).embeddings
    names, wanted = known.class_names, settings.num_centroids
    centroids = class_centroids(features, known.labels, names, wanted, derive_seed(seed, "centroids"))
    judged = embedded_by(network, heldout.images, runtime)
    to_classes = nearest_centroids(judged.embeddings, centroids)
    groupings = [(0,) * len(names)]
    groupings += [
        max_cut(distances, count, seed).group_of for count in range(2, min(settings.max_groups, len(names)) + 1)
    ]
    return tuple(
        two_stage_accuracy(group_of, judged.probabilities, to_classes, heldout.labels) for group_of in groupings
    )


def _described(train: ImageSet, lessons: DistilledSet | None) -> dict[str, Any]:
    """What the network learned from."""
    if lessons is None:
        return {"kind": "images", "num_images": len(train), "imbalance_factor": train.imbalance_factor}
    recipe = lessons.provenance.get("recipe", {})
    return {"kind": "distilled set", "num_images": len(lessons), "method": recipe.get("method")}
