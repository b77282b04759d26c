"""The outer loop on objectives whose gradients are known."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from distail.errors import DistailError
from distail.matching import MatchingGradients
from distail.matching.descent import Descent, Learned, Objective, descend, synthetic_of
from distail.matching.settings import MatchingSettings
from distail.methods.lad import LAD
from distail.problem import Problem, Synthetic
from tests.evaluation.separable import Said
from tests.methods.tiny import tiny_problem

SETTINGS = MatchingSettings(
    image_lr=0.3, image_momentum=0.6, learning_rate_lr=0.01, learning_rate_momentum=0.4, initial_learning_rate=0.5
)
DESCENT = Descent("fake", 6, SETTINGS, label_lr=0.2, label_momentum=0.9)


class KilledError(Exception):
    """Stands for the loss of power."""


class Memory:
    """A checkpoint in memory that writes every state, or only when told `now`."""

    def __init__(self, lazy: bool = False) -> None:
        self.lazy = lazy
        self.state: tuple[dict[str, Tensor], str] | None = None

    @property
    def iteration(self) -> int:
        assert self.state is not None
        return json.loads(self.state[1])["iteration"]

    def load(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        return None if self.state is None else (dict(self.state[0]), json.loads(self.state[1]))

    def save(self, tensors: Mapping[str, Tensor], values: Mapping[str, Any], *, now: bool = False) -> None:
        if now or not self.lazy:
            self.state = ({name: tensor.clone() for name, tensor in tensors.items()}, json.dumps(dict(values)))


def start(soft: bool = True) -> Learned:
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(6, 3, 8, 8, generator=generator)
    labels = torch.randn(6, 3, generator=generator) if soft else None
    return Learned(images, labels, torch.tensor(0.5))


def pull(learned: Learned, iteration: int, towards: float) -> MatchingGradients:
    """A loss with its minimum at images and labels `towards`, another one in each iteration."""
    scale = 1 + 0.1 * iteration
    labels = None if learned.labels is None else scale * (learned.labels - towards)
    distance = float((learned.images - towards).square().mean())
    return MatchingGradients(
        scale * distance, scale * (learned.images - towards), labels, scale * (learned.learning_rate - 0.3)
    )


def two_terms(learned: Learned, iteration: int) -> list[tuple[float, MatchingGradients]]:
    return [(0.5, pull(learned, iteration, 1.0)), (2.0, pull(learned, iteration, -1.0))]


def one_term(learned: Learned, iteration: int) -> list[tuple[float, MatchingGradients]]:
    return [(1.0, pull(learned, iteration, 1.0))]


def poisoned(name: str, at: int, value: float = torch.nan) -> Objective:
    """An objective whose gradient of one thing is spoiled in one iteration."""

    def objective(learned: Learned, iteration: int) -> Sequence[tuple[float, MatchingGradients]]:
        [(weight, term)] = one_term(learned, iteration)
        if iteration == at:
            whole = getattr(term, name)
            spoiled = value if isinstance(whole, float) else torch.full_like(whole, value)
            term = replace(term, **{name: spoiled})
        return [(weight, term)]

    return objective


def bits(learned: Learned) -> list[bytes]:
    tensors = (learned.images, learned.labels, learned.learning_rate)
    return [tensor.numpy().tobytes() for tensor in tensors if tensor is not None]


@pytest.mark.parametrize("soft", [True, False], ids=["soft", "hard"])
def test_is_sgd_with_momentum_on_each_of_the_three(soft):
    first = start(soft)
    images, rate = (tensor.clone().requires_grad_() for tensor in (first.images, first.learning_rate))
    groups = [
        {"params": [images], "lr": 0.3, "momentum": 0.6},
        {"params": [rate], "lr": 0.01, "momentum": 0.4},
    ]
    labels = None if first.labels is None else first.labels.clone().requires_grad_()
    if labels is not None:
        groups.append({"params": [labels], "lr": 0.2, "momentum": 0.9})
    optimizer = torch.optim.SGD(groups)
    for iteration in range(6):
        now = Learned(images.detach(), None if labels is None else labels.detach(), rate.detach())
        terms = two_terms(now, iteration)
        images.grad = sum(weight * term.images for weight, term in terms)
        rate.grad = sum(weight * term.learning_rate for weight, term in terms)
        if labels is not None:
            labels.grad = sum(weight * term.labels for weight, term in terms)
        optimizer.step()
    before = bits(first)
    found = descend(tiny_problem(), DESCENT, first, two_terms)
    torch.testing.assert_close(found.images, images.detach())
    torch.testing.assert_close(found.learning_rate, rate.detach())
    assert (found.labels is None) == (labels is None)
    if labels is not None:
        torch.testing.assert_close(found.labels, labels.detach())
    assert bits(first) == before  # the start is left alone


def test_the_log_tells_the_weighted_loss_and_its_parts():
    rows: list[dict[str, float]] = []
    problem = tiny_problem(log=lambda step, **figures: rows.append({"step": step, **figures}))
    descend(problem, DESCENT, start(), two_terms)
    assert [row["step"] for row in rows] == list(range(6))
    for row in rows:
        assert row["loss"] == pytest.approx(0.5 * row["loss1"] + 2 * row["loss2"], rel=1e-6)
        assert row["skipped"] == 0
    assert rows[0]["loss1"] == pytest.approx(pull(start(), 0, 1.0).loss)
    rows.clear()
    last = descend(problem, DESCENT, start(), one_term)
    assert "loss1" not in rows[0]
    assert rows[-1]["learning_rate"] == float(last.learning_rate)


def test_iterations_above_the_threshold_change_nothing():
    """Iteration 2 is bad: the run goes on as if its update had not happened, momentum included."""

    def objective(learned: Learned, iteration: int) -> Sequence[tuple[float, MatchingGradients]]:
        [(_, term)] = one_term(learned, 0)
        return [(1.0, replace(term, loss=5.0 if iteration == 2 else 0.9))]

    rows: list[dict[str, float]] = []
    problem = tiny_problem(log=lambda step, **figures: rows.append(figures))
    found = descend(problem, replace(DESCENT, threshold=1.0), start(), objective)
    assert [row["skipped"] for row in rows] == [0, 0, 1, 0, 0, 0]
    shorter = descend(tiny_problem(), replace(DESCENT, iterations=5), start(), objective)
    assert bits(found) == bits(shorter)
    everything = descend(tiny_problem(), replace(DESCENT, threshold=5.0), start(), objective)
    assert bits(everything) == bits(descend(tiny_problem(), DESCENT, start(), objective))  # not above it
    assert bits(everything) != bits(found)


def test_the_result_may_be_a_moving_average_of_the_images():
    plain = [descend(tiny_problem(), replace(DESCENT, iterations=n), start(), one_term).images for n in range(1, 5)]
    average = start().images
    for images in plain:
        average = 0.8 * average + 0.2 * images
    found = descend(tiny_problem(), replace(DESCENT, iterations=4, ema_decay=0.8), start(), one_term)
    torch.testing.assert_close(found.images, average)
    last = descend(tiny_problem(), replace(DESCENT, iterations=4), start(), one_term)
    assert torch.equal(found.learning_rate, last.learning_rate)
    assert not torch.allclose(found.images, last.images)


@pytest.mark.parametrize("soft", [True, False], ids=["soft", "hard"])
@pytest.mark.parametrize("ema_decay", [0.0, 0.9])
@pytest.mark.parametrize("killed_in", [1, 4])
def test_a_killed_run_goes_on_to_the_same_bits(soft, ema_decay, killed_in):
    descent = replace(DESCENT, ema_decay=ema_decay)
    whole = descend(tiny_problem(), descent, start(soft), two_terms)
    memory, asked = Memory(), []

    def dying(learned: Learned, iteration: int) -> Sequence[tuple[float, MatchingGradients]]:
        asked.append(iteration)
        if iteration == killed_in and len(asked) == killed_in + 1:
            raise KilledError
        return two_terms(learned, iteration)

    with pytest.raises(KilledError):
        descend(tiny_problem(checkpoint=memory), descent, start(soft), dying)
    asked += [-1] * 10
    found = descend(tiny_problem(checkpoint=memory), descent, start(soft), dying)
    assert asked == [*range(killed_in + 1), *[-1] * 10, *range(killed_in, 6)]
    assert bits(found) == bits(whole)


@pytest.mark.parametrize(
    ("name", "value", "blamed"),
    [
        ("images", torch.nan, r"the images went from [\d.]+ to nan.*Lower image_lr \(now 0\.3\),"),
        ("images", torch.inf, r"Lower image_lr"),
        ("images", 1e4, r"the images went from [\d.]+ to \d{4}.*Lower image_lr"),
        ("labels", torch.nan, r"label logit went from [\d.]+ to nan.*Lower label_lr \(now 0\.2\),"),
        ("labels", 1e5, r"label logit went from.*Lower label_lr"),
        ("learning_rate", torch.nan, r"step size went from 0\.5 to nan.*Lower learning_rate_lr \(now 0\.01\),"),
        ("learning_rate", 1e3, r"step size went from 0\.5 to -.*Lower learning_rate_lr"),
        ("loss", torch.nan, r"loss is nan, and 1 for .*Lower initial_learning_rate \(now 0\.5\) or steps \(now 80\),"),
        ("loss", torch.inf, r"loss is inf.*Lower initial_learning_rate"),
    ],
)
@pytest.mark.parametrize("lazy", [False, True])
def test_divergence_is_a_clear_error_that_keeps_the_last_good_state(name, value, blamed, lazy):
    memory = Memory(lazy)
    with pytest.raises(DistailError, match=rf"fake: in iteration 3 .*{blamed}.*another --out.*iterations=3"):
        descend(tiny_problem(checkpoint=memory), DESCENT, start(), poisoned(name, 3, value))
    assert memory.iteration == 3
    kept = descend(tiny_problem(checkpoint=memory), replace(DESCENT, iterations=3), start(), one_term)
    assert bits(kept) == bits(descend(tiny_problem(), replace(DESCENT, iterations=3), start(), one_term))


def test_where_nothing_was_learned_nothing_is_said_to_be_kept():
    memory = Memory()
    with pytest.raises(DistailError, match=r"in iteration 0 .*Lower image_lr.*Nothing was learned yet\.$"):
        descend(tiny_problem(checkpoint=memory), DESCENT, start(), poisoned("images", 0))
    assert memory.state is None


def test_the_failing_iteration_is_logged():
    rows: list[dict[str, float]] = []
    problem = tiny_problem(log=lambda step, **figures: rows.append({"step": step, **figures}))
    with pytest.raises(DistailError, match=r"matching loss of 0\.25"):
        descend(problem, DESCENT, start(), scripted(0.25, images=1e5))
    assert [(row["step"], row["loss"]) for row in rows] == [(0, 0.25)]


def scripted(*losses: float, rate: float = 0.0, images: float = 0.0, labels: float = 0.0) -> Objective:
    """Given losses, the last one forever, and gradients of one value everywhere that are multiplied by the loss."""

    def objective(learned: Learned, iteration: int) -> Sequence[tuple[float, MatchingGradients]]:
        loss = losses[min(iteration, len(losses) - 1)]
        soft = None if learned.labels is None else torch.full_like(learned.labels, loss * labels)
        pixels = torch.full_like(learned.images, loss * images)
        return [(1.0, MatchingGradients(loss, pixels, soft, torch.tensor(loss * rate)))]

    return objective


OVERSHOOTS = r"Lower initial_learning_rate \(now 0\.5\) or steps \(now 80\)"


@pytest.mark.parametrize(
    ("objective", "blamed"),
    [
        # The first loss is enormous, and with it all gradients.
        (scripted(2e8, rate=1.0), rf"iteration 0 the student overshot: the matching loss is 2e\+08.*{OVERSHOOTS}"),
        (scripted(2e8, rate=1.0, images=1.0, labels=1.0), rf"iteration 0 .*{OVERSHOOTS}"),
        (scripted(5.0, rate=20.0), rf"iteration 0 .*{OVERSHOOTS}"),
        # The loss is sound, but its gradients are multiplied by too much.
        (
            scripted(0.9, images=1e6, labels=1e6),
            r"iteration 0 .*Lower image_lr \(.*\) and label_lr \(",
        ),
        (scripted(0.9, rate=100.0), r"iteration 0 .*Lower learning_rate_lr"),
        (scripted(1.3, images=1e6), r"iteration 0 .*Lower image_lr \(now 0\.3\),"),
        # Something grew before the loss rose.
        (scripted(0.9, 0.8, 1e6, images=100.0, rate=1.0), r"iteration 2 .*images went.*Lower image_lr \(now 0\.3\),"),
        (
            scripted(0.9, torch.nan, rate=-1e3),
            r"iteration 1 .*step size went from 0\.5 to 9\.5.*Lower learning_rate_lr",
        ),
        (scripted(0.9, torch.nan, labels=-700.0), r"iteration 1 .*Lower label_lr \(now 0\.2\),"),
        (
            scripted(0.9, torch.inf, images=50.0, rate=-1e3),
            r"iteration 1 .*Lower learning_rate_lr \(.*\) and image_lr \(",
        ),
        # Nothing has: a student that overshoots from an unlucky start.
        (scripted(0.9, 0.8, 1e6, rate=1.0), rf"iteration 2 .*{OVERSHOOTS}.*What was learned before is kept"),
    ],
)
def test_what_changed_is_blamed(objective, blamed):
    with pytest.raises(DistailError, match=blamed):
        descend(tiny_problem(), DESCENT, start(), objective)


def test_hard_labels_are_not_blamed():
    with pytest.raises(DistailError, match=r"iteration 0 .*Lower image_lr \(now 0\.3\), and"):
        descend(tiny_problem(), DESCENT, start(soft=False), scripted(0.9, images=1e6, labels=1e6))


def test_the_steps_of_the_worse_loss_are_named():
    settings = LAD(initial_learning_rate=0.5)
    descent = replace(DESCENT, settings=settings, step_fields=("steps", "classifier_steps"))

    def objective(learned: Learned, iteration: int) -> Sequence[tuple[float, MatchingGradients]]:
        [(_, calm)] = scripted(0.5)(learned, iteration)
        return [(0.5, calm), (1.0, replace(calm, loss=torch.nan))]

    with pytest.raises(DistailError, match=r"and 1\.5 for one that never moved.* or classifier_steps \(now 80\)"):
        descend(tiny_problem(), descent, start(), objective)


def test_images_and_labels_may_grow_manyfold():
    """What no sane run does yet, and what a set that begins black or unlabelled must be free to do."""
    memory = Memory()
    grown = descend(
        tiny_problem(checkpoint=memory), replace(DESCENT, iterations=1), start(), scripted(0.9, images=400.0)
    )
    assert float(grown.images.abs().max()) > 100
    dark = Learned(torch.zeros(6, 3, 8, 8), torch.zeros(6, 3), torch.tensor(0.5))
    descend(tiny_problem(), replace(DESCENT, iterations=1), dark, scripted(0.9, images=300.0, labels=4000.0))
    with pytest.raises(DistailError, match=r"images went from 0 to 1\d\d, "):
        descend(tiny_problem(), replace(DESCENT, iterations=1), dark, scripted(0.9, images=400.0))


@pytest.mark.parametrize(
    ("losses", "weight", "warned"),
    [
        ([45.0] * 12, 1.0, "starts at 45; a student that never moved has 1, and losses should fall below that"),
        ([45.0] * 12, 2.0, "starts at 90; a student that never moved has 2,"),
        ([40.0, 45.0, 41.0], 1.0, "starts at 42"),  # fewer than are judged otherwise
        ([40.0 * 0.8**number for number in range(12)], 1.0, None),
        ([1.4, 1.6] * 6, 1.0, None),
        ([0.9] * 10 + [50.0] * 10, 1.0, None),
    ],
)
def test_losses_that_begin_too_high_are_worth_one_line(losses, weight, warned):
    said = Said()
    scaled = scripted(*losses)
    descent = replace(DESCENT, iterations=len(losses))
    objective: Objective = lambda learned, iteration: [(weight, scaled(learned, iteration)[0][1])]  # noqa: E731
    descend(tiny_problem(progress=said), descent, start(), objective)
    assert len(said.messages) == (warned is not None)
    if warned:
        assert warned in said.messages[0]
        assert "Lower initial_learning_rate (now 0.5) or steps (now 80)." in said.messages[0]


def test_a_run_that_is_taken_up_is_not_warned_again():
    memory, said = Memory(), Said()
    descend(tiny_problem(checkpoint=memory), replace(DESCENT, iterations=2), start(), scripted(45.0))
    descend(tiny_problem(checkpoint=memory, progress=said), replace(DESCENT, iterations=40), start(), scripted(45.0))
    assert said.messages == []


def test_a_step_size_of_zero_keeps_the_rate():
    fixed = replace(DESCENT, settings=SETTINGS.model_copy(update={"learning_rate_lr": 0.0}))
    assert float(descend(tiny_problem(), fixed, start(), two_terms).learning_rate) == 0.5


@pytest.mark.parametrize(("every", "expected"), [(0, []), (2, [2, 4, 6]), (4, [4]), (6, [6])])
def test_sets_on_the_way_are_those_of_shorter_runs(every, expected):
    told: dict[int, Synthetic] = {}
    descent = replace(DESCENT, settings=SETTINGS.model_copy(update={"snapshot_every": every}), ema_decay=0.5)
    descend(tiny_problem(snapshot=told.__setitem__), descent, start(), one_term)
    assert list(told) == expected
    for iteration, synthetic in told.items():
        shorter = descend(tiny_problem(), replace(descent, iterations=iteration), start(), one_term)
        assert torch.equal(synthetic.images, shorter.images)
        assert synthetic.learning_rate == float(shorter.learning_rate)


def test_a_set_on_the_way_is_kept_before_the_state_that_follows_it():
    """Killed between the two, the set is written again; the other way round it would be missing."""
    memory, told = Memory(), []

    def snapshot(iteration: int, synthetic: Synthetic) -> None:
        told.append(iteration)
        if len(told) == 1:
            raise KilledError

    descent = replace(DESCENT, settings=SETTINGS.model_copy(update={"snapshot_every": 2}))
    problem: Problem = tiny_problem(checkpoint=memory, snapshot=snapshot)
    with pytest.raises(KilledError):
        descend(problem, descent, start(), one_term)
    descend(problem, descent, start(), one_term)
    assert told == [2, 2, 4, 6]


def test_what_was_learned_as_a_set():
    learned = start()
    made = synthetic_of(tiny_problem(), learned)
    assert torch.equal(made.images, learned.images)
    assert made.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert learned.labels is not None
    assert made.soft_labels is not None
    assert torch.equal(made.soft_labels, learned.labels)
    assert made.learning_rate == 0.5
    assert synthetic_of(tiny_problem(), start(soft=False)).soft_labels is None


def test_a_threshold_that_no_iteration_passes_is_an_error_and_not_the_set_one_began_with():
    descent = replace(DESCENT, threshold=1e-9)
    with pytest.raises(DistailError, match=r"threshold=1e-09 in all 6 .*initial_learning_rate \(now 0\.5\).*null"):
        descend(tiny_problem(), descent, start(), one_term)
