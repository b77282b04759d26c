"""Tables of committed grids, as `distail bench table` prints them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from page_parts import percent

from distail.bench.cell import expand, in_short
from distail.bench.formats import as_markdown
from distail.bench.grid import Grid
from distail.bench.jobs import Plan
from distail.bench.result import CellResult, described
from distail.bench.table import SCORE_TITLES, Table, build_table
from distail.config import parse_config
from distail.evaluation.metrics import summarise
from distail.progress import format_seconds

SCORES = ("accuracy", "worst_class", "class_std")
_BESIDE = ("versions", "hardware", "threads", "precision")


GRIDS = {
    "digits": "scikit-learn's digits, 8x8 pixels, by `grids/digits.yaml`: runs far shorter than published and untuned, "
    "to see that all works. It is no comparison of the methods. All of it took 5 min 9 s by two workers on two quiet "
    "cores (Intel Xeon).",
    "cifar10lt-cpu": "CIFAR-10-LT by `grids/cifar10lt-cpu.yaml`: mostly variants of recipes for 2 cores. Two processes "
    "of one thread each ran side by side, at times tests beside them, so times are of one core at best; that of "
    "`herding` contains 40 minutes in which its process stood still. `edc`, `rded` and `sre2l` label by networks that "
    "were trained plainly for 4, 12 and 12 epochs, and their students get none of the two rarest classes right: short "
    "training forgets the tail. The published numbers are of far longer training, that of `sre2l` of another protocol "
    "and network too, and are no measure of these rows. "
    "Some methods are also measured with other settings above and in [results_long_tail.md](results_long_tail.md).",
    "cifar10lt-networks-cpu": "Sets of CIFAR-10-LT (IF 100, IPC 10) that were made with ConvNet-3 and teach other "
    "networks for 300 epochs, ResNet-18 for 100, by `grids/cifar10lt-networks-cpu.yaml`. Published for RLDD, 1,000 "
    "epochs: VGG-11 64.6, ResNet-18 58.7, AlexNet 56.5.",
    "cifar10lt-rivals-cpu": "`tailor` and `rldd` on CIFAR-10-LT with students of 300 epochs instead of 1,000, by "
    "`grids/cifar10lt-rivals-cpu.yaml`. Published numbers are of 1,000 epochs.",
    "cifar10lt-one-image-cpu": "Several sets of CIFAR-10-LT (IF 100) with one image a class, of one network a method, "
    "by `grids/cifar10lt-one-image-cpu.yaml`. Times are of one thread beside other work, and say little.",
    "tinyimagenet32lt-cpu": "Tiny-ImageNet-32-LT by `grids/tinyimagenet32lt-cpu.yaml`, 200 classes.",
    "tinyimagenet32lt-100": "Tiny-ImageNet-32-LT, the first 100 classes (`benchmarks/some_classes.py`), by "
    "`grids/tinyimagenet32lt-cpu.yaml`; `random` is real images under the labels of the same network (30 epochs). It "
    "knows so little itself that there is not much to tell sets apart by: students of random images come within a "
    "point of it. Tests ran beside these measurements, so times say little.",
}
"""What to know of a grid before its tables."""


def grid_section(name: str, report: dict[str, Any], networks: dict[str, Any] | None) -> str:
    """Markdown of a grid under its heading: what to know of it, its tables, and what asked networks get themselves.

    Args:
        report: what `grid_results.py` kept.
        networks: what `asked_networks.py` found.
    """
    return f"## Grid {name}\n\n{GRIDS[name]}\n\n{_grid_tables(report)}{_asked_networks(networks)}"


def asked_network(networks: dict[str, Any] | None, row: str, values: Mapping[str, Any]) -> dict[str, float] | None:
    """Summary of what the networks of a row's sets get of the test images; None where that was not measured."""
    lines = networks["networks"] if networks else []
    scores = [line["accuracy"] for line in lines if line["row"] == row and line["values"] == dict(values)]
    return asdict(summarise(scores)) if scores else None


