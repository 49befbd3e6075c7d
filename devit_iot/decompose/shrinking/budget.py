"""Counts of heads and neurons that just fit a budget of multiply-accumulates."""

from collections.abc import Callable
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from devit_iot.bundle.spec import BlockSpec, SubVitSpec, macs

TOLERANCE = 0.02
"""A draft may cost this share of the target less than the target, or one group of neurons less if
that is more, but never more than the target."""

MULTIPLE = 8
"""Neurons are counted in groups of this size, for the kernels' sake."""

Counts = NDArray[np.int64]
Densities = NDArray[np.float64]


class Draft(NamedTuple):
    """How many heads and neurons each block keeps, int64[depth] each; 0 and 0 drops the block."""

    heads: Counts
    neurons: Counts


class Budget:
    """The multiply-accumulates that a network of ``spec`` may keep.

    Args:
        spec: the shape before shrinking.
        ratio: target / ``macs(spec)``.
        multiple: neurons are counted in groups of this size; a layer may also keep all.

    Attributes:
        target: multiply-accumulates, at most.
        head_cost: multiply-accumulates of one head, equal in all blocks.
        neuron_cost: multiply-accumulates of one neuron.
    """

    def __init__(self, spec: SubVitSpec, ratio: float, multiple: int = MULTIPLE) -> None:
        self.spec = spec
        self.target = int(ratio * macs(spec))
        self._multiple = multiple
        self._fixed = macs(msgspec.structs.replace(spec, blocks=()))
        self.head_cost, self.neuron_cost = (
            macs(msgspec.structs.replace(spec, blocks=(BlockSpec(*counts),))) - self._fixed
            for counts in ((1, 0), (0, 1))
        )
        self._heads = np.array([block.heads for block in spec.blocks])
        self._neurons = np.array([block.mlp_dim for block in spec.blocks])

    def cost(self, heads: Counts, neurons: Counts) -> int:
        """Multiply-accumulates of the network that keeps so many: ``spec.macs`` of its shape.

        The price of one head and of one neuron is enough: every block is linear in both.
        """
        return (
            self._fixed + self.head_cost * int(heads.sum()) + self.neuron_cost * int(neurons.sum())
        )

    @property
    def least(self) -> int:
        """Multiply-accumulates with one head and one group of neurons in as few blocks as can be.

        One block is enough; with ``residual_norm`` no block can go.
        """
        return self._smallest(len(self.spec.blocks) if self.spec.residual_norm else 1)

    @property
    def depth(self) -> int:
        """The largest number of blocks that fit, with one head and one group of neurons each."""
        depths = range(len(self.spec.blocks), 1, -1)
        return next((d for d in depths if self._smallest(d) <= self.target), 1)

    def _smallest(self, depth: int) -> int:
        return self._fixed + depth * (self.head_cost + self._multiple * self.neuron_cost)

    def whole(self, heads: Densities, neurons: Densities) -> Draft:
        """Densities -> counts: rounded, at least one head and one group, at most all.

        A block whose density of heads is 0 is dropped.
        """
        kept = heads > 0
        counts = np.clip(np.rint(heads * self._heads), 1, self._heads).astype(np.int64)
        return Draft(
            np.where(kept, counts, 0), np.where(kept, self._grouped(neurons * self._neurons), 0)
        )

    def fit(self, heads: Densities, neurons: Densities) -> Draft | None:
        """Scale all densities, float64[depth], by one factor so that they just fit.

        Blocks whose density of heads is 0 are dropped, and stay so.

        Returns:
            The counts, or None if no factor comes within the tolerance.
        """
        scale = _largest(
            lambda s: self.cost(*self.whole(s * heads, s * neurons)) <= self.target,
            1 / min(heads[heads > 0].min(), neurons[heads > 0].min()),
        )
        draft = self.whole(scale * heads, scale * neurons)
        return self.refit(draft.heads, neurons * self._neurons)

    def refit(self, heads: Counts, neurons: NDArray[np.generic]) -> Draft | None:
        """Keep the head counts and scale the neuron counts, [depth] each, so that they just fit.

        Blocks of no heads are dropped and stay so.

        Returns:
            The counts, or None if no factor comes within the tolerance.
        """
        sizes = np.asarray(neurons, np.float64)
        kept = heads > 0
        if not kept.any():
            return None

        def scaled(factor: float) -> Counts:
            return np.asarray(np.where(kept, self._grouped(factor * sizes), 0))

        factor = _largest(
            lambda s: self.cost(heads, scaled(s)) <= self.target,
            float((self._neurons[kept] / np.maximum(sizes[kept], 1)).max()),
        )
        counts = scaled(factor)
        for layer in np.flatnonzero(kept):  # the groups that the common factor leaves over
            more = counts.copy()
            more[layer] = min(counts[layer] + self._multiple, self._neurons[layer])
            if self.cost(heads, more) <= self.target:
                counts = more
        slack = max(TOLERANCE * self.target, self._multiple * self.neuron_cost)
        fits = self.target - slack <= self.cost(heads, counts) <= self.target
        return Draft(heads, counts) if fits else None

    def _grouped(self, neurons: Densities) -> Counts:
        groups = np.maximum(np.rint(neurons / self._multiple), 1)
        return np.asarray(np.minimum(groups * self._multiple, self._neurons), np.int64)


def _largest(holds: Callable[[float], bool], high: float) -> float:
    """The largest number up to ``high`` for which a falling condition holds; else nearly 0."""
    if holds(high):
        return high
    low = 0.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low
