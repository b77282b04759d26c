"""Kept networks: taken when everything that decides them is equal, trained when anything differs."""

import json
import threading
from dataclasses import replace
from typing import Any

import pytest
import torch

from distail.artifact import TensorFile, read_tensors, write_tensors
from distail.baselines._registry import build_baseline
from distail.baselines._task import Task
from distail.claims import Claimed
from distail.data.preprocess import fit_preprocessing
from distail.errors import DistailError
from distail.evaluation.baseline import BaselineScoring, evaluate_baseline
from distail.evaluation.protocol import Scoring, evaluate
from distail.evaluation.recipe import BaselineRecipe
from distail.groups.grouping import Grouping
from distail.groups.settings import TwoStageRecipe
from distail.learn import kept as kept_module
from distail.learn import student as student_module
from distail.learn.kept import KeptNetworks, training_key
from distail.learn.student import Classroom, Student, train_student
from distail.report.baseline import baseline_notes
from distail.runtime import Runtime
from distail.training.loop import Selection
from distail.training.recipe import TrainRecipe
from distail.training.state import History, TrainingState
from distail.training.technique import Technique, cross_entropy
from tests.evaluation.separable import ARCHITECTURE, NAMES, TEST, TRAIN, make_set, quick

CPU = Runtime()
RECIPE = quick(epochs=3).train


@pytest.fixture
def kept(tmp_path) -> KeptNetworks:
    return KeptNetworks(tmp_path / "networks")


@pytest.fixture
def num_trained(monkeypatch) -> list[str]:
    """The titles of the networks that were really trained."""
    titles: list[str] = []
    train = student_module.train_network

    def watched(*args, **kwargs):
        titles.append(kwargs["title"])
        return train(*args, **kwargs)

    monkeypatch.setattr(student_module, "train_network", watched)
    return titles


def student(kept: KeptNetworks | None, seed: int = 0, recipe=RECIPE, architecture: str = ARCHITECTURE, **parts):
    lessons = Classroom.of_distilled(make_set(**parts), "static", CPU)
    return train_student(lessons, architecture, recipe, seed, CPU, kept=kept)


def same(first: Student, second: Student) -> bool:
    own, other = (one.saved.network.state_dict() for one in (first, second))
    return all(torch.equal(own[name], other[name]) for name in own)


def test_a_kept_network_is_the_one_that_was_trained(kept, num_trained):
    first, second = student(kept), student(kept)
    assert len(num_trained) == 1
    assert same(first, second)
    assert same(first, student(None))
    assert (first.reused, second.reused) == (False, True)
    assert second.history == first.history
    assert len(second.history.losses) == 3
    assert second.seconds == first.seconds > 0
    assert second.saved.provenance == first.saved.provenance
    assert not second.saved.network.training
    assert torch.equal(first.saved.predict_logits(TEST.images), second.saved.predict_logits(TEST.images))


def test_a_student_that_another_process_trains_is_left_to_it(kept, num_trained):
    data = Classroom.of_distilled(make_set(), "static", CPU).data
    key = training_key(data, ARCHITECTURE, RECIPE, 0, CPU)
    impatient = replace(kept, wait=False)
    with kept.claims.hold(key, "training"), pytest.raises(Claimed):
        student(impatient)
    assert num_trained == []
    waiting: list[Student] = []
    with kept.find_or_claim(key, CPU, "training") as found:
        assert found is None
        others = threading.Thread(target=lambda: waiting.append(student(kept)))
        others.start()
        mine = student(None)
        kept.keep(key, mine.saved, mine.history, mine.seconds, CPU)
    others.join(20)
    assert len(num_trained) == 1
    assert waiting[0].reused
    assert same(waiting[0], mine)


def test_a_history_is_found_as_it_was(kept):
    history = History([0.5, 0.25], kept_epoch=1, validation=[(0, 0.5), (1, 0.75)])
    kept.keep("key", student(None).saved, history, 1.5, CPU)
    saved, found, seconds = kept.find("key", CPU)
    assert (found, seconds) == (history, 1.5)
    assert "training" not in saved.provenance


def test_whatever_decides_a_network_tells_it_from_others(kept, num_trained):
    whole = make_set()
    soft = torch.nn.functional.one_hot(whole.labels, len(NAMES)).float()
    others = (
        {},
        {"seed": 1},
        {"recipe": RECIPE.model_copy(update={"epochs": 4})},
        {"architecture": "convnet2-w16"},
        {"learning_rate": 0.2},
        {"soft_labels": soft},
        {"soft_labels": 2 * soft},
        {"images": whole.images + 1e-6},
    )
    for other in others:
        student(kept, **other)
    assert len(num_trained) == len(others) == len(list(kept.folder.glob("*.safetensors")))
    for other in others:
        assert student(kept, **other).reused


