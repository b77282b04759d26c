"""Tables: pooling, marks, published rows."""

import pytest

from distail.bench.cell import expand
from distail.bench.formats import note
from distail.bench.jobs import plan
from distail.bench.result import CellResult, StudentLine
from distail.bench.table import Table, build_table
from distail.catalog import built_in
from distail.errors import DistailError
from tests.bench.grids import IF, IPC, grid_of, keys, mean_and_std, plan_of, result_of, students

GRID = grid_of(["random", "dm", "dsa"], vary={IF: [100, 10], IPC: [1, 5]}, seeds=2)
PLAN = plan_of(GRID)


def known(figures: dict[tuple[str, int, int], dict[int, list[float]]], **changes: object) -> dict[str, CellResult]:
    """Results of (row, imbalance, IPC) by seed; no scores where the cell failed."""
    found = {}
    for place, key in zip(PLAN.expansion.places, PLAN.keys, strict=True):
        scores = figures.get((place.row, place.values[IF], place.values[IPC]), {}).get(place.seed)
        if scores is not None:
            found[key] = result_of(place, key, students(scores), **changes)
    return found


def marks(table: Table) -> dict[str, list[str]]:
    return {row.name: [cell.mark if cell else "none" for cell in row.cells] for row in table.rows}


def test_figures_are_pooled_over_sets_and_students():
    values = [0.5, 0.625, 0.25, 0.75]
    table = build_table(GRID, PLAN, known({("dm", 100, 1): {0: values[:2], 1: values[2:]}}))
    assert [row.name for row in table.rows] == ["random", "dm", "dsa"]
    assert [table.column_title(column) for column in table.columns] == [
        "IF 100, IPC 1",
        "IF 100, IPC 5",
        "IF 10, IPC 1",
        "IF 10, IPC 5",
    ]
    cell = table.rows[1].cells[0]
    assert cell
    assert cell.summary
    assert (cell.summary.n, cell.sets, cell.missing, cell.failed) == (4, 2, 0, 0)
    assert (cell.summary.mean, cell.summary.std) == pytest.approx(mean_and_std(values), rel=1e-12)
    assert cell.mark == ""  # there is nothing to be better than


def test_what_is_missing_or_failed_is_counted():
    table = build_table(GRID, PLAN, known({("dm", 100, 1): {0: [0.5], 1: []}, ("dm", 10, 5): {1: []}}))
    first, second, _, last = table.rows[1].cells
    assert first
    assert second
    assert last
    assert (first.summary and first.summary.n, first.missing, first.failed) == (1, 0, 1)
    assert (second.summary, second.missing, second.failed) == (None, 2, 0)
    assert (last.summary, last.missing, last.failed) == (None, 1, 1)


def test_best_and_second_best_are_marked_in_each_column():
    figures = {
        ("random", 100, 1): {0: [0.3]},
        ("dm", 100, 1): {0: [0.5]},
        ("dsa", 100, 1): {0: [0.4]},
        ("random", 10, 1): {0: [0.6]},
        ("dm", 10, 1): {0: [0.6]},
        ("dsa", 10, 1): {0: [0.2]},
    }
    found = marks(build_table(GRID, PLAN, known(figures)))
    assert found == {
        "random": ["", "", "best", ""],
        "dm": ["best", "", "best", ""],
        "dsa": ["second", "", "second", ""],
    }


def test_a_second_place_that_many_share_is_not_marked():
    def found(*means: float) -> list[str]:
        grid = grid_of({f"{number} images": {"method": "random", IPC: number + 1} for number in range(len(means))})
        made = plan_of(grid)
        results = {
            job.key: result_of(job.place, job.key, students([mean])) for job, mean in zip(made.jobs, means, strict=True)
        }
        return [mark for row in marks(build_table(grid, made, results)).values() for mark in row]

    assert found(0.3, 0.1, 0.1) == ["best", "second", "second"]
    assert found(0.3, 0.1, 0.1, 0.1) == ["best", "", "", ""]
    assert found(0.3, 0.0, 0.0) == ["best", "", ""]
    assert found(0.0, 0.0) == ["", ""]
    assert found(0.3, 0.2, 0.0, 0.0, 0.0) == ["best", "second", "", "", ""]
    assert found(0.3, 0.3, 0.3, 0.1) == ["best", "best", "best", "second"]


