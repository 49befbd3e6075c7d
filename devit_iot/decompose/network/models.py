"""The trainable sub-ViT (ViT, DeiT or CCT) and its classifier, built from the spec of all else."""

from collections.abc import Collection, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from devit_iot.bundle.spec import (
    CHANNELS,
    POOL_PADDING,
    POOL_SIZE,
    POOL_STRIDE,
    BlockSpec,
    SubVitSpec,
)
from devit_iot.decompose.network.views import crop_view
from devit_iot.export.fold import prefix_names

MAX_SEPARATE_TOKENS = 128
"""Up to so many tokens, attention that is trained in halves on a CPU is computed in separate
operations."""


class BlockTrace(NamedTuple):
    """What one block computed on its way.

    Attributes:
        query: float[batch, heads, tokens, head_dim]; ``key`` and ``value`` have the same shape.
        heads: the heads' outputs before the projection, float[batch, heads, tokens, head_dim].
        hidden: the MLP's activations after the GELU, float[batch, tokens, mlp_dim].
    """

    query: Tensor
    key: Tensor
    value: Tensor
    heads: Tensor
    hidden: Tensor


class BlockMask(NamedTuple):
    """Ones and zeros that silence heads and neurons of a block: float[heads], float[mlp_dim]."""

    heads: Tensor
    neurons: Tensor


class SubVitOutput(NamedTuple):
    """What a forward pass computes: intermediates are returned, never stashed on the module.

    Attributes:
        tokens: the layer-normed prefix tokens (CCT: the pooled token), float[batch, k, embed_dim].
        traces: traces of the blocks that were asked for, by index.
    """

    tokens: Tensor
    traces: dict[int, BlockTrace]


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """softmax(Q K^T / sqrt(head_dim)) V (Vaswani et al. 2017, eq. 1).

    On a CPU and in halves, torch's fused kernel takes several times as long backwards as three
    separate operations do, for the few tokens of small images.

    Args:
        query: float[batch, heads, asked, head_dim].
        key: float[batch, heads, tokens, head_dim].
        value: float[batch, heads, tokens, head_dim].

    Returns:
        float[batch, heads, asked, head_dim].
    """
    halves = query.device.type == "cpu" and query.dtype in {torch.bfloat16, torch.float16}
    if not (halves and torch.is_grad_enabled()) or key.shape[2] > MAX_SEPARATE_TOKENS:
        return functional.scaled_dot_product_attention(query, key, value)
    scores = (query * query.shape[-1] ** -0.5) @ key.mT
    return functional.softmax(scores.float(), dim=-1).to(value.dtype) @ value


class Attention(nn.Module):
    """Multi-head self-attention (Vaswani et al. 2017, eq. 1)."""

    def __init__(self, embed_dim: int, heads: int, head_dim: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(embed_dim, 3 * heads * head_dim)
        self.proj = nn.Linear(heads * head_dim, embed_dim)

    def forward(
        self, tokens: Tensor, mask: Tensor | None = None, asked: int | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor, Tensor]]:
        """Attend to all tokens.

        Args:
            tokens: float[batch, tokens, embed_dim].
            mask: ones and zeros by which the heads' outputs are multiplied, float[heads].
            asked: number of leading tokens whose outputs are wanted; None for all.

        Returns:
            float[batch, asked, embed_dim], and query, key, value and head outputs.
        """
        if asked is None:
            query, key, value = self._split(self.qkv(tokens), 3)
        else:
            weight, bias, width = self.qkv.weight, self.qkv.bias, self.proj.in_features
            few = functional.linear(tokens[:, :asked], weight[:width], bias[:width])
            (query,) = self._split(few, 1)
            key, value = self._split(functional.linear(tokens, weight[width:], bias[width:]), 2)
        heads = attend(query, key, value)
        if mask is not None:
            heads = heads * mask[:, None, None]
        projected: Tensor = self.proj(heads.transpose(1, 2).flatten(2))
        return projected, (query, key, value, heads)

    def _split(self, joined: Tensor, count: int) -> tuple[Tensor, ...]:
        """float[batch, tokens, count * width] -> ``count`` of [batch, heads, tokens, head_dim]."""
        apart = joined.reshape(*joined.shape[:2], count, self.heads, -1)
        return apart.permute(2, 0, 3, 1, 4).unbind(0)


