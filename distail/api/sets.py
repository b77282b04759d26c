"""Distilled sets made and scored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from distail import devices as several
from distail import opening, scoring
from distail.choices import DeviceName, PrecisionName
from distail.config import parse_config
from distail.data.image_set import ImageSet
from distail.distilled import DistilledSet
from distail.errors import DistailError
from distail.evaluation.recipe import EvaluationRecipe
from distail.evaluation.result import Evaluation
from distail.groups.grouping import Grouping
from distail.groups.settings import TwoStageRecipe
from distail.progress import Progress
from distail.recipe import Recipe
from distail.training_images import training_images


def distill(
    source: str | Path | ImageSet,
    method: str = "tailor",
    *,
    images_per_class: int = 10,
    imbalance: float | None = None,
    holdout: float | None = None,
    image_size: int | None = None,
    preprocessing: str = "normalize",
    architecture: str = "convnet3",
    seed: int = 0,
    device: DeviceName = "auto",
    precision: PrecisionName = "auto",
    out: str | Path | None = None,
    resume: bool = False,
    experts: str | Path | None = None,
    devices: int = 1,
    progress: Progress | None = None,
    **settings: Any,
) -> DistilledSet:
    """Makes a tiny balanced training set.

    Args:
        source: what `distail distill` takes, or images in memory.
        method: a built-in method's name, or the module path of one of your own.
        images_per_class: synthetic images of each class (IPC).
        imbalance: make the data long-tailed first, by a factor (100) or its inverse (0.01).
        holdout: fraction of each class set aside for testing first, for sources without a test split.
        out: folder to keep the run in; nothing is written when omitted.
        resume: go on with the killed run in `out`.
        experts: folder in which methods find experts and keep those that they train; `experts` here when omitted, or
            a temporary one where there is no `out` either.
        devices: how many to compute on at once, a process each, for methods that imitate experts. New processes import
            the script that calls this, which must therefore do so below `if __name__ == "__main__":`.
        progress: how to report; silent when omitted.
        settings: hyper-parameters of the method, such as iterations=500.

    Raises:
        DistailError: bad input of any kind; the message says what to do.
    """
    origin = source.origin if isinstance(source, ImageSet) else str(source)
    recipe = parse_config(
        Recipe,
        {
            "data": {"source": origin, "imbalance": imbalance, "holdout": holdout, "image_size": image_size},
            "method": method,
            "settings": settings,
            "images_per_class": images_per_class,
            "preprocessing": preprocessing,
            "architecture": architecture,
            "seed": seed,
            "device": device,
            "precision": precision,
        },
        "distail.distill",
    )
    training = training_images(source, imbalance=imbalance, holdout=holdout) if isinstance(source, ImageSet) else None
    return several.distill(
        recipe, devices=devices, out=out, resume=resume, training=training, experts=experts, progress=progress
    )


def evaluate(
    target: DistilledSet | str | Path,
    *,
    test: str | Path | ImageSet | None = None,
    train: ImageSet | None = None,
    architectures: Sequence[str] = ("convnet3",),
    seeds: int = 3,
    epochs: int | None = None,
    train_recipe: Mapping[str, Any] | None = None,
    labels: str = "static",
    teacher: str | Path | None = None,
    references: Sequence[str] = (),
    full_epochs: int | None = None,
    select: str = "last",
    two_stage: bool | TwoStageRecipe = False,
    grouping: Grouping | None = None,
    device: DeviceName = "auto",
    precision: PrecisionName = "auto",
    networks: str | Path | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Trains students on a distilled set and tests them on held-out images.

    Args:
        target: a set, or a run folder, file or exported set to open.
        test: held-out images; the test split of the set's own source when omitted.
        train: the long-tailed images that were distilled, for references, validation and two stages, where the set
            does not know its source.
        architectures: networks of the students, each trained with every seed.
        seeds: students of each network.
        epochs: passes over the set; as stored with the set, or 1000, when omitted.
        train_recipe: anything else in how students are trained, by names of `TrainRecipe`, such as {"loss":
            "divergence"}; as stored with the set, or the common evaluation, where it says nothing.
        labels: 'hard', 'static' (soft labels stored in the set) or 'teacher'.
        teacher: file of a network, for 'teacher'; that of the run when omitted.
        references: 'random' and 'full', rows to set beside.
        full_epochs: epochs of the reference 'full'; as many as for the set when omitted.
        select: score the 'last' epoch, or the best on 'validation' images from the training data.
        two_stage: whether networks that decide for a group of classes first are rows too, and how they are trained.
        grouping: the groups that these decide between; found on the long-tailed images when omitted.
        networks: folder in which trained networks are kept, so that an interrupted evaluation goes on where it was.

    Raises:
        DistailError: bad input of any kind; the message says what to do.
    """
    training = dict(train_recipe or {})
    if epochs is not None and training.setdefault("epochs", epochs) != epochs:
        raise DistailError(f"epochs={epochs}, but train_recipe says {training['epochs']}. Leave one of them out.")
    recipe = parse_config(
        EvaluationRecipe,
        {
            "architectures": tuple(architectures),
            "seeds": seeds,
            "labels": labels,
            "teacher": None if teacher is None else str(teacher),
            "references": tuple(references),
            "full_epochs": full_epochs,
            "select": select,
            "two_stage": TwoStageRecipe() if two_stage is True else two_stage or None,
            "train": training,
        },
        "distail.evaluate",
    )
    recipe = scoring.with_teacher(recipe, target)
    distilled = target if isinstance(target, DistilledSet) else opening.open_set(target)
    return scoring.score(
        distilled,
        recipe,
        test=test,
        training=train,
        grouping=grouping,
        device=device,
        precision=precision,
        networks=networks,
        progress=progress,
    )
