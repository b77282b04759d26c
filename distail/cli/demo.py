"""`distail demo`: the main job on built-in data, in about a minute."""

from __future__ import annotations

from pathlib import Path

from distail.cli.options import Output

RECIPE = {
    "data": {"source": "digits", "imbalance": 50.0},
    "method": "lad",
    # Step sizes and experts were picked on images held out of the training split. Depth, images per class and how
    # students train were first compared on the test split, so this is an illustration and no evidence.
    "settings": {
        "iterations": 30,
        "steps": 10,
        "classifier_steps": 10,
        "image_lr": 1.0,
        "label_lr": 0.2,
        "num_experts": 3,
        "num_label_experts": 2,
        "max_start_epoch": 10,
        "expert_epochs": 60,
        "experts": {
            "learning_rate": 0.02,
            "batch_size": 32,
            "weight_decay": 5e-3,
            "gsam_rho": 0.01,
            "gsam_alpha": 0.3,
        },
        "classifier_experts": {"batch_size": 32},
    },
    "images_per_class": 3,
    "architecture": "convnet2",
    "precision": "fp32",
    "evaluation": {
        "architectures": ["convnet2"],
        "seeds": 3,
        "references": ["random", "full"],
        "train": {"epochs": 300, "learning_rate": 0.05, "batch_size": 64},
        # 6 steps an epoch instead of 1, so this is still more steps than on the distilled set.
        "full_epochs": 60,
    },
}


def demo(*, out: Path | None = None, output: Output = Output()) -> None:
    """Make scikit-learn's digits long-tailed, distil them, and compare with random images and with all data.

    Parameters
    ----------
    out
        Folder for the run and the picture; runs/demo when omitted, or runs/demo-2 and so on where that exists.
    """
    import time

    import torch

    from distail import pipeline, scoring
    from distail.artifact import write_text
    from distail.config import parse_config
    from distail.data.image_set import ImageSet
    from distail.evaluation.recipe import EvaluationRecipe
    from distail.progress import format_seconds
    from distail.recipe import Recipe
    from distail.report.evaluation import evaluation_notes, evaluation_tables, render_text, subject_title
    from distail.report.picture import demo_picture
    from distail.report.terminal import class_count_bars
    from distail.run_folder import RunFolder, unused_path
    from distail.training_images import load_training_images

    # Images of 8x8 pixels are too small to share among threads: a second one only waits, and long on a busy machine.
    torch.set_num_threads(1)
    begun = time.perf_counter()
    folder = RunFolder(out or unused_path(Path("runs/demo")))
    recipe = parse_config(Recipe, RECIPE, "demo")
    evaluation = recipe.evaluation or EvaluationRecipe()
    progress = output.progress()

    train: ImageSet = load_training_images(recipe.data).images
    output.tell(
        f"1. scikit-learn's digits, made long-tailed: {len(train)} images of 8x8 pixels.",
        class_count_bars(train.class_names, train.class_counts, width=70),
        f"2. Training experts and distilling to {recipe.images_per_class} synthetic images per class "
        f"({recipe.method}), then training networks on these, on as many random real images, and on all of them.",
    )
    distilled = pipeline.distill(recipe, out=folder.path, experts=folder.path / "experts", progress=progress)
    result = scoring.score(distilled, evaluation, precision="fp32", progress=progress)

    summaries = {subject: result.summary(subject)["accuracy"] for subject, _ in result.groups}
    bars = [(subject_title(name, distilled), value.mean, value.std) for name, value in summaries.items()]
    demo_picture(distilled, bars, folder.path / "demo.png")
    result.save(folder.evaluation)
    tables, notes = evaluation_tables(result, distilled), evaluation_notes(result, distilled, evaluation)
    write_text(folder.evaluation.with_suffix(".txt"), render_text([*tables, *notes]))
    output.show(
        {"run": str(folder.path), "seconds": time.perf_counter() - begun, **result.to_json()},
        f"3. Scores on {result.provenance['test']['images']} test images that no network here was trained on. "
        "Some of the demo's settings were picked with these images in sight, so take the numbers as an illustration.",
        *tables,
        *notes,
        f"Done in {format_seconds(time.perf_counter() - begun)}. Pictures: {folder.path / 'demo.png'} and "
        f"{folder.picture}; everything else of the run is in {folder.path}.",
    )