def test_precision_and_own_sources_tell_networks_apart_too(monkeypatch):
    data = Classroom.of_distilled(make_set(), "static", CPU).data

    def key(precision: str = "fp32") -> str | None:
        return training_key(data, ARCHITECTURE, RECIPE, 0, Runtime("cpu", precision))

    keys = {key(), key("bf16")}
    monkeypatch.setattr(kept_module, "architecture_source", lambda architecture: "the file's hash")
    assert len(keys | {key()}) == 3


OTHER_RECIPES = (
    {"optimizer": "adamw"},
    {"schedule": "one_cycle"},
    {"augmentation": "resized+flip"},
    {"smallest_crop": 0.5},
    {"loss": "divergence"},
    {"temperature": 4.0},
    {"hard_weight": 0.5},
    {"mixing": "cutmix"},
    {"mixing_probability": 0.5},
    {"average": 0.9},
)


def test_every_value_of_a_recipe_tells_networks_apart():
    """Also those that, beside other values, change nothing: keys are of what is asked, not of what it comes to."""
    data = Classroom.of_distilled(make_set(), "static", CPU).data
    recipes = [RECIPE, *(RECIPE.model_copy(update=other) for other in OTHER_RECIPES)]
    assert len({training_key(data, ARCHITECTURE, recipe, 0, CPU) for recipe in recipes}) == len(recipes)
    assert {name for other in OTHER_RECIPES for name in other} < set(TrainRecipe.model_fields)


def test_hard_labels_beside_soft_ones_tell_networks_apart(kept):
    """They decide where hard_weight asks for them."""
    teacher, whole = student(None).saved, make_set()
    digests = set()
    for labels in (whole.labels, whole.labels.flip(0)):
        other = replace(whole, labels=labels)
        digests.add(Classroom.of_distilled(other, "teacher", CPU, teacher).data.digest())
        soft = replace(other, soft_labels=torch.ones(6, 3))
        digests.add(Classroom.of_distilled(soft, "static", CPU).data.digest())
    assert len(digests) == 4


def test_real_images_and_their_preprocessing_count_too(kept):
    def learn(images, kind):
        return train_student(
            Classroom.of_images(images, fit_preprocessing(TRAIN, kind), CPU), ARCHITECTURE, RECIPE, 0, CPU, kept=kept
        )

    assert not learn(TRAIN, "normalize").reused
    assert not learn(TRAIN, "none").reused
    assert not learn(replace(TRAIN, labels=TRAIN.labels.roll(1)), "none").reused
    assert learn(TRAIN, "normalize").reused


def test_teachers_are_told_apart(kept):
    teachers = [student(None, seed).saved for seed in (0, 1)]

    def learn(teacher):
        lessons = Classroom.of_distilled(make_set(), "teacher", CPU, teacher)
        return train_student(lessons, ARCHITECTURE, RECIPE, 0, CPU, kept=kept)

    assert [learn(teachers[0]).reused, learn(teachers[1]).reused, learn(teachers[1]).reused] == [False, False, True]


@pytest.mark.parametrize(
    "own",
    [
        {"technique": Technique(loss=lambda *args: 2 * cross_entropy(*args))},
        {"selection": Selection(lambda network: 0.0, 1)},
    ],
)
def test_what_cannot_be_named_is_never_kept(kept, own):
    lessons = Classroom.of_distilled(make_set(), "static", CPU)
    for _ in range(2):
        assert not train_student(lessons, ARCHITECTURE, RECIPE, 0, CPU, kept=kept, **own).reused
    assert not kept.folder.exists()


def test_an_interrupted_evaluation_goes_on(kept, num_trained):
    scoring = Scoring(make_set(), TEST, quick(epochs=3, seeds=2), kept=kept)
    whole = evaluate(replace(scoring, kept=None))
    evaluate(replace(scoring, recipe=quick(epochs=3, seeds=1)))
    num_trained.clear()
    again = evaluate(scoring)
    assert len(num_trained) == 1
    assert [one.scores for one in again.students] == [one.scores for one in whole.students]


