import torch

from distail.methods.random import Random
from tests.methods.tiny import largest_batch, tiny_problem


def test_draws_without_replacement_from_the_right_class():
    problem = tiny_problem(counts=(9, 6, 4), images_per_class=4)
    made = Random().distill(problem)
    indices = made.real_indices.tolist()
    assert len(set(indices)) == 12
    assert torch.equal(problem.train.labels[made.real_indices], made.labels)
    assert torch.equal(made.images, problem.real(made.real_indices))
    assert sorted(indices[8:]) == problem.train.indices_of(2).tolist()  # IPC equals the class: all of it


def test_a_small_class_repeats_evenly():
    made = Random().distill(tiny_problem(counts=(9, 2), images_per_class=5))
    repeats = torch.bincount(made.real_indices)[made.real_indices[5:].unique()]
    assert sorted(repeats.tolist()) == [2, 3]


def test_every_image_is_as_likely():
    """Mean 100 of 200 draws of 3 from 6, deviation 7.1 a count: 5 deviations would be a bias."""
    counts = torch.zeros(12)
    problem_of_seed = [tiny_problem(counts=(6, 6), images_per_class=3, seed=seed) for seed in range(200)]
    for problem in problem_of_seed:
        counts[Random().distill(problem).real_indices] += 1
    assert (counts - 100).abs().max() < 5 * 7.1


def test_classes_draw_apart():
    """The same class sizes must not mean the same positions in each class."""
    problem = tiny_problem(counts=(30, 30), images_per_class=10)
    made = Random().distill(problem).real_indices
    positions = [
        [problem.train.indices_of(label).tolist().index(index) for index in made.tolist()[start : start + 10]]
        for label, start in ((0, 0), (1, 10))
    ]
    assert positions[0] != positions[1]


def test_costs_nothing():
    work = Random().work(tiny_problem())
    assert (work.forward, work.forward_backward, largest_batch(work)) == (0, 0, 0)
