"""The network that every peer runs: a folded sub-ViT, told to the writer of a model file."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from devit_iot.bundle.network import Operations, sub_vit
from devit_iot.bundle.spec import CHANNELS, ConvSpec, SubVitSpec
from devit_iot.bundle.storage import Array

F32 = NDArray[np.float32]
Value = TypeVar("Value")


class Graph(Operations[Value, F32], Generic[Value]):
    """What the writers of model files share: a format takes the operations in order.

    Other engines take pixels that are normalised already, and cut patches by a convolution.
    """

    def __init__(self, spec: SubVitSpec) -> None:
        self._spec = spec

    @abstractmethod
    def pixels(self, image_size: int) -> Value:
        """The input, a map of pixels as :func:`peer_pixels` makes them."""

    @abstractmethod
    def below(self, top: F32, sheet: Value) -> Value:
        """The constant rows ``top`` with ``sheet`` below them."""

    @abstractmethod
    def add_constant(self, sheet: Value, constant: F32) -> Value:
        """Sum of a sheet and a constant of its shape."""

    def less(self, pixels: Value, offset: F32) -> Value:
        """The pixels as they are: :func:`peer_pixels` did it."""
        del offset
        return pixels

    def patches(self, pixels: Value, weight: F32) -> Value:
        """A convolution whose kernels are as large as the distance between them."""
        size, width = self._spec.patch_size, self._spec.embed_dim
        kernel = weight.reshape(width, size, size, CHANNELS)
        return self.sheet(self.conv(pixels, kernel, ConvSpec(width, size, size, 0)))

    def add_positions(self, sheet: Value, positions: F32) -> Value:
        """The sum of patches and their positions, below the prefix tokens."""
        prefix = self._spec.prefix_tokens
        patches = self.add_constant(sheet, positions[prefix:])
        return self.below(positions[:prefix], patches) if prefix else patches


def describe(spec: SubVitSpec, tensors: Mapping[str, Array], graph: Graph[Value]) -> Value:
    """Say the network to ``graph``; returns the feature, as a sheet.

    Args:
        spec: the part's shape.
        tensors: the part's engine tensors, see :func:`devit_iot.bundle.spec.tensors`.
        graph: takes the operations.
    """
    return sub_vit(spec, tensors, graph, graph.pixels(spec.image_size))


def peer_pixels(tensors: Mapping[str, Array], image: NDArray[np.uint8], layout: str) -> F32:
    """The image as peers take it: float32, one image, ``layout`` NCHW or NHWC.

    A tokenizer's offset is subtracted already, as other engines' users normalise before they run.
    """
    pixels = image.astype(np.float32)
    if "tokenizer.offset" in tensors:
        pixels -= tensors["tokenizer.offset"]
    ordered = pixels.transpose(2, 0, 1) if layout == "NCHW" else pixels
    return np.ascontiguousarray(ordered[None])
