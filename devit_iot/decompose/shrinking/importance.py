"""How much every head and neuron of a classifier matters, from one forward pass over a batch."""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from devit_iot.decompose.network.models import Classifier, class_scores
from devit_iot.decompose.shrinking.hsic import hsic, linear_gram, rbf_grams, scalar_hsic

MIN_IMAGES = 2
"""Of one image nothing can be said to depend on another."""
RELEVANCE = 0.1
"""Share of the HSIC in a neuron's score; the other 0.9 are its magnitude."""
REDUNDANCY = 0.1
"""What a head pays for what it shares with the others of its block."""


class BlockImportance(NamedTuple):
    """Scores of one block, float64[heads] and float64[mlp_dim]: the larger, the more it matters.

    Scores compare within their array only.
    """

    heads: NDArray[np.float64]
    neurons: NDArray[np.float64]


class _Seen(NamedTuple):
    """What one block shows of itself for some images.

    Attributes:
        heads: means over channels of the heads' outputs, float[batch, heads, tokens].
        neurons: means over tokens of the activations, float[batch, mlp_dim].
        magnitudes: sums over tokens of their absolute values, float[batch, mlp_dim].
    """

    heads: Tensor
    neurons: Tensor
    magnitudes: Tensor


@torch.no_grad()
def rank(
    model: Classifier,
    images: Tensor,
    *,
    micro_batch: int = 16,
    chunk: int = 64,
    tokens: slice = slice(None),
) -> tuple[BlockImportance, ...]:
    """Score all heads and neurons of all blocks (docs/method.md, eq. 3 and eq. 4).

        neuron = 0.1 * minmax(HSIC(activation, output)) + 0.9 * minmax(sum |activation|)
        head_i = HSIC(head_i, output) - 0.1 * mean_{j != i} HSIC(head_i, head_j)

    ``output`` is the softmax of the class scores, by a linear kernel. A neuron's activation is one
    number per image, the mean over tokens; its magnitude is summed over images and tokens. A head
    is the mean over the channels of its output, one vector over tokens per image. Both go through
    the RBF mix of :mod:`devit_iot.decompose.shrinking.hsic`, in float64. ``minmax`` maps the
    neurons of a layer to [0, 1].

    Args:
        model: the network, on any device that knows float64.
        images: normalised pixels, float[batch, 3, image_size, image_size], at least two; they go
            to the device of the model ``micro_batch`` at a time.
        micro_batch: images per forward pass; their traces are in memory together.
        chunk: neurons per step, see :func:`devit_iot.decompose.shrinking.hsic.scalar_hsic`.
        tokens: tokens that count for neurons, such as ``slice(1)`` for the class token alone.

    Raises:
        ValueError: fewer than two images.
    """
    if len(images) < MIN_IMAGES:
        raise ValueError(f"importance needs at least two images, got {len(images)}")
    depth = len(model.spec.blocks)
    device = next(model.parameters()).device
    outputs: list[Tensor] = []
    seen: list[list[_Seen]] = [[] for _ in range(depth)]
    for begin in range(0, len(images), micro_batch):
        output = model(images[begin : begin + micro_batch].to(device), keep=range(depth))
        outputs.append(class_scores(output.logits.double()).softmax(dim=1))
        for index, trace in output.traces.items():
            hidden = trace.hidden[:, tokens]
            seen[index].append(
                _Seen(trace.heads.mean(dim=3), hidden.mean(dim=1), hidden.abs().sum(dim=1))
            )
    gram = linear_gram(torch.cat(outputs))
    return tuple(_score(_Seen(*map(torch.cat, zip(*s, strict=True))), gram, chunk) for s in seen)


def _score(seen: _Seen, gram: Tensor, chunk: int) -> BlockImportance:
    relevance = scalar_hsic(seen.neurons.double().T, gram, chunk=chunk)
    magnitudes = seen.magnitudes.double().sum(dim=0)
    neurons = RELEVANCE * _minmax(relevance) + (1 - RELEVANCE) * _minmax(magnitudes)
    heads = _head_scores(seen.heads.double().transpose(0, 1), gram)
    return BlockImportance(heads.cpu().numpy(), neurons.cpu().numpy())


def _head_scores(vectors: Tensor, gram: Tensor) -> Tensor:
    """float[heads, batch, tokens] -> float[heads]; a head alone has no one to share with."""
    grams = rbf_grams(vectors)
    shared = hsic(grams, grams)
    others = max(1, len(grams) - 1)
    redundancy = (shared.sum(dim=1) - shared.diagonal()) / others
    return hsic(grams, gram[None])[:, 0] - REDUNDANCY * redundancy


def _minmax(values: Tensor) -> Tensor:
    """Map to [0, 1]; all zero if all are equal."""
    low, high = values.aminmax()
    return (values - low) / (high - low) if high > low else torch.zeros_like(values)
