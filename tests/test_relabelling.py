"""Relabelling: what a teacher says of the images, made fair, in a new set."""

from dataclasses import replace

import pytest
import torch

import distail
from distail.baselines._registry import build_baseline
from distail.data.preprocess import fit_preprocessing
from distail.distilled import DistilledSet, load_distilled
from distail.errors import DistailError
from distail.learn.adsa import confidence, fair_logits, fair_tau
from distail.learn.labels import labelled_training_set
from distail.models.saved import SavedNetwork, load_network, save_network
from distail.progress import PlainProgress
from distail.relabelling import relabel, relabelled, teacher_logits
from distail.run_folder import RunFolder
from distail.runtime import Runtime
from distail.synthetic.mosaic import compose
from tests.baselines.tiny import tiny_task
from tests.evaluation.separable import NAMES, TRAIN, images_of, make_set

CPU = Runtime()
COUNTS = TRAIN.class_counts


@pytest.fixture(scope="module")
def teacher() -> SavedNetwork:
    """Trained on the long tail, so biased by it."""
    return build_baseline("cross_entropy", {}).fit(tiny_task(TRAIN, epochs=6)).saved


def known(**parts: object) -> DistilledSet:
    """A set that knows its class counts."""
    return make_set(**{"provenance": {"class_counts": list(COUNTS), "recipe": {"method": "dm"}}, **parts})


def soft() -> torch.Tensor:
    """Labels that are right, but lean to the large classes."""
    right = 2 * torch.nn.functional.one_hot(make_set().labels, 3)
    noise = 0.3 * torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
    return right + noise + 0.8 * torch.tensor(COUNTS).log()


def test_a_teacher_labels_each_image_as_it_is(teacher):
    made = relabel(known(), teacher=teacher)
    pixels = known().preprocessing.invert(known().images)
    with torch.no_grad():
        expected = teacher.network(teacher.preprocessing.apply(pixels))
    torch.testing.assert_close(made.distilled.soft_labels, expected, rtol=1e-4, atol=1e-5)
    assert [step.by for step in made.steps] == ["teacher"]
    assert made.tau is None


def test_the_teachers_own_preprocessing_counts(teacher):
    whitened = known(images=fit_preprocessing(TRAIN, "zca").apply(images_of((2, 2, 2), seed=3).images), kind="zca")
    torch.testing.assert_close(
        teacher_logits(whitened, teacher, CPU), teacher_logits(known(), teacher, CPU), rtol=1e-2, atol=1e-2
    )


def test_a_mosaic_gets_the_mean_over_its_cells(teacher):
    cells = known().preprocessing.apply(images_of((8, 8, 8), seed=3).images)
    mosaics = known(images=compose(cells, 2), mosaic=2)
    found = teacher_logits(mosaics, teacher, CPU)
    apart = teacher_logits(mosaics.decoded(), teacher, CPU)
    assert len(apart) == 24
    torch.testing.assert_close(found, apart.view(6, 4, 3).mean(1))
    assert relabel(mosaics, teacher=teacher).distilled.mosaic == 2


def test_stored_labels_are_corrected(teacher):
    whole = known(soft_labels=soft())
    made = relabel(whole, adsa=True)
    tau = fair_tau(soft(), whole.labels, COUNTS)
    assert made.tau == tau > 0
    assert torch.equal(made.distilled.soft_labels, fair_logits(soft(), COUNTS, tau))
    assert [step.by for step in made.steps] == ["stored", "adsa"]
    assert made.steps[0].confidence == confidence(soft(), whole.labels)
    assert made.steps[1].confidence.deviation < made.steps[0].confidence.deviation


def test_a_teachers_labels_are_corrected_and_stored_ones_forgotten(teacher):
    made = relabel(known(soft_labels=soft()), teacher=teacher, adsa=True)
    again = relabel(known(), teacher=teacher, adsa=True)
    assert torch.equal(made.distilled.soft_labels, again.distilled.soft_labels)
    assert [step.by for step in made.steps] == ["stored", "teacher", "adsa"]
    assert made.steps[2].confidence.deviation <= made.steps[1].confidence.deviation


