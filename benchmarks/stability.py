"""How stable groups of CIFAR-10's classes are: over seeds, over long tails, and on distilled data.

    DISTAIL_DATA=... python benchmarks/stability.py --set runs/benchmarks/two_stage-dc-1000 --out runs/benchmarks/groups

The paper's set-up: 1,000 images of the largest class, ConvNet-3, two groups. Once with the features of the test images,
the same for every network, as in the paper, and once with those of each data set's own training images, as
`distail group` does by default; both look at the same networks. The result is benchmarks/results/stability.json; the
pictures (t-SNE for each data set, distances) are written to `--out`.

Two random halves of ten classes agree by 0 on average: by -0.08 in 79% of cases, by 0.28 in 20% (one class of each half
exchanged), and wholly in 1%.
"""

import argparse
import os
from pathlib import Path

from page_parts import RESULTS

from distail.artifact import write_json
from distail.data.long_tail import make_long_tailed
from distail.data.sources import load, load_test
from distail.group_data import GroupRecipe
from distail.group_study import study_groups
from distail.groups.settings import GroupingSettings
from distail.progress import PlainProgress
from distail.recipe import DataRecipe


def main() -> None:
    """Finds the groups of every data set with every seed, twice, and writes how well they agree."""
    arguments = _arguments()
    source = str(Path(os.environ["DISTAIL_DATA"]) / "cifar10")
    balanced = make_long_tailed(load(source), 1, arguments.head).images
    test = load_test(source)
    report = {}
    for features in ("test", "train"):
        recipe = GroupRecipe(
            data=DataRecipe(source=source, imbalance=100),
            settings=GroupingSettings(epochs=arguments.epochs, num_groups=arguments.groups, features=features),
            seeds=arguments.seeds,
            compare=("balanced", "50", "10", *map(str, arguments.set)),
        )
        study = study_groups(
            recipe,
            source=balanced,
            test=test if features == "test" else None,
            out=arguments.out / features,
            networks=arguments.networks,
            progress=PlainProgress(),
        )
        report[features] = study.to_json()
    facts = study.provenance
    write_json(
        RESULTS / "stability.json",
        {
            "data": f"CIFAR-10, {arguments.head} images of the largest class, JPEG quality 75 copy",
            "architecture": recipe.architecture,
            "epochs": arguments.epochs,
            "seeds": list(range(arguments.seeds)),
            "features": {
                name: {key: found[key] for key in ("found", "agreement", "distances")} for name, found in report.items()
            },
            **{key: facts[key] for key in ("versions", "hardware", "precision", "threads", "written")},
        },
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", action="append", type=Path, default=[], help="run folder of a set; may be repeated")
    parser.add_argument("--head", type=int, default=1000, help="images of the largest class")
    parser.add_argument("--groups", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument(
        "--networks", type=Path, default=Path("runs/benchmarks/networks"), help="where networks are kept"
    )
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks/groups"), help="folder for the pictures")
    return parser.parse_args()


if __name__ == "__main__":
    main()
