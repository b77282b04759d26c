"""`Preprocessing`: what happens to pixels before a network sees them; fitted on the training set, invertible.

Three kinds: "none" only scales bytes to [0, 1]; "normalize" gives each channel mean 0 and deviation 1;
"zca" whitens whole images with the regularised transform that trajectory-matching papers use,
W = U diag(1/sqrt(S + 0.1)) Uᵀ, where U and S are the eigenvectors and eigenvalues of the training covariance
(unbiased, as in `kornia.enhance.ZCAWhitening(eps=0.1)`, which the authors of MTT call).

Deviation: W is never formed. Every direction whose variance is far below 0.1 is scaled by practically the
same 1/sqrt(0.1), so only the k directions of larger variance are kept,
W = I/sqrt(eps) + U_k diag(1/sqrt(S_k + eps) - 1/sqrt(eps)) U_kᵀ.
A 64x64 colour image would otherwise need a 12288 x 12288 matrix, larger than most distilled sets.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, get_args

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from distail.choices import PreprocessingKind
from distail.data.image_set import ImageSet
from distail.data.statistics import channel_statistics, images_per_chunk, principal_directions
from distail.errors import DistailError, did_you_mean

ZCA_EPS = 0.1
"""Added to every variance before the square root; squared units of pixels scaled to [0, 1]. MTT's value."""

ZCA_KEEP_FRACTION = 1e-3
"""Directions of variance at most this fraction of eps are treated as having none.

The scale of a dropped direction is then wrong by at most S/(2 eps), 5e-4 of itself; the inverse makes the
same change, so a round trip loses nothing.
"""

ZCA_MAX_SIDE = 16384
"""Largest min(images, values an image) for which eigenvectors are computed; beyond it memory runs out."""

_TENSOR_NAMES: dict[str, tuple[str, ...]] = {
    "none": (),
    "normalize": ("mean", "std"),
    "zca": ("mean", "components", "variances"),
}


