"""`distail experts`: train the networks that methods imitate, and list those that exist."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from distail.choices import PreprocessingKind
from distail.cli.options import Compute, Devices, Output, Repeatable, Whole, asked_recipe, parse_settings
from distail.errors import DistailError, counted

if TYPE_CHECKING:
    from distail.experts.bank import ExpertBank
    from distail.experts.spec import ExpertNeed
    from distail.recipe import Recipe

_METHOD = "lad"
"""Whose experts are trained where neither a method nor a recipe is named."""
_FLAGS = {"method": "--for", "architecture": "--arch", "image_size": "--image-size"}
"""Flags that are not called like what they decide in a recipe."""

experts = App(name="experts", help="Train or list the networks whose training some methods imitate.")


@experts.command
def train(
    source: str | None = None,
    /,
    *,
    recipe: str | None = None,
    for_: Annotated[str | None, Parameter(name="--for")] = None,
    set: Annotated[tuple[str, ...], Repeatable] = (),
    imbalance: float | None = None,
    preprocessing: PreprocessingKind | None = None,
    arch: str | None = None,
    holdout: float | None = None,
    image_size: Annotated[int | None, Whole] = None,
    strict: Annotated[bool, Parameter(negative=())] = False,
    experts: Path | None = None,
    only: str | None = None,
    epochs: Annotated[int | None, Whole] = None,
    devices: Devices = 1,
    compute: Compute = Compute(),
    output: Output = Output(),
) -> None:
    """Train all experts that a method needs on SOURCE, or go on where an earlier call stopped.

    `distail distill` and `distail run` do so by themselves; this does it ahead of time, or shared among machines.

    Parameters
    ----------
    source
        digits, a folder with one folder per class, a .parquet or .npz file, or hf:NAME; that of --recipe when omitted.
    recipe
        Train those that `distail run RECIPE` uses: a YAML file, or a name that `distail recipes` lists. It takes the
        place of all flags that describe data, method, network and device; --set and SOURCE still change it.
    for_
        Method that will use them; lad when omitted.
    set
        NAME=VALUE of a hyper-parameter of the method, as for distill and run; may be repeated.
    imbalance
        Make the data long-tailed first: factor (100) or its inverse (0.01). Omit to keep the data as they are.
    preprocessing
        As it will be when distilling; normalize when omitted.
    arch
        Network of the experts; convnet3 when omitted.
    holdout
        Fraction of each class set aside for testing, as it will be when distilling.
    image_size
        Resize images to this many pixels a side.
    strict
        Fail on an unreadable image instead of leaving it out.
    experts
        Folder of the bank; `experts` here when omitted.
    only
        FIRST-LAST of the experts to train, such as 0-24, to share the work among machines; all when omitted.
    epochs
        Train every representation expert for at least so many epochs, beyond those that the method can use.
    devices
        Devices of this machine that share every batch, a process each. For many experts, start the same command
        several times instead: each trains other experts.
    """
    from distail.experts.bank import ExpertBank
    from distail.methods._registry import build_method
    from distail.models.architecture import check_architecture

    data = _given(imbalance=imbalance, holdout=holdout, image_size=image_size, strict=strict or None)
    how = _given(
        method=for_,
        preprocessing=preprocessing,
        architecture=arch,
        device=None if compute.device == "auto" else compute.device,
        precision=None if compute.precision == "auto" else compute.precision,
    )
    if recipe is None:
        asked = _from_flags(source, set, data, how)
    else:
        asked = _from_recipe(recipe, source, set, given={**how, **data})
    needs = [need.lasting(epochs or 0) for need in build_method(asked.method, asked.settings).expert_needs()]
    if not needs:
        instead = f"distail distill {source}" if recipe is None else f"distail run {recipe}"
        raise DistailError(f"Method '{asked.method}' uses no experts. Distil with it at once: {instead}.")
    check_architecture(asked.architecture)
    total = max(need.total for need in needs)
    chosen = None if only is None else _range(only, total)
    bank = ExpertBank(experts)
    missing = _train_missing(asked, bank, needs, chosen, devices, output)
    which, one = _experts_of(asked.method, chosen), chosen is not None and len(chosen) == 1
    output.show(
        {"experts": str(bank.path), "trained_epochs": sum(missing)},
        f"Trained {counted(sum(missing), 'epoch')}; {which} {'is' if one else 'are'} in {bank.path}."
        if missing
        else f"{which[0].upper()}{which[1:]} {'was' if one else 'were'} already in {bank.path}.",
    )


@experts.command(name="list")
def list_(*, experts: Path | None = None, output: Output = Output()) -> None:
    """List the experts that exist, their size, and which methods can use them.

    Parameters
    ----------
    experts
        Folder of the bank; `experts` here when omitted.
    """
    from distail.experts.bank import ExpertBank
    from distail.experts.inventory import inventory
    from distail.methods._registry import find_method, method_names
    from distail.report.experts import experts_note, experts_table

    bank = ExpertBank(experts)
    needs = {name: find_method(name)().expert_needs() for name in method_names()}
    entries = inventory(bank, {name: [need.spec for need in of_method] for name, of_method in needs.items()})
    rows: list[dict[str, Any]] = [entry.to_json() for entry in entries]
    readable = (
        [experts_table(entries), *experts_note(entries)] if entries else [f"There are no experts in {bank.path}."]
    )
    output.show({"experts": str(bank.path), "kinds": rows}, *readable)


def _train_missing(
    asked: Recipe, bank: ExpertBank, needs: list[ExpertNeed], chosen: range | None, devices: int, output: Output
) -> list[int]:
    """Says what is missing and trains it; returns the missing epochs of each expert that lacks any."""
    from distail import devices as several
    from distail.experts.school import missing_experts, train_experts
    from distail.peers.launching import require_devices
    from distail.pipeline import pose, resolved

    bank.require_folder()
    if devices != 1:
        require_devices(devices, resolved(asked).device)
    ground = pose(asked, progress=output.progress()).ground
    missing = [n for _, lacking in missing_experts(bank, ground, needs, only=chosen) for n in lacking.values()]
    output.tell(_plan(missing))
    if devices == 1:
        train_experts(bank, ground, needs, only=chosen)
    elif missing:
        several.train_experts(asked, needs, devices=devices, experts=bank.path, only=chosen, progress=output.progress())
    return missing


def _given(**values: Any) -> dict[str, Any]:
    """Those that a flag was given for."""
    return {name: value for name, value in values.items() if value is not None}


def _from_flags(source: str | None, settings: tuple[str, ...], data: dict[str, Any], how: dict[str, Any]) -> Recipe:
    """What the flags describe; the recipe's own defaults where there is none."""
    from distail.config import parse_config
    from distail.recipe import Recipe

    if source is None:
        raise DistailError(
            "No data to train experts on. Name a source, such as `distail experts train digits`, or a recipe with "
            "--recipe."
        )
    values = {"method": _METHOD, **how, "settings": parse_settings(settings), "data": {"source": source, **data}}
    return parse_config(Recipe, values, "experts train")


