import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from distail.baselines._registry import baseline_names, build_baseline
from distail.baselines._task import Task
from distail.claims import Claimed, Claims
from distail.data.preprocess import fit_preprocessing
from distail.errors import DistailError
from distail.experts.bank import ExpertBank
from distail.experts.inventory import inventory
from distail.learn.kept import KeptNetworks
from distail.models.saved import SavedNetwork, load_network
from distail.problem import Problem
from distail.runtime import Runtime
from distail.teachers import teaching
from distail.teachers.spec import TeacherSpec
from distail.teachers.teaching import teach, teaching_work
from tests.methods.tiny import CountedImages, tiny_images, tiny_problem

TRAIN = {"epochs": 2, "batch_size": 8, "augmentation": "none"}
COUNTS = (9, 5, 2)


def spec(baseline: str = "cross_entropy", **parts: object) -> TeacherSpec:
    return TeacherSpec(baseline=baseline, **{"train": TRAIN, **parts})


@pytest.fixture
def problem(tmp_path) -> Problem:
    return tiny_problem(COUNTS, experts=ExpertBank(tmp_path / "bank"))


@pytest.fixture
def fits(monkeypatch) -> list[Task]:
    """The tasks that baselines were really trained on."""
    seen: list[Task] = []
    original = teaching.build_baseline

    def watched(name, settings):
        baseline = original(name, settings)

        class Watched(type(baseline)):
            def fit(self, task):
                seen.append(task)
                return super().fit(task)

        return Watched.model_validate(baseline.model_dump())

    monkeypatch.setattr(teaching, "build_baseline", watched)
    return seen


def files(problem: Problem) -> list[Path]:
    return sorted((problem.experts.path / "teachers").glob("*.safetensors"))


def same(first: SavedNetwork, second: SavedNetwork) -> bool:
    own, other = first.network.state_dict(), second.network.state_dict()
    return own.keys() == other.keys() and all(torch.equal(own[name], other[name]) for name in own)


@pytest.mark.parametrize("name", baseline_names())
def test_every_baseline_makes_a_teacher_that_is_found_again(name, problem, fits):
    first, second = teach(problem, spec(name)), teach(problem, spec(name))
    assert len(fits) == 1
    assert same(first, second)
    assert first.architecture == second.architecture
    assert first.provenance == second.provenance
    assert second.provenance["baseline"] == name
    assert not second.network.training
    images = tiny_images((3, 3, 3), seed=5).images
    assert torch.equal(first.predict_logits(images), second.predict_logits(images))
    (path,) = files(problem)
    assert same(load_network(path), first)


def test_it_is_the_baselines_network_behind_the_problems_preprocessing(problem):
    whitened = replace(problem, preprocessing=fit_preprocessing(tiny_images(), "zca"))
    taught = teach(whitened, spec("balanced_softmax", seed=4))
    assert taught.preprocessing is whitened.preprocessing
    assert taught.architecture == "convnet2-w8-batch"
    baseline = build_baseline("balanced_softmax", {})
    task = Task(
        *(problem.train, problem.train, None, "convnet2-w8-batch", baseline.recipe_with(TRAIN)),
        seed=4,
        given_preprocessing=whitened.preprocessing,
    )
    assert same(baseline.fit(task).saved, taught)


def test_whatever_decides_a_teacher_tells_it_from_others(problem, fits):
    images = problem.train
    others = [
        (problem, spec()),
        (problem, spec(seed=1)),
        (problem, spec("focal")),
        (problem, spec("focal", settings={"gamma": 1.0})),
        (problem, spec(architecture="convnet2-w8")),
        (problem, spec(train={**TRAIN, "epochs": 3})),
        (replace(problem, train=replace(images, labels=images.labels.roll(1))), spec()),
        (replace(problem, preprocessing=fit_preprocessing(images, "none")), spec()),
        (replace(problem, runtime=Runtime("cpu", "bf16")), spec()),
    ]
    for where, what in others:
        teach(where, what)
    assert len(fits) == len(others) == len(files(problem))
    for where, what in others:
        teach(where, what)
    assert len(fits) == len(others)


def test_what_does_not_decide_it_finds_it(problem, fits):
    teach(problem, spec("focal"))
    teach(replace(problem, seed=9, images_per_class=7), spec("focal", settings={"gamma": 2.0}))  # its default
    teach(replace(problem, architecture="convnet2-w8-batch"), spec("focal"))
    assert len(fits) == 1


