import pytest
import torch

from distail.errors import DistailError
from tests.methods.teaching import CHEAP_TEACHER, SHARP_TEACHER, assert_work_is_what_it_computes, quick
from tests.methods.tiny import tiny_problem

BN = {"architecture": "convnet2-w8-batch"}


def test_images_are_ones_of_which_the_teacher_is_sure():
    problem = tiny_problem((30, 20, 9), images_per_class=3, **BN)
    made = quick("rded", teacher=SHARP_TEACHER).distill(problem)
    chosen = made.soft_labels.log_softmax(1)[torch.arange(9), made.labels]
    assert float(chosen.min()) > -0.1  # random crops reach -0.9
    assert made.soft_labels.argmax(1).tolist() == made.labels.tolist()


def test_students_learn_from_whole_images_whatever_the_factor():
    problem = tiny_problem((9, 4, 1))
    made = quick("rded", factor=2).distill(problem)
    assert made.mosaic == 1
    assert made.images.shape == (6, 3, 8, 8)


def test_a_factor_that_does_not_come_out_even_is_a_clear_error():
    with pytest.raises(DistailError, match=r"3x3 cells .* 8x8 .*--set factor=1"):
        quick("rded", factor=3).distill(tiny_problem())


def test_work_is_what_it_computes():
    problem = tiny_problem(**BN)
    assert_work_is_what_it_computes(quick("rded", max_images=3), problem, (CHEAP_TEACHER,))


@pytest.mark.parametrize("settings", [{"factor": 0}, {"crops_per_image": 0}, {"max_images": 0}, {"smallest_crop": 1.5}])
def test_bad_settings_are_refused(settings):
    with pytest.raises(DistailError, match=next(iter(settings))):
        quick("rded", **settings)
