"""`tailor` beside its rival `rldd`: every setting that committed grids have of both, and what is known of the rest.

Figures in the text come from the results as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from grid_part import CommittedGrid, asked_network
from page_parts import percent, table

from distail.bench.table import TableCell, TableRow
from distail.catalog import Published, built_in, recipe_names
from distail.config import merged


@dataclass(frozen=True)
class Pair:
    """Two rows of one grid that students learn from by one protocol."""

    grid: str
    ours: str
    rival: str
    data: str = "CIFAR-10-LT"


PAIRS = (
    Pair("cifar10lt-cpu", "tailor, asked", "rldd"),
    Pair("cifar10lt-cpu", "tailor", "rldd, stored"),
    Pair("cifar10lt-one-image-cpu", "tailor", "rldd"),
    Pair("cifar10lt-rivals-cpu", "tailor", "rldd"),
    Pair("cifar10lt-rivals-cpu", "tailor, stored", "rldd, stored"),
    Pair("cifar10lt-networks-cpu", "tailor", "rldd"),
    Pair("cifar10lt-networks-cpu", "tailor, VGG-11", "rldd, VGG-11"),
    Pair("cifar10lt-networks-cpu", "tailor, ResNet-18", "rldd, ResNet-18"),
    Pair("tinyimagenet32lt-100", "tailor", "rldd", "Tiny-ImageNet-32-LT, 100 classes of it"),
    Pair("tinyimagenet32lt-100", "tailor, stored", "rldd, stored", "Tiny-ImageNet-32-LT, 100 classes of it"),
    Pair("tinyimagenet32lt-cpu", "tailor", "rldd", "Tiny-ImageNet-32-LT"),
    Pair("tinyimagenet32lt-cpu", "tailor, stored", "rldd, stored", "Tiny-ImageNet-32-LT"),
)

SETTING = {"data.imbalance": 100, "images_per_class": 10}
"""Which the text is about."""

SCORES = ("accuracy", "worst_class", "class_std")

PUBLISHED_ON = {"vgg11": "64.6", "resnet18": "58.7", "alexnet": "56.5"}
"""rldd's sets of IF 100 and IPC 10 with other networks, 1,000 epochs; RLDD (AAAI 2026), table 7."""

TEXT = """## tailor and rldd

{pairs}

Test images; accuracy, that of the worst class and the standard deviation over classes, in percent, mean ± sample
standard deviation over n students; last epoch. Of one set each, except where *sets* says more. Students learn as their
set says, for as many epochs on both sides (those published: 1,000); labels are stored (`static`) or the network is
asked (`teacher`). On CIFAR-10-LT each method has its own network, as each prescribes{tiny}.

`tailor` was designed on validation images of IF 100 and IPC 10 ([own_method.md](own_method.md)).

### Why rldd is not where it was published

Published: 62.7 ± 0.1 at IF 100 and IPC 10, ConvNet-3, with the network asked, the best epoch by test accuracy, on
lossless images. Measured here: {rldd}, which is {gap:.1f} points less. What is known of these:

- *Its network.* GLMC for 60 epochs instead of 200 gets {network}% of the test images (one network), {below:.1f} points
  less than is published for students. 200 epochs were not tried.{better}
- *JPEG.* What it costs was estimated at half the size, where images almost without it can be made of those with it:
  networks that learn from 12,406 images of 16x16 pixels ({jpeg_epochs} epochs, balanced softmax, n = 3) get
  {lossless}, and {jpeg} where training and test images are stored as JPEG of the same quality: up to {jpeg_cost:.1f}
  points. Halved images have more detail a pixel, of which JPEG takes more, so at 32x32 it probably costs less.
{best_epoch}"""

BETTER = """
  With the network of `tailor`, which gets {network}% (one network), `rldd` has {score}: {gain:+.1f} points for
  a far better network. `tailor` itself has {rest:.1f} points more than that. (One set each.)"""

BEST_EPOCH = """\
- *The epoch.* Of {looks} looks at the test images, one every {every} epochs, the best is {best}, the last {last}
  (n = {n}): {gain:.1f} points.
"""


def rivals_section(found: dict[str, Any]) -> str:
    """Markdown of the table and of what is known of the distance to the published number."""
    heads = ("data", "IF", "IPC", "student", "labels", "epochs", "sets", "n", "tailor", "rldd", "rldd, published")
    heads += ("worst class: tailor", "rldd", "std over classes: tailor", "rldd")
    rldd, published = _cell(found, "rldd"), built_in("rldd-cifar10lt-if100-ipc10").published
    network = _network(found, "rldd")
    if published is None or network is None:
        raise KeyError("the published number of rldd, or what its network gets")
    jpeg = found["jpeg_cost"]
    lossless, packed = (jpeg["rows"][name]["accuracy"] for name in ("lossless", "JPEG 75"))
    return TEXT.format(
        network=percent(network),
        below=published.accuracy - 100 * network["mean"],
        pairs=table(heads, [line for pair in PAIRS if f"grid-{pair.grid}" in found for line in _lines(pair, found)]),
        tiny="; on Tiny-ImageNet both have the same" if any("tiny" in name for name in found) else "",
        rldd=_shown(rldd),
        gap=62.7 - 100 * _mean(rldd),
        better=_better(found),
        jpeg_epochs=jpeg["train"]["epochs"],
        lossless=percent(lossless),
        jpeg=percent(packed),
        jpeg_cost=100 * (lossless["mean"] - packed["mean"]),
        best_epoch=_best_epoch(found["best_epoch-rldd"]) if "best_epoch-rldd" in found else "",
    ).rstrip()


