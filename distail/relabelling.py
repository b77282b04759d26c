"""New soft labels for a distilled set: a teacher's, made fair by ADSA, or both; the set itself stays as it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from distail.artifact import require_free, tensors_digest
from distail.data.image_set import IN_MEMORY, ImageSet, require_same_classes
from distail.data.long_tail import make_long_tailed
from distail.distilled import DistilledSet, load_distilled
from distail.errors import DistailError
from distail.learn.adsa import Confidence, confidence, fair_logits, fair_tau
from distail.learn.labels import labelled_training_set
from distail.models.saved import SavedNetwork, batch_logits, load_network
from distail.progress import Progress, SilentProgress
from distail.provenance import environment
from distail.report.picture import image_grid
from distail.run_folder import RunFolder
from distail.runtime import DeviceName, Runtime, resolve_runtime
from distail.scoring import TrainingSource, is_distilled

_BATCH = 256
"""Images that a teacher labels at once."""


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
    adsa: bool = False,
    train: ImageSet | str | Path | None = None,
    imbalance: float | None = None,
    out: str | Path | None = None,
    device: DeviceName = "auto",
    progress: Progress | None = None,
) -> Relabelled:
    """Gives a set other soft labels. A teacher labels first, and ADSA corrects what is there then.

    A teacher looks at each image once, as it is, in fp32; a mosaic gets the mean of the logits of its cells.

    Args:
        target: a set, a run folder or a set's file; nothing of it is changed.
        teacher: whose logits become the labels, or its file.
        adsa: whether labels are corrected for the long tail of the training data.
        train: the training data, where the set does not say how many images of each class it was made from.
        imbalance: the long tail given to `train`.
        out: folder for the new set, a run folder as others; nothing is written when omitted.

    Raises:
        DistailError: nothing is asked, labels are to be corrected where there are none, a teacher for other classes or
            images, training data of other classes or not known, or `out` exists.
    """
    _require_sense(teacher is not None, adsa, train is not None, imbalance)
    if out is not None:
        require_free(Path(out))
    progress, runtime = progress or SilentProgress(), resolve_runtime(device, "fp32")
    distilled = target if isinstance(target, DistilledSet) else _opened(target)
    counts = _class_counts(distilled, train, imbalance, progress) if adsa else None
    network = load_network(teacher) if isinstance(teacher, str | Path) else teacher
    found = relabelled(distilled, network, counts, runtime)
    facts = {
        "from": IN_MEMORY if isinstance(target, DistilledSet) else str(target),
        "from_sha256": _digest(distilled),
        "teacher": None if network is None else _about(network, teacher),
        "adsa": None if counts is None else {"tau": found.tau, "class_counts": list(counts)},
        **environment(runtime),
    }
    new = replace(found.distilled, provenance={**distilled.provenance, "relabelled": facts})
    if out is not None:
        _write(RunFolder(out), new)
    return replace(found, distilled=new)


def relabelled(
    distilled: DistilledSet, teacher: SavedNetwork | None, class_counts: Sequence[int] | None, runtime: Runtime
) -> Relabelled:
    """The set with a teacher's labels, if one is given, made fair by ADSA, if class counts are; provenance as it was.

    Raises:
        DistailError: a teacher for other classes or images, or neither stored labels nor a teacher.
    """
    logits, steps, tau = distilled.soft_labels, [], None
    if logits is not None:
        steps.append(Labelled("stored", confidence(logits, distilled.labels)))
    if teacher is not None:
        logits = teacher_logits(distilled, teacher, runtime)
        steps.append(Labelled("teacher", confidence(logits, distilled.labels)))
    if logits is None:
        raise DistailError(
            "The set stores no soft labels that could be corrected. Name a network that labels its images with "
            "--teacher FILE."
        )
    if class_counts is not None:
        tau = fair_tau(logits, distilled.labels, class_counts)
        logits = fair_logits(logits, class_counts, tau)
        steps.append(Labelled("adsa", confidence(logits, distilled.labels)))
    return Relabelled(replace(distilled, soft_labels=logits), tuple(steps), tau)


def teacher_logits(distilled: DistilledSet, teacher: SavedNetwork, runtime: Runtime) -> Float[Tensor, "n k"]:
    """What a teacher says of each image as it is, on the CPU; of a mosaic the mean over its cells.

    Raises:
        DistailError: the teacher is for other classes or images.
    """
    lessons = labelled_training_set(
        distilled, "teacher", runtime, teacher
    )  # the cells of mosaics, and what can be wrong
    found = []
    for indices in torch.arange(len(lessons)).split(_BATCH):
        pixels = distilled.preprocessing.invert(lessons.images(indices))
        with runtime.autocast():
            found.append(batch_logits(teacher.network, teacher.preprocessing.apply(pixels)).float().cpu())
    return torch.cat(found).view(len(distilled), distilled.mosaic**2, -1).mean(dim=1)


def _require_sense(teacher: bool, adsa: bool, train: bool, imbalance: float | None) -> None:
    """Refuses flags that ask for nothing, or mean nothing without each other."""
    if not teacher and not adsa:
        raise DistailError(
            "Nothing is to be done to the labels. Name a network that labels the images with --teacher FILE, or pass "
            "--adsa to correct the labels that are stored, or both."
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
