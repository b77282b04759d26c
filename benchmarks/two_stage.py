"""Scores distilled sets in two stages on CIFAR-10-LT (imbalance 100), as in tables 1 to 3 of the grouping paper.

    DISTAIL_DATA=... python benchmarks/two_stage.py dc --head 1000
    DISTAIL_DATA=... python benchmarks/two_stage.py runs/benchmarks/dm --head 5000 --name dm

Source: Zheng et al., ICMSSP 2024. `--head 1000` makes the paper's 2,478 images, 5000 the usual 12,406. A method's name
makes a set of 10 images a class first, with `--set`; a run folder is scored as it is, and must come from the same
images. All rows go by one grouping, found on the long-tailed images or named by `--grouping`.

The result is benchmarks/results/two_stage-NAME.json: a row for the full data and one for the set (table 1), and, with
soft and with hard routing, for group stage + class stage on full + full, full + distilled (table 2) and distilled +
distilled (table 3). The data folder holds cifar10/train.parquet and cifar10/test.parquet.
"""

import argparse
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from page_parts import RESULTS

from distail import pipeline
from distail.artifact import write_json
from distail.cli.options import num_groups, parse_settings
from distail.data.image_set import ImageSet
from distail.data.long_tail import make_long_tailed
from distail.data.sources import load, load_test
from distail.distilled import DistilledSet, load_distilled
from distail.errors import DistailError
from distail.evaluation.recipe import EvaluationRecipe
from distail.evaluation.result import Evaluation
from distail.groups.grouping import Grouping, grouping_from, load_grouping
from distail.groups.settings import GroupingSettings, TwoStageRecipe
from distail.learn.labels import effective_protocol
from distail.opening import is_distilled, real_images_as_set
from distail.progress import PlainProgress
from distail.recipe import DataRecipe, Recipe
from distail.scoring import score
from distail.training.recipe import TrainRecipe
from distail.training_images import TrainingImages

STAGES = (("full", "full"), ("full", "distilled"), ("distilled", "distilled"))
"""What group stage and class stages learn from, in the order of the tables."""


def main() -> None:
    """Makes or opens the set, scores it in every way, and writes the result."""
    arguments = _arguments()
    source = str(Path(os.environ["DISTAIL_DATA"]) / "cifar10")
    train = make_long_tailed(load(source), arguments.imbalance, arguments.head).images
    test, distilled = load_test(source), _distilled(arguments, train)
    full = TwoStageRecipe(epochs=arguments.group_epochs).train_recipe()
    plain = EvaluationRecipe(architectures=(arguments.arch,), seeds=arguments.seeds, train=full)
    whole = _scored(arguments, real_images_as_set(train), plain, train, test, None)
    rows = [_row("full", whole, "distilled")]
    grouping = load_grouping(arguments.grouping) if arguments.grouping else None
    facts: dict[str, Any] = {}
    for group_data, class_data in arguments.stages or STAGES:
        recipe = EvaluationRecipe(
            architectures=(arguments.arch,),
            seeds=arguments.seeds,
            train=TrainRecipe(epochs=arguments.epochs),
            two_stage=_two_stage(arguments, group_data, class_data),
        )
        scored = _scored(arguments, distilled, recipe, train, test, grouping)
        # Found once, so that the rows differ in their data alone.
        grouping = grouping or grouping_from(scored.provenance["grouping"], "the first result")
        if not facts:
            facts = scored.provenance
            rows.append(_row("distilled", scored, "distilled"))
        name = f"{group_data} + {class_data}"
        rows += [_row(f"{name}, {routing}", scored, f"two-stage, {routing} routing") for routing in ("soft", "hard")]
    _write(arguments, train, distilled, rows, facts)


def _distilled(arguments: argparse.Namespace, train: ImageSet) -> DistilledSet:
    if is_distilled(Path(arguments.set_or_method)):
        distilled = load_distilled(arguments.set_or_method)
        if distilled.provenance.get("data_sha256") != train.content_hash:
            raise DistailError(
                f"{arguments.set_or_method} was made from other images. Give the --head and --imbalance that it was "
                "made with."
            )
        return distilled
    recipe = Recipe(
        data=DataRecipe(source=train.origin),
        method=arguments.set_or_method,
        settings=parse_settings(arguments.set),
        images_per_class=arguments.ipc,
        architecture=arguments.arch,
        precision=arguments.precision,
    )
    training = TrainingImages(train)
    return pipeline.distill(
        recipe,
        out=arguments.runs / f"two_stage-{arguments.name}",
        resume=True,
        training=training,
        progress=PlainProgress(),
    )


