"""The trainable fusion, and the fleet that is trained as one network."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from devit_iot.bundle.spec import SubVitSpec
from devit_iot.decompose.network.models import SubVit
from devit_iot.export.fold import F64


class FusionHead(nn.Module):
    """z = concat_i(f_i); h = A z + c; logits = W h + b, for each token (docs/method.md, eq. 10).

    Each published token (a DeiT has two) has its own A, c, W and b.
    """

    def __init__(self, specs: Sequence[SubVitSpec], hidden: int, classes: int) -> None:
        super().__init__()
        self.specs = tuple(specs)
        width = sum(spec.embed_dim for spec in specs)
        tokens = range(specs[0].feature_dim // specs[0].embed_dim)
        self.gather = nn.ModuleList(nn.Linear(width, hidden) for _ in tokens)
        self.classify = nn.ModuleList(nn.Linear(hidden, classes) for _ in tokens)

    def forward(self, tokens: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Fuse the published tokens, float[batch, k, dim_i] per part.

        Returns:
            logits, float[batch, k, classes], and h, float[batch, k, hidden].
        """
        joined = torch.cat(list(tokens), dim=2)
        hidden = [gather(joined[:, k]) for k, gather in enumerate(self.gather)]
        logits = [classify(h) for classify, h in zip(self.classify, hidden, strict=True)]
        return torch.stack(logits, dim=1), torch.stack(hidden, dim=1)

    def individual(self, tokens: Sequence[Tensor]) -> Tensor:
        """What each part answers alone: its contribution, as many times as there are parts.

        The mean over the parts is what :meth:`forward` gives.

        Args:
            tokens: published tokens, float[batch, k, dim_i] per part.

        Returns:
            float[parts, batch, k, classes].
        """
        alone = []
        for part, token in enumerate(tokens):
            silent = [torch.zeros_like(other) for other in tokens]
            silent[part] = len(tokens) * token
            alone.append(self(silent)[0])
        return torch.stack(alone)

    def class_maps(self) -> tuple[list[F64], F64]:
        """The fusion as one matrix per part, float64[classes, feature_dim_i], and its bias."""
        state = {name: value.double().cpu().numpy() for name, value in self.state_dict().items()}
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


class FleetOutput(NamedTuple):
    """What a forward pass gives.

    Attributes:
        logits: float[batch, k, classes].
        hidden: h, float[batch, k, hidden].
        tokens: published tokens of each part, float[batch, k, dim_i].
        individual: the answer of :meth:`FusionHead.individual`; empty unless it was asked for.
    """

    logits: Tensor
    hidden: Tensor
    tokens: tuple[Tensor, ...]
    individual: Tensor


class Fleet(nn.Module):
    """All parts and their fusion."""

    def __init__(self, parts: Sequence[SubVit], head: FusionHead) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)
        self.head = head

    @property
    def vits(self) -> tuple[SubVit, ...]:
        """The parts."""
        return tuple(part for part in self.parts if isinstance(part, SubVit))

    def forward(
        self, images: Tensor, part_dropout: float = 0.0, *, individual: bool = False
    ) -> FleetOutput:
        """Run every part on the same images, each on its view of them, and fuse.

        Args:
            images: the squared image, normalised pixels, float[batch, 3, side, side].
            part_dropout: probability that an image loses a given part.
            individual: whether to give each part's own answer too.
        """
        tokens = tuple(part(images).tokens for part in self.parts)
        logits, hidden = self.head(drop_parts(tokens, part_dropout) if part_dropout else tokens)
        alone = self.head.individual(tokens) if individual else logits.new_empty(0)
        return FleetOutput(logits, hidden, tokens, alone)


def drop_parts(tokens: Sequence[Tensor], probability: float) -> list[Tensor]:
    """Put the batch mean in place of a part's tokens, per image and part at random.

    The aggregator puts a mean in place of a missing part too, so the fleet learns to do without.

    Args:
        tokens: per part, float[batch, k, dim_i].
        probability: probability of losing a part; at least one part of each image is kept.
    """
    count, device = len(tokens[0]), tokens[0].device
    lost = torch.rand(count, len(tokens), device=device) < probability
    kept = torch.randint(len(tokens), (count,), device=device)
    lost[torch.arange(count, device=device), kept] &= ~lost.all(dim=1)
    return [
        torch.where(lost[:, part, None, None], token.mean(dim=0, keepdim=True), token)
        for part, token in enumerate(tokens)
    ]
