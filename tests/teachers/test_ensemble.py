import torch

from distail.models.saved import load_network, save_network
from distail.teachers.ensemble import ensemble_of
from tests.methods.tiny import tiny_problem
from tests.synthetic.test_relabel import teacher_of


def test_one_teacher_is_itself():
    teacher = teacher_of(tiny_problem(architecture="convnet2-w8-batch"))
    assert ensemble_of([teacher]) is teacher


def test_several_are_one_that_can_be_saved(tmp_path):
    teachers = [teacher_of(tiny_problem(architecture="convnet2-w8-batch", seed=seed)) for seed in (0, 1)]
    whole = ensemble_of(teachers)
    assert whole.architecture == "convnet2-w8-batch+convnet2-w8-batch"
    save_network(tmp_path / "teacher.safetensors", whole)
    read = load_network(tmp_path / "teacher.safetensors")
    images = tiny_problem().train.images
    expected = torch.stack([teacher.predict_logits(images) for teacher in teachers]).mean(0)
    torch.testing.assert_close(read.predict_logits(images), expected, rtol=1e-4, atol=1e-5)
