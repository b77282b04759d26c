"""The page of a grid: what is read, what stands on it, that nothing in it acts, and that it stays small."""

import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from distail import distill
from distail.bench.page import grid_page as pages
from distail.bench.page.cells import spot_view
from distail.bench.page.charts import Panel, ProtocolCharts, grid_charts
from distail.bench.page.grid_facts import GridFacts, is_grid, read_grid_facts
from distail.bench.page.tables import table_view
from distail.cli.options import asked_recipe
from distail.errors import DistailError
from distail.recipe import parse_yaml
from distail.report.page.html import percent
from distail.report.page.run_page import MAX_BYTES
from distail.reporting import report_text, write_report
from tests.bench.filled import ROWS, VARY, fill, nasty_grid, run_at, small_grid
from tests.bench.grids import IF, IPC, NETWORK, opened, result_of, run_of, students
from tests.cli.calling import contents
from tests.report.page.reader import Reader
from tests.report.page.runs import NASTY


@pytest.fixture(scope="module")
def folder(source, tmp_path_factory) -> Path:
    return small_grid(source, tmp_path_factory.mktemp("small") / "a grid")


@pytest.fixture(scope="module")
def facts(folder) -> GridFacts:
    return read_grid_facts(folder)


@pytest.fixture(scope="module")
def text(facts) -> str:
    return pages.grid_page(facts)


@pytest.fixture(scope="module")
def page(text) -> Reader:
    return Reader(text)


def test_every_place_is_a_spot_with_its_cells(facts):
    assert len(facts.spots) == 16
    assert facts.spots["random", 3].results == ()
    assert facts.spots["dm", 3].failed
    assert not facts.spots["dm", 0].failed
    baselines = {facts.spots["all images", column].results[0].key for column in (0, 1)}
    assert len(baselines) == 1  # images per class mean nothing to it
    assert facts.tables[0].score == "accuracy"
    assert "worst_class" in {table.score for table in facts.tables}
    assert facts.no_room == ()
    assert facts.to_json()["failed"] == 1


def test_large_grids_have_fewer_tables(folder, monkeypatch):
    monkeypatch.setattr("distail.bench.page.grid_facts.MAX_FIGURES", 40)
    found = read_grid_facts(folder)
    assert [table.score for table in found.tables] == ["accuracy", "balanced_accuracy"]
    assert len(found.no_room) == 7
    assert "calibration error in" not in pages.grid_page(found).split("Not here, so that")[0].split("<table")[0]
    assert "calibration error in percent (less is better), convnet2-w8" in Reader(pages.grid_page(found)).text


def test_all_seeds_of_a_figure_are_pooled(source, tmp_path):
    found = read_grid_facts(fill(opened(source, tmp_path / "out", ["random"], seeds=3)))
    view = spot_view(found, found.spots["random", 0], 10_000)
    assert view.num_students == 6
    assert [seed for seed, _ in view.students] == [0, 0, 1, 1, 2, 2]
    cell = found.table.rows[0].cells[0]
    assert cell is not None
    assert view.scores == (("convnet2-w8", cell.summary),)
    (detail,) = view.details
    assert detail.line.cells["accuracy"] == cell.summary
    assert detail.classes[0].accuracy.n == 6
    assert dict(view.facts)["making a set"] == "20 s"


def test_every_set_of_a_figure_is_shown_with_the_command_for_its_page(source, tmp_path):
    grid = opened(source, tmp_path / "out", ["random"], seeds=3)
    fill(grid)
    for job in grid.plan.jobs:
        run = run_at(job.place, job.key, 0)
        grid.store.write(replace(run, result=replace(run.result, set=job.set_key)))
    for job in grid.plan.jobs[:2]:  # of the third nothing is left but its scores
        distill(source, "random", images_per_class=2, seed=job.place.seed, architecture=NETWORK,
                out=grid.store.sets / str(job.set_key))  # fmt: skip
    found = read_grid_facts(tmp_path / "out")
    view = spot_view(found, found.spots["random", 0], 10_000)
    assert [made.seed for made in view.sets] == [0, 1]
    folders = [grid.store.sets / str(job.set_key) for job in grid.plan.jobs]
    assert [made.command for made in view.sets] == [f"distail report {folder}" for folder in folders[:2]]
    assert all(made.picture is not None for made in view.sets)
    page = Reader(pages.grid_page(found))
    for made in view.sets:
        assert made.command in page.text
        assert f"The first image of each of 3 classes, made with seed {made.seed}" in page.text
        assert f"All images, losses and data of the set of seed {made.seed}" in page.text
    assert str(folders[2]) not in page.text


