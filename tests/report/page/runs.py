"""Run folders made in a blink: a set of random images, and evaluations without any training."""

from dataclasses import replace
from pathlib import Path

import torch

import distail
from distail.data.image_set import ImageSet
from distail.distilled import DistilledSet, load_distilled
from distail.evaluation.metrics import score_logits
from distail.evaluation.recipe import EvaluationRecipe
from distail.evaluation.result import Evaluation, StudentScore
from distail.groups.grouping import Grouping
from tests.cli.calling import write_npz

NASTY = ('<script>alert("1")</script>', "\"quoted\" & 'single'", "قطة \u202e olleh", "a" * 90, "</pre><img src=x>")
"""Class names that must stay harmless."""


def images_of(class_names: tuple[str, ...], seed: int, counts: tuple[int, ...] | None = None) -> ImageSet:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.repeat_interleave(torch.arange(len(class_names)), torch.tensor(counts or (4,) * len(class_names)))
    images = torch.randint(0, 256, (len(labels), 3, 8, 8), dtype=torch.uint8, generator=generator)
    return ImageSet(images, labels, class_names)


def make_run(folder: Path, class_names: tuple[str, ...] = ("ant", "bee", "cow"), counts: tuple[int, ...] = ()) -> Path:
    """A run on a file of images beside it."""
    wanted = counts or tuple(120 // 5**label + 2 for label in range(len(class_names)))
    source = folder.parent / f"{folder.name}-images.npz"
    source.parent.mkdir(parents=True, exist_ok=True)
    write_npz(source, images=images_of(class_names, 0, wanted))
    distail.distill(source, "random", images_per_class=2, architecture="convnet2-w8", out=folder)
    return folder


def student(subject: str, labels: str, seed: int, counts: tuple[int, ...]) -> StudentScore:
    generator = torch.Generator().manual_seed(seed + 7 * len(subject))
    truth = torch.arange(20 * len(counts)) % len(counts)
    logits = torch.randn(len(truth), len(counts), generator=generator)
    logits[torch.arange(len(truth)), truth] += 1.5
    scores = score_logits(logits, truth, counts)
    return StudentScore(subject, "convnet2-w8", seed, labels, 6, 10, 10, 1.25, scores)


def evaluation(distilled: DistilledSet, *subjects: str, labels: str = "static") -> Evaluation:
    """Two students of each subject; references have hard labels."""
    counts = tuple(distilled.provenance["class_counts"])
    return Evaluation(
        students=tuple(
            student(subject, "hard" if subject in ("random", "full") else labels, seed, counts)
            for subject in ("distilled", *subjects)
            for seed in range(2)
        ),
        class_names=distilled.class_names,
        train_counts=counts,
        stored=replace(distilled.stored_bytes(), teacher=5000 if labels == "teacher" else 0),
        fairness={},
        provenance={
            "recipe": EvaluationRecipe(seeds=2).model_dump(mode="json"),
            "train": {},
            "test": {"origin": "pets#test", "images": 60, "leaked": 0, "sha256": "0"},
            "precision": "fp32",
            "device": "cpu",
            "written": "2026-01-02T03:04:05+00:00",
        },
    )


def score_run(folder: Path, *subjects: str, labels: str = "static", name: str = "evaluation.json") -> Path:
    evaluation(load_distilled(folder), *subjects, labels=labels).save(folder / name)
    return folder


def add_groups(folder: Path, run: Path) -> Path:
    """A grouping as `distail group` leaves it, with a picture."""
    from PIL import Image

    distilled = load_distilled(run)
    parts = tuple(label % 2 for label in range(distilled.num_classes))
    provenance = {"data_sha256": distilled.provenance["data_sha256"]}
    Grouping(distilled.class_names, parts, provenance).save(folder / "grouping.json")
    Image.new("RGB", (40, 30), "red").save(folder / "features.png")
    return folder
