from typing import Any

import pytest
import torch

from distail.data.augment import DSA
from distail.errors import DistailError
from distail.methods.idm import IDM, _Member
from distail.problem import Load
from distail.synthetic.image_state import ImageState
from distail.synthetic.mosaic import compose
from tests.methods.test_conformance import Notebook
from tests.methods.tiny import CountedImages, DoubleProblem, largest_batch, tiny_problem
from tests.reference import idm as reference
from tests.reference import mosaic


def few(**settings: Any) -> IDM:
    small = {"iterations": 3, "real_batch": 4, "training_steps": 2, "network_batch_size": 6, "network_interval": 2}
    return IDM(**{**small, **settings})


def double_problem(**settings: Any) -> DoubleProblem:
    return tiny_problem(problem_type=DoubleProblem, **settings)


@pytest.mark.parametrize("augmentation", ["none", "color_crop_cutout_flip_scale_rotate"])
def test_every_class_takes_a_step_on_the_equation(augmentation):
    problem = double_problem()
    method = few(augmentation=augmentation, image_lr=0.05, momentum=0.5, classification_weight=0.02)
    augment = DSA(augmentation)
    member = _Member(_Member.new(method, problem, 0).learner, right=3, seen=4)
    start = method._start(problem)
    found, loss = method._matched(problem, augment, ImageState(start, torch.zeros_like(start)), member)

    leaf = start.clone().requires_grad_()
    optimizer = torch.optim.SGD([leaf], lr=0.05, momentum=0.5)
    generator = problem.generator("idm batch", 0)
    network = problem.network("idm network", 0)
    total = 0.0
    for label in range(3):
        of_class = problem.train.indices_of(label)
        picked = of_class[torch.randperm(len(of_class), generator=generator)[:4]]
        draw = augment.sample(len(picked), problem.train.image_shape, generator, shared=True)
        real = [augment.apply(problem.real(index[None]), draw)[0] for index in picked]
        cells = [cell for image in leaf[2 * label : 2 * label + 2] for cell in mosaic.decode(image, 2)]
        views = [augment.apply(cell[None], draw)[0] for cell in cells]
        expected = reference.class_loss(network.features, network.classifier, real, views, label, 0.02, 75.0)
        optimizer.zero_grad()
        expected.backward()
        optimizer.step()
        total += float(expected.detach())
    assert loss == pytest.approx(total, rel=1e-9)
    torch.testing.assert_close(found.images, leaf.detach(), rtol=1e-9, atol=1e-9)
    assert float((found.images - start).abs().max()) > 1e-3


def test_starts_from_mosaics_of_real_images():
    problem = double_problem(counts=(20, 9, 1), images_per_class=2)
    found = few()._start(problem)
    order = torch.randperm(20, generator=problem.generator("random choice", 0))
    head = compose(problem.real(problem.train.indices_of(0)[order[:8]]), 2)
    torch.testing.assert_close(found[:2], head)
    only = problem.real(problem.train.indices_of(2))  # one image, in all eight cells
    torch.testing.assert_close(found[4:], compose(only.expand(8, -1, -1, -1), 2))


def queue_lengths(method: IDM, problem) -> list[int]:
    lengths = []
    queue = method._resumed(problem)[1]
    for iteration in range(8):
        queue = queue.pushed(method, problem, iteration)
        lengths.append(len(queue.members))
    return lengths


def test_the_queue_grows_to_its_limit():
    problem = tiny_problem()
    assert queue_lengths(few(first_networks=3, network_interval=3), problem) == [4, 4, 4, 5, 5, 5, 6, 6]
    assert queue_lengths(few(first_networks=3, network_interval=3, max_networks=4), problem) == [4] * 8
    assert queue_lengths(few(first_networks=2, network_interval=1, max_networks=1), problem) == [1] * 8


def test_a_new_network_takes_the_place_of_the_oldest():
    problem, method = tiny_problem(), few(first_networks=2, network_interval=1, max_networks=2)
    queue = method._resumed(problem)[1]
    kept = queue.members[1]
    queue = queue.pushed(method, problem, 0)
    assert queue.members[0] is kept
    expected = problem.network("idm network", 2)
    found = queue.members[1].learner.network
    assert all(map(torch.equal, found.parameters(), expected.parameters()))


