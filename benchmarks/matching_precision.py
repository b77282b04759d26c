"""Errors of the engine's gradients in fp32 and bf16 against the oracle in fp64; writes a small JSON.

    python benchmarks/matching_precision.py

LAD's two phases and MTT's exact gradient: ConvNet-3, 100 images of 32x32, 8 full-batch steps, random values.
"""

import torch
from page_parts import RESULTS

from distail.artifact import write_json
from distail.data.augment import DSA
from distail.matching import (
    FlatNetwork,
    InnerLoop,
    InnerLoss,
    MatchingGradients,
    Steps,
    match_classifier,
    match_classifier_plainly,
    match_trajectory,
    match_trajectory_plainly,
)
from distail.models import build_network
from distail.provenance import environment
from distail.runtime import Runtime, resolve_runtime
from distail.seeding import torch_generator

COUNTS = (5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50)
IMAGE = (3, 32, 32)
NUM_IMAGES, NUM_STEPS = 100, 8
CASES = {
    "LAD, phase 1": (match_trajectory, match_trajectory_plainly, {"matched": "backbone"}),
    "LAD, phase 2": (match_classifier, match_classifier_plainly, {}),
    "MTT": (match_trajectory, match_trajectory_plainly, {"unrolled": True}),
}
PRECISIONS = {"fp64": (torch.float64, "fp32"), "fp32": (torch.float32, "fp32"), "bf16": (torch.float32, "bf16")}


def main() -> None:
    """Measures every case and writes the result."""
    rows = []
    for case, (engine, oracle, options) in CASES.items():
        truth = _match(oracle, case, "fp64", options)
        for name, match in (("engine", engine), ("oracle", oracle)):
            for precision in PRECISIONS:
                if (name, precision) == ("oracle", "fp64"):
                    continue
                found = _match(match, case, precision, options)
                rows.append({"case": case, "who": name, "precision": precision, **_errors(found, truth)})
                print(rows[-1], flush=True)
    write_json(
        RESULTS / "matching_precision.json",
        {"steps": NUM_STEPS, "images": NUM_IMAGES, "rows": rows, **environment(resolve_runtime("cpu"))},
    )


def _match(match, case: str, precision: str, options: dict[str, object]) -> MatchingGradients:
    dtype, convolutions = PRECISIONS[precision]
    built = build_network("convnet3", IMAGE, 10, seed=0).to(dtype)
    network = FlatNetwork(built, Runtime("cpu", convolutions))
    generator, augment = torch_generator(0, "benchmark"), DSA()
    images = torch.randn(NUM_IMAGES, *IMAGE, generator=generator).to(dtype)
    labels = torch.randn(NUM_IMAGES, 10, generator=generator).to(dtype)
    start = torch.cat([parameter.detach().flatten() for parameter in built.parameters()])
    target = start + (0.01 * torch.randn(len(start), generator=generator)).to(dtype)
    if case == "LAD, phase 2":
        target = torch.cat([start[: network.classifier_start], target[network.classifier_start :]])
    loss = InnerLoss.distribution_agnostic(COUNTS) if case == "LAD, phase 1" else InnerLoss.plain()
    steps = Steps.draw(NUM_IMAGES, NUM_STEPS, NUM_IMAGES, IMAGE, augment, torch_generator(0, "steps"))
    loop = InnerLoop(images, labels, torch.tensor(0.05, dtype=dtype), steps, augment, loss)
    return match(network, loop, start, target, **options)


def _errors(found: MatchingGradients, truth: MatchingGradients) -> dict[str, float]:
    """Relative L2 errors, and the cosine of the angle between the image gradients."""
    errors = {"loss": abs(found.loss - truth.loss) / truth.loss}
    for name in ("images", "labels", "learning_rate"):
        one, other = getattr(found, name).double(), getattr(truth, name).double()
        errors[name] = float((one - other).norm() / other.norm())
    flat, true = found.images.double().flatten(), truth.images.double().flatten()
    return {**errors, "images_cosine": float(flat @ true / (flat.norm() * true.norm()))}


if __name__ == "__main__":
    main()
