import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from distail.errors import DistailError
from distail.problem import class_major_labels
from distail.synthetic.selection import random_choice, select_indices, select_real_images
from tests.methods.tiny import tiny_images, tiny_problem

sizes = st.lists(st.integers(1, 8), min_size=2, max_size=5)


def first_of_class(label: int, of_class: torch.Tensor, count: int) -> torch.Tensor:
    return of_class[:count]


def test_labels_run_class_by_class():
    assert class_major_labels(3, 2).tolist() == [0, 0, 1, 1, 2, 2]
    assert class_major_labels(2, 1).dtype == torch.int64


@settings(max_examples=30, deadline=None)
@given(sizes, st.integers(1, 10))
def test_selection_is_balanced_and_repeats_no_more_than_it_must(counts, images_per_class):
    train = tiny_images(counts)
    selected = select_indices(train, images_per_class, first_of_class)
    assert torch.equal(train.labels[selected], class_major_labels(len(counts), images_per_class))
    for label, count in enumerate(counts):
        of_class = selected[label * images_per_class : (label + 1) * images_per_class]
        repeats = torch.bincount(of_class)[of_class.unique()]
        assert len(repeats) == min(count, images_per_class)
        assert repeats.max() - repeats.min() <= 1


def test_a_small_class_repeats_in_the_order_chosen():
    train = tiny_images((6, 3))

    def backwards(label: int, of_class: torch.Tensor, count: int) -> torch.Tensor:
        return of_class.flip(0)[:count]

    a, b, c = train.indices_of(1).flip(0).tolist()
    assert select_indices(train, 5, backwards)[5:].tolist() == [a, b, c, a, b]


def test_a_choice_is_asked_for_no_more_than_the_class_holds():
    asked = []

    def choose(label: int, of_class: torch.Tensor, count: int) -> torch.Tensor:
        asked.append((label, of_class.tolist(), count))
        return of_class[:count]

    train = tiny_images((4, 1, 2))
    select_indices(train, 2, choose)
    expected = [(label, train.indices_of(label).tolist(), count) for label, count in enumerate((2, 1, 2))]
    assert asked == expected


def test_real_images_come_preprocessed_with_their_positions():
    problem = tiny_problem(counts=(5, 2), shape=(1, 8, 10))
    made = select_real_images(problem, first_of_class)
    assert torch.equal(problem.train.labels[made.real_indices], made.labels)
    assert torch.equal(made.images, problem.preprocessing.apply(problem.train.images[made.real_indices]))
    assert (made.soft_labels, made.learning_rate) == (None, None)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 12), st.data())
def test_random_choice_never_repeats(size, data):
    count = data.draw(st.integers(1, size))
    of_class = torch.arange(100, 100 + size)
    chosen = random_choice(tiny_problem())(0, of_class, count).tolist()
    assert len(chosen) == len(set(chosen)) == count
    assert set(chosen) <= set(of_class.tolist())


def test_random_choice_is_a_function_of_seed_and_class():
    of_class = torch.arange(40)

    def chosen(seed: int, label: int, count: int = 20) -> list[int]:
        return random_choice(tiny_problem(seed=seed))(label, of_class, count).tolist()

    assert chosen(0, 1) == chosen(0, 1)
    assert chosen(0, 1) != chosen(1, 1)
    assert chosen(0, 1) != chosen(0, 2)
    assert chosen(0, 1, count=5) == chosen(0, 1)[:5]  # a larger set extends a smaller one


def test_a_problem_refuses_to_make_nothing():
    with pytest.raises(DistailError, match=r"--ipc 0 makes no set\. Ask for at least 1"):
        tiny_problem(images_per_class=0)