def _from_recipe(recipe: str, source: str | None, settings: tuple[str, ...], given: dict[str, Any]) -> Recipe:
    """What the recipe says, on that source and with those settings, as `distail run` would read it."""
    if given:
        flags = ", ".join(_FLAGS.get(name, f"--{name}") for name in given)
        raise DistailError(
            f"--recipe {recipe} decides what {flags} would, so that the experts are those of `distail run`. Leave the "
            "flags out, or change a copy of the recipe and name that."
        )
    return asked_recipe(recipe, source=source, settings=settings)[0]


def _plan(missing: list[int]) -> str:
    """What will be trained, from the missing epochs of each expert that lacks any."""
    if not missing:
        return "No epochs are missing: nothing will be trained."
    return f"Missing, and trained now: {counted(sum(missing), 'epoch')} of {counted(len(missing), 'expert')}."


def _range(text: str, num_experts: int) -> range:
    first, sign, last = text.partition("-")
    if not first.isdecimal() or (sign and not last.isdecimal()) or (sign and int(last) < int(first)):
        raise DistailError(f"--only {text} names no experts. Write the first and the last number, such as --only 0-24.")
    if int(first) >= num_experts:
        raise DistailError(
            f"--only {text} names no experts: the method needs {num_experts}. Choose from 0-{num_experts - 1}."
        )
    return range(int(first), min(int(last or first) + 1, num_experts))


def _experts_of(method: str, chosen: range | None) -> str:
    """'experts 0-24 of those that lad needs'."""
    if chosen is None:
        return f"all experts that {method} needs"
    which = f"expert {chosen[0]}" if len(chosen) == 1 else f"experts {chosen[0]}-{chosen[-1]}"
    return f"{which} of those that {method} needs"
