"""Recovery: each step is that of the equation, batches do not know of each other, and a run goes on bit by bit."""

from typing import Any

import pytest
import torch
from torch import Tensor

from distail.errors import DistailError
from distail.problem import Problem
from distail.synthetic.batches import batches_of_all_classes, class_sorted_batches
from distail.synthetic.recovery import (
    Observer,
    Recovery,
    RecoverySettings,
    Target,
    recover,
    recovery_work,
    within_pixels,
)
from distail.synthetic.statistics import Statistics, class_moments, running_statistics
from tests.methods.test_conformance import KilledError, Notebook
from tests.methods.tiny import CountedImages, DoubleProblem, tiny_problem
from tests.reference import recovery as reference

KINDS = ("convolution", "batch_norm")
BN = {"architecture": "convnet2-w8-batch"}


def few(**settings: Any) -> RecoverySettings:
    return RecoverySettings(**{"iterations": 5, "batch_size": 4, "image_lr": 0.1, **settings})


def prepared(
    problem: Problem, settings: RecoverySettings, observers: int = 1, smoothing: float = 0.8, **changes: Any
) -> Recovery:
    """EDC's, in untrained networks."""
    made = []
    for number in range(observers):
        network = problem.network("observer", number).eval()
        moments = class_moments(problem, network, 6)
        over_images = moments.over_images()
        targets = (Target(0.5, lambda labels, wanted=over_images: wanted), Target(0.5, moments.of_labels))
        made.append(Observer(network, KINDS, targets))
    batches = class_sorted_batches(problem, settings.batch_size)
    return Recovery("test", settings, changes.get("view", "roll"), smoothing, made, changes.get("batches", batches))


def real_start(problem: Problem) -> Tensor:
    return problem.real(torch.arange(problem.num_classes * problem.images_per_class))


def plain_loss(
    observer: Observer, views: Tensor, labels: Tensor, running: dict[str, Tensor], settings: RecoverySettings
) -> Tensor:
    """The equation, layer by layer; `running` is changed."""
    network, alpha = observer.network, 0.8
    inputs = [views, network.backbone[:1](views), network.backbone[:4](views), network.backbone[:5](views)]
    total = torch.nn.functional.cross_entropy(network(views), labels)
    wanted: list[Statistics] = [target.of(labels) for target in observer.targets]
    for position, (name, seen) in enumerate(zip((0, 1, 4, 5), inputs, strict=True)):
        kinds = {"channels": reference.channel_statistics}
        if name in (0, 4):
            kinds["patches"] = reference.patch_statistics
        for kind, measure in kinds.items():
            key = f"backbone.{name}/{kind}"
            compared = []
            for what, values in zip(("mean", "variance"), measure(seen), strict=True):
                one, running[key + what] = reference.smoothed(running.get(key + what), values, alpha)
                compared.append(one)
            weight = settings.statistics_weight * (settings.first_layer_weight if position == 0 else 1)
            for target in wanted:
                spread = target[key]
                total = total + weight * 0.5 * reference.distance(tuple(compared), (spread.mean, spread.variance))
    return total


