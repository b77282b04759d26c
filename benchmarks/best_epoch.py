"""What choosing the epoch by test accuracy adds, as some papers choose it; nothing in distail does.

    DISTAIL_DATA=... python benchmarks/best_epoch.py RUN --name rldd

RUN is a run folder of CIFAR-10 whose set has brought its teacher, which students ask. Their test accuracy is looked at
every 25 epochs, and the largest stands beside the last in benchmarks/results/best_epoch-NAME.json.
"""

import argparse
import os
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from page_parts import RESULTS

from distail.artifact import write_json
from distail.data.sources import load_test
from distail.distilled import load_distilled
from distail.evaluation.metrics import summarise
from distail.learn.student import Classroom, train_student
from distail.models.saved import load_network
from distail.progress import PlainProgress
from distail.provenance import environment
from distail.runtime import Runtime
from distail.training.validation import selection_on

LOOK_EVERY = 25


def main() -> None:
    """Trains students and writes what the last and the best epoch get."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--name", required=True)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--precision", default="fp32")
    asked = parser.parse_args()
    distilled = load_distilled(asked.run)
    test = load_test(Path(os.environ["DISTAIL_DATA"]) / "cifar10")
    runtime = Runtime("cpu", asked.precision)
    teacher = load_network(asked.run / "teacher.safetensors")
    room = Classroom.of_distilled(distilled, "teacher", runtime, teacher)
    recipe = room.training
    looks = replace(selection_on(test, distilled.preprocessing, recipe, runtime), every=LOOK_EVERY)
    curves: list[list[tuple[int, float]]] = []
    for seed in range(asked.seeds):
        student = train_student(
            room,
            "convnet3",
            recipe,
            seed,
            runtime,
            progress=PlainProgress(),
            selection=looks,
        )
        curves.append(student.history.validation)
    recipe_of_set = distilled.provenance["recipe"]
    facts: dict[str, Any] = {
        "set": {**recipe_of_set, "data": {**recipe_of_set["data"], "source": "cifar10"}},
        "epochs": recipe.num_epochs,
        "looks_every": LOOK_EVERY,
        "last": asdict(summarise([curve[-1][1] for curve in curves])),
        "best": asdict(summarise([max(score for _, score in curve) for curve in curves])),
        "curves": [[(epoch, round(score, 4)) for epoch, score in curve] for curve in curves],
        **environment(runtime),
    }
    write_json(RESULTS / f"best_epoch-{asked.name}.json", facts)


if __name__ == "__main__":
    main()