@pytest.mark.parametrize("row", ["random", "tailor, asked"])
def test_a_recipe_of_the_page_is_one_that_a_run_takes(facts, page, tmp_path, row):
    spot = facts.spots[row, 0]
    view = spot_view(facts, spot, 10_000)
    assert not view.is_baseline
    file = tmp_path / "copied.yaml"
    file.write_text(view.recipe)
    read, named = asked_recipe(str(file))
    assert named is None
    assert read == spot.places[0][0].cell.recipe
    assert " ".join(view.recipe.split()) in page.text


def test_a_baseline_shows_its_settings_and_is_not_said_to_be_a_recipe(facts, page):
    view = spot_view(facts, facts.spots["all images", 0], 10_000)
    assert view.is_baseline
    told = parse_yaml(view.recipe)
    assert told["baseline"]["method"] == "cross_entropy"
    assert "data" in told
    assert "images_per_class" not in told
    assert "Its settings and its data" in page.text


NETWORKS = ("alexnet", "vgg11", "resnet18")


@pytest.fixture(scope="module")
def of_networks(source, tmp_path_factory) -> GridFacts:
    """Rows of three networks, as grids of this kind are written, and one of two networks."""
    rows = {
        f"{method}, {name}": {"method": method, "evaluation": {"architectures": [name]}}
        for name in NETWORKS
        for method in ("random", "dm")
    }
    rows["both"] = {"method": "dsa", "evaluation": {"architectures": ["vgg11", "resnet18"]}}
    base = {"evaluation": {"architectures": ["alexnet"]}}
    return read_grid_facts(fill(opened(source, tmp_path_factory.mktemp("nets") / "out", rows, base=base)))


def test_rows_of_every_network_are_told_of_and_have_cards(of_networks):
    page = Reader(pages.grid_page(of_networks))
    assert re.search(r"7 rows on \S+; 1 set of each, scored by alexnet, vgg11 and resnet18\.", page.text)
    for name in NETWORKS:
        assert f"best set, hard labels, {name}" in page.text


def test_details_are_of_the_networks_of_the_row(of_networks):
    page = Reader(pages.grid_page(of_networks))
    for name in NETWORKS:
        view = spot_view(of_networks, of_networks.spots[f"dm, {name}", 0], 10_000)
        table = next(one for one in of_networks.accuracies if one.architecture == name)
        cell = next(row.cells[0] for row in table.rows if row.name == f"dm, {name}")
        assert cell is not None
        assert view.scores == ((name, cell.summary),)
        assert [detail.line.architecture for detail in view.details] == [name]
        assert dict(view.facts)["training a network on it"] == "1.2 s"
        assert f"dm, {name} , all: {percent(cell.summary)} {name}, n = 2" in page.text
    both = spot_view(of_networks, of_networks.spots["both", 0], 10_000)
    assert [name for name, _ in both.scores] == ["vgg11", "resnet18"]
    assert [detail.line.architecture for detail in both.details] == ["vgg11", "resnet18"]
    assert dict(both.facts)["training a network on it, resnet18"] == "1.2 s"
    assert "By class, vgg11" in page.text
    assert "Classes and mistakes: resnet18" in page.text
    assert page.text.count("Most frequent mistakes, over all students") == 8


def test_details_tell_how_students_were_trained_and_what_the_network_that_they_asked_gets(facts):
    trained, asked = spot_view(facts, facts.spots["tailor, asked", 0], 0).notes
    assert trained.startswith("Students: 8 epochs (7, and one more by the step schedule); optimizer=adamw. Rows whose")
    (result,) = facts.spots["tailor, asked", 0].results
    own = facts.opened.store.content(result.key)["evaluation"]["teacher"]["accuracy"]
    assert f"The network that students asked gets {own:.1%} of the test images right itself" in asked
    assert len(spot_view(facts, facts.spots["dm", 0], 0).notes) == 1
    assert spot_view(facts, facts.spots["all images", 0], 0).notes == ()


