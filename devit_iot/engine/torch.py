"""The folded sub-ViT in torch, float32: the reference engine, and what other formats export."""

from collections.abc import Mapping
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from devit_iot.bundle.network import Linear, sub_vit
from devit_iot.bundle.reading import Part
from devit_iot.bundle.spec import (
    CHANNELS,
    POOL_PADDING,
    POOL_SIZE,
    POOL_STRIDE,
    ConvSpec,
    SubVitSpec,
)
from devit_iot.bundle.storage import Array, Dtype


class FoldedSubVit(torch.nn.Module):
    """One image, uint8[image_size, image_size, 3], to its feature, float32[feature_dim].

    Its operations are those that converters know.
    """

    def __init__(self, spec: SubVitSpec, values: Mapping[str, Array]) -> None:
        super().__init__()
        self._spec = spec
        self._operations = _Tensors(spec)
        self._keys = {tensor.name: _key(tensor.name) for tensor in spec.tensors()}
        for name, key in self._keys.items():
            self.register_buffer(key, torch.from_numpy(values[name].copy()))

    def forward(self, image: Tensor) -> Tensor:
        """The feature, float32[feature_dim], of one image, uint8[image_size, image_size, 3]."""
        constants = {name: self.get_buffer(key) for name, key in self._keys.items()}
        return sub_vit(self._spec, constants, self._operations, image.float()).flatten()


class _Tensors:
    """See :class:`devit_iot.bundle.network.Operations`: one image at a time.

    A map is the image, [rows, columns, channels], or what a convolution made of it,
    [1, channels, rows, columns]; sheets have two dimensions.
    """

    def __init__(self, spec: SubVitSpec) -> None:
        self._spec = spec

    def less(self, pixels: Tensor, offset: Tensor) -> Tensor:
        """Pixels less one number for each channel, laid out for convolutions."""
        return (pixels - offset).permute(2, 0, 1)[None]

    def patches(self, pixels: Tensor, weight: Tensor) -> Tensor:
        """A linear layer of each patch."""
        spec = self._spec
        grid, patch = spec.image_size // spec.patch_size, spec.patch_size
        tiles = pixels.view(grid, patch, grid, patch, CHANNELS).permute(0, 2, 1, 3, 4)
        return functional.linear(tiles.reshape(spec.patches, spec.patch_dim), weight)

    def conv(self, maps: Tensor, kernel: Tensor, layer: ConvSpec) -> Tensor:
        """Convolution without bias."""
        ordered = kernel.permute(0, 3, 1, 2)
        return functional.conv2d(maps, ordered, stride=layer.stride, padding=layer.padding)

    def relu_max_pool(self, maps: Tensor) -> Tensor:
        """ReLU and pooling."""
        return functional.max_pool2d(maps.relu(), POOL_SIZE, POOL_STRIDE, POOL_PADDING)

    def sheet(self, maps: Tensor) -> Tensor:
        """A map as a sheet."""
        return maps[0].flatten(1).T

    def add_positions(self, sheet: Tensor, positions: Tensor) -> Tensor:
        """Rows of zeros for the prefix tokens, the sheet below them, and the positions."""
        prefix = self._spec.prefix_tokens
        if prefix:
            sheet = torch.cat([sheet.new_zeros(prefix, self._spec.embed_dim), sheet])
        return sheet + positions

    def add(self, sheet: Tensor, other: Tensor) -> Tensor:
        """Sum."""
        return sheet + other

    def normalise(
        self, sheet: Tensor, scale: Tensor | None = None, shift: Tensor | None = None
    ) -> Tensor:
        """Layer norm, then scale and shift as operations of their own."""
        normed = functional.layer_norm(sheet, sheet.shape[-1:], eps=self._spec.norm_eps)
        if scale is not None:
            normed = normed * scale
        return normed if shift is None else normed + shift

    def linear(self, sheet: Tensor, layer: Linear[Tensor]) -> Tensor:
        """A matrix product and a bias."""
        return functional.linear(sheet, layer.weight, layer.bias)

    def gelu(self, sheet: Tensor) -> Tensor:
        """Exact GELU."""
        return functional.gelu(sheet)

    def attention(
        self, sheet: Tensor, heads: int, qkv: Linear[Tensor], projection: Linear[Tensor]
    ) -> Tensor:
        """Torch's fused attention between two linear layers."""
        apart = self.linear(sheet, qkv).view(self._spec.tokens, 3, heads, -1)
        query, key, value = apart.permute(1, 2, 0, 3)
        mixed = functional.scaled_dot_product_attention(query, key, value, scale=1.0)
        return self.linear(mixed.transpose(0, 1).flatten(1), projection)

    def first_rows(self, sheet: Tensor, count: int) -> Tensor:
        """The first rows."""
        return sheet[:count]

    def pool(self, sheet: Tensor, weight: Tensor) -> Tensor:
        """The mean of the rows, by the softmax of their scores."""
        return torch.softmax(sheet @ weight, dim=0) @ sheet


class TorchEngine:
    """See :class:`devit_iot.engine.base.PartEngine`. ``threads`` sets torch's own, process-wide."""

    name = "torch"
    dtype: Dtype = "float32"

    def __init__(
        self, spec: SubVitSpec, tensors: Mapping[str, Array], *, threads: int, isa: str
    ) -> None:
        if isa:
            raise ValueError(f"torch chooses its own instruction set, '{isa}' cannot be forced")
        if threads:
            torch.set_num_threads(threads)
        self._spec = spec
        self._vit = FoldedSubVit(spec, tensors).eval()
        self.detail = f"torch {torch.__version__}, {torch.get_num_threads()} threads"

    @classmethod
    def of_part(
        cls,
        part: Part,
        *,
        threads: int,
        isa: str,
        dtype: Dtype | None,
    ) -> Self:
        """The engine of one part; it computes in float32."""
        if dtype not in {None, "float32"}:
            raise ValueError(f"torch computes in float32, {dtype} cannot be had")
        return cls(part.spec, part.tensors, threads=threads, isa=isa)

    @torch.inference_mode()
    def features(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The feature, float32[feature_dim], of one RGB image, uint8[size, size, 3]."""
        size = self._spec.image_size
        if image.shape != (size, size, CHANNELS) or image.dtype != np.uint8:
            raise ValueError(
                f"expected uint8[{size}, {size}, {CHANNELS}], got {image.dtype}{image.shape}"
            )
        feature: NDArray[np.float32] = self._vit(torch.tensor(image)).numpy()
        return feature


def _key(name: str) -> str:
    """A buffer's name; torch keeps dots for modules."""
    return name.replace(".", "_")
