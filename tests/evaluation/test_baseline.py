"""Scoring a baseline: what is refused, what is recorded, and that the test set stays out of training."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from distail.data.image_set import ImageSet
from distail.errors import DistailError
from distail.evaluation.baseline import BaselineResult, BaselineScoring, evaluate_baseline
from distail.evaluation.protocol import Scoring, evaluate
from distail.evaluation.recipe import BaselineRecipe
from distail.evaluation.result import load_evaluation
from distail.learn.kept import KeptNetworks
from tests.evaluation.separable import ARCHITECTURE, TEST, TRAIN, Said, images_of, make_set, quick

FAST = {"epochs": 4, "learning_rate": 0.05, "batch_size": 16, "augmentation": "none"}


def scoring(method: str = "balanced_softmax", train: ImageSet = TRAIN, test: ImageSet = TEST, **parts: Any):
    changes = parts.pop("recipe", {})
    recipe = BaselineRecipe(**{"method": method, "architecture": ARCHITECTURE, "seeds": 2, "train": FAST, **changes})
    return BaselineScoring(train=train, test=test, recipe=recipe, **parts)


def run(*arguments: Any, **parts: Any) -> BaselineResult:
    return evaluate_baseline(scoring(*arguments, **parts))


def test_it_learns_and_everything_is_recorded(tmp_path):
    result = run(recipe={"train": {**FAST, "epochs": 15}})
    found = result.evaluation
    assert [(s.subject, s.architecture, s.seed, s.labels) for s in found.students] == [
        ("balanced_softmax", ARCHITECTURE, seed, "hard") for seed in (0, 1)
    ]
    assert found.summary()["balanced_accuracy"].mean > 0.7
    assert found.summary() == found.summary("balanced_softmax")
    assert found.students[0].num_images == len(TRAIN)
    assert found.train_counts == (30, 12, 4)
    assert found.stored.images == TRAIN.images.nbytes
    assert found.provenance["train"]["epochs"] == 15
    assert found.provenance["train"]["schedule"] == "cosine"
    assert found.provenance["test"]["leaked"] == 0
    found.save(tmp_path / "result.json")
    assert load_evaluation(tmp_path / "result.json").students == found.students


def test_the_networks_are_the_ones_that_were_scored():
    result = run("tau_norm")
    for saved, student in zip(result.networks, result.evaluation.students, strict=True):
        predicted = saved.predict_logits(TEST.images).argmax(1)
        assert float((predicted == TEST.labels).double().mean()) == student.scores.accuracy
        assert saved.provenance["trained on"] == "train images"
        assert saved.provenance["baseline"] == "tau_norm"
        assert saved.provenance["seed"] == student.seed
    assert [set(chosen) for chosen in result.evaluation.provenance["chosen"]] == [{"tau"}] * 2


def test_cross_entropy_is_the_reference_on_the_whole_training_set():
    """By the same recipe both train the same networks."""
    recipe = quick(references=("full",), seeds=2, epochs=4)
    full = evaluate(Scoring(make_set(), TEST, recipe, TRAIN)).of("full")
    ours = run("cross_entropy", recipe={"train": recipe.train.model_dump()}).evaluation.students
    assert [student.scores for student in ours] == [student.scores for student in full]


def test_same_seeds_same_scores():
    first, second = run().evaluation.students, run().evaluation.students
    assert [replace(s, train_seconds=0.0) for s in first] == [replace(s, train_seconds=0.0) for s in second]
    assert first[0].scores.ece != first[1].scores.ece


@pytest.mark.parametrize("method", ["balanced_softmax", "ldam_drw", "crt", "tau_norm"])
def test_a_second_run_trains_nothing(method, tmp_path, monkeypatch):
    """Also with a second stage or a chosen setting; another run of more seeds trains those that are new."""
    kept = KeptNetworks(tmp_path / "networks")
    first = run(method, kept=kept)
    assert not any(student.reused for student in first.evaluation.students)
    with monkeypatch.context() as patch:
        for name in ("learn.student", "baselines._task"):
            patch.setattr(f"distail.{name}.train_network", lambda *_, **__: pytest.fail("trained"))
        again = run(method, kept=kept)
    assert again.evaluation.students == tuple(replace(one, reused=True) for one in first.evaluation.students)
    for fact in ("chosen", "second_stage", "settings", "train"):
        assert again.evaluation.provenance[fact] == first.evaluation.provenance[fact]
    for ours, theirs in zip(again.networks, first.networks, strict=True):
        assert ours.provenance == theirs.provenance
        assert torch.equal(ours.predict_logits(TEST.images), theirs.predict_logits(TEST.images))
    more = run(method, kept=kept, recipe={"seeds": 3}).evaluation.students
    assert [student.reused for student in more] == [True, True, False]
    longer = run(method, kept=kept, recipe={"train": {**FAST, "epochs": 5}}).evaluation.students
    assert not any(student.reused for student in longer)


def test_test_images_are_looked_at_after_training_only():
    """With other test images the same networks come out, also where a setting is chosen."""
    other = images_of((5, 5, 5), seed=77, origin="other test images")
    for method in ("crt", "tau_norm"):
        ours, theirs = run(method).networks, run(method, test=other).networks
        for a, b in zip(ours, theirs, strict=True):
            assert all(torch.equal(x, y) for x, y in zip(a.network.parameters(), b.network.parameters(), strict=True))


def test_progress_is_told():
    said = Said()
    run("crt", progress=said)
    assert [title for title in said.titles if "classifier" in title] == [
        "training the classifier, seed 0",
        "training the classifier, seed 1",
    ]
    assert said.messages[0].startswith("crt, seed 0: balanced accuracy ")


def test_the_very_training_data_are_no_test_data():
    with pytest.raises(DistailError, match=r"is the very data the networks learn from.*--test"):
        scoring(test=TRAIN)
    with pytest.raises(DistailError, match="is the very data the networks learn from"):
        scoring(source_hash=TEST.content_hash)


def test_shared_images_are_refused_or_counted():
    shared = TRAIN.subset([0, 31, 43])
    mixed = ImageSet(
        torch.cat([TEST.images, shared.images]), torch.cat([TEST.labels, shared.labels]), TEST.class_names, "mixed"
    )
    with pytest.raises(DistailError, match="3 of the 21 images of mixed are among the images the networks learn from"):
        scoring(test=mixed)
    one = ImageSet(
        torch.cat([TEST.images, shared.images[:1]]), torch.cat([TEST.labels, shared.labels[:1]]), TEST.class_names
    )
    assert run(test=one).evaluation.provenance["test"]["leaked"] == 1


def test_data_of_another_kind_are_refused():
    with pytest.raises(DistailError, match="training data and the test data differ"):
        scoring(test=ImageSet(TEST.images, TEST.labels, ("ant", "cow", "bee")))
    with pytest.raises(DistailError, match=r"Test images are \(3, 12, 12\).*--image-size"):
        scoring(test=images_of((2, 2, 2), seed=4, shape=(3, 12, 12)))
    with pytest.raises(DistailError, match="no image in class bee"):
        scoring(train=TRAIN.subset([*range(30), 42]))


def test_what_is_unknown_is_refused_before_training(monkeypatch):
    monkeypatch.setattr("distail.baselines._task.train_student", None)
    with pytest.raises(DistailError, match="Did you mean 'focal'"):
        run("focl")
    with pytest.raises(DistailError, match=r"baseline focal: unknown key 'gama'\. Did you mean 'gamma'"):
        run("focal", recipe={"settings": {"gama": 1}})
    with pytest.raises(DistailError, match=r"training: unknown key 'epoch'\. Did you mean 'epochs'"):
        run(recipe={"train": {"epoch": 1}})
    with pytest.raises(DistailError, match="Unknown architecture 'convnot'"):
        run(recipe={"architecture": "convnot"})


def test_an_unknown_augmentation_is_refused():
    with pytest.raises(DistailError, match="Unknown augmentation 'crp'"):
        run(recipe={"train": {"augmentation": "crp"}})


def test_a_class_of_one_image_cannot_choose_a_setting():
    single = images_of((30, 12, 1), seed=1)
    with pytest.raises(DistailError, match=r"class 'cow' has a single image.*--set tau=1"):
        run("tau_norm", train=single)
    assert run("tau_norm", train=single, recipe={"settings": {"tau": 1.0}}).evaluation.students[0].num_images == 43
