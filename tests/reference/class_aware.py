"""What class-aware sampling promises, checked image by image: Kang et al., ICLR 2020, arXiv:1910.09217."""

from collections.abc import Sequence


def complaints(order: Sequence[int], classes: Sequence[Sequence[int]], images_per_visit: int) -> list[str]:
    """Everything that is wrong with one epoch; `classes` holds the images of each class."""
    found = []
    class_of = {image: label for label, images in enumerate(classes) for image in images}
    largest = max(map(len, classes))
    if len(order) != largest * len(classes):
        found.append(f"{len(order)} draws instead of {largest * len(classes)}")
    draws = {label: [image for image in order if class_of[image] == label] for label in range(len(classes))}
    counts = [len(of_class) for of_class in draws.values()]
    if max(counts) - min(counts) > images_per_visit:
        found.append(f"classes are drawn {counts} times")
    for label, images in enumerate(classes):
        for start in range(0, len(draws[label]), len(images)):
            once = draws[label][start : start + len(images)]
            if len(set(once)) < len(once):
                found.append(f"class {label} repeats an image before all were used")
    visits = [order[start : start + images_per_visit] for start in range(0, len(order), images_per_visit)]
    found += [f"a visit to several classes: {visit}" for visit in visits if len({class_of[one] for one in visit}) > 1]
    visited = [class_of[visit[0]] for visit in visits]
    for start in range(0, len(visited), len(classes)):
        once = visited[start : start + len(classes)]
        if len(set(once)) < len(once):
            found.append(f"round {start // len(classes)} visits a class twice: {once}")
    return found