class Mlp(nn.Module):
    """Two linear layers with the exact (erf) GELU between them."""

    def __init__(self, embed_dim: int, mlp_dim: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(embed_dim, mlp_dim)
        self.fc2 = nn.Linear(mlp_dim, embed_dim)

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """float[batch, tokens, embed_dim] in and out; also the hidden activations."""
        hidden = functional.gelu(self.fc1(tokens))
        if mask is not None:
            hidden = hidden * mask
        outputs: Tensor = self.fc2(hidden)
        return outputs, hidden


class Block(nn.Module):
    """A pre-norm transformer block (Dosovitskiy et al. 2021, eq. 2-3), or Compact Transformers'.

    A block of Compact Transformers goes on from the second norm's output, see
    ``SubVitSpec.residual_norm``.
    """

    def __init__(self, spec: SubVitSpec, block: BlockSpec) -> None:
        super().__init__()
        self.residual_norm = spec.residual_norm
        self.norm1 = nn.LayerNorm(spec.embed_dim, spec.norm_eps)
        self.attn = Attention(spec.embed_dim, block.heads, spec.head_dim)
        self.norm2 = nn.LayerNorm(spec.embed_dim, spec.norm_eps)
        self.mlp = Mlp(spec.embed_dim, block.mlp_dim)

    def forward(
        self, stream: Tensor, mask: BlockMask | None = None, asked: int | None = None
    ) -> tuple[Tensor, BlockTrace]:
        """float[batch, tokens, embed_dim] in; out, and in the trace, the first ``asked`` tokens."""
        attended, (query, key, value, heads) = self.attn(
            self.norm1(stream), mask and mask.heads, asked
        )
        stream = stream[:, :asked] + attended
        normed = self.norm2(stream)
        change, hidden = self.mlp(normed, mask and mask.neurons)
        return (normed if self.residual_norm else stream) + change, BlockTrace(
            query, key, value, heads, hidden
        )


class PatchEmbed(nn.Module):
    """Cuts the image into square patches and embeds each."""

    def __init__(self, spec: SubVitSpec) -> None:
        super().__init__()
        self.proj = nn.Conv2d(CHANNELS, spec.embed_dim, spec.patch_size, spec.patch_size)

    def forward(self, images: Tensor) -> Tensor:
        """float[batch, 3, image_size, image_size] -> float[batch, patches, embed_dim]."""
        embedded: Tensor = self.proj(images)
        return embedded.flatten(2).transpose(1, 2)


class ConvTokenizer(nn.ModuleList):
    """Convolutions with ReLU and max pooling make the tokens (Hassani et al. 2021, eq. 2)."""

    def __init__(self, spec: SubVitSpec) -> None:
        channels = [CHANNELS, *(layer.channels for layer in spec.tokenizer)]
        super().__init__(
            nn.Conv2d(before, c.channels, c.kernel_size, c.stride, c.padding, bias=False)
            for before, c in zip(channels, spec.tokenizer, strict=False)
        )
        for weight in self.parameters():
            nn.init.kaiming_normal_(weight)

    def forward(self, images: Tensor) -> Tensor:
        """float[batch, 3, image_size, image_size] -> float[batch, patches, embed_dim]."""
        for layer in self:
            images = functional.max_pool2d(
                functional.relu(layer(images)), POOL_SIZE, POOL_STRIDE, POOL_PADDING
            )
        return images.flatten(2).transpose(1, 2)


class SubVit(nn.Module):
    """A ViT, DeiT or CCT without its classifier, with timm's names.

    Its parameters are those of :func:`devit_iot.export.fold.trained_shapes`.
    """

    def __init__(self, spec: SubVitSpec) -> None:
        super().__init__()
        self.spec = spec
        for name in prefix_names(spec):
            self.register_parameter(name, nn.Parameter(torch.empty(1, 1, spec.embed_dim)))
        self.pos_embed = nn.Parameter(torch.empty(1, spec.tokens, spec.embed_dim))
        if spec.tokenizer:
            self.tokenizer = ConvTokenizer(spec)
            self.pool = nn.Linear(spec.embed_dim, 1)
        else:
            self.patch_embed = PatchEmbed(spec)
        self.blocks = nn.ModuleList(Block(spec, block) for block in spec.blocks)
        self.norm = nn.LayerNorm(spec.embed_dim, spec.norm_eps)
        for name, parameter in self.named_parameters():
            if name.endswith("_token") or name == "pos_embed" or parameter.ndim == 2:  # noqa: PLR2004
                nn.init.trunc_normal_(parameter, std=0.02)
            elif name.startswith("blocks") and name.endswith("bias"):
                nn.init.zeros_(parameter)

    def forward(
        self,
        images: Tensor,
        keep: Collection[int] = (),
        masks: Mapping[int, BlockMask] | None = None,
    ) -> SubVitOutput:
        """Run the network.

        Args:
            images: the squared image, normalised pixels, float[batch, 3, side, side]; the network
                looks at its view of it (:func:`devit_iot.decompose.network.views.crop_view`).
            keep: the blocks whose traces are returned.
            masks: heads and neurons to silence, by block.
        """
        stream = self.embed(images)
        traces = {}
        for index, block in enumerate(self.blocks):
            # After the last block nothing but the prefix tokens is read; CCT pools all of them.
            unread = index == len(self.blocks) - 1 and index not in keep
            asked = self.spec.prefix_tokens or None if unread else None
            stream, trace = block(stream, masks and masks.get(index), asked)
            if index in keep:
                traces[index] = trace
        return SubVitOutput(self.read(stream), traces)

    def embed(self, images: Tensor) -> Tensor:
        """The squared image -> what the first block takes, float[batch, tokens, embed_dim]."""
        images = crop_view(images, self.spec)
        if self.spec.tokenizer:
            embedded: Tensor = self.tokenizer(images)
            return embedded + self.pos_embed
        tokens = (getattr(self, name) for name in prefix_names(self.spec))
        prefix = [token.expand(len(images), -1, -1) for token in tokens]
        return torch.cat([*prefix, self.patch_embed(images)], dim=1) + self.pos_embed

    def read(self, stream: Tensor) -> Tensor:
        """What the last block gives -> the published tokens, float[batch, k, embed_dim]."""
        if not self.spec.tokenizer:
            prefix: Tensor = self.norm(stream[:, : self.spec.prefix_tokens])
            return prefix
        normed: Tensor = self.norm(stream)
        weights = functional.softmax(self.pool(normed), dim=1)
        return weights.transpose(1, 2) @ normed


class ClassifierOutput(NamedTuple):
    """Logits of each head, float[batch, k, classes], the tokens below them, and the traces."""

    logits: Tensor
    tokens: Tensor
    traces: dict[int, BlockTrace]


def class_scores(logits: Tensor) -> Tensor:
    """The mean of the heads' logits: float[batch, k, classes] -> float[batch, classes].

    The mean of a DeiT's two heads is that of Touvron et al. 2021, section 5.2.
    """
    return logits.mean(dim=1)


class Classifier(nn.Module):
    """A sub-ViT with one linear head per published token; a DeiT has two."""

    def __init__(self, spec: SubVitSpec, classes: int) -> None:
        super().__init__()
        self.vit = SubVit(spec)
        tokens = max(1, spec.prefix_tokens)
        self.heads = nn.ModuleList(nn.Linear(spec.embed_dim, classes) for _ in range(tokens))
        for parameter in self.heads.parameters():
            nn.init.zeros_(parameter)

    @property
    def spec(self) -> SubVitSpec:
        """The shape of the network below the heads."""
        return self.vit.spec

    @property
    def classes(self) -> int:
        """Number of classes of each head."""
        (rows,) = {len(weight) for weight in self.heads.parameters()}
        return rows

    def forward(
        self,
        images: Tensor,
        keep: Collection[int] = (),
        masks: Mapping[int, BlockMask] | None = None,
    ) -> ClassifierOutput:
        """See :meth:`SubVit.forward`."""
        output = self.vit(images, keep, masks)
        return ClassifierOutput(self.classify(output.tokens), output.tokens, output.traces)

    def classify(self, tokens: Tensor) -> Tensor:
        """float[batch, k, embed_dim] -> float[batch, k, classes]."""
        return torch.stack([head(tokens[:, k]) for k, head in enumerate(self.heads)], dim=1)