def test_only_labels_and_provenance_differ(teacher):
    whole = known(learning_rate=0.03)
    before = whole.images.clone()
    made = relabel(whole, teacher=teacher, adsa=True).distilled
    assert torch.equal(made.images, before)
    assert torch.equal(whole.images, before)
    assert whole.soft_labels is None
    assert "relabelled" not in whole.provenance
    assert made.learning_rate == 0.03
    facts = made.provenance["relabelled"]
    assert {name: made.provenance[name] for name in whole.provenance} == whole.provenance
    assert facts["adsa"]["class_counts"] == list(COUNTS)
    assert facts["teacher"]["architecture"] == teacher.architecture
    assert facts["from"] == "memory"
    assert facts["versions"]["torch"]


def test_students_learn_the_new_labels(teacher):
    made = relabel(known(), teacher=teacher).distilled
    targets = labelled_training_set(made, "static", CPU)
    indices = torch.arange(6)
    assert torch.equal(targets.targets(indices, targets.images(indices)).logits, made.soft_labels)


def test_a_run_folder_of_its_own(teacher, tmp_path):
    known().save(tmp_path / "old" / "distilled.safetensors")
    save_network(tmp_path / "teacher.safetensors", teacher)
    made = distail.relabel(tmp_path / "old", teacher=tmp_path / "teacher.safetensors", adsa=True, out=tmp_path / "new")
    written = load_distilled(tmp_path / "new")
    assert torch.equal(written.soft_labels, made.soft_labels)
    assert written.provenance == made.provenance
    assert written.provenance["relabelled"]["from"] == str(tmp_path / "old")
    assert written.provenance["relabelled"]["teacher"]["file"] == str(tmp_path / "teacher.safetensors")
    assert RunFolder(tmp_path / "new").is_complete
    assert {path.name for path in (tmp_path / "new").iterdir()} == {
        "distilled.safetensors",
        "images.png",
        "manifest.json",
        "teacher.safetensors",
    }
    same = distail.relabel(known(), teacher=teacher, adsa=True)
    assert same.provenance["relabelled"]["from_sha256"] == made.provenance["relabelled"]["from_sha256"]
    assert torch.equal(same.soft_labels, made.soft_labels)


def test_students_can_ask_the_network_that_labelled_and_a_corrected_one(teacher, tmp_path):
    known().save(tmp_path / "old" / "distilled.safetensors")
    relabel(tmp_path / "old", teacher=teacher, out=tmp_path / "new")
    images = torch.rand(5, 3, 8, 8)
    asked = [load_network(RunFolder(tmp_path / "new").teacher).predict_logits(images, 5)]
    # Without naming a teacher: that of the run is corrected by what was found for the labels.
    made = relabel(tmp_path / "new", adsa=True, out=tmp_path / "fair")
    assert made.tau > 0
    asked.append(load_network(RunFolder(tmp_path / "fair").teacher).predict_logits(images, 5))
    torch.testing.assert_close(asked[1], fair_logits(asked[0], COUNTS, made.tau))


def test_a_network_that_cannot_be_corrected_stays_behind(tmp_path):
    task = tiny_task(TRAIN, architecture="convnet1-w8-cosine", epochs=1)
    cosine = build_baseline("cross_entropy", {}).fit(task).saved
    said: list[str] = []
    progress = PlainProgress(said.append)
    relabel(known(), teacher=cosine, adsa=True, out=tmp_path / "fair", progress=progress)
    assert not RunFolder(tmp_path / "fair").teacher.exists()
    assert "no network goes with the new set for students to ask: ADSA needs" in said[0]


def test_training_data_in_the_place_of_what_the_set_knows(teacher):
    unknown = make_set(soft_labels=soft())
    expected = fair_tau(soft(), unknown.labels, COUNTS)
    assert relabel(unknown, adsa=True, train=TRAIN).tau == expected
    balanced = images_of((30, 30, 30), seed=5)
    assert relabel(unknown, adsa=True, train=balanced).tau == 0
    assert relabel(unknown, adsa=True, train=balanced, imbalance=30).tau > 0


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({}, "Nothing is to be done"),
        ({"adsa": True}, "stores no soft labels.*--teacher FILE"),
        ({"adsa": True, "soft_labels": soft(), "provenance": {}}, "Name them with --train SOURCE"),
        ({"train": TRAIN, "teacher": True}, "Pass --adsa too"),
        ({"adsa": True, "imbalance": 10.0, "teacher": True}, "Pass --train too"),
        ({"adsa": True, "teacher": True, "train": replace(TRAIN, class_names=("a", "b", "c"))}, "classes"),
        ({"teacher": True, "class_names": ("ant", "bee", "dog")}, "classes"),
    ],
)
def test_what_makes_no_sense_is_refused(teacher, asked, message):
    flags = {name: asked[name] for name in ("adsa", "train", "imbalance") if name in asked}
    parts = {name: value for name, value in asked.items() if name not in (*flags, "teacher")}
    with pytest.raises(DistailError, match=message):
        relabel(known(**parts), teacher=teacher if "teacher" in asked else None, **flags)