def test_networks_train_and_count_what_they_get_right():
    problem = tiny_problem(counts=(30, 30))
    method = few(trained_networks=2, training_steps=40, network_batch_size=20, network_lr=0.1)
    queue = method._resumed(problem)[1]
    assert [member.accuracy for member in queue.members] == [0, 0, 0]
    queue = method._trained(problem, queue, 0)
    assert sorted(member.seen for member in queue.members) == [0, 800, 800]
    accuracies = sorted(member.accuracy for member in queue.members)
    assert accuracies[0] == 0
    assert 60 < accuracies[1] <= accuracies[2] <= 100


def test_the_loss_falls():
    problem = tiny_problem(counts=(20, 12, 3), images_per_class=1)
    losses: list[float] = []
    watched = problem.logging_to(lambda step, **figures: losses.append(figures["loss"]))
    still = {"max_networks": 1, "network_interval": 1000, "trained_networks": 0, "augmentation": "none"}
    few(iterations=40, real_batch=20, **still).distill(watched)
    assert losses[-1] < 0.3 * losses[0]


def test_a_resumed_run_has_the_same_queue():
    """Momentum, accuracies and the number of networks made so far come back too; the conformance suite has the rest."""
    problem, method = tiny_problem(checkpoint=Notebook()), few(iterations=5, classification_weight=0.1)
    method.distill(problem)
    state, queue = method._resumed(problem)
    assert state.iteration == 5
    assert queue.num_made == 3 + 3
    assert sum(member.seen for member in queue.members) == 5 * 2 * 2 * 6
    assert any(float(tensor.abs().max()) > 0 for name, tensor in queue.packed() if ".velocity." in f".{name}")


def test_work_is_what_it_computes():
    problem, method = tiny_problem(counts=(9, 4, 1), images_per_class=3), few()
    with CountedImages(channels=3) as counted:
        method.distill(problem)
    work = method.work(problem)
    assert (work.forward, work.forward_backward) == (3 * 9, 3 * (4 * 9 + 2 * 2 * 6))
    assert (counted.forward, counted.forward_backward) == (work.forward, work.forward_backward)
    assert counted.batch <= largest_batch(work) == 12


def test_memory_is_that_of_a_class_or_of_training_beside_all_networks_of_the_queue():
    problem = tiny_problem(counts=(9, 4, 1), images_per_class=3)
    method = few(iterations=5, first_networks=3, network_interval=2, max_networks=100, real_batch=7)
    queue = 2 * (3 + 3)  # each with its momentum
    assert method.work(problem).loads == (
        Load(7, "forward", shared=True, parameter_vectors=queue),
        Load(12, parameter_vectors=queue),
        Load(6, shared=True, parameter_vectors=queue),
    )
    full = method.model_copy(update={"max_networks": 4, "trained_networks": 0})
    assert [load.parameter_vectors for load in full.work(problem).loads] == [8, 8]


def test_without_mosaics_images_are_stored_as_they_are():
    made = few(mosaic=1).distill(tiny_problem(shape=(3, 11, 8)))
    assert made.mosaic == 1


def test_sides_that_do_not_come_out_even_are_a_clear_error():
    with pytest.raises(DistailError, match=r"3x3 cells .* 8x8 .*mosaic=1"):
        few(mosaic=3).distill(tiny_problem())


def test_steps_that_diverge_keep_the_last_good_state():
    notebook = Notebook(every=1000)
    with pytest.raises(DistailError, match=r"idm: .*Lower image_lr \(now 1e\+38\)"):
        few(image_lr=1e38, iterations=4, network_interval=1).distill(tiny_problem(checkpoint=notebook))
    tensors, values = notebook.load()
    assert bool(torch.isfinite(tensors["images"]).all())
    # The network that came with the iteration that failed is not there, as a resumed run makes it again.
    assert len(values["answers"]) == values["num_made"] == 3 + values["iteration"]


def test_networks_that_diverge_name_their_step_size():
    with pytest.raises(DistailError, match=r"Lower network_lr \(now 1e\+30\)"):
        few(network_lr=1e30, training_steps=8).distill(tiny_problem(architecture="convnet2-w8-none"))


@pytest.mark.parametrize("settings", [{"mosaic": 0}, {"max_networks": 0}, {"classification_weight": -1}])
def test_bad_settings_are_refused(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        IDM(**settings)
