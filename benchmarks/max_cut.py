"""Times the search for groups, and measures how far its cuts are from the best.

    DISTAIL_DATA=... python benchmarks/max_cut.py

Distances of 10 classes are those of CIFAR-10, of 20, 100 and 200 those of Tiny-ImageNet at 32x32 pixels (the first
classes), as a ConvNet-3 of width 64 sees them after three epochs on 10,000 images; of 1,000 classes those of points in
20 planted clusters. The gap is to the exact answer where one is found, to the upper bound, and to the best of many long
searches. Random partitions are the scale: in dense distances they reach most of any cut too.
"""

import os
import time
from pathlib import Path
from typing import Any

import torch
from page_parts import RESULTS
from torch import Tensor

import distail
from distail.artifact import write_json
from distail.data.preprocess import fit_preprocessing
from distail.groups.finding import find_grouping
from distail.groups.max_cut import heuristic_cut, max_cut
from distail.groups.settings import GroupingSettings
from distail.provenance import environment
from distail.runtime import resolve_runtime

SETTINGS = GroupingSettings(epochs=3, augmentation="none", max_images=200)
LONG = {10: (64, 500), 20: (64, 500), 100: (64, 500), 200: (64, 500), 1000: (24, 150)}
"""Starts, and steps for each class, of the long searches."""


def main() -> None:
    """Measures every size and writes the result."""
    runtime = resolve_runtime("cpu")
    data = Path(os.environ["DISTAIL_DATA"])
    many = real_distances(data / "tiny_imagenet_32")
    sizes = {
        10: ("CIFAR-10", real_distances(data / "cifar10")),
        20: ("Tiny-ImageNet, first 20", many[:20, :20]),
        100: ("Tiny-ImageNet, first 100", many[:100, :100]),
        200: ("Tiny-ImageNet", many),
        1000: ("planted clusters", planted_distances(1000)),
    }
    max_cut(planted_distances(8))  # compiles
    rows = []
    for count, (name, distances) in sizes.items():
        for num_groups in (2, 5):
            rows.append({"data": name, "classes": count, "groups": num_groups, **measured(distances, num_groups)})
            print(rows[-1], flush=True)
    write_json(RESULTS / "max_cut.json", {"rows": rows, **environment(runtime)})


def measured(distances: Tensor, num_groups: int) -> dict[str, Any]:
    """Time and gaps of one instance."""
    count = len(distances)
    begun = time.perf_counter()
    found = max_cut(distances, num_groups)
    seconds = time.perf_counter() - begun
    begun = time.perf_counter()
    searched = heuristic_cut(distances, num_groups)
    search_seconds = time.perf_counter() - begun
    starts, steps = LONG[count]
    best = max(
        heuristic_cut(distances, num_groups, seed=1, num_starts=starts, steps_per_class=steps).value, found.value
    )
    # A random partition into equal groups, on average.
    share = (1 - 1 / num_groups) * count / (count - 1)
    return {
        "seconds": seconds,
        "exact": found.exact,
        "tabu_seconds": search_seconds,
        "tabu_gap_to_exact": 1 - searched.value / found.value if found.exact else None,
        "tabu_gap_to_long_searches": 1 - searched.value / best,
        "tabu_gap_to_bound": searched.gap,
        "random_gap_to_bound": 1 - share * float(distances.sum()) / 2 / searched.upper_bound,
        "group_sizes": sorted((found.group_of.count(group) for group in range(num_groups)), reverse=True),
    }


def real_distances(source: Path) -> Tensor:
    """Class distances in a small network's features of 10,000 images."""
    images = distail.load(f"{source}#test")
    preprocessing = fit_preprocessing(images, "normalize")
    found = find_grouping(images, preprocessing, SETTINGS, "convnet3-w64", runtime=resolve_runtime("cpu"))
    print(f"{source.name}: {found.grouping}"[:2000], flush=True)
    return found.distances


def planted_distances(count: int) -> Tensor:
    """Distances of points around 20 centres."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(20, 64, dtype=torch.float64, generator=generator)
    noise = torch.randn(count, 64, dtype=torch.float64, generator=generator)
    points = centres[torch.arange(count) % 20] + 0.7 * noise
    return torch.cdist(points, points)


if __name__ == "__main__":
    main()