@pytest.mark.parametrize("score", ["ece", "class_std"])
def test_what_is_small_where_nothing_is_learned_is_not_marked(score):
    lines = {"random": 0.3, "dm": 0.1, "dsa": 0.2}
    found = {}
    for place, key in zip(PLAN.expansion.places, PLAN.keys, strict=True):
        found[key] = result_of(place, key, students([lines[place.row]], score=score))
    table = build_table(GRID, PLAN, found, score=score)
    assert {name: row[0] for name, row in marks(table).items()} == {"random": "", "dm": "", "dsa": ""}
    assert build_table(GRID, PLAN, found).rows[0].cells[0].summary is None  # no accuracy is known


def test_marks_are_given_among_rows_of_one_protocol():
    rows = {
        "hard": {"method": "dm", "evaluation": {"labels": "hard"}},
        "hard too": {"method": "random", "evaluation": {"labels": "hard"}},
        "soft": {"method": "dm", "evaluation": {"labels": "static"}},
        "soft too": {"method": "dsa", "evaluation": {"labels": "static"}},
        "alone": {"method": "tests.methods.with_teacher", "evaluation": {"labels": "teacher"}},
    }
    grid = grid_of(rows)
    made = plan_of(grid)
    values = {"hard": 0.5, "hard too": 0.4, "soft": 0.6, "soft too": 0.7, "alone": 0.99}
    found = {
        job.key: result_of(
            job.place, job.key, students([values[job.place.row]], labels=job.place.cell.evaluation.labels)
        )
        for job in made.jobs
    }
    table = build_table(grid, made, found)
    assert [row.labels for row in table.rows] == ["hard", "hard", "static", "static", "teacher"]
    assert marks(table) == {
        "hard": ["best"],
        "hard too": ["second"],
        "soft": ["second"],
        "soft too": ["best"],
        "alone": [""],
    }


def test_a_set_without_soft_labels_stands_under_the_protocol_that_applied():
    grid = grid_of(["random", "tailor", "lad"])
    made = plan_of(grid)
    assert {row.name: row.labels for row in build_table(grid, made, {}).rows} == {
        "random": "hard",
        "tailor": "static",
        "lad": "static",
    }
    found = {job.key: result_of(job.place, job.key, students([0.5], labels="hard")) for job in made.jobs[2:]}
    assert {row.name: row.labels for row in build_table(grid, made, found).rows}["lad"] == "hard"


def test_references_are_not_pooled_with_the_set_itself():
    place, key = PLAN.expansion.places[0], PLAN.keys[0]
    assert place.row == "random"
    lines = (*students([0.5, 0.25]), *students([0.9], "random"), *students([0.95], "full"))
    cell = build_table(GRID, PLAN, {key: result_of(place, key, lines)}).rows[0].cells[0]
    assert cell
    assert cell.summary
    assert (cell.summary.n, cell.summary.mean) == (2, 0.375)


def test_each_network_has_a_table_of_its_own():
    grid = grid_of(["dm"], base={"evaluation": {"architectures": ["convnet2-w8", "convnet1-w8"]}})
    made = plan_of(grid)
    (job,) = made.jobs
    lines = (*students([0.5]), *students([0.25], network="convnet1-w8"))
    found = {job.key: result_of(job.place, job.key, lines)}
    for network, mean in (("convnet2-w8", 0.5), ("convnet1-w8", 0.25)):
        table = build_table(grid, made, found, architecture=network)
        assert table.rows[0].cells[0].summary.mean == mean
    assert build_table(grid, made, found).architecture == "convnet2-w8"
    with pytest.raises(DistailError, match=r"No cell trains students of 'convnet2'. Did you mean 'convnet2-w8'?"):
        build_table(grid, made, found, architecture="convnet2")


