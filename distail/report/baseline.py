"""What a reader must know beside a baseline's scores."""

from __future__ import annotations

from distail.errors import counted
from distail.evaluation.result import Evaluation
from distail.progress import format_seconds
from distail.report.evaluation import OPTIMIZERS, about_leaked, about_reused, about_test_images


def baseline_notes(result: Evaluation) -> list[str]:
    """Training, choice of settings, test images, time."""
    first, facts = result.students[0], result.provenance
    how = facts["train"]
    optimizer = OPTIMIZERS[how["optimizer"]]
    notes = [
        f"{first.subject} ({facts['paper']}), trained on {first.num_images:,} of {facts['train_images']:,} images.",
        f"Each network: {counted(first.epochs, 'epoch')}, last epoch, batch {how['batch_size']}, {optimizer} "
        f"learning rate {how['learning_rate']:g} ({how['schedule']}), weight decay {how['weight_decay']:g}, "
        f"augmentation {how['augmentation']}, {facts['precision']} on {facts['device']}.",
    ]
    if second := facts["second_stage"]:
        notes.append(
            f"After that the classifier alone: {counted(second['epochs'], 'epoch')}, {second['draws']}, learning rate "
            f"{second['learning_rate']:g} ({second['schedule']}), weight decay {second['weight_decay']:g}."
        )
    if any(facts["chosen"]):
        values = [", ".join(f"{name} {value:g}" for name, value in one.items()) for one in facts["chosen"]]
        learned = "after that on all images" if first.num_images == facts["train_images"] else "and never on these"
        notes.append(
            f"Chosen by balanced accuracy on a tenth of each class' training images: {'; '.join(values)} (by seed). "
            f"The networks were trained on the others, {learned}."
        )
    if len(result.students) > 1:
        notes.append("± is the sample standard deviation over networks with other seeds.")
    notes += about_reused(result)
    notes += about_test_images(result, first)
    notes += about_leaked(result, "the training images")
    seconds = [student.train_seconds for student in result.students]
    notes.append(f"Training took {format_seconds(sum(seconds) / len(seconds))} a network.")
    return notes