@dataclass(frozen=True, eq=False)
class Preprocessing:
    """An invertible map from pixels in [0, 1] to network inputs. Make one with `fit_preprocessing`.

    Attributes:
        kind: "none", "normalize" or "zca".
        image_shape: (channels, height, width) of the images it was fitted on and applies to.
        mean: per channel ("normalize") or per value of the flattened image ("zca"), pixel scale [0, 1].
        std: population standard deviation per channel, pixel scale; 1 for a constant channel ("normalize").
        components: orthonormal eigenvectors of the training covariance, one a row ("zca").
        variances: their eigenvalues, pixel scale squared, descending ("zca").
        eps: the regulariser added to each variance ("zca").

    Raises:
        DistailError: the parts do not belong together.

    Source: ZCA as used by Cazenavette et al., CVPR 2022, arXiv:2203.11932.
    """

    kind: PreprocessingKind
    image_shape: tuple[int, int, int]
    mean: Float[Tensor, " m"] | None = None
    std: Float[Tensor, " m"] | None = None
    components: Float[Tensor, "k d"] | None = None
    variances: Float[Tensor, " k"] | None = None
    eps: float = ZCA_EPS

    def __post_init__(self) -> None:
        _check_parts(self)

    def apply(self, images: UInt8[Tensor, "n c h w"] | Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """Pixels to network inputs; differentiable; on the device of `images`.

        Args:
            images: uint8 in 0..255, or floating point already scaled to [0, 1].

        Returns:
            float64 where the input is float64, else float32; the same shape. Unitless.

        Raises:
            DistailError: another image shape than the one it was fitted on, or neither uint8 nor float.
        """
        self._require_shape(images)
        forward = {"none": lambda x: x, "normalize": self._standardise, "zca": self._whiten}[self.kind]
        return _in_chunks(images, forward)

    def invert(self, inputs: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """Network inputs back to pixels; differentiable; on the device of `inputs`.

        Args:
            inputs: what `apply` returned, or images learned in that space.

        Returns:
            Pixel scale [0, 1], but not clamped to it: learned images may leave the range. float64 where the
            input is float64, else float32.

        Raises:
            DistailError: another image shape than the one it was fitted on.
        """
        self._require_shape(inputs)
        backward = {"none": lambda x: x, "normalize": self._unstandardise, "zca": self._unwhiten}[self.kind]
        return _in_chunks(inputs, backward)

    def to_tensors(self) -> dict[str, Tensor]:
        """The fitted tensors by name, contiguous; none for "none", two or three otherwise."""
        return {name: getattr(self, name).contiguous() for name in _TENSOR_NAMES[self.kind]}

    def header(self) -> dict[str, Any]:
        """Everything but the tensors, as JSON values: kind, image_shape and, for "zca", eps."""
        header: dict[str, Any] = {"kind": self.kind, "image_shape": list(self.image_shape)}
        if self.kind == "zca":
            header["eps"] = self.eps
        return header

    @classmethod
    def from_parts(cls, header: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Preprocessing:
        """Rebuilds what `header` and `to_tensors` took apart.

        Raises:
            DistailError: an unknown kind, a malformed shape or eps, a tensor missing, unexpected, of the
                wrong shape or type, or with values that no fit can produce.
        """
        kind = header.get("kind")
        if kind not in _TENSOR_NAMES:
            raise DistailError(
                f"Preprocessing of unknown kind {kind!r}. {did_you_mean(str(kind), _TENSOR_NAMES)} "
                "The file may be damaged or written by a newer version."
            )
        shape = header.get("image_shape")
        if not isinstance(shape, list | tuple) or len(shape) != 3 or not all(_is_positive_int(side) for side in shape):
            raise _inconsistent(f"image_shape must be three positive integers, not {shape!r}")
        eps = header.get("eps", ZCA_EPS)
        if isinstance(eps, bool) or not isinstance(eps, int | float):
            raise _inconsistent(f"eps must be a number, not {eps!r}")
        if set(tensors) != set(_TENSOR_NAMES[kind]):
            raise _inconsistent(f"'{kind}' needs tensors {sorted(_TENSOR_NAMES[kind])}, found {sorted(tensors)}")
        for name, tensor in tensors.items():
            rank = 2 if name == "components" else 1
            if not tensor.is_floating_point() or tensor.ndim != rank:
                raise _inconsistent(
                    f"'{name}' must be floating point with {rank} axes, "
                    f"not {tensor.dtype} of shape {tuple(tensor.shape)}"
                )
        channels, height, width = shape
        return cls(kind, (channels, height, width), **tensors, eps=float(eps))

    @property
    def num_bytes(self) -> int:
        """Bytes that the fitted tensors take."""
        return sum(tensor.numel() * tensor.element_size() for tensor in self.to_tensors().values())

    def _require_shape(self, images: Tensor) -> None:
        found = tuple(images.shape[1:])
        if found != self.image_shape:
            raise DistailError(
                f"Preprocessing was fitted on images of shape {self.image_shape} (channels, height, width), "
                f"but these are {found}. Resize them to {self.image_shape[1]}x{self.image_shape[2]} pixels "
                f"and {self.image_shape[0]} channels first."
            )

    def _standardise(self, x: Tensor) -> Tensor:
        assert self.mean is not None
        assert self.std is not None
        return (x - _per_channel(self.mean, x)) / _per_channel(self.std, x)

    def _unstandardise(self, x: Tensor) -> Tensor:
        assert self.mean is not None
        assert self.std is not None
        return x * _per_channel(self.std, x) + _per_channel(self.mean, x)

    def _whiten(self, x: Tensor) -> Tensor:
        assert self.mean is not None
        assert self.variances is not None
        rest = 1 / math.sqrt(self.eps)
        centred = x.flatten(1) - self.mean.to(x)  # n d
        return self._scale_directions(centred, (self.variances.to(x) + self.eps).rsqrt() - rest, rest).view(x.shape)

    def _unwhiten(self, x: Tensor) -> Tensor:
        assert self.mean is not None
        assert self.variances is not None
        rest = math.sqrt(self.eps)
        gain = (self.variances.to(x) + self.eps).sqrt() - rest
        return (self._scale_directions(x.flatten(1), gain, rest) + self.mean.to(x)).view(x.shape)

    def _scale_directions(self, x: Float[Tensor, "n d"], gain: Float[Tensor, " k"], rest: float) -> Tensor:
        """Scales every direction by `rest`, and component i by `gain[i]` more."""
        assert self.components is not None
        components = self.components.to(x)  # k d
        return torch.addmm(x, (x @ components.T) * gain, components, beta=rest)


def fit_preprocessing(images: ImageSet, kind: PreprocessingKind) -> Preprocessing:
    """Fits preprocessing on these images and no others; give it the long-tailed training set.

    Always on the CPU, so the result does not depend on the device a run uses. Pixel sums are exact integers.

    Args:
        images: (n, c, h, w); scaled to [0, 1] before anything is measured.
        kind: "none", "normalize" (population mean and standard deviation of each channel; a constant channel
            keeps its scale) or "zca" (by way of the smaller of the n x n and d x d matrices, d = c·h·w).

    Raises:
        DistailError: an unknown kind, or images too many and too large for ZCA.

    Source: ZCA with eps 0.1 as in Cazenavette et al., CVPR 2022, arXiv:2203.11932.
    """
    if kind not in get_args(PreprocessingKind):
        raise DistailError(f"Unknown preprocessing '{kind}'. {did_you_mean(kind, get_args(PreprocessingKind))}")
    if kind == "none":
        return Preprocessing(kind, images.image_shape)
    if kind == "normalize":
        mean, std = channel_statistics(images.images)
        return Preprocessing(kind, images.image_shape, mean=mean.float(), std=std.float())
    side = min(len(images), math.prod(images.image_shape))
    if side > ZCA_MAX_SIDE:
        channels, height, width = images.image_shape
        raise DistailError(
            f"{images.origin}: ZCA of {len(images)} images of {channels}x{height}x{width} needs the "
            f"eigenvectors of a {side} x {side} matrix; {ZCA_MAX_SIDE} is the limit. Use 'normalize', or "
            f"resize to {math.isqrt(ZCA_MAX_SIDE // channels)} pixels or fewer a side."
        )
    mean, components, variances = principal_directions(
        images.images.cpu().flatten(1), floor=ZCA_KEEP_FRACTION * ZCA_EPS
    )
    return Preprocessing(
        kind,
        images.image_shape,
        mean=mean.float(),
        components=components.float(),
        variances=variances.float(),
    )


def _in_chunks(images: Tensor, transform: Callable[[Tensor], Tensor]) -> Tensor:
    """`transform` of the images as floats, a bounded number of them at a time."""
    if images.dtype != torch.uint8 and not images.is_floating_point():
        raise DistailError(f"Images must be uint8 or floating point, not {images.dtype}. Convert them first.")
    dtype = torch.float64 if images.dtype == torch.float64 else torch.float32

    def transformed(part: Tensor) -> Tensor:
        return transform(part.to(dtype) / 255 if part.dtype == torch.uint8 else part.to(dtype))

    step = images_per_chunk(images)
    if len(images) <= step:
        return transformed(images)
    result = torch.empty(images.shape, dtype=dtype, device=images.device)
    for start in range(0, len(images), step):
        result[start : start + step] = transformed(images[start : start + step])
    return result


def _per_channel(values: Float[Tensor, " c"], like: Tensor) -> Float[Tensor, "c 1 1"]:
    return values.to(like)[:, None, None]


def _is_positive_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _inconsistent(problem: str) -> DistailError:
    return DistailError(f"Preprocessing is inconsistent: {problem}. The file may be damaged; fit it again.")


def _check_parts(parts: Preprocessing) -> None:
    """Refuses tensors that are missing, superfluous, of the wrong shape, or impossible."""
    channels, height, width = parts.image_shape
    dim = channels * height * width
    needed = _TENSOR_NAMES[parts.kind]
    tensors = {name: getattr(parts, name) for name in ("mean", "std", "components", "variances")}
    if wrong := [name for name, tensor in tensors.items() if (tensor is not None) != (name in needed)]:
        raise _inconsistent(f"'{parts.kind}' needs exactly {sorted(needed)}; wrong: {wrong}")
    count = 0 if parts.components is None else len(parts.components)
    side = dim if parts.kind == "zca" else channels
    shapes = {"mean": (side,), "std": (channels,), "components": (count, dim), "variances": (count,)}
    for name in needed:
        if tuple(tensors[name].shape) != shapes[name]:
            raise _inconsistent(
                f"'{name}' has shape {tuple(tensors[name].shape)}, images of {parts.image_shape} need {shapes[name]}"
            )
        if not bool(torch.isfinite(tensors[name]).all()):
            raise _inconsistent(f"'{name}' holds values that are not finite")
    if parts.std is not None and not bool((parts.std > 0).all()):
        raise _inconsistent("'std' must be positive")
    if parts.variances is not None and not bool((parts.variances >= 0).all()):
        raise _inconsistent("'variances' must not be negative")
    if not (math.isfinite(parts.eps) and parts.eps > 0):
        raise _inconsistent(f"eps must be positive, not {parts.eps}")
