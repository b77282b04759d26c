"""One job on several devices of this machine: a process for each, which share out experts and batches.

How many there are decides how long it takes, and the result only to the last bits, in which sums differ.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from distail import pipeline
from distail.distilled import DistilledSet, load_distilled
from distail.errors import DistailError
from distail.experts import school
from distail.experts.bank import ExpertBank
from distail.experts.spec import ExpertNeed
from distail.matching.settings import MatchingSettings
from distail.methods._method import Method
from distail.methods._registry import build_method
from distail.peers import Peers, launch, relayed
from distail.peers.launching import require_devices
from distail.progress import Progress, SilentProgress
from distail.recipe import Recipe
from distail.run_folder import RunFolder
from distail.training_images import TrainingImages


def distill(
    recipe: Recipe,
    *,
    devices: int = 1,
    out: str | Path | None = None,
    resume: bool = False,
    training: TrainingImages | None = None,
    experts: str | Path | None = None,
    progress: Progress | None = None,
) -> DistilledSet:
    """As `pipeline.distill`, on several devices where `devices` is above 1.

    Missing experts are trained one after the other, every batch shared out; in each iteration, the experts that are
    matched are shared out. A run may be resumed with another number of devices.

    Args:
        recipe, out, resume, training, experts: see there.
        devices: how many, each with a process of its own.
        progress: shows what one of them reports, from a thread of this process.

    Raises:
        DistailError: bad input of any kind; the method cannot share its work out, or matches fewer experts in an
            iteration than there are devices; the package for it is not installed; a process was killed.
    """
    progress = progress or SilentProgress()
    if devices == 1 or _is_finished(out, resume=resume, training=training):
        return pipeline.distill(recipe, out=out, resume=resume, training=training, experts=experts, progress=progress)
    method = require_ready(recipe, devices=devices, out=out, resume=resume)
    _tell_of_idle(method, devices, progress)
    recipe = pipeline.resolved(recipe)
    with tempfile.TemporaryDirectory(prefix="distail-run-") as scratch:
        folder = Path(scratch) / "run" if out is None else Path(out)
        if experts is None and out is None:
            experts = Path(scratch) / "experts"
        with relayed(progress) as shown:
            work = partial(
                _distill, recipe=recipe, out=folder, resume=resume, training=training, experts=experts, progress=shown
            )
            launch(work, devices, recipe.device)
        return load_distilled(folder)


def require_ready(recipe: Recipe, *, devices: int, out: str | Path | None, resume: bool) -> Method:
    """The recipe's method; refuses, before any image is read, what `distill` would refuse whatever the images are.

    Args:
        recipe, devices, out, resume: as of `distill`.

    Raises:
        DistailError: as of `distill`.
    """
    method = pipeline.require_sound(recipe)
    recipe = pipeline.resolved(recipe)
    if devices != 1:
        require_devices(devices, recipe.device)
        _require_work_for(devices, method, recipe.method)
    if out is not None:
        RunFolder(out).require_usable(recipe, resume=resume, more_iterations=method.iterations_stand_alone)
    return method


def train_experts(
    recipe: Recipe,
    needs: Sequence[ExpertNeed],
    *,
    devices: int,
    experts: str | Path | None = None,
    only: range | None = None,
    progress: Progress | None = None,
) -> None:
    """Trains what a bank lacks on several devices, which share out every batch.

    Args:
        recipe: says which data, preprocessing, network and hardware.
        needs: of its method.
        devices: how many, each with a process of its own.
        experts: folder of the bank; `experts` here when omitted.
        only: numbers of the experts to train; all when omitted.
        progress: shows what one of them reports, from a thread of this process.

    Raises:
        DistailError: training diverges, or as `distill`.
    """
    recipe = pipeline.resolved(recipe)
    with relayed(progress or SilentProgress()) as shown:
        work = partial(_train, recipe=recipe, needs=needs, experts=experts, only=only, progress=shown)
        launch(work, devices, recipe.device)


def _distill(
    peers: Peers,
    *,
    recipe: Recipe,
    out: Path,
    resume: bool,
    training: TrainingImages | None,
    experts: str | Path | None,
    progress: Progress | None,
) -> None:
    """What each process does for `distill`."""
    if not peers.is_first:
        pipeline.assist(recipe, peers, training=training, experts=experts)
        return
    pipeline.distill(recipe, out=out, resume=resume, training=training, experts=experts, progress=progress, peers=peers)


def _train(
    peers: Peers,
    *,
    recipe: Recipe,
    needs: Sequence[ExpertNeed],
    experts: str | Path | None,
    only: range | None,
    progress: Progress | None,
) -> None:
    """What each process does for `train_experts`."""
    ground = pipeline.pose(recipe, progress=progress if peers.is_first else None, peers=peers).ground
    school.train_experts(ExpertBank(experts), ground, needs, only=only)


def can_share(recipe: Recipe, devices: int) -> bool:
    """Whether making the set of a recipe would keep so many devices busy, or rather all but for some last turns.

    Raises:
        DistailError: the method or a setting of it is not known.
    """
    method = build_method(recipe.method, recipe.settings)
    return method.shares_devices and _turns(method, devices) >= devices


def _is_finished(out: str | Path | None, *, resume: bool, training: TrainingImages | None) -> bool:
    """Whether there is nothing to do, and so nothing to share out."""
    return out is not None and resume and training is None and RunFolder(out).is_complete


def _turns(method: Method, devices: int) -> int:
    """What devices share in an iteration; as many as there are where a method of somebody's own knows what it does."""
    return method.experts_per_iteration if isinstance(method, MatchingSettings) else devices


def _require_work_for(devices: int, method: Method, name: str) -> None:
    """Refuses devices that would be idle for most of the time."""
    if not method.shares_devices:
        raise DistailError(
            f"Method '{name}' runs on one device, so --devices {devices} would leave others idle. Leave --devices out; "
            "to use them all, give each a run of its own, such as another --seed."
        )
    turns = _turns(method, devices)
    if turns < devices:
        raise DistailError(
            f"{name} matches {turns} expert{'s' if turns > 1 else ''} in an iteration, so of --devices {devices} some "
            f"would be idle. Pass --set experts_per_iteration={devices} to average the gradients of so many, which "
            "makes another set than the published one; or train experts with `distail experts train --devices "
            f"{devices}`, and leave --devices out here."
        )


def _tell_of_idle(method: Method, devices: int, progress: Progress) -> None:
    """Names devices that would be idle for some of the time."""
    turns = _turns(method, devices)
    if turns % devices:
        progress.say(
            f"{turns} experts an iteration on {devices} devices: some are idle while others match their last one. "
            f"A multiple of {devices} in experts_per_iteration would keep all busy."
        )
