"""`distail distill`: make a distilled set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from distail.choices import PreprocessingKind
from distail.cli.options import Compute, Devices, Output, Repeatable, Whole, parse_settings

if TYPE_CHECKING:
    from distail.recipe import Recipe
    from distail.training_images import TrainingImages


def distill(
    source: str,
    /,
    *,
    method: str = "tailor",
    ipc: Annotated[int, Whole] = 10,
    imbalance: float | None = None,
    out: Path | None = None,
    set: Annotated[tuple[str, ...], Repeatable] = (),
    preprocessing: PreprocessingKind = "normalize",
    arch: str = "convnet3",
    holdout: float | None = None,
    image_size: Annotated[int | None, Whole] = None,
    strict: Annotated[bool, Parameter(negative=())] = False,
    experts: Path | None = None,
    seed: Annotated[int, Whole] = 0,
    resume: Annotated[bool, Parameter(negative=())] = False,
    devices: Devices = 1,
    compute: Compute = Compute(),
    output: Output = Output(),
) -> None:
    """Make a tiny balanced training set from SOURCE.

    Parameters
    ----------
    source
        digits, a folder with one folder per class, a .parquet or .npz file, or hf:NAME.
    method
        How to distil; `distail methods` lists them. A module path names a method of your own.
    ipc
        Images per class to make.
    imbalance
        Make the data long-tailed first: factor (100) or its inverse (0.01). Omit to keep the data as they are.
    out
        Folder for the run; runs/SOURCE-METHOD-ipcN when omitted.
    set
        NAME=VALUE of a hyper-parameter of the method; may be repeated.
    preprocessing
        Fitted on the training images and stored with the set.
    arch
        Network that the method trains or samples.
    holdout
        Set this fraction of each class aside for testing first (0.2); for sources without a test split.
    image_size
        Resize images to this many pixels a side; needed where sizes differ.
    strict
        Fail on an unreadable image instead of leaving it out.
    experts
        Folder of experts, for methods that imitate some; missing ones are trained into it. Here in `experts` when
        omitted.
    seed
        Source of all randomness.
    resume
        Go on with the killed run in --out.
    devices
        Devices of this machine to compute on at once, a process each; for methods that imitate experts. They decide
        how long it takes, and not the result.
    """
    from distail.config import parse_config
    from distail.recipe import Recipe

    recipe = parse_config(
        Recipe,
        {
            "data": {
                "source": source,
                "imbalance": imbalance,
                "holdout": holdout,
                "image_size": image_size,
                "strict": strict,
            },
            "method": method,
            "settings": parse_settings(set),
            "images_per_class": ipc,
            "preprocessing": preprocessing,
            "architecture": arch,
            "seed": seed,
            "device": compute.device,
            "precision": compute.precision,
        },
        "distill",
    )
    output.show(make(recipe, out or default_folder(recipe), resume, output, experts, devices))


def make(
    recipe: Recipe,
    out: Path,
    resume: bool,
    output: Output,
    experts: Path | None = None,
    devices: int = 1,
    training: TrainingImages | None = None,
) -> dict[str, Any]:
    """Makes the set, says where it is and what to do next, and returns the facts as JSON values."""
    from distail import devices as several
    from distail.progress import format_seconds
    from distail.run_folder import RunFolder
    from distail.scorable import has_test_images

    progress = output.progress()
    there = RunFolder(out)
    finished = resume and there.is_complete
    distilled = several.distill(
        recipe, devices=devices, out=out, resume=resume, training=training, experts=experts, progress=progress
    )
    facts = distilled.provenance
    counts = facts["class_counts"]
    what = "images" if distilled.mosaic == 1 else f"mosaics of {distilled.mosaic}x{distilled.mosaic} images"
    output.tell(
        f"The run in {out} was finished before; nothing was done."
        if finished
        else f"{sum(counts):,} real images in {distilled.num_classes} classes (largest {max(counts):,}, smallest "
        f"{min(counts):,}) became {len(distilled):,} {what}, {distilled.class_counts[0]} per class, by {recipe.method} "
        f"in {format_seconds(facts['distill_seconds'])}.",
        f"The set is in {out}, its images are drawn in {out / 'images.png'}.",
        f"Next: distail evaluate {out}"
        + ("" if recipe.architecture == "convnet3" else f" --arch {recipe.architecture}")
        + ("" if has_test_images(recipe) else " --test IMAGES, with images that are none of these"),
    )
    return {
        "run": str(out),
        "images": len(distilled),
        "classes": distilled.num_classes,
        "real_images": sum(counts),
        "bytes": distilled.stored_bytes().total,
        "seconds": facts["distill_seconds"],
        "peak_memory_bytes": facts["peak_memory_bytes"],
    }


def default_folder(recipe: Recipe) -> Path:
    """runs/SOURCE-METHOD-ipcN[-ifN][-sN], with only harmless characters."""
    source = Path(recipe.data.source.removeprefix("hf:")).stem
    parts = [source, recipe.method, f"ipc{recipe.images_per_class}"]
    if recipe.data.imbalance:
        parts.append(f"if{recipe.data.imbalance:g}")
    if recipe.seed:
        parts.append(f"s{recipe.seed}")
    return Path("runs") / "".join(c if c.isalnum() or c in "-_." else "_" for c in "-".join(parts))