def _two_stage(arguments: argparse.Namespace, group_data: str, class_data: str) -> TwoStageRecipe:
    return TwoStageRecipe.model_validate(
        {
            "settings": GroupingSettings(num_groups=num_groups(arguments.groups), epochs=arguments.group_epochs),
            "group_data": group_data,
            "class_data": class_data,
            "epochs": arguments.group_epochs,
        }
    )


def _scored(
    arguments: argparse.Namespace,
    distilled: DistilledSet,
    recipe: EvaluationRecipe,
    train: ImageSet,
    test: ImageSet,
    grouping: Grouping | None,
) -> Evaluation:
    return score(
        distilled,
        recipe,
        test=test,
        training=train,
        grouping=grouping,
        precision=arguments.precision,
        networks=arguments.networks,
        progress=PlainProgress(),
    )


def _row(name: str, scored: Evaluation, subject: str) -> dict[str, Any]:
    students = scored.of(subject)
    groups = scored.group_accuracy(subject)
    return {
        "row": name,
        "images": students[0].num_images,
        "labels": students[0].labels,
        "epochs": students[0].epochs,
        "stages": [asdict(stage) for stage in students[0].stages],
        "scores": {score: asdict(value) for score, value in scored.summary(subject).items()},
        "group_accuracy": asdict(groups) if groups else None,
        "per_class": [asdict(value) for value in scored.per_class(subject)],
        "train_seconds": [student.train_seconds for student in students],
    }


def _write(
    arguments: argparse.Namespace,
    train: ImageSet,
    distilled: DistilledSet,
    rows: list[dict[str, Any]],
    facts: dict[str, Any],
) -> None:
    made = distilled.provenance
    write_json(
        arguments.results / f"two_stage-{arguments.name}.json",
        {
            "data": f"CIFAR-10-LT, imbalance {arguments.imbalance:g}, {arguments.head} images of the largest class, "
            "JPEG quality 75 copy",
            "preprocessing": distilled.preprocessing.kind,
            "method": made.get("recipe", {}).get("method"),
            "settings": made.get("recipe", {}).get("settings"),
            "architecture": arguments.arch,
            "images": len(distilled),
            "train_images": len(train),
            "labels": effective_protocol(distilled, "static"),
            "epochs": arguments.epochs,
            "group_epochs": arguments.group_epochs,
            "selection": "last epoch",
            "grouping": _without_place(facts["grouping"]),
            "rows": rows,
            "class_names": list(train.class_names),
            "class_counts": list(train.class_counts),
            "distill_seconds": made.get("distill_seconds"),
            "distill_peak_memory_bytes": made.get("peak_memory_bytes"),
            "seeds": list(range(arguments.seeds)),
            **{key: facts[key] for key in ("versions", "hardware", "precision", "threads", "written")},
        },
    )


def _without_place(grouping: dict[str, Any]) -> dict[str, Any]:
    """The grouping as JSON, without where the images lie on this machine; their hash says which they are."""
    provenance = {name: fact for name, fact in grouping["provenance"].items() if name != "origin"}
    return {**grouping, "provenance": provenance}


def _stages(text: str) -> tuple[str, str]:
    group_data, _, class_data = text.partition("+")
    if (group_data, class_data) not in STAGES:
        raise argparse.ArgumentTypeError(f"{text} is none of {', '.join('+'.join(pair) for pair in STAGES)}")
    return group_data, class_data


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("set_or_method", help="a run folder, or the name of a method to make a set by")
    parser.add_argument("--set", action="append", default=[], help="NAME=VALUE of a hyper-parameter of the method")
    parser.add_argument("--name", help="name of the result; the method's or run's name and the head when omitted")
    parser.add_argument("--arch", default="convnet3")
    parser.add_argument("--imbalance", type=float, default=100)
    parser.add_argument("--head", type=int, default=1000, help="images of the largest class: 1000, or the usual 5000")
    parser.add_argument("--ipc", type=int, default=10)
    parser.add_argument("--groups", default="2", help="a number, or auto")
    parser.add_argument("--grouping", type=Path, help="file of a grouping, in place of one to be found")
    parser.add_argument(
        "--stages",
        action="append",
        type=_stages,
        help="GROUP+CLASS data of one pair of rows, such as full+distilled; may be repeated; all three when omitted",
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=1000, help="of networks on distilled images")
    parser.add_argument("--group-epochs", type=int, default=50, help="of networks on the full data")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--runs", type=Path, default=Path("runs/benchmarks"))
    parser.add_argument(
        "--networks", type=Path, default=Path("runs/benchmarks/networks"), help="where networks are kept"
    )
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder for the result")
    arguments = parser.parse_args()
    arguments.name = arguments.name or f"{Path(arguments.set_or_method).name}-{arguments.head}"
    return arguments


if __name__ == "__main__":
    main()
