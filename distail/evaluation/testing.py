"""The one place where a network meets the test images."""

from __future__ import annotations

from distail.data.image_set import ImageSet
from distail.evaluation.metrics import Scores, score_logits
from distail.models.saved import SavedNetwork
from distail.runtime import Runtime


def tested(network: SavedNetwork, test: ImageSet, train_counts: tuple[int, ...] | None, runtime: Runtime) -> Scores:
    """What a trained network gets on held-out images, computed where it lies.

    Args:
        network: whose training has ended.
        test: held-out images of the classes that it tells apart.
        train_counts: images of each class in the long-tailed data, where known.
        runtime: whose precision is used.

    Raises:
        DistailError: images of another shape.
    """
    with runtime.autocast():
        logits = network.predict_logits(test.images).float().cpu()
    return score_logits(logits, test.labels, train_counts)
