"""What the removed heads and neurons said, taken over by those that stay, without training.

After a cut, the linear layer that reads the heads (``proj``) or the neurons (``fc2``) is refitted
by least squares to what it gave before. For its inputs x with mean m and covariance S, its kept
inputs K, its weight W and bias b:

    W' = (W S[:, K] + e W[:, K]) (S[K, K] + e I)^-1,   b' = b + W m - W' m[K]

minimises E |W x + b - W' x[K] - b'|^2 + e |W' - W[:, K]|^2 (docs/method.md, eq. 6): ridge
regression (Hastie et al. 2009, eq. 3.44) towards the old weight. As e grows it becomes the mean
shift, W' = W[:, K]: the removed inputs are replaced by their means.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from devit_iot.decompose.network.models import Classifier
from devit_iot.decompose.shrinking.policy import Policy
from devit_iot.decompose.shrinking.slicing import slice_classifier

RIDGE = 0.1
"""The ridge e, in units of the mean diagonal of S[K, K]."""


class Moments(NamedTuple):
    """Mean float64[n] and covariance float64[n, n] of a layer's inputs over images and tokens."""

    mean: Tensor
    covariance: Tensor


class BlockMoments(NamedTuple):
    """The moments of the concatenated heads' outputs and of the MLP's hidden activations."""

    heads: Moments
    neurons: Moments


@torch.no_grad()
def measure(
    model: Classifier, images: Tensor, *, micro_batch: int = 16
) -> tuple[BlockMoments, ...]:
    """The moments in every block of the whole network, from one forward pass.

    Args:
        model: the network, on any device that knows float64; the moments stay there.
        images: normalised pixels, float[batch, 3, image_size, image_size].
        micro_batch: images per forward pass.
    """
    depth = range(len(model.spec.blocks))
    device = next(model.parameters()).device
    sums: list[list[_Sums]] = [[] for _ in depth]
    for begin in range(0, len(images), micro_batch):
        output = model(images[begin : begin + micro_batch].to(device), keep=depth)
        for index, trace in output.traces.items():
            inputs = (trace.heads.transpose(1, 2).flatten(2), trace.hidden)
            if not sums[index]:
                sums[index] = [_Sums(values) for values in inputs]
            for total, values in zip(sums[index], inputs, strict=True):
                total.add(values.flatten(0, 1))
    return tuple(BlockMoments(*(total.moments() for total in block)) for block in sums)


@torch.no_grad()
def compensate(model: Classifier, policy: Policy, moments: Sequence[BlockMoments]) -> Classifier:
    """Cut as :mod:`devit_iot.decompose.shrinking.slicing` does, with ``proj`` and ``fc2`` refitted.

    A dropped block is dropped as it is.

    Args:
        model: the network, which is left as it is.
        policy: heads and neurons to keep, with as many blocks as the model's.
        moments: moments of the model's blocks, from :func:`measure`.

    Raises:
        SpecError: the policy does not fit the model.
    """
    small = slice_classifier(model, policy)
    whole, state = model.state_dict(), small.state_dict()
    kept = [(old, keep) for old, keep in enumerate(policy.blocks) if keep is not None]
    for new, (old, keep) in enumerate(kept):
        channels = torch.arange(model.spec.blocks[old].heads * model.spec.head_dim)
        heads = channels.view(-1, model.spec.head_dim)[list(keep.heads)].flatten()
        for name, kept_inputs, layer in (
            ("attn.proj", heads, moments[old].heads),
            ("mlp.fc2", torch.tensor(keep.neurons), moments[old].neurons),
        ):
            source, target = f"vit.blocks.{old}.{name}", f"vit.blocks.{new}.{name}"
            weight, shift = _refit(whole[f"{source}.weight"].double(), kept_inputs, layer)
            state[f"{target}.weight"].copy_(weight)
            state[f"{target}.bias"].copy_(whole[f"{source}.bias"].double() + shift)
    return small


def _refit(weight: Tensor, kept: Tensor, layer: Moments) -> tuple[Tensor, Tensor]:
    """W' and b' - b, float64."""
    kept = kept.to(weight.device)
    inner = layer.covariance[kept][:, kept]
    ridge = RIDGE * inner.diagonal().mean() + torch.finfo(inner.dtype).tiny
    inner = inner + ridge * torch.eye(len(kept), dtype=inner.dtype, device=inner.device)
    across = weight @ layer.covariance[:, kept] + ridge * weight[:, kept]
    refitted: Tensor = torch.linalg.solve(inner, across, left=False)
    return refitted, weight @ layer.mean - refitted @ layer.mean[kept]


class _Sums:
    """Running sums of rows float[n, d] and of their outer products."""

    def __init__(self, like: Tensor) -> None:
        width = like.shape[-1]
        self._count = 0
        self._sum = torch.zeros(width, dtype=torch.float64, device=like.device)
        self._products = torch.zeros(width, width, dtype=torch.float64, device=like.device)

    def add(self, rows: Tensor) -> None:
        self._count += len(rows)
        self._sum += rows.sum(dim=0)
        self._products += rows.T @ rows

    def moments(self) -> Moments:
        mean = self._sum / self._count
        return Moments(mean, self._products / self._count - torch.outer(mean, mean))
