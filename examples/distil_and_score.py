"""Distil a folder of images (or the built-in digits), score the result, and save what others can use.

python examples/distil_and_score.py
python examples/distil_and_score.py path/to/images      one folder per class, no test split needed
"""

import sys
from pathlib import Path

import distail

source = sys.argv[1] if len(sys.argv) > 1 else "digits"
small = distail.distill(
    source,
    method="dm",
    images_per_class=3,
    imbalance=50 if source == "digits" else None,
    holdout=None if source == "digits" else 0.2,
    image_size=None if source == "digits" else 32,
    architecture="convnet2",
    iterations=100,
)
scores = distail.evaluate(small, architectures=["convnet2"], seeds=2, epochs=200, references=["random"])
for subject, _ in scores.groups:
    accuracy = scores.summary(subject)["balanced_accuracy"]
    print(f"{subject}: {accuracy.mean:.1%} ± {accuracy.std:.1%} balanced test accuracy over {accuracy.n} networks")

out = Path("small.parquet")
if not out.exists():
    print(distail.export_set(small, out, "parquet").describe())
