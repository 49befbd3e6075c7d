"""The folded sub-ViT in torch, float32: the reference engine."""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from devit_iot.spec import CHANNELS, POOL_PADDING, POOL_SIZE, POOL_STRIDE, SubVitSpec, tensors
from devit_iot.storage import Array


class TorchEngine:
    """See :class:`devit_iot.engine.base.Engine`. ``threads`` sets torch's own, process-wide."""

    name = "torch"

    def __init__(
        self, spec: SubVitSpec, tensors: Mapping[str, Array], *, threads: int, isa: str
    ) -> None:
        if isa:
            raise ValueError(f"torch chooses its own instruction set, '{isa}' cannot be forced")
        if threads:
            torch.set_num_threads(threads)
        self._spec = spec
        self._weights = {name: torch.from_numpy(tensors[name].copy()) for name in _names(spec)}
        self.detail = f"torch {torch.__version__}, {torch.get_num_threads()} threads"

    @torch.inference_mode()
    def features(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The feature of one image; see the protocol."""
        size = self._spec.image_size
        if image.shape != (size, size, CHANNELS) or image.dtype != np.uint8:
            raise ValueError(
                f"expected uint8[{size}, {size}, {CHANNELS}], got {image.dtype}{image.shape}"
            )
        stream = self._embed(torch.tensor(image))
        for index in range(len(self._spec.blocks)):
            stream = self._block(index, stream)
        feature: NDArray[np.float32] = self._read(stream).flatten().numpy()
        return feature

    def _embed(self, image: Tensor) -> Tensor:
        """Raw pixels -> the residual stream, float32[tokens, embed_dim]."""
        spec, weights = self._spec, self._weights
        if spec.tokenizer:
            maps = (image - weights["tokenizer.offset"]).permute(2, 0, 1)
            for index, layer in enumerate(spec.tokenizer):
                kernel = weights[f"tokenizer.{index}.weight"].permute(0, 3, 1, 2)
                maps = functional.conv2d(
                    maps, kernel, stride=layer.stride, padding=layer.padding
                ).relu()
                maps = functional.max_pool2d(maps, POOL_SIZE, POOL_STRIDE, POOL_PADDING)
            return maps.flatten(1).T + weights["pos_embed"]
        tiles = image.unfold(0, spec.patch_size, spec.patch_size).unfold(
            1, spec.patch_size, spec.patch_size
        )  # (grid rows, grid columns, RGB, rows, columns)
        patches = tiles.permute(0, 1, 3, 4, 2).reshape(spec.patches, spec.patch_dim).float()
        stream = weights["pos_embed"].clone()
        stream[spec.prefix_tokens :] += functional.linear(patches, weights["patch_embed.weight"])
        return stream

    def _block(self, index: int, stream: Tensor) -> Tensor:
        spec, prefix = self._spec, f"blocks.{index}."
        qkv = self._linear(prefix + "attn.qkv", self._normalise(stream))
        heads = spec.blocks[index].heads
        query, key, value = qkv.view(spec.tokens, 3, heads, -1).permute(1, 2, 0, 3)
        mixed = functional.scaled_dot_product_attention(query, key, value, scale=1.0)
        stream = stream + self._linear(prefix + "attn.proj", mixed.transpose(0, 1).flatten(1))
        normed = self._normalise(stream)
        if spec.residual_norm:
            scale, shift = (self._weights[f"{prefix}norm2.{kind}"] for kind in ("weight", "bias"))
            stream = normed = normed * scale + shift
        hidden = functional.gelu(self._linear(prefix + "mlp.fc1", normed))
        return stream + self._linear(prefix + "mlp.fc2", hidden)

    def _read(self, stream: Tensor) -> Tensor:
        """The normalised prefix tokens, or the pooled token."""
        if not self._spec.tokenizer:
            return self._normalise(stream[: self._spec.prefix_tokens])
        normed = self._normalise(stream)
        return torch.softmax(normed @ self._weights["pool.weight"], dim=0) @ normed

    def _linear(self, name: str, inputs: Tensor) -> Tensor:
        weights = self._weights
        return functional.linear(inputs, weights[name + ".weight"], weights[name + ".bias"])

    def _normalise(self, stream: Tensor) -> Tensor:
        return functional.layer_norm(stream, stream.shape[-1:], eps=self._spec.norm_eps)


def _names(spec: SubVitSpec) -> list[str]:
    return [tensor.name for tensor in tensors(spec)]
