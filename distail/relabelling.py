"""New soft labels for a distilled set: a teacher's, made fair by ADSA, or both; the set itself stays as it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from distail.artifact import require_free, tensors_digest
from distail.choices import DeviceName
from distail.data.image_set import IN_MEMORY, ImageSet, require_same_classes
from distail.data.labelled_views import LabelledViews
from distail.data.long_tail import make_long_tailed
from distail.data.preprocess import Preprocessing
from distail.distilled import DistilledSet, load_distilled
from distail.errors import DistailError
from distail.learn.adsa import Confidence, confidence, fair_logits, fair_tau, fair_teacher
from distail.learn.labels import labelled_training_set
from distail.models.saved import SavedNetwork, load_network, save_network
from distail.opening import is_distilled, own_teacher
from distail.progress import Progress, SilentProgress
from distail.provenance import environment
from distail.report.picture import image_grid
from distail.run_folder import RunFolder
from distail.runtime import Runtime, resolve_runtime
from distail.scoring import TrainingSource
from distail.seeding import torch_generator
from distail.synthetic.relabel import answers_for, logits_in_batches, views_for
from distail.training.recipe import TrainRecipe


@dataclass(frozen=True)
class Labelled:
    """Soft labels at one stage.

    Attributes:
        by: 'stored', those that the set came with; 'teacher'; or 'adsa', those made fair.
        confidence: in the hard labels.
    """

    by: Literal["stored", "teacher", "adsa"]
    confidence: Confidence

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        found = self.confidence
        return {
            "labels": self.by,
            "confidence": list(found.by_class),
            "mean": found.mean,
            "deviation": found.deviation,
            "agreement": found.agreement,
        }


@dataclass(frozen=True, eq=False)
class Relabelled:
    """What relabelling made.

    Attributes:
        distilled: the new set; its provenance says under 'relabelled' what was done to which set.
        steps: soft labels at the beginning, where there were any, and after each step.
        tau: that ADSA found, or None.
    """

    distilled: DistilledSet
    steps: tuple[Labelled, ...]
    tau: float | None


def relabel(
    target: DistilledSet | str | Path,
    *,
    teacher: SavedNetwork | str | Path | None = None,
    views: int | None = None,
    adsa: bool = False,
    train: ImageSet | str | Path | None = None,
    imbalance: float | None = None,
    out: str | Path | None = None,
    device: DeviceName = "auto",
    progress: Progress | None = None,
) -> Relabelled:
    """Gives a set other soft labels. A teacher labels first, and ADSA corrects what is there then.

    A teacher looks at each image once, as it is, in fp32; a mosaic gets the mean of the logits of its cells. Labelled
    views that the set stores are labelled and corrected like the images.

    Args:
        target: a set, a run folder or a set's file; nothing of it is changed.
        teacher: whose logits become the labels, or its file.
        views: of each image that are drawn anew for the teacher to label; 0 stores none, None leaves those there are.
        adsa: whether labels are corrected for the long tail of the training data.
        train: the training data, where the set does not say how many images of each class it was made from.
        imbalance: the long tail given to `train`.
        out: folder for the new set, a run folder as others; nothing is written when omitted. The teacher, or that of
            the set's run, goes with it, corrected like the labels, so that students can ask it.

    Raises:
        DistailError: nothing is asked, labels are to be corrected where there are none, views without a teacher or of
            mosaics, a teacher for other classes or images, training data of other classes or not known, or `out`
            exists.
    """
    _require_sense(teacher is not None, adsa, train is not None, imbalance, views)
    if out is not None:
        require_free(Path(out))
    progress, runtime = progress or SilentProgress(), resolve_runtime(device, "fp32")
    distilled = target if isinstance(target, DistilledSet) else _opened(target)
    counts = _class_counts(distilled, train, imbalance, progress) if adsa else None
    network = load_network(teacher) if isinstance(teacher, str | Path) else teacher
    found = relabelled(distilled, network, counts, runtime, views, progress)
    facts = {
        "from": IN_MEMORY if isinstance(target, DistilledSet) else str(target),
        "from_sha256": _digest(distilled),
        "teacher": None if network is None else _about(network, teacher),
        "views": 0 if found.distilled.views is None else found.distilled.views.num_views,
        "adsa": None if counts is None else {"tau": found.tau, "class_counts": list(counts)},
        "before": distilled.provenance.get("relabelled"),
        **environment(runtime),
    }
    new = replace(found.distilled, provenance={**distilled.provenance, "relabelled": facts})
    if out is not None:
        folder = RunFolder(out)
        _write(folder, new)
        if asked := _teacher_beside(target, network, counts, found.tau, progress):
            save_network(folder.teacher, asked)
    return replace(found, distilled=new)


def _teacher_beside(
    target: DistilledSet | str | Path,
    network: SavedNetwork | None,
    class_counts: Sequence[int] | None,
    tau: float | None,
    progress: Progress,
) -> SavedNetwork | None:
    """What students of the new set can ask: the network that labelled it, or that of its run, made fair like labels."""
    if network is None and not isinstance(target, DistilledSet) and (own := own_teacher(target)).exists():
        network = load_network(own)
    if network is None or class_counts is None or tau is None:
        return network
    try:
        return fair_teacher(network, class_counts, tau)
    except DistailError as error:
        progress.warn(f"no network goes with the new set for students to ask: {error}")
        return None


def relabelled(
    distilled: DistilledSet,
    teacher: SavedNetwork | None,
    class_counts: Sequence[int] | None,
    runtime: Runtime,
    num_views: int | None = None,
    progress: Progress | None = None,
) -> Relabelled:
    """The set with a teacher's labels, if one is given, made fair by ADSA, if class counts are; provenance as it was.

    Raises:
        DistailError: a teacher for other classes or images, or neither stored labels nor a teacher.
    """
    logits, views, tau = distilled.soft_labels, distilled.views, None
    steps = []
    if logits is not None:
        steps.append(Labelled("stored", confidence(logits, distilled.labels)))
    if teacher is not None:
        logits = teacher_logits(distilled, teacher, runtime)
        views = _views_by(teacher, distilled, num_views, runtime, progress or SilentProgress())
        steps.append(Labelled("teacher", confidence(logits, distilled.labels)))
    if logits is None:
        raise DistailError(
            "The set stores no soft labels that could be corrected. Name a network that labels its images with "
            "--teacher FILE."
        )
    if class_counts is not None:
        tau = fair_tau(logits, distilled.labels, class_counts)
        fair = partial(fair_logits, class_counts=class_counts, tau=tau)
        logits, views = fair(logits), None if views is None else views.answering(fair)
        steps.append(Labelled("adsa", confidence(logits, distilled.labels)))
    return Relabelled(replace(distilled, soft_labels=logits, views=views), tuple(steps), tau)


def teacher_logits(distilled: DistilledSet, teacher: SavedNetwork, runtime: Runtime) -> Float[Tensor, "n k"]:
    """What a teacher says of each image as it is, on the CPU; of a mosaic the mean over its cells.

    Raises:
        DistailError: the teacher is for other classes or images.
    """
    lessons = labelled_training_set(distilled, "teacher", runtime, teacher)  # finds the cells, and what can be wrong
    logits = _logits_of(lessons.images(torch.arange(len(lessons))), teacher, distilled.preprocessing, runtime)
    return logits.view(len(distilled), distilled.mosaic**2, -1).mean(dim=1)


def _logits_of(
    images: Float[Tensor, "n c h w"], teacher: SavedNetwork, preprocessing: Preprocessing, runtime: Runtime
) -> Float[Tensor, "n k"]:
    """Of images in the set's preprocessing, on the CPU."""
    with runtime.autocast():
        return logits_in_batches(teacher.network, teacher.preprocessing.apply(preprocessing.invert(images))).cpu()


