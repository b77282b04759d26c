"""The page of a run: what stands on it, that nothing in it acts, and that it stays small."""

import base64
import hashlib
import re
import shutil
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from distail.distilled import DistilledSet, load_distilled
from distail.errors import DistailError
from distail.report.evaluation import evaluation_tables
from distail.report.page.gallery import RealSamples
from distail.report.page.run_facts import RunFacts, Scored, read_run_facts
from distail.report.page.run_page import MAX_BYTES, run_page
from distail.report.page.scores import evaluation_view
from distail.reporting import write_report
from distail.run_folder import RunFolder
from tests.cli.calling import contents
from tests.report.page.reader import Reader
from tests.report.page.runs import add_groups, evaluation, make_run, score_run


def page_of(folder: Path) -> Reader:
    return Reader(write_report(folder, folder.parent / f"{folder.name}.page.html").path.read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def scored_page(scored):
    """Of the session, as the file is written beside the run: a worker may come back to a module that it had left."""
    return page_of(scored)


def test_the_first_lines_say_what_it_is_how_good_how_small_and_what_it_cost(scored_page, scored):
    first = scored_page.text.split("At a glance")[0]
    result = read_run_facts(scored).scored[0].result
    for subject in ("distilled", "random", "full"):
        accuracy = result.summary(subject)["accuracy"]
        assert f"{100 * accuracy.mean:.1f} ± {100 * accuracy.std:.1f} %" in first
    assert "6 images, 2 of each of 3 classes, stand for 154 real ones; made by random." in first
    assert "accuracy, static labels" in first
    assert "n = 2 students, convnet2-w8" in first
    assert "accuracy, teacher labels" in first
    assert "5 kB of it the teacher" in first
    assert "of memory at most" in first


def test_protocols_are_never_shown_as_equals(scored_page, tmp_path):
    assert "Label protocols are not equals." in scored_page.text
    assert "Rows with other labels are no equals" in scored_page.text
    alone = page_of(score_run(make_run(tmp_path / "run"), labels="hard"))
    assert "equals" not in alone.text


def test_all_parts_are_there(scored_page):
    heads = re.findall(r"(?:The data|The images|How it learned|How good it is|Groups of similar classes|What it costs|"
                       r"Use it|How it was made)", scored_page.text)  # fmt: skip
    assert len(set(heads)) == 8
    assert "many: more than 100 training images (1 class)" in scored_page.text
    assert "ant many, 122" in scored_page.text
    assert "Most frequent mistakes" in scored_page.text
    assert "The same at all steps: skipped 0." in scored_page.text
    assert "The images are real ones, chosen and not changed." in scored_page.text
    assert "small = distail.load_distilled(" in scored_page.text
    assert "method: random" in scored_page.text
    assert "SHA-256 of the training images" in scored_page.text
    alts = [str(image["alt"]) for image in scored_page.of("img")]
    assert "2 distilled images of ant" in alts
    assert "8 real images of ant" in alts
    assert "6 real images of cow" in alts
    assert any(alt.startswith("t-SNE") for alt in alts)


def test_what_is_missing_is_said_with_the_command_that_makes_it(plain):
    text = page_of(plain).text
    assert "Not scored yet." in text
    assert f"distail evaluate {plain} --arch convnet2-w8" in text
    assert f"--arch convnet2-w8 --out {plain}/groups" in text
    assert "Nothing was logged on the way" in text


def test_what_was_not_compared_is_said(tmp_path):
    folder = score_run(make_run(tmp_path / "run"), "random")
    text = page_of(folder).text
    assert "Not compared with training on all data in evaluation.json" in text
    assert "--reference random --reference full" in text


def test_an_old_evaluation_says_why_it_has_no_diagram(tmp_path, scored):
    facts = read_run_facts(scored)
    students = tuple(
        replace(one, scores=replace(one.scores, calibration=None)) for one in facts.scored[0].result.students
    )
    old = Scored("evaluation.json", replace(facts.scored[0].result, students=students))
    page = Reader(run_page(replace(facts, scored=(old,)), RealSamples()))
    assert "A reliability diagram cannot be drawn" in page.text


def test_an_unfinished_run_has_a_page(tmp_path):
    folder = make_run(tmp_path / "a run")
    (folder / "distilled.safetensors").unlink()
    text = page_of(folder).text
    assert "This run is not finished." in text
    assert f"distail run '{folder}/recipe.yaml' --out '{folder}' --resume" in text


def test_real_images_of_a_source_that_changed_are_not_shown(tmp_path):
    folder = make_run(tmp_path / "run")
    make_run(tmp_path / "other", counts=(9, 9, 9))
    (tmp_path / "other-images.npz").replace(tmp_path / "run-images.npz")
    page = page_of(folder)
    assert "has changed since the set was made from it" in page.text
    assert len(page.of("img")) == 3
    (tmp_path / "run-images.npz").unlink()
    (tmp_path / "run.page.html").unlink()
    assert "Real images are not shown: " in page_of(folder).text


def test_names_from_outside_do_nothing(nasty):
    page = page_of(nasty)
    assert len(page.of("script")) == 1
    assert page.of("script")[0] == {}
    assert page.of("b") == []
    assert page.of("i") == []
    assert not any(image.get("src") == "x" for image in page.of("img"))
    assert not [name for _, found in page.tags for name in found if name.startswith("on")]
    for name in ('<script>alert("1")</script>', "\"quoted\" & 'single'", "</pre><img src=x>", "<b>run&1"):
        assert name in page.text
    assert "\u202e" not in page.text  # would turn all that follows around
    assert "قطة" in page.text


def test_the_policy_lets_nothing_in_but_the_page_s_own_script(scored):
    text = write_report(scored, scored.parent / "policy.html").path.read_text(encoding="utf-8")
    page = Reader(text)
    policy = next(str(meta["content"]) for meta in page.of("meta") if "http-equiv" in meta)
    script = text.split("<script>")[1].split("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert "unsafe-eval" not in policy
    for _, found in page.tags:
        for name in ("src", "href", "action", "xlink:href"):
            target = found.get(name)
            assert target is None or target.startswith(("data:", "#"))
    assert not re.search(r"url\(|@import|https?://", text)


def test_tables_have_captions_and_scopes_and_headings_are_in_order(scored_page):
    tags = scored_page.tags
    assert len(scored_page.of("table")) == len(scored_page.of("caption"))
    assert all("scope" in head for head in scored_page.of("th"))
    levels = [int(name[1]) for name, _ in tags if re.fullmatch("h[1-6]", name)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    ids = [found["id"] for _, found in tags if "id" in found]
    assert len(ids) == len(set(ids))
    named = [part for _, found in tags for part in str(found.get("aria-labelledby") or "").split()]
    assert set(named) <= set(ids)
    assert {str(link["href"]).removeprefix("#") for link in scored_page.of("a")} <= set(ids)


def large_facts(scored: Path) -> RunFacts:
    """200 classes of 10 noisy images of 64x64, scored twice."""
    facts = read_run_facts(scored)
    assert facts.distilled is not None
    small = facts.distilled
    noise = torch.rand(200, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    names = tuple(f"class number {number}" for number in range(200))
    large = DistilledSet(
        images=noise.repeat(10, 1, 1, 1),
        labels=torch.arange(2000) // 10,
        class_names=names,
        preprocessing=replace(small.preprocessing, kind="none", image_shape=(3, 64, 64), mean=None, std=None),
        provenance={**small.provenance, "class_counts": [500 - 2 * number for number in range(200)]},
    )
    counts = tuple(large.provenance["class_counts"])
    result = evaluation(large, "random", "full")
    scores = (Scored("evaluation.json", result), Scored("evaluation-2.json", result))
    provenance = {**facts.provenance, "class_counts": list(counts)}
    return replace(facts, distilled=large, provenance=provenance, scored=scores, groups=None)


def test_a_page_of_many_large_images_stays_small_and_says_what_it_leaves_out(scored):
    real = RealSamples(tuple(torch.randint(0, 256, (200, 8, 3, 64, 64), dtype=torch.uint8)))
    text = run_page(large_facts(scored), real)
    assert len(text.encode()) < MAX_BYTES
    page = Reader(text)
    assert "Shown are the first 5 of up to 10 images a class" in page.text
    assert "Distilled images are shown at 1/" in page.text
    assert "180 more classes" in page.text
    assert len(page.of("img")) == 402  # two strips a class, and two confusion matrices
    assert "class number 199" in page.text


def test_a_page_that_cannot_be_small_is_refused(scored, monkeypatch):
    monkeypatch.setattr("distail.report.page.run_page.MAX_BYTES", 1000)
    with pytest.raises(DistailError, match=r"would be larger than 1 kB.*Move some of its evaluations"):
        run_page(read_run_facts(scored), RealSamples())


def test_sets_on_the_way_are_shown(tmp_path, plain):
    folder = tmp_path / "run"
    shutil.copytree(plain, folder)
    for iteration in (0, 10, 20, 30, 40, 50, 60, 70):
        (folder / "snapshots").mkdir(exist_ok=True)
        shutil.copy(folder / "distilled.safetensors", folder / "snapshots" / f"iteration-{iteration:06d}.safetensors")
    alts = [str(image["alt"]) for image in page_of(folder).of("img")]
    on_the_way = [alt.removeprefix("The first image of each of 3 classes ") for alt in alts if alt.startswith("The fi")]
    assert on_the_way == [*(f"after {number} iterations" for number in (0, 20, 40, 50, 70)), "at the end"]


def test_what_a_run_began_with_stands_before_what_it_made(tmp_path, plain):
    folder = tmp_path / "run"
    shutil.copytree(plain, folder)
    RunFolder(folder).keep_start(torch.zeros(6, 3, 8, 8, dtype=torch.uint8))
    RunFolder(folder).keep_start(torch.ones(6, 3, 8, 8, dtype=torch.uint8))  # must not take its place
    facts = read_run_facts(folder)
    assert facts.start is not None
    assert facts.start.sum() == 0
    alts = [str(image["alt"]) for image in page_of(folder).of("img")]
    assert [alt for alt in alts if alt.startswith("The first image of each")] == [
        "The first image of each of 3 classes at the start",
        "The first image of each of 3 classes at the end",
    ]
    (folder / "start.safetensors").write_bytes(b"no tensors")
    assert "start.safetensors" in read_run_facts(folder).unreadable[0]


def test_a_page_replaces_an_earlier_one_and_nothing_else(tmp_path, plain):
    folder = tmp_path / "run"
    shutil.copytree(plain, folder)
    before = contents(folder)
    first = write_report(folder)
    whole = first.path.read_text()
    first.path.write_text(whole.partition("</head>")[0])
    assert write_report(folder).path == first.path
    assert first.path.read_text() == whole
    first.path.write_text("<!doctype html><title>mine</title>")
    assert write_report(folder).path == folder / "report-2.html"
    assert "mine" in first.path.read_text()
    assert {name: value for name, value in contents(folder).items() if "report" not in name} == before
    with pytest.raises(DistailError, match=r"exists\. Choose another name"):
        write_report(folder, first.path)
    with pytest.raises(DistailError, match=r"Name it page\.txt\.html"):
        write_report(folder, tmp_path / "page.txt")


def test_pictures_of_groups_say_what_is_on_them(scored_page, tmp_path):
    alt = next(str(image["alt"]) for image in scored_page.of("img") if str(image["alt"]).startswith("t-SNE"))
    assert alt.endswith("on the left coloured by class, on the right by group; marks with an edge are centroids")
    assert alt in scored_page.text  # the caption says the same
    many = make_run(tmp_path / "many", tuple(f"class {number}" for number in range(22)), counts=(3,) * 22)
    add_groups(many / "groups", many)
    alts = [str(image["alt"]) for image in page_of(many).of("img")]
    assert "t-SNE of features of images, coloured by group; marks with an edge are centroids" in alts


def test_a_page_names_no_folder_that_its_user_did_not_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = make_run(Path("run"))
    add_groups(Path("g1"), run)
    add_groups(Path("g2"), run)
    text = write_report("run").path.read_text(encoding="utf-8")
    assert "beside the run folder. Not shown: g" in Reader(text).text
    assert str(tmp_path) not in text


def test_the_scores_of_a_network_stand_side_by_side(tmp_path, plain):
    shutil.copytree(plain, tmp_path / "run")
    one = evaluation(load_distilled(plain), "random", "full")
    students = [replace(student, architecture=name) for name in ("convnet2-w8", "vgg11") for student in one.students]
    students.sort(key=lambda student: student.subject != "distilled")  # as they are trained
    replace(one, students=tuple(students)).save(tmp_path / "run" / "evaluation.json")
    (scored,) = read_run_facts(tmp_path / "run").scored
    lines = evaluation_view(scored, None).lines
    expected = [(name, subject) for name in ("convnet2-w8", "vgg11") for subject in ("distilled", "random", "full")]
    assert [(line.architecture, line.subject) for line in lines] == expected
    in_terminal = [str(cell).splitlines() for cell in evaluation_tables(scored.result)[0].columns[0].cells]
    assert [row for row, _ in in_terminal] == ["distilled", "random images", "whole training set"] * 2
    assert [network.split(",")[0] for _, network in in_terminal] == [name for name, _ in expected]


def test_figures_are_explained(scored_page):
    assert "loss what the method makes smaller" in scored_page.text
    assert "skipped 1 at steps that changed nothing" in scored_page.text
    assert "how unsure the trained network is" not in scored_page.text
