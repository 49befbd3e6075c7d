"""Variants of a ViT that are a plain one after some arithmetic, and those that are not."""

import re
from collections.abc import Iterator

import numpy as np

from devit_iot.errors import DataError
from devit_iot.export.fold import prefix_tokens_in
from devit_iot.export.names import State

_SCALES = re.compile(r"(blocks\.\d+\.)(?:ls([12])\.gamma|gamma_([12]))")
_SCALED = {"1": "attn.proj", "2": "mlp.fc2"}
_QKV = re.compile(r"(blocks\.\d+\.attn\.qkv\.)weight")
_OTHERS = (
    (r"fc_norm\.", "averages all its tokens (fc_norm) where engines read the class token"),
    (r"reg_token|register_tokens|embeddings\.register_tokens", "has register tokens"),
    (r"norm_pre\.", "normalises its tokens before the first block (norm_pre)"),
    (r"blocks\.\d+\.mlp\.(w12|w3|gate|fc1_g|fc1_x|norm)", "has gated neurons (SwiGLU)"),
    (r"blocks\.\d+\.attn\.(q_norm|k_norm)\.", "normalises queries and keys (qk_norm)"),
    (r"blocks\.\d+\.attn\.relative_position|rel_pos_bias", "has relative positions"),
    (
        r"blocks\.\d+\.attn\.(q_bias|v_bias)$",
        "is a BEiT or an EVA (q_bias)",
    ),
    (r"patch_embed\.backbone\.|patch_embed\.(conv|norm)", "has a convolutional stem"),
    (r"attn_pool\.", "pools its tokens by attention (attn_pool)"),
    (r"blocks\.\d+\.attn\.proj_[lw]\.", "mixes its attention heads (a CaiT)"),
    (r"blocks\.\d+\.attn\.gating_param", "has gated positions in its attention (a ConViT)"),
    (r"rope\.", "has rotary positions"),
)
"""Names that engines have no arithmetic for, and what they mean."""


def plain(state: State) -> tuple[State, list[str]]:
    """Multiply out what can be, so that a plain ViT, DeiT or CCT is left.

    Layer scale (Touvron et al. 2021, "Going deeper with Image Transformers", eq. 4) goes into the
    linear layer before it, missing biases become zeros, and positions of the patches alone get
    rows of zeros for the prefix tokens. A distilled DeiT that has one classifier, as Hugging Face's
    ``DeiTForImageClassification``, gets a second one of zeros.

    Returns:
        The tensors, and what was done, for people.

    Raises:
        DataError: a variant that engines do not compute; it is named.
    """
    for pattern, meaning in _OTHERS:
        name = next((name for name in state if re.match(pattern, name)), None)
        if name is not None and not (name.startswith("fc_norm") and "norm.weight" in state):
            raise DataError(f"this network {meaning}: '{name}'; it cannot be imported")
    if "patch_embed.proj.weight" in state and "pos_embed" in state and "cls_token" not in state:
        raise DataError(
            "this network averages all its tokens and has no class token: no tensor 'cls_token'; "
            "it cannot be imported"
        )
    head, token = (
        state[name].shape[-1:] if name in state else () for name in ("head.weight", "cls_token")
    )
    if token and head == (2 * token[0],):
        raise DataError(
            "this network classifies by its class token and the average of the others (DINOv2): "
            f"'head.weight' takes {head[0]} values; it cannot be imported"
        )
    changed = dict(state)
    notes: list[str] = []
    for step in (_fold_scales, _add_biases, _add_positions, _add_head):
        notes += step(changed)
    return changed, notes


def _fold_scales(state: State) -> Iterator[str]:
    """Y = gamma * (W x + b) = (gamma W) x + gamma b."""
    scales = [match for name in state if (match := _SCALES.fullmatch(name))]
    for match in scales:
        gamma = state.pop(match[0])
        layer = match[1] + _SCALED[match[2] or match[3]]
        for name, factor in ((f"{layer}.weight", gamma[:, None]), (f"{layer}.bias", gamma)):
            if name not in state or len(state[name]) != len(gamma):
                raise DataError(f"'{match[0]}' does not fit '{name}'")
            state[name] = state[name] * factor
    if scales:
        yield f"layer scale was multiplied into {len(scales)} linear layers"


def _add_biases(state: State) -> Iterator[str]:
    missing = [
        match[1] + "bias"
        for name, weight in state.items()
        if (match := _QKV.fullmatch(name)) and match[1] + "bias" not in state and weight.ndim
    ]
    for name in missing:
        state[name] = np.zeros(len(state[name.removesuffix("bias") + "weight"]))
    if missing:
        yield f"{len(missing)} layers of queries, keys and values have no bias: zeros were taken"


def _add_positions(state: State) -> Iterator[str]:
    """Timm's ``no_embed_class``: positions are added to the patches, tokens stand before them."""
    positions = state.get("pos_embed")
    if positions is None or "cls_token" not in state or positions.ndim != 3:  # noqa: PLR2004
        return
    rows = positions.shape[1]
    prefix = prefix_tokens_in(state)
    if rows > 1 and is_square(rows) and not is_square(rows - prefix):
        nothing = np.zeros((1, prefix, positions.shape[2]))
        state["pos_embed"] = np.concatenate([nothing, positions], axis=1)
        yield "positions are the patches' alone: prefix tokens have none"


def _add_head(state: State) -> Iterator[str]:
    """Y = ((2 W) x + 2 b + 0) / 2, since the two tokens' classifiers are averaged."""
    if "dist_token" not in state or "head_dist.weight" in state:
        return
    for kind in ("weight", "bias"):
        if f"head.{kind}" in state:
            state[f"head_dist.{kind}"] = np.zeros_like(state[f"head.{kind}"])
            state[f"head.{kind}"] = 2 * state[f"head.{kind}"]
    if "head_dist.weight" in state:
        yield "the distillation token has no classifier: the class token's counts alone"


def is_square(count: int) -> bool:
    """Whether so many patches make a square."""
    return count > 0 and round(count**0.5) ** 2 == count
