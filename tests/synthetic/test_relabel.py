import torch

from distail.models.saved import SavedNetwork
from distail.problem import Problem
from distail.synthetic.relabel import ready, relabelled, relabelling_work
from distail.training.recipe import TrainRecipe
from tests.methods.tiny import CountedImages, tiny_problem


def teacher_of(problem: Problem) -> SavedNetwork:
    architecture = "convnet2-w8-batch"
    return SavedNetwork(
        problem.network("teacher").eval(),
        architecture,
        problem.train.image_shape,
        problem.train.class_names,
        problem.preprocessing,
        {},
    )


def test_the_teacher_labels_and_goes_with_the_set():
    problem = tiny_problem(architecture="convnet2-w8-batch")
    teacher, students = teacher_of(problem), TrainRecipe(epochs=3)
    images = torch.randn(6, 3, 8, 8)
    with CountedImages(channels=3) as counted:
        made = relabelled(problem, images, teacher, students)
    with torch.no_grad():
        torch.testing.assert_close(made.soft_labels, teacher.network(images))
    assert made.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert (made.teacher, made.training) == (teacher, students)
    assert counted.forward == relabelling_work(problem, ["convnet2-w8-batch"]).forward == 6


def test_the_layout_is_the_same_wherever_the_teacher_comes_from():
    problem = tiny_problem(architecture="convnet2-w8-batch")
    layouts = []
    for layout in (torch.channels_last, torch.contiguous_format):
        teacher = teacher_of(problem)
        teacher.network.to(memory_format=layout).train()
        network = ready(problem, teacher)
        assert not network.training
        layouts.append([parameter.stride() for parameter in network.parameters()])
    assert layouts[0] == layouts[1]
