import pytest

from distail.experts.bank import ExpertBank
from distail.problem import Work
from distail.teachers.spec import TeacherSpec
from distail.teachers.teaching import teach, teacher_architecture
from distail.teachers.work import teachers_work
from tests.methods.tiny import CHEAP_TEACHER, tiny_problem


def test_the_network_is_the_problems_own_with_batch_norm_unless_named():
    problem = tiny_problem(architecture="convnet2-w8")
    assert teacher_architecture(problem, TeacherSpec()) == "convnet2-w8-batch"
    assert teacher_architecture(problem, TeacherSpec(architecture="alexnet")) == "alexnet"


def test_work_is_counted_in_images_through_the_problems_network():
    problem = tiny_problem((9, 4, 1), architecture="convnet2-w8")
    specs = [
        TeacherSpec(train={"epochs": 3, "batch_size": 5}),
        TeacherSpec(baseline="glmc", train={"epochs": 3, "batch_size": 500}),
        TeacherSpec(architecture="convnet2-w16", train={"epochs": 3}),
    ]
    works = [teachers_work(problem, [spec]) for spec in specs]
    assert [work.forward_backward for work in works[:2]] == [3 * 14, 2 * 3 * 14]
    wider = problem.relative_cost("convnet2-w16")
    assert 2 < wider < 4
    assert works[2].forward_backward == int(3 * 14 * wider)
    assert [(load.images, load.architecture) for load in works[0].loads] == [(5, "convnet2-w8-batch")]
    assert works[1].loads[0].images == 14
    total = teachers_work(problem, specs)
    assert total.forward_backward == sum(work.forward_backward for work in works)
    assert len(total.loads) == 3


def test_a_deeper_network_costs_more():
    problem = tiny_problem(shape=(3, 32, 32), architecture="convnet3")
    assert problem.relative_cost("convnet3-batch") == 1
    assert problem.relative_cost("resnet18-batch") == pytest.approx(11, rel=0.05)


def test_a_teacher_that_is_kept_costs_nothing(tmp_path):
    problem = tiny_problem(experts=ExpertBank(tmp_path))
    teach(problem, CHEAP_TEACHER)
    assert teachers_work(problem, [CHEAP_TEACHER]) == Work()
