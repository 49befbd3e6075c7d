"""Other projects' names of a network's tensors -> ours, which are timm's."""

import re
from collections.abc import Mapping

import numpy as np

from devit_iot.errors import DataError
from devit_iot.export.fold import F64

State = dict[str, F64]

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
_COMPACT_BLOCKS = re.compile(r"classifier\.(blocks\.\d+\.)(.+)")

_HUGGING_FACE = {
    "embeddings.cls_token": "cls_token",
    "embeddings.distillation_token": "dist_token",
    "embeddings.position_embeddings": "pos_embed",
    "embeddings.patch_embeddings.projection.": "patch_embed.proj.",
    "layernorm.": "norm.",
    "classifier.": "head.",
    "cls_classifier.": "head.",
    "distillation_classifier.": "head_dist.",
}
_HUGGING_FACE_BLOCK = {
    "layernorm_before.": "norm1.",
    "layernorm_after.": "norm2.",
    "attention.attention.query.": "attn.q.",
    "attention.attention.key.": "attn.k.",
    "attention.attention.value.": "attn.v.",
    "attention.output.dense.": "attn.proj.",
    "attention.q_proj.": "attn.q.",
    "attention.k_proj.": "attn.k.",
    "attention.v_proj.": "attn.v.",
    "attention.o_proj.": "attn.proj.",
    "intermediate.dense.": "mlp.fc1.",
    "output.dense.": "mlp.fc2.",
    "layer_scale1.lambda1": "ls1.gamma",
    "layer_scale2.lambda1": "ls2.gamma",
}
_HUGGING_FACE_BLOCKS = re.compile(r"(?:encoder\.layer|layers)\.(\d+)\.(.+)")
_HUGGING_FACE_UNUSED = re.compile(r"pooler\.|embeddings\.mask_token$")

_TORCHVISION = {
    "class_token": "cls_token",
    "encoder.pos_embedding": "pos_embed",
    "conv_proj.": "patch_embed.proj.",
    "encoder.ln.": "norm.",
    "heads.head.": "head.",
}
_TORCHVISION_BLOCK = {
    "ln_1.": "norm1.",
    "ln_2.": "norm2.",
    "self_attention.in_proj_": "attn.qkv.",
    "self_attention.out_proj.": "attn.proj.",
    "mlp.0.": "mlp.fc1.",
    "mlp.3.": "mlp.fc2.",
    "mlp.linear_1.": "mlp.fc1.",
    "mlp.linear_2.": "mlp.fc2.",
}
_TORCHVISION_BLOCKS = re.compile(r"encoder\.layers\.encoder_layer_(\d+)\.(.+)")

ANCHORS = {
    "patch_embed.proj.weight": "timm",
    "classifier.attention_pool.weight": "Compact Transformers",
    "embeddings.patch_embeddings.projection.weight": "Hugging Face",
    "conv_proj.weight": "torchvision",
}
"""One tensor that every network of a project has."""


def internal_names(state: Mapping[str, F64]) -> State:
    """The same tensors under the names of :func:`devit_iot.export.fold.trained_shapes`.

    Prefixes that wrappers put before all names of a network (``module.``, ``model.backbone.``) go.
    Queries, keys and values that are apart are joined. A Compact Transformer's classifier becomes
    ``head``, and the biases that its ``qkv`` lacks are zeros. Names that are unknown, and all names
    of other networks, stay.

    Raises:
        DataError: there are several networks in it.
    """
    prefix, project = _origin(state)
    plain = {_without(prefix, name): tensor for name, tensor in state.items()}
    if project == "Compact Transformers":
        renamed = {_compact(name): tensor for name, tensor in plain.items()}
        biases = {
            name.removesuffix("weight") + "bias": tensor[:, 0] * 0
            for name, tensor in renamed.items()
            if name.endswith("attn.qkv.weight") and tensor.ndim == 2 and tensor.shape[1]  # noqa: PLR2004
        }
        return biases | renamed
    if project == "Hugging Face":
        used = {n: tensor for n, tensor in plain.items() if not _HUGGING_FACE_UNUSED.match(n)}
        return _join({_hugging_face(name): tensor for name, tensor in used.items()})
    if project == "torchvision":
        return {_torchvision(name): tensor for name, tensor in plain.items()}
    return plain


def _without(prefix: str, name: str) -> str:
    """A name without the prefix, or without as much of it as it has: a head may stand outside."""
    while prefix:
        if name.startswith(prefix):
            return name.removeprefix(prefix)
        prefix = prefix[: prefix.rstrip(".").rfind(".") + 1]
    return name


def _origin(state: Mapping[str, F64]) -> tuple[str, str]:
    """The prefix of all names of the network, and the project that gave them; empty if unknown."""
    found = [
        (name.removesuffix(anchor), project)
        for anchor, project in ANCHORS.items()
        for name in sorted(state)
        if name == anchor or name.endswith("." + anchor)
    ]
    if not found:
        return "", ""
    if len(found) > 1:
        raise DataError(
            f"it holds {len(found)} networks, '{found[0][0]}*' and '{found[1][0]}*' for instance; "
            "save one of them"
        )
    return found[0]


def _join(state: State) -> State:
    """``attn.q``, ``attn.k`` and ``attn.v`` -> ``attn.qkv``, rows in this order."""
    joined: State = {}
    for name, tensor in state.items():
        before, apart, kind = name.partition(".attn.q.")
        if apart:
            pieces = [state.get(f"{before}.attn.{which}.{kind}") for which in "qkv"]
            there = [piece for piece in pieces if piece is not None]
            if len(there) != len(pieces):
                raise DataError(f"'{before}' lacks queries, keys or values; save it whole")
            joined[f"{before}.attn.qkv.{kind}"] = np.concatenate(there)
        elif not re.search(r"\.attn\.[kv]\.", name):
            joined[name] = tensor
    return joined


def _compact(name: str) -> str:
    if layer := _COMPACT_LAYER.fullmatch(name):
        return f"tokenizer.{layer[1]}.weight"
    if block := _COMPACT_BLOCKS.fullmatch(name):
        return block[1] + _replace_prefix(block[2], _COMPACT_BLOCK)
    return _replace_prefix(name, _COMPACT)


def _hugging_face(name: str) -> str:
    if block := _HUGGING_FACE_BLOCKS.fullmatch(name):
        return f"blocks.{block[1]}." + _replace_prefix(block[2], _HUGGING_FACE_BLOCK)
    return _replace_prefix(name, _HUGGING_FACE)


def _torchvision(name: str) -> str:
    if block := _TORCHVISION_BLOCKS.fullmatch(name):
        return f"blocks.{block[1]}." + _replace_prefix(block[2], _TORCHVISION_BLOCK)
    return _replace_prefix(name, _TORCHVISION)


def _replace_prefix(name: str, prefixes: Mapping[str, str]) -> str:
    for theirs, ours in prefixes.items():
        if name.startswith(theirs):
            return ours + name.removeprefix(theirs)
    return name
