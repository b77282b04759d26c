"""`distail baseline`: a long-tailed classifier without distilling."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from distail.choices import PreprocessingKind
from distail.cli.options import Compute, Output, Repeatable, Whole, parse_settings, require_place

if TYPE_CHECKING:
    from rich.console import RenderableType

    from distail.evaluation.baseline import BaselineResult
    from distail.evaluation.recipe import BaselineRecipe


def baseline(
    source: str,
    /,
    *,
    method: str = "balanced_softmax",
    imbalance: float | None = None,
    holdout: float | None = None,
    image_size: Annotated[int | None, Whole] = None,
    test: str | None = None,
    arch: str = "convnet3",
    seeds: Annotated[int, Whole] = 3,
    set: Annotated[tuple[str, ...], Repeatable] = (),
    epochs: Annotated[int | None, Whole] = None,
    batch_size: Annotated[int | None, Whole] = None,
    lr: float | None = None,
    schedule: Literal["step", "cosine", "constant"] | None = None,
    augmentation: str | None = None,
    preprocessing: PreprocessingKind = "normalize",
    networks: Path | None = None,
    save: Path | None = None,
    out: Path | None = None,
    compute: Compute = Compute(),
    output: Output = Output(),
) -> None:
    """Train on all the long-tailed images of SOURCE, and test on held-out ones: what distilling is up against.

    Parameters
    ----------
    source
        digits, a folder with one folder per class, a .parquet or .npz file, or hf:NAME.
    method
        How to train; `distail baselines` lists them. A module path names one of your own.
    imbalance
        Make the data long-tailed first: factor (100) or its inverse (0.01). Omit to keep the data as they are.
    holdout
        Set this fraction of each class aside for testing first (0.2); for sources without a test split.
    image_size
        Resize images to this many pixels a side; needed where sizes differ.
    test
        Source of the test images; the test split of SOURCE when omitted.
    arch
        Network to train.
    seeds
        Networks to train.
    set
        NAME=VALUE of a hyper-parameter of the method; may be repeated.
    epochs
        Passes over the images; the method's own number, 200, when omitted.
    batch_size
        Images a step; 64 or 128, by method, when omitted.
    lr
        Largest step size; 0.01 when omitted, while papers on ResNets take 0.1.
    schedule
        step: a tenth in the second half; cosine: to zero, the default; constant.
    augmentation
        DSA operations joined by '_', of which each batch gets one; rand or rand-2-9, RandAugment; '+' between such
        parts; or 'none'. crop_flip when omitted.
    preprocessing
        Fitted on the training images and stored with the network.
    networks
        Folder to keep trained networks in, also the plain ones with which many methods begin; those that are there are
        not trained again.
    save
        File for the network of seed 0 (.safetensors), which `distail evaluate --teacher` takes.
    out
        File for the result as JSON, with a .txt beside it.
    """
    from distail.config import parse_config
    from distail.recipe import DataRecipe

    training = {"epochs": epochs, "batch_size": batch_size, "learning_rate": lr, "schedule": schedule}
    recipe = _recipe(
        {"method": method, "architecture": arch, "seeds": seeds, "preprocessing": preprocessing},
        parse_settings(set),
        {**training, "augmentation": augmentation},
    )
    place = {"source": source, "imbalance": imbalance, "holdout": holdout, "image_size": image_size}
    data = parse_config(DataRecipe, place, "baseline")
    from distail.artifact import require_free
    from distail.full_data import run_baseline

    require_place(out)
    if save:
        require_free(save)
    result = run_baseline(
        data,
        recipe,
        test=test,
        device=compute.device,
        precision=compute.precision,
        networks=networks,
        progress=output.progress(),
    )
    _show(result, save, out, output)


def _show(result: BaselineResult, save: Path | None, out: Path | None, output: Output) -> None:
    """Writes what is to be kept, and prints the result, also where a full disk refused it."""
    from distail.artifact import write_text
    from distail.models.saved import save_network
    from distail.report.baseline import baseline_notes
    from distail.report.evaluation import evaluation_tables, render_text

    parts: list[RenderableType] = [*evaluation_tables(result.evaluation), *baseline_notes(result.evaluation)]
    kept: list[str] = []
    try:
        if out:
            result.evaluation.save(out)
            write_text(out.with_suffix(".txt"), render_text(parts))
            kept.append(f"Saved in {out}, and as text beside it.")
        if save:
            save_network(save, result.networks[0])
            kept.append(f"The network of seed 0 is saved in {save}.")
    finally:
        output.show(result.evaluation.to_json(), *parts, *kept)


def _recipe(parts: dict[str, Any], settings: dict[str, Any], training: dict[str, Any]) -> BaselineRecipe:
    """The recipe; how networks are trained is left to the method where nothing is said."""
    from distail.config import parse_config
    from distail.evaluation.recipe import BaselineRecipe

    given = {name: value for name, value in training.items() if value is not None}
    return parse_config(BaselineRecipe, {**parts, "settings": settings, "train": given}, "baseline")
