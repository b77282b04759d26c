"""Cautions about classes with few test images."""

import pytest
import torch

from distail.distilled import StoredBytes
from distail.evaluation.metrics import score_logits
from distail.evaluation.result import Evaluation, StudentScore
from distail.report.evaluation import about_test_images


def cautions(counts: tuple[int, ...]) -> str:
    truth = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    scores = score_logits(torch.nn.functional.one_hot(truth, len(counts)).float(), truth, counts)
    student = StudentScore("distilled", "convnet2", 0, "hard", 6, 10, 10, 1.0, scores)
    result = Evaluation(
        students=(student,),
        class_names=tuple(f"class {label}" for label in range(len(counts))),
        train_counts=counts,
        stored=StoredBytes(1, 1, 1),
        fairness={},
        provenance={"test": {"origin": "pets"}},
    )
    return " ".join(about_test_images(result, student)[1:])


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ((30, 4, 20), "class 'class 1' has only 4 test images"),
        ((30, 1, 20), "class 'class 1' has only 1 test image."),
        ((30, 5, 2, 9, 10), "3 of 5 classes have fewer than 10 test images, 'class 2' the fewest: 2"),
        ((3, 5), "all classes have fewer than 10 test images, 'class 0' the fewest: 3"),
    ],
)
def test_classes_of_few_test_images_are_counted_and_the_smallest_is_named(counts, words):
    assert words in cautions(counts)


def test_enough_images_need_no_caution():
    assert cautions((10, 11)) == ""