def test_every_step_is_adam_on_the_equation(monkeypatch):
    """Two batches, of which each has running means and losses of its own."""
    monkeypatch.setattr("distail.synthetic.recovery.random_views", lambda images, *_: images)
    losses: list[float] = []
    problem = tiny_problem(problem_type=DoubleProblem, **BN)
    problem = problem.logging_to(lambda step, **figures: losses.append(figures["loss"]))
    settings = few(statistics_weight=0.3, iterations=4, batch_size=4)
    recovery = prepared(problem, settings)
    found = recover(problem, recovery, lambda: real_start(problem))

    labels = torch.tensor([0, 0, 1, 1, 2, 2])
    expected = []
    totals = torch.zeros(4, dtype=torch.float64)
    for batch in (slice(0, 4), slice(4, 6)):
        leaf = within_pixels(real_start(problem), problem.preprocessing)[batch].clone().requires_grad_()
        optimizer = torch.optim.Adam([leaf], lr=0.1, betas=(0.5, 0.9))
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 4)
        running: dict[str, Tensor] = {}
        for step in range(4):
            optimizer.zero_grad()
            loss = plain_loss(recovery.observers[0], leaf, labels[batch], running, settings)
            loss.backward()
            totals[step] += loss.detach() * len(leaf) / 6
            optimizer.step()
            schedule.step()
            leaf.data = within_pixels(leaf.data, problem.preprocessing)
        expected.append(leaf.detach())
    torch.testing.assert_close(found, torch.cat(expected), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(torch.tensor(losses, dtype=torch.float64), totals, rtol=1e-6, atol=1e-6)


def test_observers_take_turns(monkeypatch):
    problem = tiny_problem(**BN)
    recovery = prepared(problem, few(iterations=5), observers=3)
    calls: list[int] = []
    for number, observer in enumerate(recovery.observers):
        observer.network.register_forward_hook(lambda *_, number=number: calls.append(number))
    recover(problem, recovery, lambda: real_start(problem))
    assert calls == [0, 0, 1, 1, 2, 2, 0, 0, 1, 1]  # two batches an iteration


def test_pixels_stay_in_their_range():
    problem = tiny_problem(**BN)
    found = recover(problem, prepared(problem, few(image_lr=5.0, iterations=1)), lambda: 9 * torch.randn(6, 3, 8, 8))
    pixels = problem.preprocessing.invert(found)
    assert -1e-5 < float(pixels.min()) <= 1e-3
    assert 1 - 1e-3 <= float(pixels.max()) < 1 + 1e-5


def test_statistics_come_nearer():
    figures: list[dict[str, float]] = []
    problem = tiny_problem((20, 12, 8), images_per_class=4, **BN)
    problem = problem.logging_to(lambda step, **values: figures.append(values))
    settings = few(iterations=60, batch_size=12, statistics_weight=1.0)
    recover(problem, prepared(problem, settings, smoothing=0.0), lambda: torch.randn(12, 3, 8, 8))
    assert figures[-1]["statistics"] < 0.4 * figures[0]["statistics"]
    for values in figures:
        assert values["loss"] == pytest.approx(values["cross_entropy"] + values["statistics"], rel=1e-5)


@pytest.mark.parametrize("kill_at", [1, 2, 4])
def test_a_killed_run_goes_on_to_the_same_bits(kill_at):
    """Also the running means of every batch and observer, and without making the start again."""

    def run(checkpoint: Notebook, start) -> Tensor:
        problem = tiny_problem(checkpoint=checkpoint, **BN)
        return recover(problem, prepared(problem, few(), observers=2, view="resized"), lambda: start(problem))

    whole = run(Notebook(), real_start)
    notebook = Notebook(kill_at=kill_at)
    with pytest.raises(KilledError):
        run(notebook, real_start)
    notebook.kill_at = None
    assert torch.equal(whole, run(notebook, lambda problem: pytest.fail("starts again")))


def test_a_loss_that_is_not_finite_keeps_the_last_good_state():
    notebook = Notebook(every=1000)
    problem = tiny_problem(checkpoint=notebook, **BN)
    recovery = prepared(problem, few(iterations=6))
    network = recovery.observers[0].network

    def spoil(*_) -> None:
        if notebook.calls == 3:
            network.classifier.bias.data.fill_(float("nan"))

    network.register_forward_pre_hook(spoil)
    with pytest.raises(DistailError, match=r"test: the loss became nan .* iteration 3\. Lower image_lr \(now 0\.1\)"):
        recover(problem, recovery, lambda: real_start(problem))
    tensors, values = notebook.load()
    assert values["iteration"] == 3
    assert all(bool(torch.isfinite(tensor).all()) for tensor in tensors.values())


def test_networks_come_back_as_they_were():
    problem = tiny_problem(**BN)
    recovery = prepared(problem, few())
    network = recovery.observers[0].network.train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    recover(problem, recovery, lambda: real_start(problem))
    assert network.training
    assert all(parameter.requires_grad for parameter in network.parameters())
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())


def test_targets_decide_what_is_compared():
    """Running statistics know of no patches, so that nothing else is looked at."""
    figures: list[dict[str, float]] = []
    problem = tiny_problem(**BN).logging_to(lambda step, **values: figures.append(values))
    network = problem.network("observer").eval()
    wanted = running_statistics(network)
    observer = Observer(network, KINDS, (Target(1.0, lambda labels: wanted),))
    batches = class_sorted_batches(problem, 6)
    recover(problem, Recovery("test", few(iterations=1), "roll", 0.0, [observer], batches), lambda: real_start(problem))
    start = within_pixels(real_start(problem), problem.preprocessing)
    generator = problem.generator("test", "views", 0, 0)
    moves = [int(torch.randint(2, (), generator=generator)) for _ in range(2)]
    views = torch.roll(start, moves, (2, 3))
    expected = 0.0
    for number in (1, 5):
        found = reference.channel_statistics(network.backbone[:number](views))
        spread = wanted[f"backbone.{number}/channels"]
        expected += float(reference.distance(found, (spread.mean, spread.variance)).detach())
    assert figures[0]["statistics"] == pytest.approx(expected, rel=1e-4)


def test_batches_hold_every_image_once():
    problem = tiny_problem(images_per_class=5)
    assert [batch.tolist() for batch in class_sorted_batches(problem, 6)] == [
        [0, 1, 2, 3, 4, 5],
        [6, 7, 8, 9, 10, 11],
        [12, 13, 14],
    ]
    assert [batch.tolist() for batch in batches_of_all_classes(problem, 100)] == [
        [0, 5, 10],
        [1, 6, 11],
        [2, 7, 12],
        [3, 8, 13],
        [4, 9, 14],
    ]
    assert [batch.tolist() for batch in batches_of_all_classes(problem, 2)][:2] == [[0, 5], [10]]


def test_work_is_what_it_computes():
    problem = tiny_problem(architecture="convnet2-w8-batch")
    settings = few()
    recovery = prepared(problem, settings)
    with CountedImages(channels=3) as counted:
        recover(problem, recovery, lambda: real_start(problem))
    work = recovery_work(problem, settings, ["convnet2-w8-batch"])
    assert (work.forward, work.forward_backward) == (0, counted.forward_backward) == (0, 5 * 6)
    assert [load.images for load in work.loads] == [counted.batch]
