"""`distail experts`: train the networks that methods imitate, and list those that exist."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import App, Parameter

from distail.cli.options import Compute, Output, Repeatable, Whole, parse_settings
from distail.errors import DistailError

experts = App(name="experts", help="Train or list the networks whose training some methods imitate.")


@experts.command
def train(
    source: str,
    /,
    *,
    for_: Annotated[str, Parameter(name="--for")] = "lad",
    set: Annotated[tuple[str, ...], Repeatable] = (),
    imbalance: float | None = None,
    preprocessing: Literal["none", "normalize", "zca"] = "normalize",
    arch: str = "convnet3",
    holdout: float | None = None,
    image_size: Annotated[int | None, Whole] = None,
    strict: Annotated[bool, Parameter(negative=())] = False,
    experts: Path | None = None,
    only: str | None = None,
    epochs: Annotated[int | None, Whole] = None,
    compute: Compute = Compute(),
    output: Output = Output(),
) -> None:
    """Train all experts that a method needs on SOURCE, or go on where an earlier call stopped.

    `distail distill` trains missing experts by itself; this does it ahead of time, or shared among machines.

    Parameters
    ----------
    source
        digits, a folder with one folder per class, a .parquet or .npz file, or hf:NAME.
    for_
        Method that will use them.
    set
        NAME=VALUE of a hyper-parameter of the method, as for distill; may be repeated.
    imbalance
        Make the data long-tailed first: factor (100) or its inverse (0.01). Omit to keep the data as they are.
    preprocessing
        As it will be when distilling.
    arch
        Network of the experts.
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
    """
    from distail.experts.bank import ExpertBank
    from distail.experts.school import missing_epochs, train_experts
    from distail.methods._registry import build_method
    from distail.models.architecture import check_architecture
    from distail.pipeline import pose
    from distail.recipe import DataRecipe, Recipe

    method = build_method(for_, parse_settings(set))
    needs = [need.lasting(epochs or 0) for need in method.expert_needs()]
    if not needs:
        raise DistailError(f"Method '{for_}' uses no experts. Distil with it at once: distail distill {source}.")
    check_architecture(arch)
    chosen = None if only is None else _range(only, max(need.total for need in needs))
    progress = output.progress()
    data = DataRecipe(source=source, imbalance=imbalance, holdout=holdout, image_size=image_size, strict=strict)
    recipe = Recipe(
        data=data, preprocessing=preprocessing, architecture=arch, device=compute.device, precision=compute.precision
    )
    bank = ExpertBank(experts)
    ground = pose(recipe, progress=progress).ground
    missing = sum(epochs for _, epochs in missing_epochs(bank, ground, needs, only=chosen))
    train_experts(bank, ground, needs, only=chosen)
    which = f"all experts that {for_} needs" if only is None else f"experts {only} of those that {for_} needs"
    output.show(
        {"experts": str(bank.path), "trained_epochs": missing},
        f"Trained {missing:,} epochs; {which} are in {bank.path}."
        if missing
        else f"{which[0].upper()}{which[1:]} were already in {bank.path}.",
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
    from distail.report.experts import experts_table

    bank = ExpertBank(experts)
    needs = {name: find_method(name)().expert_needs() for name in method_names()}
    entries = inventory(bank, {name: [need.spec for need in of_method] for name, of_method in needs.items()})
    rows: list[dict[str, Any]] = [entry.to_json() for entry in entries]
    readable = experts_table(entries) if entries else f"There are no experts in {bank.path}."
    output.show({"experts": str(bank.path), "kinds": rows}, readable)


def _range(text: str, num_experts: int) -> range:
    first, sign, last = text.partition("-")
    if not first.isdecimal() or (sign and not last.isdecimal()) or (sign and int(last) < int(first)):
        raise DistailError(f"--only {text} names no experts. Write the first and the last number, such as --only 0-24.")
    if int(first) >= num_experts:
        raise DistailError(
            f"--only {text} names no experts: the method needs {num_experts}. Choose from 0-{num_experts - 1}."
        )
    return range(int(first), int(last or first) + 1)
