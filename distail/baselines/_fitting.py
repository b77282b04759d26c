"""Whole baselines, trained or found where they were kept: the one way in which `fit` of a baseline is called.

A network is named by a hash of all that decides it. One whose training was interrupted goes on from its last state,
which is kept once a minute; later stages begin anew.
"""

from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import Any

from distail.artifact import identity_hash, tensors_digest
from distail.baselines._baseline import Baseline
from distail.baselines._task import Fitted, Task, with_validation
from distail.learn.kept import KeptNetworks, training_identity
from distail.models.saved import SavedNetwork
from distail.plugins import source_hash
from distail.training.state import History

FORMAT = 1
"""Raised when a built-in baseline makes another network of the same settings, so that no old one is taken for it."""


def fit(name: str, baseline: Baseline, task: Task, kept: KeptNetworks | None = None) -> Fitted:
    """The network of a baseline, trained, or found where it was kept; its provenance says where it comes from.

    A found one differs from the one that was trained in `reused_seconds` alone, which are then all its `seconds`.
    A baseline that chooses a setting holds a tenth of each class out for it.

    Args:
        name: what `build_baseline` built `baseline` from.
        task: with nothing held out.
        kept: where the network is taken from if it is there, and kept if not; it is trained every time when None.

    Raises:
        DistailError: a class with a single image where some must be held out; training diverges; or a kept file is
            damaged.
        Claimed: another process trains it, and `kept` does not wait.
    """
    if kept is None:
        return _trained(name, baseline, task)
    key, what = fit_key(name, baseline, task), f"training {task.architecture} by {name}, seed {task.seed}"
    with kept.find_or_claim(key, task.runtime, what, task.progress) as found:
        if found:
            return _with_origin(_as_fitted(found, kept, key, task), name, baseline, task)
        checkpoint = kept.checkpoint(key)
        fitted = _trained(name, baseline, replace(task, checkpoint=checkpoint))
        fitted = replace(fitted, seconds=checkpoint.seconds + fitted.reused_seconds)
        kept.keep(key, fitted.saved, fitted.history, fitted.seconds, task.runtime)
        return fitted


def _trained(name: str, baseline: Baseline, task: Task) -> Fitted:
    begun = time.perf_counter()
    fitted = baseline.fit(with_validation(task) if baseline.needs_validation else task)
    seconds = time.perf_counter() - begun + fitted.reused_seconds
    return _with_origin(replace(fitted, seconds=seconds), name, baseline, task)


def fit_key(name: str, baseline: Baseline, task: Task) -> str:
    """Names what `fit` makes by all that decides it."""
    assert task.validation is None, "what is held out is up to the baseline and the seed, and no part of the name"
    given, preprocessing = task.given_preprocessing, str(task.preprocessing_kind)
    if given:
        preprocessing = tensors_digest(given.to_tensors(), json.dumps(given.header()))
    identity = {
        "fitting": FORMAT,
        "data": task.everything.content_hash,
        "preprocessing": preprocessing,
        "baseline": name,
        "baseline_sha256": source_hash(name),
        "settings": baseline.model_dump(mode="json"),
    }
    return identity_hash({**identity, **training_identity(task.architecture, task.recipe, task.seed, task.runtime)})


def _as_fitted(found: tuple[SavedNetwork, History, float], kept: KeptNetworks, key: str, task: Task) -> Fitted:
    """What was found under a key."""
    saved, history, seconds = found
    facts = saved.provenance
    try:
        num_images, chosen, second_stage = int(facts["num_images"]), dict(facts["chosen"]), facts["second_stage"]
    except (KeyError, TypeError, ValueError) as error:
        raise kept.unreadable(key, error) from None
    # A fitted preprocessing is the file's: which images it was fitted on is up to the baseline.
    saved = replace(saved, preprocessing=task.given_preprocessing or saved.preprocessing)
    return Fitted(
        saved, history, num_images, chosen, reused_seconds=seconds, second_stage=second_stage, seconds=seconds
    )


def _with_origin(fitted: Fitted, name: str, baseline: Baseline, task: Task) -> Fitted:
    """The same with a network that says where it comes from."""
    origin: dict[str, Any] = {
        "trained on": task.everything.origin,
        "data_sha256": task.everything.content_hash,
        "num_images": fitted.num_images,
        "baseline": name,
        "settings": baseline.model_dump(mode="json"),
        "chosen": fitted.chosen,
        "second_stage": fitted.second_stage,
    }
    saved = fitted.saved
    return replace(fitted, saved=replace(saved, provenance={**saved.provenance, **origin}))