def _views_by(
    teacher: SavedNetwork, distilled: DistilledSet, num_views: int | None, runtime: Runtime, progress: Progress
) -> LabelledViews | None:
    """The set's views, or as many new ones, with the teacher's labels.

    Raises:
        DistailError: views of mosaics are asked for.
    """
    images, before = distilled.images.to(runtime.device), distilled.views
    answer = partial(_logits_of, teacher=teacher, preprocessing=distilled.preprocessing, runtime=runtime)
    students = distilled.training or TrainRecipe()
    if num_views is None:
        return None if before is None else before.answered_by(answers_for(students, answer), images)
    if num_views == 0:
        return None
    if distilled.mosaic > 1:
        raise DistailError(f"The images are mosaics of {distilled.mosaic}x{distilled.mosaic}, which have no views.")
    return views_for(students, images, num_views, answer, torch_generator(0, "labelled views"), progress)


def _require_sense(teacher: bool, adsa: bool, train: bool, imbalance: float | None, views: int | None) -> None:
    """Refuses flags that ask for nothing, or mean nothing without each other."""
    if not teacher and not adsa:
        raise DistailError(
            "Nothing is to be done to the labels. Name a network that labels the images with --teacher FILE, or pass "
            "--adsa to correct the labels that are stored, or both."
        )
    if views is not None and views < 0:
        raise DistailError(f"--views {views}: an image cannot have fewer than 0 labelled views. Give 0 or more.")
    if views is not None and not teacher:
        raise DistailError(
            f"--views {views} needs a network that labels the views. Name one with --teacher FILE; that of a run is "
            "RUN/teacher.safetensors, where it has one."
        )
    if train and not adsa:
        raise DistailError("--train names the data whose long tail --adsa corrects. Pass --adsa too, or leave it out.")
    if imbalance is not None and not train:
        raise DistailError("--imbalance is the long tail of --train SOURCE. Pass --train too, or leave it out.")


