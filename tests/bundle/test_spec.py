"""Shapes, sizes and the rules of a possible sub-ViT."""

import math
from typing import Any

import msgspec
import pytest

from devit_iot.bundle.spec import (
    BlockSpec,
    ConvSpec,
    FusionSpec,
    SubVitSpec,
    TensorSpec,
    macs,
)
from devit_iot.errors import SpecError

VIT_TINY = SubVitSpec(
    image_size=224,
    resize_size=248,
    patch_size=16,
    embed_dim=192,
    head_dim=64,
    prefix_tokens=1,
    blocks=(BlockSpec(heads=3, mlp_dim=768),) * 12,
)
UNEVEN = SubVitSpec(
    image_size=8,
    resize_size=8,
    patch_size=4,
    embed_dim=10,
    head_dim=4,
    prefix_tokens=2,
    blocks=(BlockSpec(heads=2, mlp_dim=5), BlockSpec(heads=1, mlp_dim=7)),
)
CCT_7_3X1 = SubVitSpec(
    image_size=32,
    resize_size=32,
    patch_size=0,
    embed_dim=256,
    head_dim=64,
    prefix_tokens=0,
    blocks=(BlockSpec(heads=4, mlp_dim=512),) * 7,
    norm_eps=1e-5,
    tokenizer=(ConvSpec(256, kernel_size=3, stride=1, padding=1),),
    residual_norm=True,
)
CCT_7_7X2 = msgspec.structs.replace(
    CCT_7_3X1,
    image_size=224,
    resize_size=256,
    tokenizer=(ConvSpec(64, 7, 2, 3), ConvSpec(256, 7, 2, 3)),
)


def changed(**changes: Any) -> SubVitSpec:  # noqa: ANN401 - any field
    return msgspec.structs.replace(UNEVEN, **changes)


def test_sizes_of_a_known_network() -> None:
    assert (VIT_TINY.patches, VIT_TINY.tokens, VIT_TINY.patch_dim) == (196, 197, 768)
    assert VIT_TINY.feature_dim == 192
    assert UNEVEN.tokens == 2 + 4
    assert UNEVEN.feature_dim == 20  # class and distillation token


def test_parameters_of_a_known_network() -> None:
    """ViT-Ti/16 has 5,717,416 with its classifier of 1000 classes (timm, vit_tiny_patch16_224)."""
    without_classifier = 5_717_416 - 193 * 1000
    folded_tokens = 192 + 192  # class token and patch bias are in the position embedding
    folded_norms = 25 * 2 * 192
    count = sum(math.prod(tensor.shape) for tensor in VIT_TINY.tensors())
    assert count == without_classifier - folded_tokens - folded_norms


def test_macs_of_a_known_network() -> None:
    tokens, dim = 197, 192
    linear = 12 * tokens * (dim * 3 * dim + dim * dim + 2 * dim * 4 * dim)
    attention = 12 * 2 * tokens * tokens * dim
    assert macs(VIT_TINY) == 196 * 768 * dim + linear + attention
    assert 1.2e9 < macs(VIT_TINY) < 1.3e9  # Touvron et al. 2021 say 1.3 G for DeiT-Ti


def test_macs_count_every_block_by_itself() -> None:
    tokens, dim, inner, mlp = 6, 10, 4, 7
    second = macs(UNEVEN) - macs(changed(blocks=UNEVEN.blocks[:1]))
    assert second == tokens * (4 * inner * dim + 2 * mlp * dim) + 2 * tokens * tokens * inner


def test_parameters_and_macs_of_known_ccts() -> None:
    """CCT-7/3x1 has 3.76 M parameters and 1.19 G (Hassani et al. 2021, table 1)."""
    count = sum(math.prod(tensor.shape) for tensor in CCT_7_3X1.tensors())
    classifier, folded_norms, pool_bias = 10 * 257, (7 + 1) * 2 * 256, 1
    biases_of_qkv, offset = 7 * 3 * 256, 3
    original = count + classifier + folded_norms + pool_bias - biases_of_qkv - offset
    assert 3.75e6 < original < 3.77e6
    assert 1.15e9 < macs(CCT_7_3X1) < 1.2e9
    assert (CCT_7_3X1.grids, CCT_7_3X1.tokens, CCT_7_3X1.feature_dim) == ((32, 16), 256, 256)
    assert (CCT_7_7X2.grids, CCT_7_7X2.tokens) == ((224, 56, 14), 196)


def test_tensors_of_a_cct() -> None:
    small = changed(
        patch_size=0, prefix_tokens=0, blocks=UNEVEN.blocks[:1], residual_norm=True,
        tokenizer=(ConvSpec(6, 3, 1, 1), ConvSpec(10, 2, 1, 0)),
    )  # fmt: skip
    small.validate()
    found = list(small.tensors())
    assert found[:4] == [
        TensorSpec("tokenizer.offset", (3,)),
        TensorSpec("tokenizer.0.weight", (6, 3, 3, 3)),
        TensorSpec("tokenizer.1.weight", (10, 2, 2, 6)),
        TensorSpec("pos_embed", (4, 10)),
    ]
    assert found[8:10] == [
        TensorSpec("blocks.0.norm2.weight", (10,)),
        TensorSpec("blocks.0.norm2.bias", (10,)),
    ]
    assert found[-1] == TensorSpec("pool.weight", (10,))


