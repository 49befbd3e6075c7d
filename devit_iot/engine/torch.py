"""The folded sub-ViT in torch, float32: the reference engine, and what other formats export."""

from collections.abc import Mapping
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from devit_iot.bundle.reading import Part
from devit_iot.bundle.spec import (
    CHANNELS,
    POOL_PADDING,
    POOL_SIZE,
    POOL_STRIDE,
    SubVitSpec,
    tensors,
)
from devit_iot.bundle.storage import Array, Dtype


class FoldedSubVit(torch.nn.Module):
    """One image, uint8[image_size, image_size, 3], to its feature, float32[feature_dim].

    Normative: docs/bundle.md, section 4. Its operations are those that converters know.
    """

    def __init__(self, spec: SubVitSpec, values: Mapping[str, Array]) -> None:
        super().__init__()
        self._spec = spec
        for tensor in tensors(spec):
            self.register_buffer(_key(tensor.name), torch.from_numpy(values[tensor.name].copy()))

    def forward(self, image: Tensor) -> Tensor:
        """The feature; see the class."""
        stream = self._embed(image.float())
        for index in range(len(self._spec.blocks)):
            stream = self._block(index, stream)
        return self._read(stream).flatten()

    def _embed(self, image: Tensor) -> Tensor:
        """Raw pixels -> the residual stream, float32[tokens, embed_dim]."""
        spec = self._spec
        if spec.tokenizer:
            maps = (image - self._tensor("tokenizer.offset")).permute(2, 0, 1)[None]
            for index, layer in enumerate(spec.tokenizer):
                kernel = self._tensor(f"tokenizer.{index}.weight").permute(0, 3, 1, 2)
                maps = functional.conv2d(
                    maps, kernel, stride=layer.stride, padding=layer.padding
                ).relu()
                maps = functional.max_pool2d(maps, POOL_SIZE, POOL_STRIDE, POOL_PADDING)
            return maps[0].flatten(1).T + self._tensor("pos_embed")
        grid, patch = spec.image_size // spec.patch_size, spec.patch_size
        tiles = image.view(grid, patch, grid, patch, CHANNELS).permute(0, 2, 1, 3, 4)
        patches = functional.linear(
            tiles.reshape(spec.patches, spec.patch_dim), self._tensor("patch_embed.weight")
        )
        prefix = patches.new_zeros(spec.prefix_tokens, spec.embed_dim)
        return torch.cat([prefix, patches]) + self._tensor("pos_embed")

    def _block(self, index: int, stream: Tensor) -> Tensor:
        spec, prefix = self._spec, f"blocks.{index}."
        qkv = self._linear(prefix + "attn.qkv", self._normalise(stream))
        heads = spec.blocks[index].heads
        query, key, value = qkv.view(spec.tokens, 3, heads, -1).permute(1, 2, 0, 3)
        mixed = functional.scaled_dot_product_attention(query, key, value, scale=1.0)
        stream = stream + self._linear(prefix + "attn.proj", mixed.transpose(0, 1).flatten(1))
        normed = self._normalise(stream)
        if spec.residual_norm:
            scale, shift = (self._tensor(f"{prefix}norm2.{kind}") for kind in ("weight", "bias"))
            stream = normed = normed * scale + shift
        hidden = functional.gelu(self._linear(prefix + "mlp.fc1", normed))
        return stream + self._linear(prefix + "mlp.fc2", hidden)

    def _read(self, stream: Tensor) -> Tensor:
        """The normalised prefix tokens, or the pooled token."""
        if not self._spec.tokenizer:
            return self._normalise(stream[: self._spec.prefix_tokens])
        normed = self._normalise(stream)
        return torch.softmax(normed @ self._tensor("pool.weight"), dim=0) @ normed

    def _linear(self, name: str, inputs: Tensor) -> Tensor:
        return functional.linear(
            inputs, self._tensor(name + ".weight"), self._tensor(name + ".bias")
        )

    def _normalise(self, stream: Tensor) -> Tensor:
        return functional.layer_norm(stream, stream.shape[-1:], eps=self._spec.norm_eps)

    def _tensor(self, name: str) -> Tensor:
        return self.get_buffer(_key(name))


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
        """The engine of one part; see the protocol."""
        if dtype not in {None, "float32"}:
            raise ValueError(f"torch computes in float32, {dtype} cannot be had")
        return cls(part.spec, part.tensors, threads=threads, isa=isa)

    @torch.inference_mode()
    def features(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The feature of one image; see the protocol."""
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
