"""Brings a bank to what a method needs: trains the experts that are missing, and the missing epochs of others."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor

from distail.experts.bank import ExpertBank, Shelf, shelf_of
from distail.experts.ground import ExpertGround
from distail.experts.sharing import ExpertTask, assist, train_all
from distail.experts.spec import ClassifierSpec, ExpertNeed


def train_experts(
    bank: ExpertBank, ground: ExpertGround, needs: Iterable[ExpertNeed], *, only: range | None = None
) -> None:
    """Trains what the bank lacks. Every epoch is kept as soon as it is done, so a killed call loses at most one.

    What is found instead of trained counts into the bank's `reused_seconds`.

    Processes that need the same experts share them out: each trains one that no other is at, and at the end waits for
    those that others train. Peers share out every batch instead; all of them call this, and the first one writes.

    Args:
        bank: where snapshots go.
        ground: data and network.
        needs: in order; classifier experts bring their representation experts with them.
        only: numbers of the experts to train, to share the work among machines; all when omitted.

    Raises:
        DistailError: a loss is no longer finite, or the disk refuses.
        Claimed: all that is left is being trained by others, and the bank does not wait.
    """
    if not ground.runtime.peers.is_first:
        assist(bank, ground)
        return
    whole = with_bases(needs)
    tasks = [
        ExpertTask(shelf_of(bank, ground, need.spec), need.spec, expert, need.epochs_of(expert), epochs)
        for need, lacking in missing_experts(bank, ground, whole, only=only)
        for expert, epochs in lacking.items()
    ]
    bank.reused_seconds += sum(
        shelf_of(bank, ground, need.spec).seconds(expert, need.epochs_of(expert))
        for need in whole
        for expert in _chosen(need, only)
    )
    train_all(bank, ground, tasks)


def missing_epochs(
    bank: ExpertBank | None, ground: ExpertGround, needs: Iterable[ExpertNeed], *, only: range | None = None
) -> list[tuple[ExpertNeed, int]]:
    """Every need, those of the bases included, with the epochs that a bank lacks of it; None is an empty bank."""
    return [(need, sum(lacking.values())) for need, lacking in missing_experts(bank, ground, needs, only=only)]


def missing_experts(
    bank: ExpertBank | None, ground: ExpertGround, needs: Iterable[ExpertNeed], *, only: range | None = None
) -> list[tuple[ExpertNeed, dict[int, int]]]:
    """Every need, those of the bases included, with the missing epochs of each expert that lacks any, by number."""
    found = []
    for need in with_bases(needs):
        shelf = None if bank is None else bank.find(ground.identity(need.spec))
        there = {expert: max(shelf.num_epochs(expert), 0) if shelf else 0 for expert in _chosen(need, only)}
        lacking = {expert: need.epochs_of(expert) - epochs for expert, epochs in there.items()}
        found.append((need, {expert: epochs for expert, epochs in lacking.items() if epochs > 0}))
    return found


def with_bases(needs: Iterable[ExpertNeed]) -> list[ExpertNeed]:
    """The needs, with the representation experts that classifier experts stand on before them.

    Needs of the same spec become one, as long as two lengths can say what they ask for together.
    """
    whole: list[ExpertNeed] = []
    for need in needs:
        if isinstance(need.spec, ClassifierSpec):
            base = ExpertNeed(spec=need.spec.base, num_experts=need.total, epochs=need.spec.base_epochs)
            whole = _joined(whole, base)
        whole = _joined(whole, need)
    return sorted(whole, key=lambda need: isinstance(need.spec, ClassifierSpec))


def _joined(needs: list[ExpertNeed], new: ExpertNeed) -> list[ExpertNeed]:
    for place, old in enumerate(needs):
        both = _together(old, new) if old.spec == new.spec else None
        if both:
            return [*needs[:place], both, *needs[place + 1 :]]
    return [*needs, new]


def _together(one: ExpertNeed, other: ExpertNeed) -> ExpertNeed | None:
    """What both ask for as one need, or None where that takes more than two lengths."""
    epochs = [max(one.epochs_of(expert), other.epochs_of(expert)) for expert in range(max(one.total, other.total))]
    short, long = min(epochs), max(epochs)
    if set(epochs) - {short, long}:
        return None
    return ExpertNeed(
        spec=one.spec, num_experts=len(epochs), epochs=short, num_long=epochs.count(long), long_epochs=long
    )


def classifier_shelf(bank: ExpertBank, ground: ExpertGround, spec: ClassifierSpec) -> tuple[Shelf, Shelf]:
    """Where the classifier experts are, and the representation experts that they stand on."""
    return shelf_of(bank, ground, spec), shelf_of(bank, ground, spec.base)


def whole_classifier_expert(bases: Shelf, classifiers: Shelf, spec: ClassifierSpec, expert: int, epoch: int) -> Tensor:
    """All parameters of a classifier expert after an epoch: the frozen backbone, then the classifier."""
    parameters = bases.snapshot(expert, spec.base_epochs).clone()
    classifier = classifiers.snapshot(expert, epoch)
    parameters[-len(classifier) :] = classifier
    return parameters


def _chosen(need: ExpertNeed, only: range | None) -> list[int]:
    return [expert for expert in range(need.total) if only is None or expert in only]