def test_a_teacher_of_other_images_is_refused(teacher):
    large = images_of((30, 12, 4), seed=1, shape=(3, 12, 12))
    with pytest.raises(DistailError, match="Train a teacher on images of the same size"):
        relabelled(make_set(large), teacher, None, CPU)


def test_a_folder_that_is_there_is_left_alone(teacher, tmp_path):
    (tmp_path / "new").mkdir()
    with pytest.raises(DistailError, match="Choose another name"):
        relabel(known(), teacher=teacher, out=tmp_path / "new")
    with pytest.raises(DistailError, match="is no distilled set"):
        relabel(tmp_path / "new", teacher=teacher)
    assert list((tmp_path / "new").iterdir()) == []


def test_a_class_without_images(teacher):
    whole = known()
    kept = whole.labels != 2
    smaller = replace(whole, images=whole.images[kept], labels=whole.labels[kept])
    made = relabel(smaller, teacher=teacher, adsa=True)
    assert made.steps[-1].to_json()["confidence"][2] is None
    assert len(NAMES) == len(made.steps[-1].confidence.by_class)


def test_a_teacher_labels_views_one_by_one(teacher):
    made = relabel(known(), teacher=teacher, views=5).distilled
    assert made.views is not None
    assert made.views.logits.shape == (6, 5, 3)
    assert made.provenance["relabelled"]["views"] == 5
    for number in (0, 4):
        seen = made.views.seen(made.images, number)
        with torch.no_grad():
            both = [
                teacher.network(teacher.preprocessing.apply(made.preprocessing.invert(one)))
                for one in (seen, seen.flip(3))
            ]
        expected = (both[0] + both[1]) / 2  # the common way to train mirrors images
        torch.testing.assert_close(made.views.answers(number), expected, rtol=1e-2, atol=1e-2)


def test_views_are_kept_and_labelled_anew_or_dropped(teacher):
    first = relabel(known(), teacher=teacher, views=3).distilled
    other = build_baseline("cross_entropy", {}).fit(tiny_task(TRAIN, epochs=1)).saved
    again = relabel(first, teacher=other).distilled
    assert again.views is not None
    assert first.views is not None
    assert torch.equal(again.views.boxes, first.views.boxes)
    assert not torch.equal(again.views.logits, first.views.logits)
    assert relabel(first, teacher=other, views=0).distilled.views is None


def test_labels_of_views_are_corrected_by_the_same_number(teacher):
    first = relabel(known(), teacher=teacher, views=3)
    fair = relabel(first.distilled, adsa=True)
    assert first.distilled.views is not None
    assert fair.distilled.views is not None
    assert fair.tau is not None
    expected = fair_logits(first.distilled.views.logits.flatten(0, 1).float(), COUNTS, fair.tau).view(6, 3, 3)
    torch.testing.assert_close(fair.distilled.views.logits.float(), expected, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize(
    ("views", "named", "words"),
    [(-1, True, "--views -1: .*0 or more"), (5, False, "--views 5 needs a network.*--teacher")],
)
def test_views_need_a_number_and_a_teacher(teacher, views, named, words):
    with pytest.raises(DistailError, match=words):
        relabel(known(soft_labels=soft()), teacher=teacher if named else None, adsa=True, views=views)


def test_mosaics_have_no_views(teacher):
    cells = known().preprocessing.apply(images_of((8, 8, 8), seed=3).images)
    with pytest.raises(DistailError, match="mosaics of 2x2"):
        relabel(known(images=compose(cells, 2), mosaic=2), teacher=teacher, views=5)
