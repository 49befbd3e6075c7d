"""The shape of a sub-ViT and of the fusion: the one place where tensor names and shapes are stated.

Export writes these tensors, the bundle validates them, the engines read them.
"""

from collections.abc import Iterator
from typing import Literal

import msgspec

from devit_iot.errors import SpecError

CHANNELS = 3
MAX_HEAD_DIM = 256
MAX_TOKENS = 16384
MAX_MAP = 2**26
MIN_VIEW = 1 / 16
"""Smallest share of the squared image's side that a part may look at."""
POOL_SIZE, POOL_STRIDE, POOL_PADDING = 3, 2, 1


class TensorSpec(msgspec.Struct, frozen=True):
    """Name, shape and dtype of one stored tensor; C-contiguous, little-endian."""

    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"


class BlockSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One transformer block: what shrinking may change from layer to layer."""

    heads: int
    mlp_dim: int


class ConvSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One layer of a convolutional tokenizer: convolution without bias, ReLU, max pooling.

    The pooling takes the largest of 3 x 3 pixels, every second row and column, edges padded by one
    (Hassani et al. 2021, eq. 2).
    """

    channels: int
    kernel_size: int
    stride: int
    padding: int

    def convolved(self, side: int) -> int:
        """Side of what the convolution makes of a square; less than 1 if none."""
        return (side + 2 * self.padding - self.kernel_size) // self.stride + 1

    def grid(self, side: int) -> int:
        """Side of what convolution and pooling make of a square; less than 1 if none."""
        return (self.convolved(side) + 2 * POOL_PADDING - POOL_SIZE) // POOL_STRIDE + 1


