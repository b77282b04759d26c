"""Scores one method on CIFAR-10-LT (imbalance 100, IPC 10, ConvNet-3) and writes a small JSON with provenance.

    DISTAIL_DATA=... python benchmarks/cifar10_lt.py dm --set iterations=1500 --set real_batch=64
    DISTAIL_DATA=... python benchmarks/cifar10_lt.py full --epochs 30
    DISTAIL_DATA=... python benchmarks/cifar10_lt.py lad-cifar10lt-if100-ipc10-cpu --set dam=off --name dam_off
    DISTAIL_DATA=... python benchmarks/cifar10_lt.py lad-cifar10lt-if100-ipc10-cpu --name lad --arch vgg11

`--arch` scores a set that was made before with other networks; the result is called NAME-on-NETWORK. `--labels` scores
by another label protocol, NAME-PROTOCOL, and `--validation` on images of the training split outside the long tail,
NAME-validation, for what is chosen between.

A built-in recipe brings its settings, preprocessing, imbalance and IPC along. `full` trains on all 12,406 images.
The data folder holds cifar10/train.parquet and cifar10/test.parquet.
"""

import argparse
import os
from dataclasses import asdict
from pathlib import Path

from learning_curve import validation_images
from page_parts import RESULTS

from distail.artifact import write_json
from distail.catalog import built_in_recipe
from distail.cli.options import parse_settings
from distail.distilled import DistilledSet
from distail.evaluation.recipe import EvaluationRecipe
from distail.methods._registry import method_names
from distail.opening import real_images_as_set
from distail.pipeline import distill
from distail.progress import PlainProgress
from distail.recipe import DataRecipe, Recipe
from distail.scoring import score, with_teacher
from distail.training.recipe import TrainRecipe
from distail.training_images import load_training_images


def main() -> None:
    """Makes or resumes the set, scores it, and writes the result."""
    arguments = _arguments()
    source = str(Path(os.environ["DISTAIL_DATA"]) / "cifar10")
    data = DataRecipe(source=source, imbalance=arguments.imbalance)
    settings: dict[str, object] = {}
    preprocessing = "normalize"
    evaluation = EvaluationRecipe(train=TrainRecipe(**({"epochs": arguments.epochs} if arguments.epochs else {})))
    if arguments.method == "full":
        distilled: DistilledSet = real_images_as_set(load_training_images(data).images)
    else:
        recipe = _recipe(arguments, data)
        settings, preprocessing, data = recipe.settings, recipe.preprocessing, recipe.data
        evaluation = recipe.evaluation or evaluation
        distilled = distill(
            recipe,
            out=arguments.runs / arguments.name,
            resume=True,
            experts=arguments.experts,
            progress=PlainProgress(),
        )
    name = arguments.name
    if arguments.seeds:
        evaluation = evaluation.model_copy(update={"seeds": arguments.seeds})
    if arguments.labels:
        evaluation = evaluation.model_copy(update={"labels": arguments.labels})
        name = f"{name}-{arguments.labels}"
    if arguments.validation:
        name = f"{name}-validation"
    if arguments.arch:
        evaluation = evaluation.model_copy(update={"architectures": (arguments.arch,)})
        name = f"{name}-on-{arguments.arch}"
    evaluation = with_teacher(evaluation, arguments.runs / arguments.name)
    result = score(
        distilled,
        evaluation,
        test=validation_images(distilled) if arguments.validation else source,
        precision=arguments.precision,
        networks=arguments.networks,
        progress=PlainProgress(),
    )
    facts, how = distilled.provenance, TrainRecipe(**result.provenance["train"])
    summary = {name: asdict(value) for name, value in result.summary().items()}
    write_json(
        RESULTS / f"{name}.json",
        {
            "data": f"CIFAR-10-LT, imbalance {data.imbalance:g}, JPEG quality 75 copy",
            "preprocessing": preprocessing,
            "method": arguments.method,
            "architecture": evaluation.architectures[0],
            "settings": settings,
            "images": len(distilled),
            "labels": result.of("distilled")[0].labels,
            "epochs": how.epochs,
            "students": how.given,
            "stored_bytes": asdict(result.stored),
            "selection": "last epoch",
            "scored_on": "validation images" if arguments.validation else "test images",
            "scores": summary,
            "per_class": [asdict(value) for value in result.per_class()],
            "class_names": list(result.class_names),
            "distill_seconds": facts.get("distill_seconds"),
            "distill_peak_memory_bytes": facts.get("peak_memory_bytes"),
            "train_seconds": [student.train_seconds for student in result.students],
            "seeds": list(range(evaluation.seeds)),
            **{key: result.provenance[key] for key in ("versions", "hardware", "precision", "threads", "written")},
        },
    )


def _recipe(arguments: argparse.Namespace, data: DataRecipe) -> Recipe:
    """The built-in recipe of that name, or the method of that name on CIFAR-10-LT."""
    own = parse_settings(arguments.set)
    if arguments.method in method_names():
        recipe = Recipe(data=data, method=arguments.method, settings=own, images_per_class=arguments.ipc)
    else:
        built_in = built_in_recipe(arguments.method)
        recipe = built_in.model_copy(update={"data": built_in.data.model_copy(update={"source": data.source})})
        recipe = recipe.model_copy(update={"settings": {**recipe.settings, **own}})
    return recipe.model_copy(update={"precision": arguments.precision})


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("method", help="a method's name, a built-in recipe's, or 'full'")
    parser.add_argument("--set", action="append", default=[], help="NAME=VALUE of a hyper-parameter")
    parser.add_argument("--name", help="name of the result; the method's name when omitted")
    parser.add_argument("--arch", help="network of the students, if not the recipe's")
    parser.add_argument("--labels", choices=("hard", "static", "teacher"), help="if not those of the recipe")
    parser.add_argument(
        "--validation", action="store_true", help="score on validation images; test images are not read"
    )
    parser.add_argument("--imbalance", type=float, default=100)
    parser.add_argument("--ipc", type=int, default=10)
    parser.add_argument("--seeds", type=int, help="students; as the recipe says, or 3, when omitted")
    parser.add_argument("--epochs", type=int, help="those stored with the set, or 1,000, when omitted")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--experts", type=Path, help="folder of the expert bank")
    parser.add_argument(
        "--networks", type=Path, default=Path("runs/benchmarks/networks"), help="where networks are kept"
    )
    parser.add_argument("--runs", type=Path, default=Path("runs/benchmarks"))
    arguments = parser.parse_args()
    arguments.name = arguments.name or arguments.method
    return arguments


if __name__ == "__main__":
    main()
