# ruff: noqa: PYI021 (this stub is where people read what the module does)
"""The native engine: vision transformer kernels and the forward pass on top of them."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, final

import numpy as np
from numpy.typing import NDArray

def isas() -> list[str]:
    """Instruction sets that run here, best first."""

def cpu_features() -> dict[str, bool]:
    """What this CPU offers, by name."""

def select_isa(name: str = "") -> str:
    """The instruction set that ``name`` selects; "" is DEVIT_ISA if set, else the best one.

    Raises:
        ValueError: it does not run here; the message lists those that do.
    """

def fma_peak(isa: str = "") -> float:
    """Measure the peak rate of float32 multiply-adds of one thread, in GFLOP/s, for 50 ms."""

def gemm(
    a: NDArray[np.float32],
    weight: NDArray[np.float32],
    bias: NDArray[np.float32],
    out: NDArray[np.float32],
    *,
    epilogue: Literal["none", "gelu", "residual"] = "none",
    isa: str = "",
) -> None:
    """One linear layer, ``out = f(a @ weight.T + bias)``; packs ``weight`` first."""

def gemm_f16(
    a: NDArray[np.float32],
    weight: NDArray[np.float16],
    bias: NDArray[np.float32],
    out: NDArray[np.float32],
    *,
    epilogue: Literal["none", "gelu", "residual"] = "none",
    isa: str = "",
) -> None:
    """One linear layer on halves, ``out = f(a @ weight.T + bias)``; packs ``weight`` first.

    The instruction set decides whether products are summed in float32 or in halves.
    """

def round_f16(
    x: NDArray[np.float32], weight: NDArray[np.float16], *, isa: str = ""
) -> tuple[NDArray[np.float16], NDArray[np.float32]] | None:
    """Make halves of each row as :func:`gemm_f16` does: ``x`` is about ``scale[:, None] * q``.

    ``weight`` decides how large q may be. None if products are summed in float32.
    """

def gemm_i8(
    a: NDArray[np.float32],
    weight: NDArray[np.int8],
    scale: NDArray[np.float32],
    bias: NDArray[np.float32],
    out: NDArray[np.float32],
    *,
    epilogue: Literal["none", "gelu", "residual"] = "none",
    isa: str = "",
) -> None:
    """One linear layer in integers, ``out = f(a @ (scale[:, None] * weight).T + bias)``.

    Packs ``weight`` and quantises the rows of ``a`` first.
    """

def quantize_i8(
    x: NDArray[np.float32], *, isa: str = ""
) -> tuple[NDArray[np.int8 | np.int16], NDArray[np.float32]]:
    """Quantise each row as :func:`gemm_i8` does: ``x`` is about ``scale[:, None] * q``.

    The instruction set decides the type of ``q``.
    """

def attention(qkv: NDArray[np.float32], out: NDArray[np.float32], *, isa: str = "") -> None:
    """Multi-head self-attention, ``out[:, h] = softmax(Q K^T) V``; the scale is folded into Q."""

def attention_f16(qkv: NDArray[np.float32], out: NDArray[np.float32], *, isa: str = "") -> bool:
    """What :func:`attention` computes, in halves; False where the instruction set has none."""

def layer_norm(
    x: NDArray[np.float32], out: NDArray[np.float32], eps: float, *, isa: str = ""
) -> None:
    """Layer norm of each row, without scale and shift."""

def arrow_bytes(array: object) -> NDArray[np.uint8]:
    """The bytes of an Arrow array of pixels, read-only and without a copy.

    Args:
        array: the second capsule of a Pillow image's ``__arrow_c_array__``.

    Raises:
        ValueError: it holds no bytes.
    """

def resize_window(
    pixels: NDArray[np.uint8],
    out: NDArray[np.uint8],
    *,
    extent: tuple[float, float],
    full: tuple[int, int],
    offset: tuple[int, int],
    interpolation: str = "bicubic",
    isa: str = "",
) -> None:
    """A window of a picture resized as by Pillow: the columns first, then the rows.

    Args:
        pixels: uint8, C-contiguous, (rows, columns, 4); the fourth channel is not looked at.
        out: uint8, C-contiguous, writeable, (rows, columns, 3): the window.
        extent: rows and columns of ``pixels`` that the picture covers, the last of each perhaps
            partly.
        full: rows and columns of the whole resized picture.
        offset: first row and column of the window in it.
        interpolation: "bicubic" or "bilinear", Pillow's BICUBIC or BILINEAR.
        isa: instruction set; "" as in :func:`select_isa`.

    Raises:
        ValueError: a shape is wrong, the window reaches out of the picture, or there is no such
            interpolation.
    """

@final
class SubVit:
    """One sub-ViT, from raw pixels to the layer-normed prefix tokens or a CCT's pooled token.

    Allocates when made, never per image. Safe to use from several threads: calls take turns.
    """

    def __init__(
        self,
        *,
        image_size: int,
        patch_size: int,
        embed_dim: int,
        head_dim: int,
        prefix_tokens: int,
        blocks: Sequence[tuple[int, int]],
        norm_eps: float,
        tensors: Mapping[str, Any],
        tokenizer: Sequence[tuple[int, int, int, int]] = (),
        residual_norm: bool = False,
        dtype: Literal["float32", "float16", "int8"] = "float32",
        threads: int = 0,
        isa: str = "",
    ) -> None:
        """Pull each tensor of ``devit_iot.bundle.spec.tensors``, one at a time, and pack it.

        A layer of the tokenizer is (channels, kernel_size, stride, padding). Tensors are float32
        and C-contiguous; the matrices of :mod:`devit_iot.bundle.storage` come as they are stored in
        ``dtype``: as a float16 array, or as an int8 array and the float32 scale of each row.

        Raises:
            TypeError: a tensor has another dtype or layout.
            ValueError: a shape is wrong or impossible, a scale is not positive, int8 cannot hold
                rows so long, or ``isa`` does not run here.
        """

    @property
    def isa(self) -> str:
        """The instruction set in use."""

    @property
    def dtype(self) -> Literal["float32", "float16", "int8"]:
        """In what the large matrices are computed."""

    @property
    def threads(self) -> int:
        """Threads per image, including the calling one."""

    @property
    def feature_dim(self) -> int:
        """Length of the feature: max(1, prefix_tokens) * embed_dim."""

    @property
    def memory_bytes(self) -> int:
        """Bytes of packed weights and activations."""

    def features(self, image: NDArray[np.uint8], out: NDArray[np.float32]) -> None:
        """Write the feature of an RGB image into ``out``; the GIL is released meanwhile.

        Args:
            image: uint8, C-contiguous, (image_size, image_size, 3).
            out: float32, C-contiguous, writeable, (feature_dim,).
        """
