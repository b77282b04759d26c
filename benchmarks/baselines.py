"""Scores one baseline on CIFAR-10-LT (imbalance 100, ConvNet-3), all images, and writes a small JSON with provenance.

    DISTAIL_DATA=... python benchmarks/baselines.py balanced_softmax --epochs 60
    DISTAIL_DATA=... python benchmarks/baselines.py tau_norm --set refit=true --name tau_norm_refit

The result is benchmarks/results/baseline-NAME.json, laid out like those of `cifar10_lt.py`. The data folder holds
cifar10/train.parquet and cifar10/test.parquet.
"""

import argparse
import os
from dataclasses import asdict
from pathlib import Path

from page_parts import RESULTS

from distail.artifact import write_json
from distail.cli.options import parse_settings
from distail.data.long_tail import make_long_tailed
from distail.data.sources import load, load_test
from distail.evaluation.recipe import BaselineRecipe
from distail.full_data import run_baseline
from distail.progress import PlainProgress
from distail.recipe import DataRecipe


def main() -> None:
    """Trains and scores the networks, and writes the result."""
    arguments = _arguments()
    source = str(Path(os.environ["DISTAIL_DATA"]) / "cifar10")
    recipe = BaselineRecipe(
        method=arguments.method,
        settings=parse_settings(arguments.set),
        architecture=arguments.arch,
        seeds=arguments.seeds,
        train={} if arguments.epochs is None else {"epochs": arguments.epochs},
    )
    result = run_baseline(
        DataRecipe(source=source),
        recipe,
        images=make_long_tailed(load(source), arguments.imbalance, arguments.head).images,
        test=load_test(source),
        precision=arguments.precision,
        networks=arguments.networks,
        progress=PlainProgress(),
    ).evaluation
    first, facts = result.students[0], result.provenance
    head = "" if arguments.head is None else f", {arguments.head} images of the largest class"
    write_json(
        arguments.results / f"baseline-{arguments.name}.json",
        {
            "data": f"CIFAR-10-LT, imbalance {arguments.imbalance:g}{head}, JPEG quality 75 copy",
            "preprocessing": recipe.preprocessing,
            "method": arguments.method,
            "architecture": first.architecture,
            "settings": facts["settings"],
            "train": facts["train"],
            "chosen": facts["chosen"],
            "images": first.num_images,
            "labels": first.labels,
            "epochs": first.epochs,
            "selection": "last epoch",
            "scores": {name: asdict(value) for name, value in result.summary().items()},
            "per_class": [asdict(value) for value in result.per_class()],
            "class_names": list(result.class_names),
            "class_counts": result.train_counts,
            "distill_seconds": None,
            "distill_peak_memory_bytes": None,
            "peak_memory_bytes": facts["peak_memory_bytes"],
            "train_seconds": [student.train_seconds for student in result.students],
            "seeds": [student.seed for student in result.students],
            **{key: facts[key] for key in ("versions", "hardware", "precision", "threads", "written")},
        },
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("method", help="a baseline's name; `distail baselines` lists them")
    parser.add_argument("--set", action="append", default=[], help="NAME=VALUE of a hyper-parameter")
    parser.add_argument("--name", help="name of the result; the baseline's name when omitted")
    parser.add_argument("--arch", default="convnet3")
    parser.add_argument("--imbalance", type=float, default=100)
    parser.add_argument("--head", type=int, help="images of the largest class; all 5,000 when omitted")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, help="the baseline's own number, 200, when omitted")
    parser.add_argument("--precision", default="auto")
    parser.add_argument(
        "--networks", type=Path, default=Path("runs/benchmarks/networks"), help="where networks are kept"
    )
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder for the result")
    arguments = parser.parse_args()
    arguments.name = arguments.name or arguments.method
    return arguments


if __name__ == "__main__":
    main()
