"""The trainable sub-ViT and the trainable fusion, built from the same specs as everything else."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from devit_iot.decompose.fold import F64
from devit_iot.spec import CHANNELS, BlockSpec, SubVitSpec


class SubVitOutput(NamedTuple):
    """What a forward pass computes: intermediates are returned, never stashed on the module.

    Attributes:
        prefix: the last layer norm's prefix tokens, float[batch, prefix_tokens, embed_dim].
        streams: the residual stream after each block, each float[batch, tokens, embed_dim].
    """

    prefix: Tensor
    streams: tuple[Tensor, ...]


class Attention(nn.Module):
    """Multi-head self-attention (Vaswani et al. 2017, eq. 1)."""

    def __init__(self, embed_dim: int, heads: int, head_dim: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(embed_dim, 3 * heads * head_dim)
        self.proj = nn.Linear(heads * head_dim, embed_dim)

    def forward(self, tokens: Tensor) -> Tensor:
        """float[batch, tokens, embed_dim] in and out."""
        qkv: Tensor = self.qkv(tokens)
        split = qkv.reshape(*qkv.shape[:2], 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(split[0], split[1], split[2])
        projected: Tensor = self.proj(mixed.transpose(1, 2).flatten(2))
        return projected


class Mlp(nn.Module):
    """Two linear layers with the exact (erf) GELU between them."""

    def __init__(self, embed_dim: int, mlp_dim: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(embed_dim, mlp_dim)
        self.fc2 = nn.Linear(mlp_dim, embed_dim)

    def forward(self, tokens: Tensor) -> Tensor:
        """float[batch, tokens, embed_dim] in and out."""
        outputs: Tensor = self.fc2(functional.gelu(self.fc1(tokens)))
        return outputs


class Block(nn.Module):
    """A pre-norm transformer block (Dosovitskiy et al. 2021, eq. 2-3)."""

    def __init__(self, spec: SubVitSpec, block: BlockSpec) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(spec.embed_dim, spec.norm_eps)
        self.attn = Attention(spec.embed_dim, block.heads, spec.head_dim)
        self.norm2 = nn.LayerNorm(spec.embed_dim, spec.norm_eps)
        self.mlp = Mlp(spec.embed_dim, block.mlp_dim)

    def forward(self, stream: Tensor) -> Tensor:
        """float[batch, tokens, embed_dim] in and out."""
        attended: Tensor = stream + self.attn(self.norm1(stream))
        outputs: Tensor = attended + self.mlp(self.norm2(attended))
        return outputs


class PatchEmbed(nn.Module):
    """Cuts the image into square patches and embeds each."""

    def __init__(self, spec: SubVitSpec) -> None:
        super().__init__()
        self.proj = nn.Conv2d(CHANNELS, spec.embed_dim, spec.patch_size, spec.patch_size)

    def forward(self, images: Tensor) -> Tensor:
        """float[batch, 3, image_size, image_size] -> float[batch, patches, embed_dim]."""
        embedded: Tensor = self.proj(images)
        return embedded.flatten(2).transpose(1, 2)


class SubVit(nn.Module):
    """A ViT (one prefix token) or DeiT (two) without its classifier, with timm's names.

    Its parameters are those of :func:`devit_iot.decompose.fold.trained_shapes`.
    """

    def __init__(self, spec: SubVitSpec) -> None:
        super().__init__()
        self.spec = spec
        self.cls_token = nn.Parameter(torch.empty(1, 1, spec.embed_dim))
        if spec.prefix_tokens == 2:  # noqa: PLR2004 - DeiT
            self.dist_token = nn.Parameter(torch.empty(1, 1, spec.embed_dim))
        self.pos_embed = nn.Parameter(torch.empty(1, spec.tokens, spec.embed_dim))
        self.patch_embed = PatchEmbed(spec)
        self.blocks = nn.ModuleList(Block(spec, block) for block in spec.blocks)
        self.norm = nn.LayerNorm(spec.embed_dim, spec.norm_eps)
        for name, parameter in self.named_parameters():
            if "token" in name or name == "pos_embed" or parameter.ndim == 2:  # noqa: PLR2004
                nn.init.trunc_normal_(parameter, std=0.02)

    def forward(self, images: Tensor) -> SubVitOutput:
        """Run the network on normalised pixels, float[batch, 3, image_size, image_size]."""
        names = ("cls_token", "dist_token")[: self.spec.prefix_tokens]
        prefix = [getattr(self, name).expand(len(images), -1, -1) for name in names]
        stream = torch.cat([*prefix, self.patch_embed(images)], dim=1) + self.pos_embed
        streams = []
        for block in self.blocks:
            stream = block(stream)
            streams.append(stream)
        return SubVitOutput(self.norm(stream[:, : self.spec.prefix_tokens]), tuple(streams))


class FusionHead(nn.Module):
    """METHOD stage 4: z = concat_i(f_i); h = A z + c; logits = W h + b, averaged over the tokens.

    Each prefix token has its own A, c, W and b.
    """

    def __init__(self, specs: Sequence[SubVitSpec], hidden: int, classes: int) -> None:
        super().__init__()
        self.specs = tuple(specs)
        width = sum(spec.embed_dim for spec in specs)
        tokens = range(specs[0].prefix_tokens)
        self.gather = nn.ModuleList(nn.Linear(width, hidden) for _ in tokens)
        self.classify = nn.ModuleList(nn.Linear(hidden, classes) for _ in tokens)

    def forward(self, prefixes: Sequence[Tensor]) -> Tensor:
        """Prefix tokens, float[batch, prefix_tokens, dim_i] each -> float[batch, classes]."""
        joined = torch.cat(list(prefixes), dim=2)
        heads = zip(self.gather, self.classify, strict=True)
        logits = [classify(gather(joined[:, k])) for k, (gather, classify) in enumerate(heads)]
        return torch.stack(logits).mean(dim=0)

    def class_maps(self) -> tuple[list[F64], F64]:
        """The same as one matrix per part: float64[classes, feature_dim_i], and the bias."""
        state = {name: value.double().numpy() for name, value in self.state_dict().items()}
        tokens = range(len(self.gather))
        bounds = np.cumsum([spec.embed_dim for spec in self.specs])[:-1]
        per_token, biases = [], []
        for k in tokens:
            outer = state[f"classify.{k}.weight"] / len(tokens)
            per_token.append(np.split(outer @ state[f"gather.{k}.weight"], bounds, axis=1))
            biases.append(
                outer @ state[f"gather.{k}.bias"] + state[f"classify.{k}.bias"] / len(tokens)
            )
        maps = [np.concatenate(pieces, axis=1) for pieces in zip(*per_token, strict=True)]
        return maps, np.sum(biases, axis=0)
