"""LAD: both phases, its ablations, and a run that dies."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from distail.artifact import read_json
from distail.distilled import load_distilled
from distail.experts import sharing
from distail.experts.bank import ExpertBank
from distail.experts.school import classifier_shelf, train_experts, whole_classifier_expert
from distail.experts.spec import ClassifierSpec
from distail.matching.descent import Learned
from distail.matching.losses import InnerLoss
from distail.matching.phases import ClassifierPhase, RepresentationPhase
from distail.matching.turns import StartEpochs
from distail.methods.datm import DATM
from distail.methods.lad import LAD
from distail.problem import Problem
from distail.synthetic.initial import initial_set
from tests.cli.calling import assert_clear_refusal, call, pets, succeed, write_npz
from tests.methods.matched import LABELLED, SMALL, same, watched
from tests.methods.tiny import tiny_problem


def lad(**settings: Any) -> LAD:
    classifiers = ClassifierSpec(learning_rate=0.1, batch_size=8)
    small = {**SMALL, **LABELLED, "classifier_steps": 3, "classifier_epochs": 2, "classifier_experts": classifiers}
    return LAD(**{**small, **settings})


@pytest.fixture(scope="module")
def bank(tmp_path_factory) -> ExpertBank:
    """What `lad()` needs on the tiny problem."""
    found = ExpertBank(tmp_path_factory.mktemp("experts"))
    train_experts(found, tiny_problem().ground, lad().expert_needs())
    return found


def start_of(problem: Problem, method: LAD, bank: ExpertBank) -> Learned:
    images, labels = initial_set(problem, method._label_experts(problem, bank), method.initial_images)
    return Learned(images, labels, torch.tensor(method.initial_learning_rate))


def test_defaults_are_the_released_ones():
    """Imbalance 100, IPC 10 of CIFAR-10-LT, and the experts of every shipped configuration."""
    method = LAD()
    assert (method.iterations, method.steps, method.classifier_steps, method.expert_span) == (10_000, 80, 80, 2)
    assert (method.representation_weight, method.classifier_weight) == (0.5, 1.0)
    assert (method.image_lr, method.label_lr, method.learning_rate_lr) == (100.0, 2.0, 1e-5)
    assert (method.image_momentum, method.label_momentum, method.learning_rate_momentum) == (0.5, 0.9, 0.5)
    assert (method.initial_max_start_epoch, method.max_start_epoch, method.min_start_epoch) == (None, 20, 0)
    representation, classifier = method.expert_needs()
    assert representation.spec.weight_decay == 5e-3
    assert (representation.num_experts, representation.epochs) == (100, 21)
    assert (representation.num_long, representation.long_epochs) == (100, 100)
    assert (classifier.num_experts, classifier.epochs) == (100, 10)
    assert isinstance(classifier.spec, ClassifierSpec)
    assert (classifier.spec.base, classifier.spec.base_epochs) == (representation.spec, 100)
    assert (classifier.spec.max_norm, classifier.spec.loss) == (None, "cross_entropy")


def test_without_both_ideas_it_is_datm_without_a_threshold(bank):
    neither = lad(decoupling=False, dam="off", iterations=3)
    datm = DATM(**{**SMALL, **LABELLED, "iterations": 3, "threshold": None, "initial_max_start_epoch": None})
    assert neither.expert_needs() == datm.expert_needs()
    problem = tiny_problem(experts=bank)
    assert same(neither.distill(problem), datm.distill(problem))
    assert not same(lad(iterations=3).distill(problem), datm.distill(problem))


def test_every_form_of_dam_makes_another_set(bank):
    problem = tiny_problem(experts=bank)
    forms = ("weighted", "adjusted", "both", "off")
    made = {form: lad(dam=form).distill(problem).images for form in forms}
    for one in forms:
        for other in forms:
            assert one == other or not torch.equal(made[one], made[other]), (one, other)
    stronger = lad(dam="adjusted", dam_strength=0.5).distill(problem).images
    assert not torch.equal(stronger, made["adjusted"])


def test_dam_on_equal_counts_is_cross_entropy_over_the_number_of_classes(tmp_path):
    """The gradient of a smaller loss is that of a smaller step size: 3 classes, a third."""
    bank = ExpertBank(tmp_path)
    problem = tiny_problem(counts=(4, 4, 4), experts=bank)
    off = lad(dam="off", decoupling=False, learning_rate_lr=0.0, iterations=1, image_lr=1.0)
    on = off.model_copy(update={"dam": "weighted", "initial_learning_rate": 3 * off.initial_learning_rate})
    torch.testing.assert_close(on.distill(problem).images, off.distill(problem).images, rtol=1e-4, atol=1e-5)


def phases(problem: Problem, method: LAD, bank: ExpertBank) -> tuple[RepresentationPhase, ClassifierPhase]:
    classifiers, bases = classifier_shelf(bank, problem.ground, method._classifier_spec)
    loss = InnerLoss.distribution_agnostic(problem.train.class_counts)
    starts = StartEpochs.of(method)
    backbone = RepresentationPhase(problem, method, bases, starts, loss, matched="backbone")
    classifier = ClassifierPhase(
        problem=problem,
        settings=method,
        bases=bases,
        shelf=classifiers,
        spec=method._classifier_spec,
        num_experts=method.num_label_experts,
        steps=method.classifier_steps,
        loss=InnerLoss.plain(),
    )
    return backbone, classifier


def test_an_iteration_is_the_weighted_sum_of_both_phases(bank):
    problem, rows = watched(bank)
    method = lad(iterations=1, representation_weight=0.3, classifier_weight=0.8)
    first = start_of(problem, method, bank)
    one, two = (phase(first, 0) for phase in phases(problem, method, bank))
    made = method.distill(problem)
    assert rows[0]["loss"] == pytest.approx(0.3 * one.loss + 0.8 * two.loss, rel=1e-5)
    assert (rows[0]["loss1"], rows[0]["loss2"]) == pytest.approx((one.loss, two.loss), rel=1e-5)
    torch.testing.assert_close(made.images, first.images - 10.0 * (0.3 * one.images + 0.8 * two.images))
    assert made.soft_labels is not None
    assert first.labels is not None
    assert one.labels is not None
    assert two.labels is not None
    torch.testing.assert_close(made.soft_labels, first.labels - 2.0 * (0.3 * one.labels + 0.8 * two.labels))
    rate = 0.05 - 1e-5 * (0.3 * one.learning_rate + 0.8 * two.learning_rate)
    assert made.learning_rate == pytest.approx(float(rate), rel=1e-6)


def test_a_phase_of_weight_zero_does_nothing(bank):
    problem = tiny_problem(experts=bank)
    method = lad(iterations=1, classifier_weight=0.0, representation_weight=1.0)
    first = start_of(problem, method, bank)
    backbone, classifier = (phase(first, 0) for phase in phases(problem, method, bank))
    torch.testing.assert_close(method.distill(problem).images, first.images - 10.0 * backbone.images)
    only = method.model_copy(update={"classifier_weight": 1.0, "representation_weight": 0.0})
    torch.testing.assert_close(only.distill(problem).images, first.images - 10.0 * classifier.images)


def test_the_first_phase_does_not_look_at_the_classifiers_of_its_experts(bank, monkeypatch):
    problem = tiny_problem(experts=bank)
    method = lad()
    backbone, _ = phases(problem, method, bank)
    first = start_of(problem, method, bank)
    expected = backbone(first, 0)
    snapshot, size = backbone.shelf.snapshot, 3 * 32 + 3
    targets = []

    def spoiled(expert: int, epoch: int) -> torch.Tensor:
        """The target's classifier is another; the start's is not."""
        found = snapshot(expert, epoch).clone()
        if len(targets) % 2:
            found[-size:] += 7
        targets.append(epoch)
        return found

    monkeypatch.setattr(backbone.shelf, "snapshot", spoiled)
    assert torch.equal(backbone(first, 0).images, expected.images)
    assert targets[1] == targets[0] + method.expert_span


def test_the_second_phase_never_moves_the_backbone(bank, monkeypatch):
    """Its start and target share it; and another target backbone changes nothing."""
    problem = tiny_problem(experts=bank)
    _, classifier = phases(problem, lad(), bank)
    first = start_of(problem, lad(), bank)
    size = 3 * 32 + 3
    assert torch.equal(classifier._snapshot(1, 0)[:-size], classifier._snapshot(1, 1)[:-size])
    assert not torch.equal(classifier._snapshot(1, 0)[-size:], classifier._snapshot(1, 1)[-size:])
    expected = classifier(first, 0)
    assert expected.images.abs().max() > 0
    original, asked = ClassifierPhase._snapshot, list[int]()

    def spoiled(phase: ClassifierPhase, expert: int, epoch: int) -> torch.Tensor:
        found = original(phase, expert, epoch).clone()
        asked.append(epoch)
        if epoch:
            found[:-size] += 1
        return found

    monkeypatch.setattr(ClassifierPhase, "_snapshot", spoiled)
    assert torch.equal(classifier(first, 0).images, expected.images)
    assert asked == [0, lad().expert_span]  # always from the start, to a span later


def test_both_engines_make_the_same_set(bank):
    problem = tiny_problem(experts=bank)
    for settings in ({}, {"decoupling": False}):
        fast, plain = (lad(engine=engine, **settings).distill(problem) for engine in ("fast", "plain"))
        moved = float((fast.images - lad(**settings, iterations=1).distill(problem).images).abs().max())
        assert moved > 1e-4
        torch.testing.assert_close(fast.images, plain.images, rtol=1e-3, atol=1e-2 * moved)
        torch.testing.assert_close(fast.soft_labels, plain.soft_labels, rtol=1e-3, atol=1e-4)
        assert fast.learning_rate == pytest.approx(plain.learning_rate, rel=1e-4)


def test_labels_start_as_those_of_the_classifier_experts(bank):
    """Where none of them moves, the labels of the set are the mean logits of those that are right."""
    problem = tiny_problem(experts=bank)
    still = lad(iterations=1, label_lr=0.0)
    first = start_of(problem, still, bank)
    made = still.distill(problem)
    assert torch.equal(made.soft_labels, first.labels)
    coupled = start_of(problem, lad(decoupling=False), bank)
    assert not torch.equal(coupled.labels, first.labels)  # those of the representation experts


def test_a_second_set_trains_nothing(tmp_path, monkeypatch):
    bank = ExpertBank(tmp_path)
    first = lad().distill(tiny_problem(experts=bank))
    files = sorted(path.name for path in tmp_path.rglob("*"))
    monkeypatch.setattr(sharing, "pupil_of", lambda *_: pytest.fail("trains"))
    assert same(first, lad().distill(tiny_problem(experts=bank)))
    lad(dam="off", steps=2).distill(tiny_problem(experts=bank, seed=5))  # other runs share them
    assert sorted(path.name for path in tmp_path.rglob("*")) == files


def test_work_counts_the_experts_that_are_missing(bank, tmp_path):
    method = lad()
    without, empty = method.work(tiny_problem()), method.work(tiny_problem(experts=ExpertBank(tmp_path)))
    there = method.work(tiny_problem(experts=bank))
    assert without == empty
    # 3 GSAM epochs of 14 images for each of 2 experts; class-aware epochs of 3 x 9 images, 2 of each of 2 experts.
    assert without.forward_backward - there.forward_backward == 2 * 3 * 14 * 2
    assert without.forward - there.forward == 2 * 2 * 27
    assert there.forward_backward > 0


def test_matching_comes_closer_to_fixed_experts(bank):
    problem, rows = watched(bank)
    settings = {"num_experts": 1, "num_label_experts": 1, "max_start_epoch": 1, "augmentation": "none"}
    lad(**settings, iterations=15, steps=4, classifier_steps=4, image_lr=20.0, dam="off").distill(problem)
    for name in ("loss", "loss1", "loss2"):
        losses = [row[name] for row in rows]
        assert losses[-1] < losses[0], (name, losses)
    assert rows[-1]["loss"] < 0.8 * rows[0]["loss"]


def test_a_class_weight_reaches_the_classifier_experts(tmp_path):
    bank = ExpertBank(tmp_path)
    problem = tiny_problem(experts=bank)
    made = [
        lad(classifier_experts=ClassifierSpec(learning_rate=0.5, batch_size=8, **changes)).distill(problem).images
        for changes in ({}, {"loss": "class_balanced"}, {"max_norm": 0.0})
    ]
    assert not torch.equal(made[0], made[1])
    assert not torch.equal(made[0], made[2])
    assert lad(classifier_experts=ClassifierSpec(base_epochs=77)).expert_needs()[1].spec.base_epochs == 3


FLAGS = {
    **{"iterations": 50, "steps": 2, "classifier_steps": 2, "num_experts": 3, "num_label_experts": 2},
    **{
        "max_start_epoch": 3,
        "expert_span": 1,
        "expert_epochs": 10,
        "classifier_epochs": 3,
        "image_lr": 0.5,
        "learning_rate_lr": 1e-9,
    },
}
LAUNCHER = """
import sys, torch
torch.set_num_threads(1)
from distail import checkpoint
checkpoint.INTERVAL_S = 0.0
from distail.cli import main
main(sys.argv[1:])
"""
"""`distail` with a checkpoint after every iteration instead of every few seconds."""


def begin(source: Path, out: Path, experts: Path, *flags: str) -> subprocess.Popen[str]:
    command = ["distill", str(source), "--method", "lad", "--ipc", "1", "--imbalance", "4", "--arch", "convnet1-w8"]
    command += [part for name, value in FLAGS.items() for part in ("--set", f"{name}={value}")]
    command += ["--precision", "fp32", "--device", "cpu", "--quiet", "--experts", str(experts), "--out", str(out)]
    return subprocess.Popen(
        [sys.executable, "-c", LAUNCHER, *command, *flags],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> None:
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err


def kill_when(process: subprocess.Popen[str], moment: Any, delay_s: float) -> None:
    given_up = time.monotonic() + 120
    while not moment() and process.poll() is None and time.monotonic() < given_up:
        time.sleep(0.002)
    time.sleep(delay_s)
    process.kill()
    _, err = process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL, f"it ended before it could be killed: {err}"


def kept(experts: Path) -> dict[tuple[str, int, int], bytes]:
    """Every snapshot, by kind of experts, expert and epoch."""
    return {
        (shelf.key, expert, epoch): shelf.snapshot(expert, epoch).numpy().tobytes()
        for shelf in ExpertBank(experts).shelves()
        for expert in shelf.experts()
        for epoch in range(shelf.num_epochs(expert) + 1)
    }


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
def test_a_run_killed_among_experts_and_while_matching_ends_with_the_same_bits(tmp_path):
    """A real process, killed by the system without warning."""
    chance = random.Random()
    epochs, iteration = chance.randint(1, 18), chance.randint(1, 35)
    delays = (chance.uniform(0, 0.01), chance.uniform(0, 0.01))
    moments = f"killed after {epochs} epochs and {iteration} iterations, {delays}"
    unharmed, harmed = tmp_path / "unharmed", tmp_path / "harmed"
    banks = (tmp_path / "bank", tmp_path / "bank of the harmed")
    source = write_npz(tmp_path / "pets.npz", train=pets((12, 12, 12), 1), test=pets((6, 6, 6), 2))
    finish(begin(source, unharmed, banks[0]))
    kill_when(
        begin(source, harmed, banks[1]), lambda: banks[1].exists() and num_snapshots(banks[1]) >= epochs, delays[0]
    )
    among_experts = kept(banks[1])
    assert 0 < len(among_experts) < len(kept(banks[0])), moments
    assert not (harmed / "metrics.jsonl").exists()

    def matched() -> bool:
        metrics = harmed / "metrics.jsonl"
        return metrics.exists() and metrics.read_bytes().count(b"\n") >= iteration

    kill_when(begin(source, harmed, banks[1], "--resume"), matched, delays[1])
    assert not (harmed / "distilled.safetensors").exists()
    finish(begin(source, harmed, banks[1], "--resume"))

    first, second = load_distilled(unharmed), load_distilled(harmed)
    assert first.images.numpy().tobytes() == second.images.numpy().tobytes(), moments
    assert first.soft_labels is not None
    assert second.soft_labels is not None
    assert first.soft_labels.numpy().tobytes() == second.soft_labels.numpy().tobytes(), moments
    assert first.learning_rate == second.learning_rate
    assert (unharmed / "metrics.jsonl").read_bytes() == (harmed / "metrics.jsonl").read_bytes(), moments
    assert kept(banks[0]) == kept(banks[1]), moments
    assert read_json(harmed / "manifest.json")["status"] == "complete"


def num_snapshots(experts: Path) -> int:
    """Snapshots on disk, by the names of files alone: another process is writing them."""
    spans = (path.stem.split("-")[1:] for path in experts.glob("*/expert-*/epochs-*.safetensors"))
    return sum(int(last) - int(first) + 1 for first, last in spans)


def test_what_was_learned_before_diverging_can_be_had(tmp_path, monkeypatch):
    """The message of the error says how, and that works."""
    monkeypatch.chdir(tmp_path)
    flags = ("digits", "--method", "lad", "--ipc", 1, "--imbalance", 50, "--arch", "convnet1-w8", "--out", "r")
    small = {**FLAGS, "iterations": 8, "num_experts": 1, "num_label_experts": 1, "expert_epochs": 1}
    small |= {"max_start_epoch": 1, "classifier_epochs": 1, "learning_rate_lr": 0.05}
    command = [*flags, *(part for name, value in small.items() for part in ("--set", f"{name}={value}"))]
    message = assert_clear_refusal(call("distill", *command), "lad: in iteration", "Lower learning_rate_lr")
    iteration = int(message.partition("--resume --set iterations=")[2].partition("`")[0])
    succeed("distill", *command, "--resume", "--set", f"iterations={iteration}")
    assert bool(torch.isfinite(load_distilled("r").images).all())
    logged = Path("r/metrics.jsonl").read_text().splitlines()
    assert len(logged) == iteration + 1  # the step that failed stays on record


def test_labels_and_the_second_phase_may_ask_for_different_numbers_of_experts() -> None:
    fewer = lad(num_label_experts=1, num_classifier_experts=3)
    representation, classifier = fewer.expert_needs()
    assert (representation.num_long, classifier.num_experts) == (3, 3)
    assert [need.num_long for need in fewer.model_copy(update={"decoupling": False}).expert_needs()] == [1]
    more = lad(num_label_experts=3, num_classifier_experts=1).expert_needs()
    assert (more[0].num_long, more[1].num_experts) == (3, 3)


def test_the_second_phase_matches_no_more_classifiers_than_asked_for(bank, monkeypatch) -> None:
    problem, _ = watched(bank)
    seen = []
    monkeypatch.setattr(
        "distail.matching.phases.whole_classifier_expert",
        lambda bases, shelf, spec, expert, epoch: (
            seen.append(expert) or whole_classifier_expert(bases, shelf, spec, expert, epoch)
        ),
    )
    lad(iterations=4, num_label_experts=2, num_classifier_experts=1).distill(problem)
    assert set(seen) == {0}