def test_details_of_results_that_do_not_say_how_students_were_trained(source, tmp_path):
    grid = opened(source, tmp_path / "grid", ["dm"])
    (job,) = grid.plan.jobs
    run = run_at(job.place, job.key, 0)
    grid.store.begin(grid.text)
    grid.store.write(replace(run, evaluation=replace(run.evaluation, provenance={})))
    facts = read_grid_facts(grid.store.path)
    assert spot_view(facts, facts.spots["dm", 0], 0).notes == ()


def test_each_table_says_which_rows_it_lacks_without_a_flag_of_the_command(of_networks):
    first, second, _ = (table_view(0, table, {}) for table in of_networks.accuracies)
    elsewhere = "random, resnet18 (resnet18); dm, resnet18 (resnet18)"
    assert first.note == (
        f"Not in this table, as students are other networks: random, vgg11 (vgg11); dm, vgg11 (vgg11); {elsewhere}; "
        "both (vgg11, resnet18)."
    )
    assert second.note == (
        f"Not in this table, as students are other networks: random, alexnet (alexnet); dm, alexnet (alexnet); "
        f"{elsewhere}."
    )
    page = Reader(pages.grid_page(of_networks))
    assert first.note in page.text
    assert second.note in page.text
    tables = page.text.split("Its accuracies for a program")[0]
    assert "--arch" not in tables
    assert "--arch vgg11 --format csv" in page.text


def charts_of(facts: GridFacts, labels: str) -> ProtocolCharts:
    return next(one for one in grid_charts(facts) if one.labels == labels)


def panels(charts: ProtocolCharts, title: str) -> tuple[Panel, ...]:
    return next(kind.panels for kind in charts.kinds if title in kind.title)


def test_charts_keep_protocols_apart_and_hold_the_rest_fixed(facts):
    hard = charts_of(facts, "hard")
    assert [name for _, name in hard.legend] == ["random", "dm", "all images"]
    assert [name for _, name in charts_of(facts, "teacher").legend] == ["tailor, asked"]
    assert [panel.title for panel in panels(hard, "IPC")] == ["IF 10", "IF 2"]
    assert [panel.title for panel in panels(hard, "IF")] == ["IPC 3", "IPC 1"]
    first = panels(hard, "IPC")[0]
    assert [tick.label for tick in first.x] == ["1", "3"]
    random = next(series for series in first.series if series.name == "random")
    left, right = random.marks
    assert left.x < right.x
    for mark, column in ((left, 1), (right, 0)):
        summary = facts.table.rows[0].cells[column].summary
        assert f"{100 * summary.mean:.1f} ± {100 * summary.std:.1f} %, n = 2" in mark.words
        assert mark.low - mark.y == pytest.approx(mark.y - mark.high)
    # A row that lacks a point has the others.
    assert [len(series.marks) for series in panels(hard, "IPC")[1].series] == [1, 1, 2]


def test_the_best_for_a_budget(facts):
    first = panels(charts_of(facts, "hard"), "time")[0]
    rows = {row[0]: row for row in first.rows}
    assert rows["all images"][1] == "1.2 s"  # training alone
    assert rows["random"][1] == "11 s"
    assert rows["dm"][1] == "21 s"
    accuracies = [float(row[2].split()[0]) for row in first.rows]
    best = [accuracy > max(accuracies[:place], default=0) for place, accuracy in enumerate(accuracies)]
    assert [row[3] == "yes" for row in first.rows] == best
    assert first.best.count("V") == sum(best) - 1


