"""Other projects' names of a network's tensors -> ours, which are timm's."""

import re
from collections.abc import Mapping
from typing import Any

_COMPACT = {
    "classifier.positional_emb": "pos_embed",
    "classifier.attention_pool.": "pool.",
    "classifier.norm.": "norm.",
    "classifier.fc.": "head.",
}
_COMPACT_BLOCK = {
    "pre_norm.": "norm1.",
    "self_attn.": "attn.",
    "norm1.": "norm2.",
    "linear1.": "mlp.fc1.",
    "linear2.": "mlp.fc2.",
}
_COMPACT_LAYER = re.compile(r"tokenizer\.conv_layers\.(\d+)\.0\.weight")
_BLOCK = re.compile(r"classifier\.(blocks\.\d+\.)(.+)")


def is_compact_transformer(state: Mapping[str, object]) -> bool:
    """Whether these are the names of Compact Transformers (Hassani et al. 2021)."""
    return "classifier.attention_pool.weight" in state


def internal_names(state: Mapping[str, Any]) -> dict[str, Any]:
    """The same tensors under the names of :func:`devit_iot.decompose.fold.trained_shapes`.

    A Compact Transformer is translated, its classifier becomes ``head``, and the biases that its
    ``qkv`` lacks are zeros. Names that are unknown, and all names of other networks, stay.

    Args:
        state: numpy arrays or torch tensors by name.
    """
    if not is_compact_transformer(state):
        return dict(state)
    renamed = {_rename(name): tensor for name, tensor in state.items()}
    biases = {
        name.removesuffix("weight") + "bias": tensor[:, 0] * 0
        for name, tensor in renamed.items()
        if name.endswith("attn.qkv.weight") and tensor.ndim == 2 and tensor.shape[1]  # noqa: PLR2004
    }
    return biases | renamed


def _rename(name: str) -> str:
    if layer := _COMPACT_LAYER.fullmatch(name):
        return f"tokenizer.{layer[1]}.weight"
    if block := _BLOCK.fullmatch(name):
        return block[1] + _replace_prefix(block[2], _COMPACT_BLOCK)
    return _replace_prefix(name, _COMPACT)


def _replace_prefix(name: str, prefixes: Mapping[str, str]) -> str:
    for theirs, ours in prefixes.items():
        if name.startswith(theirs):
            return ours + name.removeprefix(theirs)
    return name
