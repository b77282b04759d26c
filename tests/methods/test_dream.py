from typing import Any

import pytest
import torch

from distail.data.stacked_augment import StackedDSA
from distail.errors import DistailError
from distail.methods.dream import DREAM
from distail.problem import Load
from distail.synthetic.clusters import representatives
from distail.synthetic.image_state import ImageState
from distail.synthetic.mosaic import compose
from tests.methods.test_conformance import Notebook
from tests.methods.tiny import CountedImages, DoubleProblem, largest_batch, tiny_problem
from tests.reference import gradient_matching as reference
from tests.reference import mosaic


def few(**settings: Any) -> DREAM:
    small = {"iterations": 2, "inner_steps": 3, "cluster_interval": 2, "real_batch": 4, "network_samples": 8}
    return DREAM(**{**small, "network_batch_size": 4, **settings})


def double_problem(**settings: Any) -> DoubleProblem:
    return tiny_problem(problem_type=DoubleProblem, **settings)


@pytest.mark.parametrize("augmentation", ["none", "color_crop_cutout"])
def test_every_class_takes_a_step_on_the_equation(augmentation):
    problem = double_problem()
    method, augment = few(augmentation=augmentation, image_lr=0.02, momentum=0.5), StackedDSA(augmentation)
    network = problem.network("any")
    real = [problem.train.indices_of(label)[:4] for label in range(3)]
    start = torch.rand(6, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    state = ImageState(start, torch.zeros_like(start))
    found, loss = method._matched(problem, augment, state, network, real, problem.generator("x"))

    leaf = start.clone().requires_grad_()
    optimizer = torch.optim.SGD([leaf], lr=0.02, momentum=0.5)
    generator = problem.generator("x")
    total = 0.0
    for label, picked in enumerate(real):
        cells = [cell for image in leaf[2 * label : 2 * label + 2] for cell in mosaic.decode(image, 2)]
        draw = augment.sample(len(cells), problem.train.image_shape, generator, shared=True)
        views = augment.apply(problem.preprocessing.apply(torch.stack(cells)), draw)
        seen = augment.apply(problem.real(picked), draw)
        expected = reference.class_loss(network, seen, views, label, reference.convolutions)
        optimizer.zero_grad()
        expected.backward()
        optimizer.step()
        total += float(expected.detach())
    assert loss == pytest.approx(total, rel=1e-9)
    torch.testing.assert_close(found.images, leaf.detach(), rtol=1e-9, atol=1e-9)
    assert float((found.images - start).abs().max()) > 1e-4


def test_of_many_cells_some_are_drawn():
    problem = double_problem()
    network, real = problem.network("any"), [problem.train.indices_of(label) for label in range(3)]
    start = torch.rand(6, 3, 8, 8, dtype=torch.float64)
    state = ImageState(start, torch.zeros_like(start))
    method = few(synthetic_batch=1, augmentation="none")
    moved, _ = method._matched(problem, StackedDSA("none"), state, network, real, problem.generator("x"))
    touched = (moved.images != start).unflatten(2, (2, 4)).unflatten(4, (2, 4)).any(dim=5).any(dim=3).any(dim=1)
    assert touched.sum(dim=(1, 2)).unflatten(0, (3, 2)).sum(1).tolist() == [1, 1, 1]  # one cell of each class


def test_real_images_are_those_near_the_centres():
    problem = tiny_problem(counts=(40, 4, 1))
    network = problem.network("any")
    head = representatives(problem, network, 0, 4, seed=0)
    assert len(set(head.tolist())) == 4
    assert bool((problem.train.labels[head] == 0).all())
    for label, count in ((1, 4), (2, 1)):  # no more images than clusters
        found = representatives(problem, network, label, 4, seed=0)
        assert torch.equal(found, problem.train.indices_of(label))
        assert len(found) == count


def test_starts_from_mosaics_of_representatives():
    problem = tiny_problem(counts=(40, 9, 1), images_per_class=2)
    found = few()._start(problem)
    assert float(found.min()) >= 0
    assert float(found.max()) <= 1
    only = problem.preprocessing.invert(problem.real(problem.train.indices_of(2)))
    torch.testing.assert_close(found[4:], compose(only.expand(8, -1, -1, -1), 2), rtol=0, atol=1e-5)


@pytest.mark.parametrize("preprocessing", ["none", "normalize", "zca"])
def test_pixels_stay_in_range(preprocessing):
    from distail.data.preprocess import fit_preprocessing

    problem = tiny_problem()
    object.__setattr__(problem, "preprocessing", fit_preprocessing(problem.train, preprocessing))
    made = few(image_lr=1.0).distill(problem)
    pixels = problem.preprocessing.invert(made.images)
    assert float(pixels.min()) > -1e-4
    assert float(pixels.max()) < 1 + 1e-4
    assert float(((pixels < 1e-3) | (pixels > 1 - 1e-3)).float().mean()) > 0.05  # such steps do reach the limits


def test_the_loss_falls():
    problem = tiny_problem(counts=(20, 12, 3), images_per_class=1)
    losses: list[float] = []
    watched = problem.logging_to(lambda step, **figures: losses.append(figures["loss"]))
    few(iterations=12, inner_steps=4, image_lr=0.1, real_batch=20, augmentation="none").distill(watched)
    assert sum(losses[-3:]) < 0.8 * sum(losses[:3])


def test_work_is_what_it_computes():
    problem = tiny_problem(counts=(9, 4, 1), images_per_class=1)
    method = few()
    with CountedImages(channels=3) as counted:
        method.distill(problem)
    work = method.work(problem)
    # Features of the nine images of the first class; of the others none, as all their images are taken.
    assert counted.forward == (1 + 2 * 2) * 9
    assert work.forward == (1 + 2 * 2) * 14
    # Synthetic cells pass once for the gradient, and by values and by tangents, which count as 2.25 passes.
    assert counted.forward_backward == 2 * 3 * (9 + 3 * 12 + 8)
    assert work.forward_backward == int(2 * 3 * (9 + 3.25 * 12 + 8))
    assert counted.batch <= largest_batch(work)


def test_memory_is_that_of_a_class_matched_or_clustered_and_of_the_network_in_training():
    problem = tiny_problem(counts=(600, 4, 1), images_per_class=1)
    method = few(real_batch=30, synthetic_batch=3, network_batch_size=7, network_samples=20)
    real, cells, clustering, training = method.work(problem).loads
    assert (real.images, real.passes, cells.images, cells.passes) == (30, "backward", 3, "tangents")
    assert cells.parameter_vectors == real.parameter_vectors + 3 == 8  # momentum beside what dc holds
    assert clustering == Load(500, "forward", shared=True, parameter_vectors=2, feature_vectors=3 * 600)
    assert training == Load(7, shared=True, parameter_vectors=2)
    assert len(few(network_samples=0).work(problem).loads) == 3


def test_steps_that_diverge_keep_the_last_good_state():
    notebook = Notebook(every=1000)
    with pytest.raises(DistailError, match=r"dream: .*Lower image_lr \(now 1e\+38\)"):
        few(image_lr=1e38, iterations=4).distill(tiny_problem(checkpoint=notebook))
    tensors, values = notebook.load()
    assert bool(torch.isfinite(tensors["images"]).all())
    assert values["iteration"] < 4


def test_unfit_requests_are_clear_errors():
    with pytest.raises(DistailError, match=r"2x2 cells .* 11x8"):
        few().distill(tiny_problem(shape=(3, 11, 8)))
    with pytest.raises(DistailError, match=r"tests.methods.flat_network has none.*convnet3"):
        few().distill(tiny_problem(architecture="tests.methods.flat_network"))


@pytest.mark.parametrize("settings", [{"mosaic": 0}, {"inner_steps": 0}, {"synthetic_batch": 0}])
def test_bad_settings_are_refused(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        DREAM(**settings)