def test_a_baseline_that_chooses_holds_images_out(problem, fits):
    taught = teach(problem, spec("tau_norm"))
    assert fits[0].validation.class_counts == (1, 1, 1)
    assert set(taught.provenance["chosen"]) == {"tau"}
    lonely = tiny_problem((4, 3, 1), experts=problem.experts)
    with pytest.raises(DistailError, match="--set tau=1"):
        teach(lonely, spec("tau_norm"))


def test_without_a_bank_it_is_trained_every_time(fits):
    problem = tiny_problem(COUNTS)
    assert same(teach(problem, spec()), teach(problem, spec()))
    assert len(fits) == 2


def test_an_interrupted_one_leaves_nothing(problem, fits, monkeypatch):
    def interrupted(*arguments, **keywords):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("distail.learn.kept.save_network", interrupted)
        with pytest.raises(KeyboardInterrupt):
            teach(problem, spec())
    assert files(problem) == []
    assert list((problem.experts.path / "teachers" / "claims").iterdir()) == []
    teach(problem, spec())
    assert len(fits) == 2


def test_two_processes_that_both_find_nothing(problem, fits, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(KeptNetworks, "find", lambda self, key, runtime: None)
        first, second = teach(problem, spec()), teach(problem, spec())
    assert len(fits) == 2
    assert same(first, second)
    assert same(teach(problem, spec()), first)
    assert len(files(problem)) == 1


def test_a_teacher_that_another_process_trains_is_left_to_it(problem, fits):
    impatient = ExpertBank(problem.experts.path, wait=False)
    claims = Claims(problem.experts.path / "teachers" / "claims")
    key = teaching._Plan.of(problem, spec()).key()
    with claims.hold(key, "training"):
        with pytest.raises(Claimed):
            teach(replace(problem, experts=impatient), spec())
        teach(replace(problem, experts=impatient), spec(seed=1))
        waiting = threading.Thread(target=teach, args=(problem, spec()))
        waiting.start()
        waiting.join(0.5)
        assert len(fits) == 1
    waiting.join(20)
    teach(replace(problem, experts=impatient), spec())
    assert [task.seed for task in fits] == [1, 0]


def test_experts_of_the_bank_are_not_disturbed(problem):
    teach(problem, spec())
    assert inventory(problem.experts, {}) == []


OWN = """
from typing import ClassVar
from distail.baselines.cross_entropy import CrossEntropy

class Mine(CrossEntropy):
    summary: ClassVar[str] = "{what}"
"""


def test_a_baseline_and_a_network_of_ones_own(problem, fits, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for what in ("first", "second"):
        Path("ownteacher.py").write_text(OWN.format(what=what))
        sys.modules.pop("ownteacher", None)
        for _ in range(2):
            assert same(teach(problem, spec("ownteacher")), teach(problem, spec()))
    sys.modules.pop("ownteacher", None)
    assert len(fits) == 3  # cross_entropy, and its own file as it was twice


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (TeacherSpec(baseline="crossentropy"), "Did you mean 'cross_entropy'"),
        (TeacherSpec(settings={"warmth": 1}), "unknown key 'warmth'"),
        (TeacherSpec(train={"epoch": 1}), "unknown key 'epoch'"),
        (TeacherSpec(architecture="convnet"), "Unknown architecture 'convnet'"),
    ],
)
def test_what_cannot_be_trained_is_refused(problem, wrong, message):
    for ask in (teach, teaching_work):
        with pytest.raises(DistailError, match=message):
            ask(problem, wrong)


def test_a_bank_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "bank").write_text("")
    with pytest.raises(DistailError, match="is no folder"):
        teach(tiny_problem(COUNTS, experts=ExpertBank(tmp_path / "bank")), spec())


@pytest.mark.parametrize("name", ["cross_entropy", "glmc", "crt"])
def test_work_is_what_passes_through_networks(name, problem):
    work = teaching_work(problem, spec(name))
    with CountedImages(channels=3) as counted:
        teach(problem, spec(name))
    assert work.forward + work.forward_backward == counted.forward + counted.forward_backward
    assert [load.images for load in work.loads] == [counted.batch]
    done = teaching_work(problem, spec(name))
    assert (done.forward, done.forward_backward, done.loads) == (0, 0, ())


def test_published_lengths_are_the_default():
    assert teaching_work(tiny_problem(COUNTS), TeacherSpec()).forward_backward == 200 * sum(COUNTS)


def test_the_time_of_a_teacher_that_is_found_is_told(problem):
    teach(problem, spec())
    assert problem.experts.reused_seconds == pytest.approx(0, abs=0.5)
    kept = load_network(files(problem)[0]).provenance["training"]["seconds"]
    again = replace(problem, experts=ExpertBank(problem.experts.path))
    teach(again, spec())
    assert 0 < again.experts.reused_seconds <= kept
