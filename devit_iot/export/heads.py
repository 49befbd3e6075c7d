"""How many attention heads a network has: the one size that its tensors do not tell."""

from collections.abc import Mapping
from typing import NamedTuple

from devit_iot.errors import DataError

PUBLISHED: Mapping[tuple[int, int], int] = {
    (192, 12): 3,  # ViT-Ti, DeiT-Ti
    (384, 12): 6,  # ViT-S, DeiT-S
    (512, 12): 8,  # ViT-M
    (768, 12): 12,  # ViT-B, DeiT-B
    (1024, 24): 16,  # ViT-L
    (1152, 27): 16,  # SoViT-400M
    (1280, 32): 16,  # ViT-H
    (1408, 40): 16,  # ViT-g
    (1664, 48): 16,  # ViT-G
}
"""Width and depth of the networks of Dosovitskiy et al. 2021 (table 1), Touvron et al. 2021
(table 1), Zhai et al. 2022 (table 2) and Alabdulmohsin et al. 2023 -> heads."""
NARROW: Mapping[tuple[int, int], str] = {
    (192, 12): "MAE's tiny networks have 12 of 16",
    (384, 12): "MoCo v3's ViT-S has 12 of 32",
}
"""Shapes that other known networks have too, with other heads (Chen, Xie and He 2021; Wang et al.
2023, "A Closer Look at Self-Supervised Lightweight Vision Transformers")."""
COMPACT = {(256, 7): 4, (256, 6): 4, (128, 2): 2, (128, 4): 2, (384, 14): 6}
"""The same of Compact Transformers (Hassani et al. 2021)."""


class Heads(NamedTuple):
    """The width of one head, and where it is known from, for people."""

    head_dim: int
    origin: str


def head_dim(
    inner: int,
    shape: tuple[int, int],
    *,
    compact: bool,
    fixed_positions: bool,
    told: int | None,
    asked: int | None,
    asked_dim: int | None,
) -> Heads:
    """The width of one attention head.

    Args:
        inner: width of all heads of a block together.
        shape: width of the network's tokens, and its depth.
        compact: whether it is a Compact Transformer.
        fixed_positions: whether its positions are sines and cosines, as of MAE and MoCo v3.
        told: heads by what stands beside the weights.
        asked: heads by the user's word, which wins.
        asked_dim: width of a head by the user's word.

    Raises:
        DataError: nobody knows, or the heads do not divide the width.
    """
    known = (COMPACT if compact else PUBLISHED).get(shape)
    narrow = None if compact else NARROW.get(shape)
    if asked_dim is not None:
        return Heads(asked_dim, "--head-dim")
    if narrow and fixed_positions and asked is None and told is None:
        raise DataError(
            f"its positions are fixed sines and cosines, as MAE and MoCo v3 have, and {narrow}, "
            f"where others of this shape have {known}: give --heads"
        )
    table = f"ASSUMED: {_TABLE}, but {narrow}: --heads" if narrow else _TABLE
    for heads, origin in ((asked, "--heads"), (told, "the file beside it"), (known, table)):
        if heads is None:
            continue
        if heads < 1 or inner % heads:
            raise DataError(f"{heads} heads ({origin}) do not divide a width of {inner}")
        return Heads(inner // heads, origin)
    raise DataError(
        f"nothing says how many attention heads a network of width {shape[0]} and {shape[1]} "
        "blocks has: no published one has this shape; give --heads (3 and 12, for instance, are "
        "both common at width 192)"
    )


_TABLE = "as in the published networks of this width and depth"