def test_rows_that_cannot_be_told_apart_are_said(source, tmp_path):
    rows = {f"row {number}": {"method": "random"} for number in range(10)}
    found = read_grid_facts(fill(opened(source, tmp_path / "out", rows, vary={IPC: [1, 2]})))
    (charts,) = grid_charts(found)
    assert len(charts.legend) == 8
    assert charts.num_others == 2
    assert all(len(panel.series) == 8 for panel in panels(charts, "IPC"))
    assert all(len(panel.series) == 10 for panel in panels(charts, "time"))


def test_what_is_best_is_said_of_all_rows(source, tmp_path):
    rows = {f"r{number}": {"method": "random", IPC: number + 1} for number in range(10)}
    grid = opened(source, tmp_path / "out", rows, vary={IF: [10, 2]})
    grid.store.begin(grid.text)
    for job in grid.plan.jobs:
        # The last row is the worst but for one value, so that its mean is too low for it to be drawn.
        number = int(job.place.row[1:])
        value = 0.5 + number / 100 if number < 9 else {10: 0.05, 2: 0.9}[job.place.values[IF]]
        grid.store.write(run_of(result_of(job.place, job.key, students([value]))))
    found = read_grid_facts(tmp_path / "out")
    assert [cell.mark for cell in found.table.rows[9].cells if cell] == ["", "best"]
    (charts,) = grid_charts(found)
    assert "r9" not in [name for _, name in charts.legend]
    (panel,) = panels(charts, "IF")
    assert panel.description == (
        "8 of 10 rows are drawn; at IF 2 r9 (not drawn) is best with 90.0 %, at IF 10 r8 is best with 58.0 %."
    )
    assert ("r9", "90.0 %", "5.0 %") in panel.rows


def test_baselines_are_not_called_best_beside_sets(source, tmp_path):
    grid = opened(source, tmp_path / "out", {"all images": {"baseline": "cross_entropy"}, "dm": {}}, vary={IF: [10, 2]})
    grid.store.begin(grid.text)
    for job in grid.plan.jobs:
        lines = students([0.5]) if job.place.row == "dm" else students([0.9], "cross_entropy")
        grid.store.write(run_of(result_of(job.place, job.key, lines)))
    (charts,) = grid_charts(read_grid_facts(tmp_path / "out"))
    (panel,) = panels(charts, "IF")
    assert (
        panel.description == "2 rows; at IF 2 dm is the best set with 50.0 %, at IF 10 dm is the best set with 50.0 %."
    )


def test_every_network_has_charts(source, tmp_path):
    base = {"evaluation": {"architectures": ["convnet2-w8", "convnet2-w4"]}}
    found = read_grid_facts(fill(opened(source, tmp_path / "out", ["random"], base=base, vary={IPC: [1, 2]})))
    charts = grid_charts(found)
    assert [one.title for one in charts] == ["Hard labels, convnet2-w8", "Hard labels, convnet2-w4"]
    assert all(panels(one, "IPC") for one in charts)
    assert "Each label protocol and each network has charts" in Reader(pages.grid_page(found)).text


def test_published_rows_are_marked_and_neither_drawn_nor_opened(source, tmp_path):
    base = {"evaluation": {"architectures": ["convnet3"]}}
    grid = opened(source, tmp_path / "out", ["lad"], base=base, vary={IF: [100], IPC: [10]}, published="cifar10lt")
    grid.store.begin(grid.text)
    found = read_grid_facts(tmp_path / "out")
    page = Reader(pages.grid_page(found))
    assert [found["class"] for name, found in page.tags if name == "tr" and "published" in str(found.get("class"))]
    assert "lad published" in page.text
    assert "Published: " in page.text
    assert grid_charts(found) == ()
    assert not [link for link in page.of("a") if re.fullmatch(r"#c\d+", str(link["href"]))]


def test_what_stands_on_the_page(page, folder):
    assert "4 rows on " in page.text
    assert "with IF 10, 2; IPC 3, 1; 1 set of each, scored by convnet2-w8." in page.text
    assert "1 cell failed." in page.text
    assert "best set at IF 10, IPC 3, hard labels" in page.text
    assert "best set at IF 10, IPC 3, teacher labels" in page.text
    for head in ("Table", "Charts", "Cell by cell", "What is missing", "The grid"):
        assert head in page.text
    assert "dm, IF 2, IPC 1, seed 0 failed. It did not work. Make it smaller." in page.text
    assert "Traceback (most recent call last): there" in page.text
    assert "to come" in page.text
    assert f"distail bench '{folder}' --retry" in page.text
    assert "Most frequent mistakes" in page.text
    assert "ant many, 120" in page.text
    assert "a machine" in page.text
    assert "By class many: more than 100 training images" in page.text