def test_rows_of_two_stages_share_what_they_have_in_common(kept, num_trained):
    """Group stages on the same images are one; the class stages differ by their data."""
    grouping = Grouping(NAMES, (0, 0, 1))
    for class_data in ("distilled", "full"):
        stages = TwoStageRecipe(epochs=2, class_data=class_data)
        recipe = quick(epochs=2, seeds=1).model_copy(update={"two_stage": stages})
        scored = evaluate(Scoring(make_set(), TEST, recipe, train=TRAIN, grouping=grouping, kept=kept))
        assert all(one.train_seconds > 0 for one in scored.students)
    groups = [title for title in num_trained if "groups" in title]
    classes = [title for title in num_trained if "classes of" in title]
    assert (len(groups), len(classes), len(num_trained)) == (1, 2, 4)


def test_baselines_that_begin_with_plain_training_share_it(kept, num_trained):
    task = Task(TRAIN, TRAIN, None, ARCHITECTURE, RECIPE, kept=kept)
    build_baseline("cross_entropy", {}).fit(task)
    fitted = {name: build_baseline(name, {}).fit(task) for name in ("crt", "lws", "logit_adjustment_post_hoc")}
    assert len(num_trained) == 1
    assert all(one.reused_seconds > 0 for one in fitted.values())
    build_baseline("balanced_softmax", {}).fit(task)
    assert len(num_trained) == 2
    alone = build_baseline("crt", {}).fit(replace(task, kept=None))
    assert torch.equal(
        alone.saved.predict_logits(TEST.images), fitted["crt"].saved.predict_logits(TEST.images)
    )  # changing the copy left the kept one as it was


def test_times_of_kept_networks_are_those_of_their_training(kept):
    """A baseline's time is that of its own work and of what it took."""
    scoring = BaselineScoring(TRAIN, TEST, baseline_recipe("cross_entropy"), kept=kept)
    first = evaluate_baseline(scoring).evaluation.students[0]
    assert not first.reused
    for path in kept.folder.glob("*.safetensors"):
        content = read_tensors(path, "network")
        training = {**content.header["provenance"]["training"], "seconds": 1000.0}
        header = {**content.header, "provenance": {**content.header["provenance"], "training": training}}
        write_tensors(path, TensorFile("network", content.tensors, header))
    for name, settings, least in (("crt", {}, 1000), ("tau_norm", {"tau": 1.0}, 1000)):
        again = evaluate_baseline(replace(scoring, recipe=baseline_recipe(name, settings)))
        (student,) = again.evaluation.students
        assert student.reused
        assert least < student.train_seconds < least + 900
        assert any("trained earlier and kept" in note for note in baseline_notes(again.evaluation))


def test_a_refit_takes_two_networks(kept):
    recipe = baseline_recipe("tau_norm", {"refit": True})
    scoring = BaselineScoring(TRAIN, TEST, recipe, kept=kept)
    evaluate_baseline(scoring)
    origins = {path: read_tensors(path, "network").header["provenance"] for path in kept.folder.glob("*.safetensors")}
    assert len(origins) == 3
    (whole,) = (path for path, origin in origins.items() if "baseline" in origin)
    whole.unlink()
    fitted = [origin["training"]["seconds"] for path, origin in origins.items() if path != whole]
    (student,) = evaluate_baseline(scoring).evaluation.students
    assert student.train_seconds > sum(fitted)


def baseline_recipe(method: str, settings: dict[str, Any] | None = None) -> BaselineRecipe:
    cheap = {"epochs": 2, "batch_size": 16}
    return BaselineRecipe(method=method, settings=settings or {}, architecture=ARCHITECTURE, seeds=1, train=cheap)


def test_a_file_that_says_nothing_of_its_training_is_refused(kept):
    student(kept)
    (path,) = kept.folder.glob("*.safetensors")
    content = read_tensors(path, "network")
    header = json.loads(json.dumps(content.header))
    del header["provenance"]["training"]
    write_tensors(path, TensorFile("network", content.tensors, header))
    with pytest.raises(DistailError, match="Remove it"):
        student(kept)


def test_an_interrupted_training_goes_on(kept, monkeypatch):
    class KilledError(Exception):
        pass

    monkeypatch.setattr(kept_module, "CHECKPOINT_INTERVAL_S", 0.0)
    whole = student(None)
    keep = TrainingState.keep

    def dies(self, checkpoint, name):
        keep(self, checkpoint, name)
        raise KilledError

    monkeypatch.setattr(TrainingState, "keep", dies)
    with pytest.raises(KilledError):
        student(kept)
    monkeypatch.setattr(TrainingState, "keep", keep)
    assert len(list((kept.folder / "unfinished").iterdir())) == 1
    again = student(kept)
    assert same(again, whole)
    assert again.seconds > 0
    assert list((kept.folder / "unfinished").iterdir()) == []