def _lines(pair: Pair, found: dict[str, Any]) -> Iterator[tuple[Any, ...]]:
    """A line for each network and column in which both rows have figures."""
    grid = CommittedGrid.of(found[f"grid-{pair.grid}"])
    base = grid.grid.base
    evaluation = merged(base["evaluation"], grid.grid.rows[pair.ours].get("evaluation", {}))
    for network in grid.networks:
        tables = {score: grid.table(score, network) for score in SCORES}
        rows = {score: {row.name: row for row in one.rows if not row.published} for score, one in tables.items()}
        if pair.ours not in rows["accuracy"] or pair.rival not in rows["accuracy"]:
            continue
        labels = rows["accuracy"][pair.ours].labels
        for number, column in enumerate(tables["accuracy"].columns):
            cells = [rows[score][name].cells[number] for score in SCORES for name in (pair.ours, pair.rival)]
            if any(cell is None or cell.summary is None for cell in cells):
                continue
            imbalance = column.get("data.imbalance", base["data"].get("imbalance"))
            ipc = column.get("images_per_class", base.get("images_per_class"))
            yield (
                pair.data,
                imbalance,
                ipc,
                network,
                labels,
                f"{evaluation.get('train', {}).get('epochs', 1000):,}",
                min(cell.sets for cell in cells if cell),
                min(cell.summary.n for cell in cells if cell and cell.summary),
                *(_shown(cell) for cell in cells[:2]),
                _published(pair, network, labels, f"if{imbalance}-ipc{ipc}"),
                *(_shown(cell) for cell in cells[2:]),
            )


def _published(pair: Pair, network: str, labels: str, setting: str) -> str:
    """The printed number of 1,000 epochs, which are of CIFAR-10-LT with the network asked."""
    name = f"rldd-cifar10lt-{setting}"
    if pair.data != "CIFAR-10-LT" or labels != "teacher":
        return "–"
    if network != "convnet3":
        return PUBLISHED_ON.get(network, "–")
    published = built_in(name).published if name in recipe_names() else None
    return "–" if published is None else _shown_published(published)


def _shown_published(published: Published) -> str:
    return f"{published.accuracy}" + (f" ± {published.std}" if published.std else "")


def _better(found: dict[str, Any]) -> str:
    """What the network of `tailor` gives `rldd`, where that was measured."""
    rldd, better, ours = (_cell(found, name) for name in ("rldd", "rldd, teacher of tailor", "tailor, asked"))
    if better is None:
        return ""
    gain, rest = 100 * (_mean(better) - _mean(rldd)), 100 * (_mean(ours) - _mean(better))
    network = _network(found, "rldd, teacher of tailor")
    return BETTER.format(network=percent(network), score=_shown(better), gain=gain, rest=rest)


def _network(found: dict[str, Any], name: str) -> dict[str, float] | None:
    """What the network of that row of cifar10lt-cpu gets of the test images itself."""
    return asked_network(found["networks-cifar10lt-cpu"], name, SETTING)


def _cell(found: dict[str, Any], name: str) -> TableCell | None:
    """The accuracy of a row of cifar10lt-cpu in that setting, once it has run."""
    one = CommittedGrid.of(found["grid-cifar10lt-cpu"]).table("accuracy", "convnet3")
    place = one.columns.index(SETTING)
    row: TableRow = next(row for row in one.rows if row.name == name and not row.published)
    cell = row.cells[place]
    return cell if cell and cell.summary else None


def _best_epoch(report: dict[str, Any]) -> str:
    return BEST_EPOCH.format(
        looks=len(report["curves"][0]),
        every=report["looks_every"],
        best=percent(report["best"]),
        last=percent(report["last"]),
        n=report["last"]["n"],
        gain=100 * (report["best"]["mean"] - report["last"]["mean"]),
    )


def _mean(cell: TableCell | None) -> float:
    if cell is None or cell.summary is None:
        raise KeyError("a cell without students")
    return cell.summary.mean


def _shown(cell: TableCell | None) -> str:
    if cell is None or cell.summary is None:
        return "–"
    return percent({"mean": cell.summary.mean, "std": cell.summary.std, "n": cell.summary.n})
