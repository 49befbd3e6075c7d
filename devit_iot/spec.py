"""The shape of a sub-ViT and of the fusion: the one place where tensor names and shapes are stated.

Export writes these tensors, the bundle validates them, the engines read them.
"""

from collections.abc import Iterator

import msgspec

from devit_iot.errors import SpecError

CHANNELS = 3
MAX_HEAD_DIM = 256
MAX_TOKENS = 16384


class BlockSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One transformer block: what shrinking may change from layer to layer."""

    heads: int
    mlp_dim: int


class SubVitSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A pre-norm Vision Transformer without its classifier (Dosovitskiy et al. 2021, eq. 1-4).

    Attributes:
        image_size: side of the square RGB input, pixels.
        resize_size: short side of the image before the centre crop to ``image_size``, pixels.
        patch_size: side of a square patch, pixels; divides ``image_size``.
        embed_dim: width of the residual stream.
        head_dim: width of one attention head, equal in all blocks.
        prefix_tokens: 1 for ViT (class token), 2 for DeiT (class and distillation token).
        blocks: head count and MLP width of each block, first to last.
        norm_eps: added to the variance in every layer norm.

    Raises:
        SpecError: from :meth:`validate`, when no network has this shape.
    """

    image_size: int
    resize_size: int
    patch_size: int
    embed_dim: int
    head_dim: int
    prefix_tokens: int
    blocks: tuple[BlockSpec, ...]
    norm_eps: float = 1e-6

    @property
    def patches(self) -> int:
        """Number of image patches."""
        return (self.image_size // self.patch_size) ** 2

    @property
    def tokens(self) -> int:
        """Prefix tokens and patches together: the rows of the residual stream."""
        return self.prefix_tokens + self.patches

    @property
    def patch_dim(self) -> int:
        """Numbers in one patch: rows, columns and channels."""
        return self.patch_size**2 * CHANNELS

    @property
    def feature_dim(self) -> int:
        """Length of the published feature: the normalised prefix tokens, one after another."""
        return self.prefix_tokens * self.embed_dim

    def validate(self) -> None:
        """Raise SpecError unless every size is possible."""
        for name in ("image_size", "patch_size", "embed_dim", "head_dim"):
            if getattr(self, name) < 1:
                raise SpecError(f"{name} must be at least 1, got {getattr(self, name)}")
        rules = (
            (self.image_size % self.patch_size == 0, "patch_size does not divide image_size"),
            (self.resize_size >= self.image_size, "resize_size is smaller than image_size"),
            (self.prefix_tokens in {1, 2}, "prefix_tokens is neither 1 (ViT) nor 2 (DeiT)"),
            (self.head_dim <= MAX_HEAD_DIM, f"head_dim is over {MAX_HEAD_DIM}"),
            (self.tokens <= MAX_TOKENS, f"there are more than {MAX_TOKENS} tokens"),
            (self.norm_eps > 0, "norm_eps is not positive"),
            (len(self.blocks) > 0, "there is no block"),
            (
                all(block.heads >= 1 and block.mlp_dim >= 1 for block in self.blocks),
                "a block has no head or no neuron",
            ),
        )
        for holds, problem in rules:
            if not holds:
                raise SpecError(f"{problem}: {self}")


class FusionSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The shape of the fusion: a sum of one linear map per part (METHOD: folded A and W)."""

    classes: int
    feature_dims: tuple[int, ...]


class TensorSpec(msgspec.Struct, frozen=True):
    """Name, shape and dtype of one stored tensor; C-contiguous, little-endian."""

    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"


def block_tensors(spec: SubVitSpec, index: int) -> tuple[TensorSpec, ...]:
    """The tensors of block ``index``.

    Linear weights are (out, in), as in ``y = W x + b``. The rows of ``attn.qkv`` are Q, K and V in
    turn, each head by head. Layer-norm scale and shift are folded into ``attn.qkv`` and
    ``mlp.fc1``, and ``head_dim ** -0.5`` into the rows of Q: engines apply neither.
    """
    block = spec.blocks[index]
    inner = block.heads * spec.head_dim
    prefix = f"blocks.{index}."
    return (
        TensorSpec(prefix + "attn.qkv.weight", (3 * inner, spec.embed_dim)),
        TensorSpec(prefix + "attn.qkv.bias", (3 * inner,)),
        TensorSpec(prefix + "attn.proj.weight", (spec.embed_dim, inner)),
        TensorSpec(prefix + "attn.proj.bias", (spec.embed_dim,)),
        TensorSpec(prefix + "mlp.fc1.weight", (block.mlp_dim, spec.embed_dim)),
        TensorSpec(prefix + "mlp.fc1.bias", (block.mlp_dim,)),
        TensorSpec(prefix + "mlp.fc2.weight", (spec.embed_dim, block.mlp_dim)),
        TensorSpec(prefix + "mlp.fc2.bias", (spec.embed_dim,)),
    )


def tensors(spec: SubVitSpec) -> Iterator[TensorSpec]:
    """Every tensor of a sub-ViT's engine, in execution order.

    ``patch_embed.weight`` maps one patch of raw uint8 pixels (rows, columns, RGB; the image mean
    and deviation are folded in) to the residual stream. ``pos_embed`` is added to it: its first
    ``prefix_tokens`` rows hold token plus position, the others position plus the patch bias.
    The last layer norm has no scale and shift: they are folded into the fusion.
    """
    yield TensorSpec("patch_embed.weight", (spec.embed_dim, spec.patch_dim))
    yield TensorSpec("pos_embed", (spec.tokens, spec.embed_dim))
    for index in range(len(spec.blocks)):
        yield from block_tensors(spec, index)


def golden_tensors(spec: SubVitSpec) -> Iterator[TensorSpec]:
    """The image and the feature by which an engine proves itself before it serves."""
    yield TensorSpec("golden.image", (spec.image_size, spec.image_size, CHANNELS), "uint8")
    yield TensorSpec("golden.feature", (spec.feature_dim,))


def fusion_tensors(spec: FusionSpec) -> Iterator[TensorSpec]:
    """The tensors of the fusion: ``logits = bias + sum_i parts.i.weight @ feature_i``.

    ``parts.i.mean`` is ``parts.i.weight @ mean(feature_i)``: it stands in for a missing part.
    """
    yield TensorSpec("bias", (spec.classes,))
    for index, feature_dim in enumerate(spec.feature_dims):
        yield TensorSpec(f"parts.{index}.weight", (spec.classes, feature_dim))
        yield TensorSpec(f"parts.{index}.mean", (spec.classes,))


def macs(spec: SubVitSpec) -> int:
    """Multiply-accumulates of one inference: linear layers and both attention products."""
    total = spec.patches * spec.patch_dim * spec.embed_dim
    for block in spec.blocks:
        inner = block.heads * spec.head_dim
        linear = 4 * inner * spec.embed_dim + 2 * block.mlp_dim * spec.embed_dim
        total += spec.tokens * linear + 2 * spec.tokens**2 * inner
    return total