def _asked_networks(networks: dict[str, Any] | None) -> str:
    """A paragraph for the rows whose students asked a network; nothing where none was scored."""
    if networks is None:
        return ""
    rows: dict[str, list[str]] = {}
    for line in networks["networks"]:
        shown = f"{percent(asked_network(networks, line['row'], line['values']))} ({in_short(line['values']) or 'all'})"
        columns = rows.setdefault(line["row"], [])
        if shown not in columns:
            columns.append(shown)
    told = "; ".join(f"`{row}` {', '.join(columns)}" for row, columns in rows.items())
    return f"\n\nThe networks that students asked get, of the same test images, themselves: {told}."


@dataclass(frozen=True)
class CommittedGrid:
    """A grid and what is known of its cells, as `grid_results.py` kept them."""

    grid: Grid
    plan: Plan
    known: Mapping[str, CellResult]

    @staticmethod
    def of(report: dict[str, Any]) -> CommittedGrid:
        """Read from a file of results."""
        grid = parse_config(Grid, report["grid"], "the committed grid")
        expansion = expand(grid)
        keys = tuple(report["places"].get(described(place), described(place)) for place in expansion.places)
        known = {
            cell["key"]: CellResult.from_json({name: value for name, value in cell.items() if name not in _BESIDE})
            for cell in report["cells"]
        }
        return CommittedGrid(grid, Plan(expansion, keys, ()), known)

    @property
    def networks(self) -> list[str]:
        """Of students, in the grid's order."""
        return list(dict.fromkeys(name for place in self.plan.expansion.places for name in place.cell.architectures))

    def table(self, score: str, architecture: str) -> Table:
        """Figures of one score for students of one network."""
        return build_table(self.grid, self.plan, self.known, score=score, architecture=architecture)


def _grid_tables(report: dict[str, Any]) -> str:
    """Markdown of what `grid_results.py` kept: how much has run, a table a score, and which cells are missing."""
    committed = CommittedGrid.of(report)
    known, keys = committed.known, set(committed.plan.keys)
    done = sum(known[key].status == "done" for key in keys if key in known)
    hardware = sorted({f"{cell['hardware']}, threads a process: {cell['threads']}" for cell in report["cells"]})
    spent = sum(known[key].seconds for key in keys if key in known)
    parts = [
        f"{done} of {len(keys)} cells are done ({'; '.join(hardware)}), in {format_seconds(spent)} of one process, "
        "experts and teachers that lay there already left out. Rows and columns of which none is done are not shown."
    ]
    networks = committed.networks
    notes = []
    for network in networks:
        for score in SCORES:
            # The page shows every network, so no row is elsewhere.
            table = replace(_measured(committed.table(score, network)), elsewhere={})
            _, figures, note = as_markdown(table).strip().split("\n\n")
            notes.append(note)
            title = SCORE_TITLES[score].capitalize()
            parts += [f"### {title}, {network}" if len(networks) > 1 else f"### {title}", figures]
    parts.append(max(notes, key=len))  # that with where published rows are printed
    missing = list(_missing(committed.plan, known))
    return "\n\n".join([*parts, "Not run: " + "; ".join(missing) + "." if missing else "Every cell has run."])


def _measured(table: Table) -> Table:
    """A table without columns in which nothing was measured yet, and then without rows that are empty."""
    own = [row for row in table.rows if not row.published]
    columns = zip(*(row.cells for row in own), strict=True)
    kept = [place for place, cells in enumerate(columns) if any(cell and cell.summary for cell in cells)]
    rows = [replace(row, cells=tuple(row.cells[place] for place in kept)) for row in table.rows]
    rows = [row for row in rows if any(cell and cell.summary for cell in row.cells)]
    return replace(table, columns=tuple(table.columns[place] for place in kept), rows=tuple(rows))


def _missing(plan: Plan, known: dict[str, CellResult]) -> Iterator[str]:
    """'lad (IF 100, IPC 50; IF 10, IPC 1)' for every row with cells that have no result."""
    rows: dict[str, list[str]] = {}
    for place, result in plan.results(known):
        if result is None or result.status != "done":
            rows.setdefault(place.row, []).append((in_short(place.values) or "all") + (" failed" if result else ""))
    total = len({str(place.values) for place, _ in plan.results(known)})
    for row, values in rows.items():
        distinct = list(dict.fromkeys(values))
        yield f"`{row}` ({'all' if len(distinct) == total else '; '.join(distinct)})"