def _opened(target: str | Path) -> DistilledSet:
    if not is_distilled(Path(target)):
        raise DistailError(f"{target} is no distilled set. Name a run folder or its distilled.safetensors.")
    return load_distilled(target)


def _class_counts(
    distilled: DistilledSet, train: ImageSet | str | Path | None, imbalance: float | None, progress: Progress
) -> tuple[int, ...]:
    """Training images of each class."""
    if train is None:
        counts = distilled.provenance.get("class_counts")
        if counts is None:
            raise DistailError(
                "The set does not say how many training images each class had. Name them with --train SOURCE and "
                "--imbalance."
            )
        return tuple(counts)
    if isinstance(train, ImageSet):
        images = train if imbalance is None else make_long_tailed(train, imbalance).images
    else:
        images = TrainingSource(str(train), imbalance).images(distilled, progress)
    require_same_classes(distilled.class_names, "the distilled set", images.class_names, "the training data")
    return images.class_counts


def _digest(distilled: DistilledSet) -> str:
    """SHA-256 of images and labels."""
    tensors = {"images": distilled.images, "labels": distilled.labels}
    if distilled.soft_labels is not None:
        tensors["soft_labels"] = distilled.soft_labels
    if distilled.views is not None:
        tensors |= distilled.views.to_tensors()
    return tensors_digest({name: tensor.cpu() for name, tensor in tensors.items()}, f"mosaics of {distilled.mosaic}")


def _about(network: SavedNetwork, teacher: SavedNetwork | str | Path | None) -> dict[str, Any]:
    """A teacher, as JSON values."""
    weights = {name: value.cpu() for name, value in network.network.state_dict().items()}
    return {
        "file": IN_MEMORY if isinstance(teacher, SavedNetwork) else str(teacher),
        "sha256": tensors_digest(weights, network.architecture),
        "architecture": network.architecture,
        "provenance": network.provenance,
    }


def _write(folder: RunFolder, distilled: DistilledSet) -> None:
    """A run folder without a recipe: there is none that makes the set anew."""
    distilled.save(folder.distilled)
    image_grid(distilled, folder.picture)
    folder.write_manifest({"status": "complete", **distilled.provenance})