def test_figures_lead_to_their_details(page, facts):
    links = {str(link["href"]) for link in page.of("a") if str(link["href"]).startswith("#c")} - {"#charts", "#cells"}
    cells = {f"#{found['id']}" for found in page.of("details") if found.get("class") == "cell sub"}
    assert links == cells
    assert len(cells) == 15  # all but the one to come


def test_the_page_is_sound(text, page):
    assert len(page.of("script")) == 1
    assert not re.search(r"url\(|@import|https?://", text)
    assert len(page.of("table")) == len(page.of("caption"))
    assert all("scope" in head for head in page.of("th"))
    levels = [int(name[1]) for name, _ in page.tags if re.fullmatch("h[1-6]", name)]
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    ids = [found["id"] for _, found in page.tags if "id" in found]
    assert len(ids) == len(set(ids))
    named = [part for _, found in page.tags for part in str(found.get("aria-labelledby") or "").split()]
    assert set(named) <= set(ids)
    assert {str(link["href"]).removeprefix("#") for link in page.of("a")} <= set(ids)


def test_names_from_outside_do_nothing(source, tmp_path):
    page = Reader(pages.grid_page(read_grid_facts(nasty_grid(source, tmp_path / "<b>grid"))))
    assert len(page.of("script")) == 1
    assert page.of("b") == [{"class": "best"}]
    assert not any(image.get("src") == "x" for image in page.of("img"))
    assert not [name for _, found in page.tags for name in found if name.startswith("on")]
    for name in (NASTY[0], NASTY[1], NASTY[4], "<b>grid"):
        assert name in page.text
    assert "\u202e" not in page.text


def test_a_grid_that_has_not_begun(source, tmp_path):
    grid = opened(source, tmp_path / "out", ROWS, vary=VARY)
    grid.store.begin(grid.text)
    page = Reader(pages.grid_page(read_grid_facts(tmp_path / "out")))
    assert "0 of 14 cells are done" in page.text
    assert "Charts" not in page.text


def test_a_page_drops_details_before_it_grows_and_says_so(facts, text, monkeypatch):
    monkeypatch.setattr(pages, "_BESIDE", 0)
    monkeypatch.setattr(pages, "MAX_BYTES", len(text.encode()) - 60_000)
    small = pages.grid_page(facts)
    assert len(small.encode()) < len(text.encode()) - 60_000
    page = Reader(small)
    found = re.search(r"(\d+) of 15 figures have no details here", page.text)
    assert found
    assert len([one for one in page.of("details") if one.get("class") == "cell sub"]) == 15 - int(found[1])
    assert "Traceback (most recent call last): there" in page.text  # failures are kept before others
    monkeypatch.setattr(pages, "MAX_BYTES", 1000)
    with pytest.raises(DistailError, match=r"would be larger than 1 kB.*Print its table"):
        pages.grid_page(facts)


def test_hundreds_of_cells_have_a_page(source, tmp_path):
    values = {IF: [1.0 + number for number in range(7)], IPC: list(range(1, 8))}
    grid = opened(source, tmp_path / "out", {f"row {number}": {"method": "random"} for number in range(5)}, vary=values)
    text = pages.grid_page(read_grid_facts(fill(grid, missing=lambda place: place.row != "row 0")))
    assert len(text.encode()) < MAX_BYTES
    assert "row 4" in text


def test_the_report_of_a_grid(folder, tmp_path):
    before = contents(folder)
    made = write_report(folder, tmp_path / "page.html")
    assert contents(folder) == before
    assert made.path.stat().st_size == made.num_bytes
    assert made.to_json()["done"] == 12
    assert report_text(made)[0].startswith("4 rows on ")
    assert is_grid(folder)
    assert not is_grid(tmp_path)
