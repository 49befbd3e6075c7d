"""Which heads, neurons and blocks of a network stay when it shrinks."""

import msgspec
import torch

from devit_iot.bundle.spec import BlockSpec, SubVitSpec
from devit_iot.decompose.network.models import BlockMask
from devit_iot.errors import SpecError


class BlockPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What stays of one block: indices into its heads and its MLP's neurons, each ascending."""

    heads: tuple[int, ...]
    neurons: tuple[int, ...]


class Policy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What stays of a network: one entry per block, None where the whole block goes.

    Without a block the residual stream passes by: the block's biases go with it. In a network with
    ``residual_norm`` every block must stay, since its norm is part of the stream.
    """

    blocks: tuple[BlockPolicy | None, ...]

    @classmethod
    def whole(cls, spec: SubVitSpec) -> "Policy":
        """Everything stays."""
        return cls(
            tuple(BlockPolicy(tuple(range(b.heads)), tuple(range(b.mlp_dim))) for b in spec.blocks)
        )

    def shrink(self, spec: SubVitSpec) -> SubVitSpec:
        """The shape that is left of ``spec``.

        Raises:
            SpecError: the policy does not fit ``spec``, or nothing useful would be left.
        """
        self._check(spec)
        kept = tuple(BlockSpec(len(b.heads), len(b.neurons)) for b in self.blocks if b is not None)
        small = msgspec.structs.replace(spec, blocks=kept)
        small.validate()
        return small

    def masks(
        self, spec: SubVitSpec, device: torch.device | str | None = None
    ) -> dict[int, BlockMask]:
        """The masks that make a network of ``spec`` compute what the shrunk one does.

        Raises:
            SpecError: the policy does not fit ``spec``, or drops a block: masks silence heads and
                neurons but leave the biases that follow them.
        """
        self._check(spec)
        masks = {}
        for index, (block, kept) in enumerate(zip(spec.blocks, self.blocks, strict=True)):
            if kept is None:
                raise SpecError(f"block {index} is dropped, which no mask can express")
            mask = BlockMask(
                torch.zeros(block.heads, device=device), torch.zeros(block.mlp_dim, device=device)
            )
            mask.heads[list(kept.heads)] = 1
            mask.neurons[list(kept.neurons)] = 1
            masks[index] = mask
        return masks

    def _check(self, spec: SubVitSpec) -> None:
        if len(self.blocks) != len(spec.blocks):
            raise SpecError(
                f"a policy of {len(self.blocks)} blocks for a network of {len(spec.blocks)}"
            )
        for index, (block, kept) in enumerate(zip(spec.blocks, self.blocks, strict=True)):
            if kept is None:
                if spec.residual_norm:
                    raise SpecError(
                        f"block {index} cannot go: with residual_norm its norm is part of the "
                        "residual stream"
                    )
                continue
            for name, indices, size in (
                ("heads", kept.heads, block.heads),
                ("neurons", kept.neurons, block.mlp_dim),
            ):
                ascending = sorted(set(indices)) == list(indices)
                if not (indices and ascending and indices[0] >= 0 and indices[-1] < size):
                    raise SpecError(
                        f"block {index} keeps {name} {indices}; wanted at least one, ascending, "
                        f"of 0 to {size - 1}"
                    )
