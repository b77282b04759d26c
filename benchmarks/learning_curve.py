"""Accuracy over iterations of a run that kept snapshots, on validation images; the test images are not read.

    DISTAIL_DATA=... python benchmarks/learning_curve.py runs/benchmarks/lad_long --name lad_long_curve

Validation images are 450 of each class from the balanced training split, outside the long-tailed part that the run saw.
Of a class that the run saw whole (CIFAR-10's `airplane`) there are none outside, so that its own training images stand
in; their accuracy is optimistic, and the same for every point of the curve.
"""

import argparse
import json
from dataclasses import asdict
from pathlib import Path

import torch
from page_parts import RESULTS

from distail.artifact import write_json
from distail.data.image_set import ImageSet
from distail.data.sources import load
from distail.distilled import DistilledSet, load_distilled
from distail.evaluation.recipe import EvaluationRecipe
from distail.progress import PlainProgress
from distail.recipe import DataRecipe
from distail.run_folder import RunFolder
from distail.scoring import score
from distail.seeding import torch_generator
from distail.training.recipe import TrainRecipe
from distail.training_images import load_training_images

IMAGES_PER_CLASS = 450


def main() -> None:
    """Scores every snapshot and the finished set, and writes the curve."""
    arguments = _arguments()
    folder = RunFolder(arguments.run)
    points = sorted((folder.path / "snapshots").glob("*.safetensors"), key=_iteration)
    first = load_distilled(points[0])
    validation = validation_images(first)
    recipe = EvaluationRecipe(
        seeds=arguments.seeds, train=TrainRecipe(epochs=arguments.epochs, batch_size=arguments.batch_size)
    )
    rows = []
    for path in points:
        result = score(load_distilled(path), recipe, test=validation, progress=PlainProgress())
        summary = {name: asdict(value) for name, value in result.summary().items()}
        per_class = [round(value.mean, 4) for value in result.per_class()]
        rows.append({"iteration": _iteration(path), "scores": summary, "per_class": per_class})
        write_json(
            RESULTS / f"{arguments.name}.json",
            {
                "run": first.provenance["recipe"]["settings"],
                "validation": f"{IMAGES_PER_CLASS} images a class outside the long-tailed part; airplane: inside it",
                "epochs": arguments.epochs,
                "rows": rows,
                "losses": _losses(folder, rows),
                **{key: result.provenance[key] for key in ("versions", "hardware", "precision", "threads", "written")},
            },
        )


def validation_images(distilled: DistilledSet) -> ImageSet:
    """Images of the source's training split that the run did not see, the same number of each class."""
    data = DataRecipe(**distilled.provenance["recipe"]["data"])
    source = load(data.source)
    kept = load_training_images(data).kept
    unseen = torch.ones(len(source), dtype=torch.bool)
    if kept is not None:
        unseen[kept] = False
    chosen = []
    for label in range(source.num_classes):
        own = source.indices_of(label)
        free = own[unseen[own]]
        candidates = free if len(free) >= IMAGES_PER_CLASS else own
        order = torch.randperm(len(candidates), generator=torch_generator(0, "learning curve", label))
        chosen.append(candidates[order[:IMAGES_PER_CLASS]])
    return source.subset(torch.cat(chosen))


def _losses(folder: RunFolder, rows: list[dict[str, object]]) -> list[dict[str, float]]:
    """Mean of each logged figure between two points of the curve."""
    lines = [json.loads(line) for line in folder.metrics.read_text(encoding="utf-8").splitlines()]
    found, begin = [], 0
    for row in rows:
        end = int(str(row["iteration"]))
        part = [line for line in lines if begin <= line["step"] < end]
        if part:
            names = [name for name in part[0] if name != "step"]
            means = {name: sum(line[name] for line in part) / len(part) for name in names}
            found.append({"up_to": end, **means})
        begin = end
    return found


def _iteration(path: Path) -> int:
    return int(path.stem.split("-")[1])


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of a run with snapshots")
    parser.add_argument("--name", required=True, help="name of the result")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=300)
    parser.add_argument("--batch-size", type=int, default=128)
    return parser.parse_args()


if __name__ == "__main__":
    main()