def test_costs_are_means_over_sets():
    figures = {("dm", 100, 1): {0: [0.5], 1: [0.5]}, ("dm", 10, 1): {0: [0.5]}}
    found = known(figures, distill_seconds=10.0, stored_bytes=100, peak_memory_bytes=None)
    for number, key in enumerate(found):
        found[key] = result_of(
            next(job.place for job in PLAN.jobs if job.key == key),
            key,
            students([0.5]),
            distill_seconds=10.0 * (number + 1),
            stored_bytes=100,
        )
    row = build_table(GRID, PLAN, found).rows[1]
    assert row.name == "dm"
    seconds = [cell.distill_seconds if cell else None for cell in row.cells]
    assert seconds == [pytest.approx(20.0), None, pytest.approx(20.0), None]
    assert row.range_of("stored_bytes") == (100, 100)
    assert row.range_of("peak_memory_bytes") is None


def test_a_baseline_has_the_same_figure_in_each_column_and_the_time_of_one_network():
    grid = grid_of({"dm": {}, "all": {"baseline": "crt"}}, vary={IPC: [1, 5]}, seeds=2)
    made = plan_of(grid)
    job = next(job for job in made.jobs if job.set_key is None)
    lines = tuple(
        StudentLine("crt", "convnet2-w8", seed, "hard", {"accuracy": 0.5 + seed / 4}, train_seconds=3.0 + seed)
        for seed in range(2)
    )
    table = build_table(grid, made, {job.key: result_of(job.place, job.key, lines)})
    row = next(row for row in table.rows if row.name == "all")
    assert [cell.summary.n for cell in row.cells if cell and cell.summary] == [2, 2]
    assert [cell.sets for cell in row.cells if cell] == [1, 1]
    assert row.cells[0].summary.mean == 0.625
    assert row.cells[0].distill_seconds == 3.5
    assert (row.method, row.labels) == ("crt", "hard")


def test_a_row_has_no_cell_where_it_does_not_belong():
    grid = grid_of({"random": {}, "dm": {"where": {IPC: [5]}}}, vary={IPC: [1, 5]})
    table = build_table(grid, plan_of(grid), {})
    assert [cell is None for cell in table.rows[1].cells] == [True, False]


def test_no_such_score():
    with pytest.raises(DistailError, match=r"There is no score 'acuracy'. Did you mean 'accuracy'?"):
        build_table(GRID, PLAN, {}, score="acuracy")


# Published rows

WIDE = {"architecture": "convnet3", "evaluation": {"architectures": ["convnet3"], "seeds": 1}}


def published_table(**others: object) -> Table:
    options = {"vary": {IF: [100, 10.0], IPC: [10, 999]}, "published": "cifar10lt", **others}
    grid = grid_of(["lad", "random"], base=options.pop("base", WIDE), **options)
    made = plan(expand(grid), keys())
    found = {job.key: result_of(job.place, job.key, students([0.999], network="convnet3")) for job in made.jobs}
    return build_table(
        grid, made, found, score=str(others.get("score", "accuracy")) if "score" in others else "accuracy"
    )


def test_published_rows_stand_beside_and_say_where_they_are_from():
    table = published_table()
    rows = [row for row in table.rows if row.published]
    (row,) = rows
    recipe = built_in("lad-cifar10lt-if100-ipc10")
    assert recipe.published
    assert (row.name, row.published) == ("lad", recipe.published.source)
    first, nothing, third, _ = row.cells
    assert first
    assert first.summary
    assert (first.summary.n, first.summary.mean) == (0, pytest.approx(recipe.published.accuracy / 100))
    assert nothing is None
    assert third
    assert {cell.mark for cell in row.cells if cell} == {""}
    # Ours come first in each protocol, and marks are given among ours.
    protocol = [other.published is not None for other in table.rows if other.labels == row.labels]
    assert protocol == sorted(protocol)


def test_published_rows_go_by_the_base_where_nothing_varies():
    base = {**WIDE, "data": {"imbalance": 100}, IPC: 10}
    table = published_table(base=base, vary={})
    assert [len(row.cells) for row in table.rows if row.published] == [1]


