"""Opens what users name: distilled sets, exported ones, images to learn from, and the teachers of runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from distail.data.image_set import ImageSet, require_same_classes
from distail.data.preprocess import fit_preprocessing
from distail.data.sources import load
from distail.distilled import FILE_NAME, DistilledSet, load_distilled
from distail.errors import DistailError, did_you_mean
from distail.export import with_class_names
from distail.learn.student import Classroom
from distail.models.saved import load_network
from distail.progress import Progress
from distail.run_folder import RunFolder
from distail.runtime import Runtime
from distail.training.recipe import LabelProtocol
from distail.training_images import training_images


def open_set(target: str | Path, like: str | Path | None = None) -> DistilledSet:
    """Opens a run folder, a distilled file, or an exported set.

    Args:
        target: what to open.
        like: the set that an exported one came from, whose preprocessing and provenance it takes over; without it
            mean and standard deviation of the exported images themselves are used.

    Raises:
        DistailError: it is none of these, or its classes differ from those of `like`.
    """
    if is_distilled(Path(target)):
        return load_distilled(target)
    _require_there(target)
    images = load(str(target))
    if like is None:
        return real_images_as_set(images)
    original = load_distilled(like)
    if Path(target).is_dir():
        images = with_class_names(images, original.class_names)
    require_same_classes(original.class_names, str(like), images.class_names, str(target))
    return replace(
        original,
        images=original.preprocessing.apply(images.images),
        labels=images.labels,
        soft_labels=None,
        views=None,
        mosaic=1,  # exports hold the cells of mosaics as images
        provenance={**original.provenance, "exported_to": str(target)},
    )


def _require_there(target: str | Path) -> None:
    """Refuses a name under which nothing is, naming sets of a similar one rather than sources of images."""
    path = Path(target)
    if path.exists() or str(target) == "digits" or any(sign in str(target) for sign in ":#"):
        return
    beside = path.parent.iterdir() if path.parent.is_dir() else ()
    close = did_you_mean(str(path), [str(entry) for entry in beside if is_distilled(entry)])
    raise DistailError(
        f"There is no run or set '{target}'. {f'{close} ' if close.startswith('Did') else ''}Name a run folder, its "
        "distilled.safetensors, or an exported set (parquet, npz or a folder of images)."
    )


def open_classroom(
    target: str | Path,
    runtime: Runtime,
    *,
    imbalance: float | None = None,
    holdout: float | None = None,
    image_size: int | None = None,
    labels: LabelProtocol = "static",
    teacher: str | Path | None = None,
    progress: Progress | None = None,
) -> Classroom:
    """What a network can learn from `target`: a distilled set by a label protocol, or real images by their labels.

    Raises:
        DistailError: it is neither, or soft labels or a long tail are asked of something that has none.
    """
    if is_distilled(Path(target)):
        require_plain(target, imbalance, holdout, image_size)
        file = teacher_file(target, labels, teacher)
        network = load_network(file) if file else None
        return Classroom.of_distilled(load_distilled(target), labels, runtime, network)
    if labels == "teacher":
        raise DistailError(f"{target} holds real images, which bring their own labels. Leave out --labels teacher.")
    source = load(target, image_size=image_size, progress=progress)
    images = training_images(source, imbalance=imbalance, holdout=holdout).images
    return Classroom.of_images(images, fit_preprocessing(images, "normalize"), runtime)


def teacher_file(
    target: DistilledSet | str | Path, labels: LabelProtocol, teacher: str | Path | None = None
) -> Path | None:
    """The file of the teacher that a label protocol asks: the one named, or else that of the set's run.

    Args:
        target: a run folder, or a set in one; a set in memory has no teacher beside it.
        labels: the protocol.
        teacher: the file named, if any.

    Raises:
        DistailError: a teacher is to be asked, none is named, and the run has none.
    """
    if teacher is not None:
        return Path(teacher)
    if labels != "teacher" or isinstance(target, DistilledSet):
        return None
    own = own_teacher(target)
    if not own.exists():
        raise DistailError(
            f"{target} has no teacher of its own: there is no {own}. Name one with --teacher FILE, such as a network "
            "that `distail baseline --save` or `distail train` made, or leave out --labels teacher."
        )
    return own


def own_teacher(target: str | Path) -> Path:
    """Where the teacher of a run is, if it has one.

    Args:
        target: a run folder, or a set in one.
    """
    path = Path(target)
    folder = path if path.is_dir() else path.parent
    return RunFolder(folder.parent if folder.name == RunFolder.SNAPSHOTS else folder).teacher


def is_distilled(path: Path) -> bool:
    """Whether a path names a run folder or a distilled file, rather than a source of images."""
    return path.suffix == ".safetensors" or (path / FILE_NAME).exists() or (path / "manifest.json").exists()


def require_plain(target: str | Path, imbalance: float | None, holdout: float | None, image_size: int | None) -> None:
    """Refuses what is asked of image sources, where a distilled set is named.

    Raises:
        DistailError: any of them is given.
    """
    if (imbalance, holdout, image_size) != (None, None, None):
        raise DistailError(
            f"--imbalance, --holdout and --image-size are for image sources, but {target} is a distilled set. "
            "Leave them out."
        )


def real_images_as_set(images: ImageSet) -> DistilledSet:
    """Images as they are, as a set to learn from, normalised by their own mean and standard deviation."""
    preprocessing = fit_preprocessing(images, "normalize")
    return DistilledSet(
        images=preprocessing.apply(images.images),
        labels=images.labels,
        class_names=images.class_names,
        preprocessing=preprocessing,
        provenance={"source": images.origin, "data_sha256": images.content_hash},
        training_fingerprints=images.fingerprints.unique(),
    )
