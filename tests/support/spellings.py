"""One small network under the names of every project that has its own."""

import numpy as np
from numpy.typing import NDArray

from devit_iot.bundle.spec import BlockSpec, SubVitSpec
from devit_iot.export.fold import trained_shapes

CLASSES = 5
SPEC = SubVitSpec(28, 32, 7, 24, 8, 1, (BlockSpec(3, 20), BlockSpec(3, 12)))
State = dict[str, NDArray[np.float32]]


def timm(prefix_tokens: int = 1) -> State:
    """Random weights with timm's names, a class token's or a DeiT's."""
    rng = np.random.default_rng(3)
    spec = SubVitSpec(28, 32, 7, 24, 8, prefix_tokens, SPEC.blocks)
    shapes = dict(trained_shapes(spec))
    for head in ("head", "head_dist")[:prefix_tokens]:
        shapes |= {f"{head}.weight": (CLASSES, 24), f"{head}.bias": (CLASSES,)}
    return {name: rng.normal(0, 0.2, shape).astype(np.float32) for name, shape in shapes.items()}


def prefixed(state: State, prefix: str) -> State:
    return {prefix + name: value for name, value in state.items()}


def hugging_face(state: State, *, body: str = "vit.", new: bool = False) -> State:
    """As ``save_pretrained`` writes it; with ``new`` as transformers 5 calls it in memory."""
    renamed: State = {}
    top = {
        "cls_token": f"{body}embeddings.cls_token",
        "dist_token": f"{body}embeddings.distillation_token",
        "pos_embed": f"{body}embeddings.position_embeddings",
    }
    for name, value in state.items():
        kind = name.rpartition(".")[2]
        if name in top:
            renamed[top[name]] = value
        elif name.startswith("patch_embed"):
            renamed[f"{body}embeddings.patch_embeddings.projection.{kind}"] = value
        elif name.startswith("norm."):
            renamed[f"{body}layernorm.{kind}"] = value
        elif name.startswith("head"):
            two = "head_dist.bias" in state
            head = ("cls_classifier", "distillation_classifier")["dist" in name]
            renamed[f"{head if two else 'classifier'}.{kind}"] = value
        else:
            _, index, layer = name.split(".", 2)
            layer = layer.removesuffix(f".{kind}")
            before = f"{body}layers.{index}." if new else f"{body}encoder.layer.{index}."
            if layer == "attn.qkv":
                old = ("attention.attention.query", "attention.attention.key",
                       "attention.attention.value")  # fmt: skip
                names = [f"attention.{which}_proj" for which in "qkv"] if new else old
                for apart, piece in zip(names, np.split(value, 3), strict=True):
                    renamed[f"{before}{apart}.{kind}"] = piece
                continue
            theirs = {
                "norm1": "layernorm_before",
                "norm2": "layernorm_after",
                "attn.proj": "attention.o_proj" if new else "attention.output.dense",
                "mlp.fc1": "mlp.fc1" if new else "intermediate.dense",
                "mlp.fc2": "mlp.fc2" if new else "output.dense",
            }[layer]
            renamed[f"{before}{theirs}.{kind}"] = value
    return renamed


def torchvision(state: State, *, old: bool = False) -> State:
    """As torchvision's vit_b_16; with ``old`` as before its version 0.13."""
    renamed: State = {}
    top = {"cls_token": "class_token", "pos_embed": "encoder.pos_embedding"}
    for name, value in state.items():
        kind = name.rpartition(".")[2]
        if name in top:
            renamed[top[name]] = value
        elif name.startswith("patch_embed"):
            renamed[f"conv_proj.{kind}"] = value
        elif name.startswith("norm."):
            renamed[f"encoder.ln.{kind}"] = value
        elif name.startswith("head"):
            renamed[f"heads.head.{kind}"] = value
        else:
            _, index, layer = name.split(".", 2)
            theirs = {
                "norm1": "ln_1.",
                "norm2": "ln_2.",
                "attn.qkv": "self_attention.in_proj_",
                "attn.proj": "self_attention.out_proj.",
                "mlp.fc1": "mlp.linear_1." if old else "mlp.0.",
                "mlp.fc2": "mlp.linear_2." if old else "mlp.3.",
            }[layer.removesuffix(f".{kind}")]
            renamed[f"encoder.layers.encoder_layer_{index}.{theirs}{kind}"] = value
    return renamed