def test_tensors_of_an_uneven_network() -> None:
    assert list(changed(blocks=UNEVEN.blocks[:1]).tensors()) == [
        TensorSpec("patch_embed.weight", (10, 48)),
        TensorSpec("pos_embed", (6, 10)),
        TensorSpec("blocks.0.attn.qkv.weight", (24, 10)),
        TensorSpec("blocks.0.attn.qkv.bias", (24,)),
        TensorSpec("blocks.0.attn.proj.weight", (10, 8)),
        TensorSpec("blocks.0.attn.proj.bias", (10,)),
        TensorSpec("blocks.0.mlp.fc1.weight", (5, 10)),
        TensorSpec("blocks.0.mlp.fc1.bias", (5,)),
        TensorSpec("blocks.0.mlp.fc2.weight", (10, 5)),
        TensorSpec("blocks.0.mlp.fc2.bias", (10,)),
    ]
    assert tuple(UNEVEN.tensors())[-8:] == UNEVEN.block_tensors(1)
    assert UNEVEN.block_tensors(1)[2].shape == (10, 4)
    assert list(UNEVEN.golden_tensors()) == [
        TensorSpec("golden.image", (8, 8, 3), "uint8"),
        TensorSpec("golden.feature", (20,)),
    ]


def test_tensors_of_a_fusion() -> None:
    assert list(FusionSpec(3, (10, 20)).tensors()) == [
        TensorSpec("bias", (3,)),
        TensorSpec("parts.0.weight", (3, 10)),
        TensorSpec("parts.0.mean", (3,)),
        TensorSpec("parts.1.weight", (3, 20)),
        TensorSpec("parts.1.mean", (3,)),
    ]


@pytest.mark.parametrize("spec", [VIT_TINY, UNEVEN, CCT_7_3X1, CCT_7_7X2])
def test_possible_networks_pass(spec: SubVitSpec) -> None:
    spec.validate()


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"image_size": 0}, "image_size must be at least 1"),
        ({"image_size": -8}, "image_size must be at least 1"),
        ({"patch_size": 0}, "patch_size is less than 1"),
        ({"embed_dim": 0}, "embed_dim must be at least 1"),
        ({"head_dim": 0}, "head_dim must be at least 1"),
        ({"patch_size": 3}, "does not divide"),
        ({"resize_size": 7}, "smaller than image_size"),
        ({"prefix_tokens": 0}, "prefix_tokens"),
        ({"prefix_tokens": 3}, "prefix_tokens"),
        ({"head_dim": 257}, "head_dim is over 256"),
        ({"image_size": 128, "resize_size": 128, "patch_size": 1}, "more than 16384 tokens"),
        ({"norm_eps": 0.0}, "norm_eps"),
        ({"norm_eps": math.nan}, "norm_eps"),
        ({"blocks": ()}, "there is no block"),
        ({"blocks": (BlockSpec(0, 5),)}, "no head or no neuron"),
        ({"blocks": (BlockSpec(1, 5), BlockSpec(1, 0))}, "no head or no neuron"),
    ],
)
def test_impossible_networks_are_refused(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(SpecError, match=problem):
        changed(**changes).validate()


def test_the_largest_sizes_pass() -> None:
    changed(image_size=127, resize_size=127, patch_size=1, head_dim=256).validate()


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"patch_size": 4}, "patch_size is not 0"),
        ({"prefix_tokens": 1}, "prefix_tokens is not 0"),
        ({"tokenizer": ()}, "patch_size is less than 1"),
        ({"tokenizer": (ConvSpec(0, 3, 1, 1), ConvSpec(256, 3, 1, 1))}, "impossible size"),
        ({"tokenizer": (ConvSpec(256, 0, 1, 0),)}, "impossible size"),
        ({"tokenizer": (ConvSpec(256, 3, 0, 1),)}, "impossible size"),
        ({"tokenizer": (ConvSpec(256, 3, 1, -1),)}, "impossible size"),
        ({"tokenizer": (ConvSpec(256, 3, 1, 3),)}, "impossible size"),
        ({"tokenizer": (ConvSpec(256, 35, 1, 0),)}, "leaves no token"),
        ({"tokenizer": (ConvSpec(8, 7, 9, 0), ConvSpec(256, 5, 1, 0))}, "leaves no token"),
        ({"tokenizer": (ConvSpec(255, 3, 1, 1),)}, "has not embed_dim channels"),
        (
            {"tokenizer": (ConvSpec(2**20, 3, 1, 1), ConvSpec(256, 3, 1, 1))},
            "a convolution makes more than 67108864 numbers",
        ),
        ({"image_size": 257, "resize_size": 257}, "more than 16384 tokens"),
    ],
)
def test_impossible_ccts_are_refused(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(SpecError, match=problem):
        msgspec.structs.replace(CCT_7_3X1, **changes).validate()