class View(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The rectangle of the squared image that a part sees; all are shares of its side, 0 to 1.

    Attributes:
        x: left edge.
        y: upper edge.
        width: distance of the left edge from the right one.
        height: distance of the upper edge from the lower one.
    """

    x: float = 0.0
    y: float = 0.0
    width: float = 1.0
    height: float = 1.0

    def __str__(self) -> str:
        """The view in words: how large a share of the image it is, and where."""
        if self == View():
            return "whole"
        size = f"{100 * self.width:.0f} x {100 * self.height:.0f} %"
        return f"{size} at {100 * self.x:.0f}, {100 * self.y:.0f} %"

    @property
    def zoom(self) -> float:
        """How much finer than the whole image's the pixels of this view are, in its finer axis."""
        return 1 / min(self.width, self.height)

    def rules(self) -> Iterator[tuple[bool, str]]:
        """What must hold, and what is wrong where it does not."""
        edges = ((self.x, self.width), (self.y, self.height))
        # A sum of shares may be over 1 by a rounding error.
        inside = all(start >= 0 and start + size <= 1 + 1e-9 for start, size in edges)
        yield inside, "the view is not inside the image"
        large = min(self.width, self.height) >= MIN_VIEW
        yield large, f"the view's sides are less than {MIN_VIEW} of the image's"


WHOLE = View()


Fit = Literal["crop", "squash"]
Filter = Literal["bicubic", "bilinear"]


class Resize(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How an image becomes the squared image, as the network's training did it.

    Attributes:
        fit: ``crop`` makes the short side ``resize_size`` long, ``squash`` both sides, which
            changes the shape of what the image shows. The centre is cut out of both.
        filter: the interpolation, widened where the image gets smaller, so that nothing aliases:
            Pillow's.
    """

    fit: Fit = "crop"
    filter: Filter = "bicubic"

    def __str__(self) -> str:
        """The resize in words."""
        return f"{self.fit}, {self.filter}"


CROPPED = Resize()


class SubVitSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A Vision Transformer without its classifier.

    A ViT (Dosovitskiy et al. 2021, eq. 1-4) or DeiT (Touvron et al. 2021) cuts patches and answers
    with its prefix tokens. A CCT (Hassani et al. 2021) makes its tokens by convolutions, has no
    prefix token, and answers with one token pooled over the sequence (eq. 3 to 5).

    Attributes:
        image_size: side of the square RGB input, pixels.
        resize_size: short side of the image before the centre crop to ``image_size``, pixels; a
            squashed image gets it on both sides.
        patch_size: side of a square patch, pixels; divides ``image_size``. 0 with a tokenizer.
        embed_dim: width of the residual stream.
        head_dim: width of one attention head, equal in all blocks.
        prefix_tokens: 1 for ViT (class token), 2 for DeiT (also a distillation token), 0 for CCT.
        blocks: head count and MLP width of each block, first to last.
        norm_eps: added to the variance in every layer norm.
        tokenizer: a CCT's convolutions, first to last; the last has ``embed_dim`` channels.
        residual_norm: the second layer norm of each block, scale and shift included, replaces the
            residual stream (Compact Transformers) instead of feeding the MLP alone.
        view: the rectangle of the squared image, the centre crop, that is resized to the square
            input; left out, and then absent from every file, for the whole of it.
        resize: how an image is resized; left out, and then absent from every file, for a crop and
            the bicubic filter.

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
    tokenizer: tuple[ConvSpec, ...] = ()
    residual_norm: bool = False
    view: View | msgspec.UnsetType = msgspec.UNSET
    resize: Resize | msgspec.UnsetType = msgspec.UNSET

    @property
    def seen(self) -> View:
        """The view; the whole image where there is none."""
        return WHOLE if self.view is msgspec.UNSET else self.view

    @property
    def resized(self) -> Resize:
        """How an image is resized; the crop and the bicubic filter where nothing is said."""
        return CROPPED if self.resize is msgspec.UNSET else self.resize

    @property
    def grids(self) -> tuple[int, ...]:
        """Side of the square of pixels or tokens before and after each layer of the tokenizer."""
        sides = [self.image_size]
        for layer in self.tokenizer:
            sides.append(layer.grid(sides[-1]))
        return tuple(sides)

    @property
    def patches(self) -> int:
        """Number of tokens that the image becomes."""
        side = self.grids[-1] if self.tokenizer else self.image_size // self.patch_size
        return side**2

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
        """Length of the published feature: the normalised prefix tokens, or the pooled token."""
        return max(1, self.prefix_tokens) * self.embed_dim

    def validate(self) -> None:
        """Raise SpecError unless every size is possible."""
        for name in ("image_size", "embed_dim", "head_dim"):
            if getattr(self, name) < 1:
                raise SpecError(f"{name} must be at least 1, got {getattr(self, name)}")
        rules = (
            *(self._tokenizer_rules() if self.tokenizer else self._patch_rules()),
            (self.resize_size >= self.image_size, "resize_size is smaller than image_size"),
            (self.head_dim <= MAX_HEAD_DIM, f"head_dim is over {MAX_HEAD_DIM}"),
            (self.norm_eps > 0, "norm_eps is not positive"),
            (len(self.blocks) > 0, "there is no block"),
            (
                all(block.heads >= 1 and block.mlp_dim >= 1 for block in self.blocks),
                "a block has no head or no neuron",
            ),
            *self.seen.rules(),
            (self.view != WHOLE, "a view of the whole image is to be left out"),
            (self.resize != CROPPED, "a resize by crop and bicubic filter is to be left out"),
        )
        for holds, problem in rules:
            if not holds:
                raise SpecError(f"{problem}: {self}")
        if self.tokens > MAX_TOKENS:
            raise SpecError(f"there are more than {MAX_TOKENS} tokens: {self}")

    def tensors(self) -> Iterator[TensorSpec]:
        """Every tensor of a sub-ViT's engine, in execution order.

        ``patch_embed.weight`` maps one patch of raw uint8 pixels (rows, columns, RGB; the image
        mean and deviation are folded in) to the residual stream. ``pos_embed`` is added to it: its
        first ``prefix_tokens`` rows hold token plus position, the others position plus the patch
        bias.
        The last layer norm has no scale and shift: they are folded into the fusion.

        A tokenizer's convolutions have weights of (out, rows, columns, in). The first one takes raw
        pixels less ``tokenizer.offset``, one number per channel, so that zero padding stays zero.
        ``pool.weight`` scores the normalised tokens (the last layer norm's scale is folded in, what
        is constant drops out); the feature is the sum of these tokens, weighted by a softmax over
        them.
        """
        if self.tokenizer:
            yield TensorSpec("tokenizer.offset", (CHANNELS,))
            channels = CHANNELS
            for index, layer in enumerate(self.tokenizer):
                kernel = (layer.kernel_size, layer.kernel_size)
                yield TensorSpec(f"tokenizer.{index}.weight", (layer.channels, *kernel, channels))
                channels = layer.channels
        else:
            yield TensorSpec("patch_embed.weight", (self.embed_dim, self.patch_dim))
        yield TensorSpec("pos_embed", (self.tokens, self.embed_dim))
        for index in range(len(self.blocks)):
            yield from self.block_tensors(index)
        if self.tokenizer:
            yield TensorSpec("pool.weight", (self.embed_dim,))

    def block_tensors(self, index: int) -> tuple[TensorSpec, ...]:
        """The tensors of block ``index``.

        Linear weights are (out, in), as in ``y = W x + b``. The rows of ``attn.qkv`` are Q, K and V
        in turn, each head by head. Layer-norm scale and shift are folded into ``attn.qkv`` and
        ``mlp.fc1``, and ``head_dim ** -0.5`` into the rows of Q: engines apply neither. Only with
        ``residual_norm`` does ``norm2`` remain: its scale and shift make the new residual stream,
        and ``mlp.fc1`` takes that stream as it is.
        """
        block = self.blocks[index]
        inner = block.heads * self.head_dim
        prefix = f"blocks.{index}."
        residual_norm = (
            TensorSpec(prefix + "norm2.weight", (self.embed_dim,)),
            TensorSpec(prefix + "norm2.bias", (self.embed_dim,)),
        )
        return (
            TensorSpec(prefix + "attn.qkv.weight", (3 * inner, self.embed_dim)),
            TensorSpec(prefix + "attn.qkv.bias", (3 * inner,)),
            TensorSpec(prefix + "attn.proj.weight", (self.embed_dim, inner)),
            TensorSpec(prefix + "attn.proj.bias", (self.embed_dim,)),
            *(residual_norm if self.residual_norm else ()),
            TensorSpec(prefix + "mlp.fc1.weight", (block.mlp_dim, self.embed_dim)),
            TensorSpec(prefix + "mlp.fc1.bias", (block.mlp_dim,)),
            TensorSpec(prefix + "mlp.fc2.weight", (self.embed_dim, block.mlp_dim)),
            TensorSpec(prefix + "mlp.fc2.bias", (self.embed_dim,)),
        )

    def golden_tensors(self) -> Iterator[TensorSpec]:
        """The image and the feature by which an engine proves itself before it serves."""
        yield TensorSpec("golden.image", (self.image_size, self.image_size, CHANNELS), "uint8")
        yield TensorSpec("golden.feature", (self.feature_dim,))

    def _patch_rules(self) -> Iterator[tuple[bool, str]]:
        yield self.patch_size >= 1, "patch_size is less than 1"
        divides = self.patch_size >= 1 and self.image_size % self.patch_size == 0
        yield divides, "patch_size does not divide image_size"
        yield self.prefix_tokens in {1, 2}, "prefix_tokens is neither 1 (ViT) nor 2 (DeiT)"

    def _tokenizer_rules(self) -> Iterator[tuple[bool, str]]:
        yield self.patch_size == 0, "patch_size is not 0, though there is a tokenizer"
        yield self.prefix_tokens == 0, "prefix_tokens is not 0, though there is a tokenizer"
        possible = all(
            layer.channels >= 1 and layer.kernel_size >= 1 and layer.stride >= 1
            and 0 <= layer.padding < layer.kernel_size
            for layer in self.tokenizer
        )  # fmt: skip
        yield possible, "a tokenizer layer has an impossible size"
        yield possible and min(self.grids) >= 1, "the tokenizer leaves no token"
        sizes = zip(self.tokenizer, self.grids if possible else (), strict=False)
        largest = max((c.convolved(side) ** 2 * c.channels for c, side in sizes), default=0)
        yield largest <= MAX_MAP, f"a convolution makes more than {MAX_MAP} numbers"
        last = self.tokenizer[-1].channels
        yield last == self.embed_dim, "the tokenizer's last layer has not embed_dim channels"


class FusionSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The shape of the fusion: a sum of one linear map per part (docs/method.md, eq. 14)."""

    classes: int
    feature_dims: tuple[int, ...]

    def tensors(self) -> Iterator[TensorSpec]:
        """The tensors of the fusion: ``logits = bias + sum_i parts.i.weight @ feature_i``.

        ``parts.i.mean`` is ``parts.i.weight @ mean(feature_i)``: it stands in for a missing part.
        """
        yield TensorSpec("bias", (self.classes,))
        for index, feature_dim in enumerate(self.feature_dims):
            yield TensorSpec(f"parts.{index}.weight", (self.classes, feature_dim))
            yield TensorSpec(f"parts.{index}.mean", (self.classes,))


def macs(spec: SubVitSpec) -> int:
    """Multiply-accumulates of one inference: convolutions, linear layers, attention products."""
    total = 0 if spec.tokenizer else spec.patches * spec.patch_dim * spec.embed_dim
    channels = CHANNELS
    for layer, side in zip(spec.tokenizer, spec.grids, strict=False):
        total += layer.convolved(side) ** 2 * layer.kernel_size**2 * channels * layer.channels
        channels = layer.channels
    for block in spec.blocks:
        inner = block.heads * spec.head_dim
        linear = 4 * inner * spec.embed_dim + 2 * block.mlp_dim * spec.embed_dim
        total += spec.tokens * linear + 2 * spec.tokens**2 * inner
    return total
