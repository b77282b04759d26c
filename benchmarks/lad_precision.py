"""LAD in fp32 and in bf16 from the same experts, start and batches: does precision change the accuracy?

    DISTAIL_DATA=... python benchmarks/lad_precision.py fp32 --experts BANK
    DISTAIL_DATA=... python benchmarks/lad_precision.py bf16 --experts BANK

Scored on the validation images of learning_curve.py, with students in bf16 either way. Experts are those of bf16.
"""

import argparse
import os
import time
from dataclasses import asdict
from pathlib import Path

from learning_curve import validation_images
from page_parts import RESULTS

from distail.artifact import write_json
from distail.catalog import built_in_recipe
from distail.data.preprocess import fit_preprocessing
from distail.distilled import DistilledSet
from distail.evaluation.recipe import EvaluationRecipe
from distail.experts.bank import ExpertBank
from distail.experts.ground import ExpertGround
from distail.methods._registry import build_method
from distail.problem import Problem
from distail.progress import PlainProgress
from distail.recipe import DataRecipe
from distail.runtime import Runtime, resolve_runtime
from distail.scoring import score
from distail.training.recipe import TrainRecipe
from distail.training_images import load_training_images

RECIPE = "lad-cifar10lt-if100-ipc10-cpu"


class SameExperts(Problem):
    """Takes the experts of bf16 whatever it computes in."""

    @property
    def ground(self) -> ExpertGround:
        """As of a problem in bf16."""
        runtime = Runtime(self.runtime.device, "bf16")
        return ExpertGround(self.train, self.preprocessing, self.architecture, runtime, self.progress)


def main() -> None:
    """Distils in one precision, scores, and writes the result."""
    arguments = _arguments()
    recipe = built_in_recipe(RECIPE)
    data = DataRecipe(source=str(Path(os.environ["DISTAIL_DATA"]) / "cifar10"), imbalance=100)
    train = load_training_images(data).images
    preprocessing = fit_preprocessing(train, recipe.preprocessing)
    problem = SameExperts(
        train,
        preprocessing,
        recipe.images_per_class,
        runtime=resolve_runtime("cpu", arguments.precision),
        progress=PlainProgress(),
        experts=ExpertBank(arguments.experts),
    )
    method = build_method(recipe.method, {**recipe.settings, "iterations": arguments.iterations})
    begun = time.perf_counter()
    made = method.distill(problem)
    seconds = time.perf_counter() - begun
    distilled = DistilledSet(
        images=made.images,
        labels=made.labels,
        class_names=train.class_names,
        preprocessing=preprocessing,
        soft_labels=made.soft_labels,
        learning_rate=made.learning_rate,
        provenance={"recipe": {"data": data.model_dump()}, "class_counts": list(train.class_counts)},
    )
    evaluation = EvaluationRecipe(
        seeds=arguments.seeds, train=TrainRecipe(epochs=arguments.epochs, batch_size=recipe.evaluation.train.batch_size)
    )
    result = score(distilled, evaluation, test=validation_images(distilled), progress=PlainProgress())
    write_json(
        RESULTS / f"lad-{arguments.precision}.json",
        {
            "recipe": RECIPE,
            "iterations": arguments.iterations,
            "epochs": arguments.epochs,
            "distilled_in": arguments.precision,
            "distill_seconds": seconds,
            "learning_rate": made.learning_rate,
            "scores": {name: asdict(value) for name, value in result.summary().items()},
            **{key: result.provenance[key] for key in ("versions", "hardware", "precision", "threads", "written")},
        },
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("precision", choices=("fp32", "bf16"))
    parser.add_argument("--experts", type=Path, required=True, help="folder of the expert bank")
    parser.add_argument("--iterations", type=int, default=16)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=300)
    return parser.parse_args()


if __name__ == "__main__":
    main()
