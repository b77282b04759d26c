"""Groups of classes as tables and sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from distail.groups.choice import GroupCount
from distail.groups.finding import FoundGroups
from distail.groups.stability import Agreement, PairAgreement, moved_classes
from distail.report.names import one_line

MAX_CLASS_ROWS = 40
"""Classes up to which each gets a line of its own."""


def groups_table(found: FoundGroups) -> Table:
    """A line for each group: how many classes, how far apart inside and from the others, and which."""
    table = _table("mean distance of two classes; only how it compares inside and outside has a meaning")
    for head in ("group", "classes", "inside", "to others"):
        table.add_column(head, justify="right", no_wrap=True)
    table.add_column("members", overflow="fold")
    grouping, distances = found.grouping, found.distances
    for group in range(grouping.num_groups):
        own = list(grouping.members(group))
        others = [label for label in range(len(grouping.class_names)) if label not in own]
        pairs = len(own) * (len(own) - 1)
        inside = f"{float(distances[own][:, own].sum()) / pairs:.2f}" if pairs else "–"
        outside = f"{float(distances[own][:, others].mean()):.2f}" if others else "–"
        names = ", ".join(one_line(grouping.class_names[label]) for label in own[:MAX_CLASS_ROWS])
        more = f" and {len(own) - MAX_CLASS_ROWS} more" if len(own) > MAX_CLASS_ROWS else ""
        table.add_row(str(group + 1), str(len(own)), inside, outside, Text(names + more))
    return table


def classes_table(found: FoundGroups) -> Table:
    """A line for each class: mean distance to the rest of its group and to others, and its nearest class.

    Of more than 40 classes those are shown that stand nearest to another group, as they might as well be there.
    """
    grouping, distances = found.grouping, found.distances
    groups = grouping.group_of
    inside, outside = _class_means(found)
    shown = list(range(len(groups)))
    caption = "mean distance to the other classes of the own group, and to the nearest other group"
    if len(shown) > MAX_CLASS_ROWS:
        shown = sorted(shown, key=lambda label: outside[label] - inside[label])[:MAX_CLASS_ROWS]
        caption += f"; the {MAX_CLASS_ROWS} of {len(groups)} classes that stand nearest to another group"
    table = _table(caption)
    table.add_column("class", overflow="fold")
    for head in ("group", "own group", "next group"):
        table.add_column(head, justify="right", no_wrap=True)
    table.add_column("nearest class", overflow="fold")
    for label in shown:
        row = distances[label].clone()
        row[label] = float("inf")
        nearest = int(row.argmin())
        table.add_row(
            Text(one_line(grouping.class_names[label])),
            str(groups[label] + 1),
            f"{inside[label]:.2f}" if len(grouping.members(groups[label])) > 1 else "–",
            f"{outside[label]:.2f}",
            Text(f"{one_line(grouping.class_names[nearest])} ({row[nearest]:.2f}, group {groups[nearest] + 1})"),
        )
    return table


def agreement_table(agreement: Agreement) -> Table:
    """Mean ± standard deviation of the adjusted Rand index for every two data sets; on the diagonal over seeds."""
    table = _table("adjusted Rand index of groupings, mean ± std over pairs of seeds: 1 the same, 0 chance")
    table.add_column("", overflow="fold")
    for name in agreement.names:
        table.add_column(Text(one_line(name)), justify="right", overflow="fold", min_width=6)
    for place, first in enumerate(agreement.names):
        cells = [_index(agreement.of(first, second)) for second in agreement.names[: place + 1]]
        table.add_row(Text(one_line(first)), *cells)
    return table


def others_table(found: Mapping[str, Sequence[FoundGroups]]) -> Table:
    """How every other grouping differs from the first: the classes that would have to change their group."""
    first = next(iter(found.values()))[0].grouping
    table = _table("classes that stand in another group than in the first grouping, by data and seed")
    table.add_column("data", overflow="fold")
    table.add_column("seed", justify="right", no_wrap=True)
    table.add_column("moved classes", overflow="fold")
    for name, several in found.items():
        for one in several:
            if one.grouping is first:
                continue
            moved = [one_line(first.class_names[label]) for label in moved_classes(first, one.grouping)]
            shown = ", ".join(moved[:MAX_CLASS_ROWS]) + (" ..." if len(moved) > MAX_CLASS_ROWS else "")
            table.add_row(Text(one_line(name)), str(one.grouping.provenance["seed"]), Text(shown or "none"))
    return table


def tried_table(tried: Sequence[GroupCount], chosen: int) -> Table:
    """What each number of groups reached on held-out images."""
    table = _table("balanced accuracy on held-out images, in percent; 1 group is the balanced rule without groups")
    for head in ("groups", "two stages", "group alone", ""):
        table.add_column(head, justify="right", no_wrap=True)
    for count in tried:
        table.add_row(
            str(count.num_groups),
            f"{100 * count.accuracy:.1f} ±{100 * count.standard_error:.1f}",
            f"{100 * count.group_accuracy:.1f}" if count.num_groups > 1 else "–",
            "chosen" if count.num_groups == chosen else "",
        )
    return table


def groups_notes(found: FoundGroups) -> list[str]:
    """What a reader must know beside the groups: whose features, and how good the cut is."""
    facts, cut = found.grouping.provenance, found.cut
    whose = {
        "train": "training images",
        "heldout": "images held out of the training images",
        "test": "TEST images, as in the paper",
    }[facts["features"]]
    notes = [f"Features: {facts['num_images']:,} {whose}, as {facts['architecture']} sees them."]
    if facts["features"] == "test":
        notes.append(
            "CAUTION: these groups have seen the test images. A classifier that uses them must not be scored on those."
        )
    better = (
        "no partition has a larger one"
        if cut.exact
        else f"no partition's can be over {100 * (cut.upper_bound / cut.value - 1):.2f}% larger"
        if cut.value
        else "all distances are zero"
    )
    standing = [label for label, (own, next_) in enumerate(zip(*_class_means(found), strict=True)) if next_ < own]
    if standing:
        names = ", ".join(one_line(found.grouping.class_names[label]) for label in standing[:5])
        more = f" and {len(standing) - 5} more" if len(standing) > 5 else ""
        notes.append(
            f"Nearer on average to another group than to the rest of their own: {names}{more}. The cut counts sums, "
            "which favour groups of equal size."
        )
    notes.append(f"Sum of distances between groups: {cut.value:.6g}; {better}.")
    few = [name for name, count in _centroids_of(found) if count < found.centroids.num_wanted]
    if few:
        shown = ", ".join(one_line(name) for name in few[:5]) + (f" and {len(few) - 5} more" if len(few) > 5 else "")
        notes.append(f"Fewer than {found.centroids.num_wanted} centroids, for want of images: {shown}.")
    return notes


def _centroids_of(found: FoundGroups) -> list[tuple[str, int]]:
    return list(zip(found.grouping.class_names, found.centroids.counts, strict=True))


def _class_means(found: FoundGroups) -> tuple[list[float], list[float]]:
    """Of each class, the mean distance to the rest of its group and to the nearest other group."""
    grouping, distances = found.grouping, found.distances
    members = [list(grouping.members(group)) for group in range(grouping.num_groups)]
    inside, outside = [], []
    for label, own in enumerate(grouping.group_of):
        others = [float(distances[label, group].mean()) for place, group in enumerate(members) if place != own]
        inside.append(float(distances[label, members[own]].sum()) / max(len(members[own]) - 1, 1))
        outside.append(min(others, default=float("nan")))
    return inside, outside


def _index(pair: PairAgreement) -> str:
    if pair.mean is None:
        return "–"
    return f"{pair.mean:.2f}" + (f" ±{pair.std:.2f}" if pair.std is not None else "")


def _table(caption: str) -> Table:
    return Table(
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        show_edge=False,
        caption=Text(caption),
        caption_justify="left",
    )