def test_numbers_of_another_network_are_not_beside():
    narrow = {"evaluation": {"architectures": ["convnet3-w8"], "seeds": 1}}
    grid = grid_of(["lad"], base=narrow, vary={IF: [100], IPC: [10]}, published="cifar10lt")
    assert not any(row.published for row in build_table(grid, plan_of(grid), {}).rows)


def test_only_accuracy_is_published():
    grid = grid_of(["lad"], base=WIDE, vary={IF: [100], IPC: [10]}, published="cifar10lt")
    assert any(row.published for row in build_table(grid, plan_of(grid), {}).rows)
    assert not any(row.published for row in build_table(grid, plan_of(grid), {}, score="ece").rows)


def test_a_wide_table_comes_in_parts_by_what_varies_first():
    table = build_table(GRID, PLAN, known({("dm", 10, 5): {0: [0.5]}}))
    assert [(title, len(part.columns)) for title, part in table.parts(4)] == [("", 4)]
    parts = dict(table.parts(3))
    assert list(parts) == ["IF 100", "IF 10"]
    assert [parts["IF 10"].column_title(column) for column in parts["IF 10"].columns] == ["IPC 1", "IPC 5"]
    of_dm = next(row for row in parts["IF 10"].rows if row.name == "dm")
    assert [cell.summary.mean if cell and cell.summary else None for cell in of_dm.cells] == [None, 0.5]


def test_rows_that_have_no_cell_in_a_part_are_left_out_of_it():
    grid = grid_of({"random": {}, "dm": {"where": {IF: [10]}}}, vary={IF: [100, 10], IPC: [1, 5]})
    parts = dict(build_table(grid, plan_of(grid), {}).parts(2))
    assert {title: [row.name for row in part.rows] for title, part in parts.items()} == {
        "IF 100": ["random"],
        "IF 10": ["random", "dm"],
    }


def test_published_numbers_of_sets_without_soft_labels_are_of_hard_labels():
    grid = grid_of({"dc": {}}, vary={IF: [100], IPC: [10]}, published="cifar10lt", base=WIDE)
    made = plan_of(grid)
    place, key = made.expansion.places[0], made.keys[0]
    before = build_table(grid, made, {})
    after = build_table(grid, made, {key: result_of(place, key, students([0.4], network="convnet3"))})
    assert [row.labels for row in before.rows] == ["hard", "hard"]
    assert [row.labels for row in after.rows] == ["hard", "hard"]


def test_baselines_are_marked_only_among_themselves():
    rows = {"random": {}, "dm": {}, "all": {"baseline": "crt"}, "all too": {"baseline": "lws"}}
    values = {"random": 0.3, "dm": 0.5, "all": 0.9, "all too": 0.8}

    def marked(names: list[str]) -> dict[str, list[str]]:
        grid = grid_of({name: rows[name] for name in names})
        made = plan_of(grid)
        found = {
            job.key: result_of(job.place, job.key, students([values[job.place.row]], subject="distilled"))
            if job.place.cell.kind == "set"
            else result_of(job.place, job.key, students([values[job.place.row]], subject=job.place.cell.method))
            for job in made.jobs
        }
        return marks(build_table(grid, made, found))

    assert marked(list(rows)) == {"random": ["second"], "dm": ["best"], "all": [""], "all too": [""]}
    assert marked(["all", "all too"]) == {"all": ["best"], "all too": ["second"]}


def test_rows_with_other_students_are_named():
    rows = {"dm": {}, "deep": {"method": "dm", "evaluation": {"architectures": ["vgg11"]}}}
    grid = grid_of(rows)
    table = build_table(grid, plan_of(grid), {})
    assert [row.name for row in table.rows] == ["dm"]
    assert table.elsewhere == {"deep": ("vgg11",)}
    assert "Not in this table, as students are other networks: deep (--arch vgg11)." in note(table)
    assert build_table(grid, plan_of(grid), {}, architecture="vgg11").elsewhere == {"dm": ("convnet2-w8",)}
