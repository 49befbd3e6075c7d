"""Folding changes no number: a trained network with random weights against its engine tensors."""

import msgspec
import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from devit_iot.bundle.spec import BlockSpec, ConvSpec, SubVitSpec
from devit_iot.decompose.network.fleet import FusionHead
from devit_iot.decompose.network.models import SubVit
from devit_iot.decompose.stages.export import Folding, export_fleet, state_float64
from devit_iot.engine.torch import TorchEngine
from devit_iot.export import reference
from devit_iot.export.fold import (
    F64,
    Normalisation,
    average_heads,
    fold_sub_vit,
    head_names,
    prefix_names,
    prefix_tokens_in,
    trained_shapes,
)

CLASSES = 5
DEIT = SubVitSpec(8, 8, 4, 6, 3, 2, (BlockSpec(1, 4), BlockSpec(2, 5)))
CCT = SubVitSpec(
    11, 11, 0, 6, 3, 0, (BlockSpec(1, 4), BlockSpec(2, 5)), 1e-5,
    (ConvSpec(5, 3, 1, 1), ConvSpec(6, 3, 1, 1)), residual_norm=True,
)  # fmt: skip


@st.composite
def specs(draw: st.DrawFn) -> SubVitSpec:
    """Small uneven shapes: one or two prefix tokens, or one or two convolutions."""
    block = st.builds(BlockSpec, st.integers(1, 4), st.integers(1, 24))
    embed_dim = draw(st.integers(2, 24))
    layers = draw(st.integers(0, 2))
    channels = [draw(st.integers(1, 9)) for _ in range(layers - 1)] + [embed_dim] * (layers > 0)
    kernels = [draw(st.sampled_from([1, 2, 3, 5, 7])) for _ in range(layers)]
    tokenizer = tuple(
        ConvSpec(c, k, draw(st.integers(1, 3)), draw(st.integers(0, k - 1)))
        for c, k in zip(channels, kernels, strict=True)
    )
    patch = 0 if layers else draw(st.sampled_from([2, 3, 4]))
    size = draw(st.integers(9, 30)) if layers else patch * draw(st.integers(1, 4))
    spec = SubVitSpec(
        image_size=size,
        resize_size=size,
        patch_size=patch,
        embed_dim=embed_dim,
        head_dim=draw(st.sampled_from([1, 3, 4, 8])),
        prefix_tokens=0 if layers else draw(st.sampled_from([1, 2])),
        blocks=tuple(draw(st.lists(block, min_size=1, max_size=3))),
        norm_eps=draw(st.sampled_from([1e-6, 1e-5, 1e-3])),
        tokenizer=tokenizer,
        residual_norm=draw(st.booleans()),
    )
    assume(min(spec.grids) >= 1)
    return spec


def unfolded(spec: SubVitSpec, weights: dict[str, F64], images: Tensor) -> Tensor:
    """The published tokens with scale and shift, by the trained weights: float64[batch, k, dim]."""
    w = {name: torch.from_numpy(value) for name, value in weights.items()}

    def linear(name: str, x: Tensor) -> Tensor:
        return functional.linear(x, w[name + ".weight"], w[name + ".bias"])

    def norm(name: str, x: Tensor) -> Tensor:
        shape = (spec.embed_dim,)
        return functional.layer_norm(
            x, shape, w[name + ".weight"], w[name + ".bias"], spec.norm_eps
        )

    x = images
    for index, layer in enumerate(spec.tokenizer):
        x = functional.conv2d(x, w[f"tokenizer.{index}.weight"], None, layer.stride, layer.padding)
        x = functional.max_pool2d(x.relu(), kernel_size=3, stride=2, padding=1)
    if not spec.tokenizer:
        kernel = w["patch_embed.proj.weight"]
        x = functional.conv2d(x, kernel, w["patch_embed.proj.bias"], spec.patch_size)
    x = x.flatten(2).transpose(1, 2)
    prefix = [w[name] for name in ("cls_token", "dist_token") if name in w]
    x = torch.cat([*(token.expand(len(x), -1, -1) for token in prefix), x], 1) + w["pos_embed"]
    for index, block in enumerate(spec.blocks):
        name = f"blocks.{index}."
        qkv = linear(name + "attn.qkv", norm(name + "norm1", x))
        q, k, v = qkv.reshape(len(x), spec.tokens, 3, block.heads, -1).permute(2, 0, 3, 1, 4)
        scores = (q @ k.transpose(2, 3) / spec.head_dim**0.5).softmax(3)
        x = x + linear(name + "attn.proj", (scores @ v).transpose(1, 2).flatten(2))
        normed = norm(name + "norm2", x)
        x = normed if spec.residual_norm else x
        x = x + linear(name + "mlp.fc2", functional.gelu(linear(name + "mlp.fc1", normed)))
    x = norm("norm", x)
    if spec.tokenizer:
        return linear("pool", x).softmax(1).transpose(1, 2) @ x
    return x[:, : spec.prefix_tokens]


def random_model(spec: SubVitSpec, generator: torch.Generator) -> SubVit:
    """Every parameter random, biases and layer norms too."""
    model = SubVit(spec)
    with torch.no_grad():
        for parameter in model.parameters():
            spread = parameter[0].numel() ** -0.5 if parameter.ndim in {2, 4} else 0.5
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * spread)
    return model


def random_images(rng: np.random.Generator, size: int, count: int) -> NDArray[np.uint8]:
    return rng.integers(0, 256, (count, size, size, 3), np.uint8)


def random_normalisation(rng: np.random.Generator) -> Normalisation:
    return Normalisation(
        mean=(rng.uniform(), rng.uniform(), rng.uniform()),
        std=(rng.uniform(0.1, 1), rng.uniform(0.1, 1), rng.uniform(0.1, 1)),
    )


def pixels(images: NDArray[np.uint8], normalisation: Normalisation) -> Tensor:
    scaled = (images / 255 - np.array(normalisation.mean)) / np.array(normalisation.std)
    return torch.from_numpy(scaled.transpose(0, 3, 1, 2).copy())


def relative_error(found: NDArray[np.floating], wanted: NDArray[np.floating]) -> float:
    return float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))


@settings(deadline=None, max_examples=100)
@given(spec=specs(), seed=st.integers(0, 2**32 - 1))
def test_folded_part_computes_what_the_trained_one_does(spec: SubVitSpec, seed: int) -> None:
    spec.validate()
    rng, generator = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    model, normalisation = random_model(spec, generator), random_normalisation(rng)
    weights = state_float64(model)
    images = random_images(rng, spec.image_size, 2)
    inputs = pixels(images, normalisation)
    wanted = unfolded(spec, weights, inputs)
    with torch.no_grad():
        trained = model.double()(inputs).tokens
    torch.testing.assert_close(trained, wanted, rtol=1e-9, atol=1e-9)

    folded = fold_sub_vit(spec, weights, normalisation)
    features = reference.features(spec, folded, images).reshape(wanted.shape)
    found = features * weights["norm.weight"] + weights["norm.bias"]
    scale = wanted.abs().max().item()
    np.testing.assert_allclose(found, wanted.numpy(), rtol=0, atol=1e-4 * scale)


@settings(deadline=None, max_examples=40)
@given(spec=specs(), parts=st.integers(1, 3), seed=st.integers(0, 2**32 - 1))
def test_folded_fleet_computes_what_the_trained_one_does(
    spec: SubVitSpec, parts: int, seed: int
) -> None:
    rng, generator = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    normalisation = random_normalisation(rng)
    images = random_images(rng, spec.image_size, 3)
    models = [random_model(spec, generator) for _ in range(parts)]
    head = FusionHead([spec] * parts, 7, CLASSES)
    inputs = pixels(images, normalisation)
    with torch.no_grad():
        tokens = [model.double()(inputs).tokens for model in models]
        wanted = head.double()(tokens)[0].mean(dim=1).numpy()
        means = [token.mean(dim=0) for token in tokens]
        folding = Folding(normalisation, images[0])
        exported = export_fleet(models, head, [(0,)] * parts, means, folding)

    found = exported.fusion["bias"].astype(np.float64)
    mean_found = found.copy()
    for index, part in enumerate(exported.parts):
        features = reference.features(spec, part.tensors, images)
        found = found + features @ exported.fusion[f"parts.{index}.weight"].T
        mean_found += exported.fusion[f"parts.{index}.mean"]
    scale = np.abs(wanted).max()
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-4 * scale)
    np.testing.assert_allclose(mean_found, wanted.mean(axis=0), rtol=0, atol=1e-4 * scale)


@settings(deadline=None, max_examples=60)
@given(spec=specs(), seed=st.integers(0, 2**32 - 1))
def test_torch_engine_matches_the_float64_reference(spec: SubVitSpec, seed: int) -> None:
    rng, generator = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    weights = state_float64(random_model(spec, generator))
    folded = fold_sub_vit(spec, weights, Normalisation((0.5, 0.4, 0.3), (0.3, 0.2, 0.4)))
    image = random_images(rng, spec.image_size, 1)
    found = TorchEngine(spec, folded, threads=0, isa="").features(image[0])
    assert found.dtype == np.float32
    assert relative_error(found, reference.features(spec, folded, image)[0]) < 2e-4


@settings(deadline=None)
@given(spec=specs())
def test_names_and_shapes_agree_everywhere(spec: SubVitSpec) -> None:
    model = SubVit(spec)
    assert {k: tuple(v.shape) for k, v in model.state_dict().items()} == trained_shapes(spec)
    folded = fold_sub_vit(spec, state_float64(model), Normalisation((0, 0, 0), (1, 1, 1)))
    complete = reference.with_golden(
        spec, folded, np.zeros((spec.image_size, spec.image_size, 3), np.uint8)
    )
    wanted = [*spec.tensors(), *spec.golden_tensors()]
    assert {k: (v.shape, v.dtype.name) for k, v in complete.items()} == {
        tensor.name: (tensor.shape, tensor.dtype) for tensor in wanted
    }


@pytest.mark.parametrize("spec", [DEIT, CCT], ids=["deit", "cct"])
def test_reference_gives_the_same_in_batches(
    spec: SubVitSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = state_float64(random_model(spec, torch.Generator().manual_seed(1)))
    folded = fold_sub_vit(spec, weights, Normalisation((0, 0, 0), (1, 1, 1)))
    images = random_images(np.random.default_rng(2), spec.image_size, 5)
    whole = reference.features(spec, folded, images)
    monkeypatch.setattr(reference, "BATCH_ELEMENTS", 1)
    np.testing.assert_allclose(reference.features(spec, folded, images), whole, rtol=1e-12)


def test_torch_engine_refuses_another_shape() -> None:
    folded = fold_sub_vit(DEIT, state_float64(SubVit(DEIT)), Normalisation((0, 0, 0), (1, 1, 1)))
    with pytest.raises(ValueError, match=r"expected uint8\[8, 8, 3\], got uint8\(8, 7, 3\)"):
        TorchEngine(DEIT, folded, threads=0, isa="").features(np.zeros((8, 7, 3), np.uint8))


@pytest.mark.parametrize("heads", [1, 2])
def test_a_map_of_the_whole_feature_gives_the_mean_of_the_heads(heads: int) -> None:
    rng = np.random.default_rng(heads)
    tokens = rng.standard_normal((heads, 5))
    maps = [(rng.standard_normal((3, 5)), rng.standard_normal(3)) for _ in range(heads)]
    matrix, bias = average_heads(maps)
    logits = [weight @ token + bias for (weight, bias), token in zip(maps, tokens, strict=True)]
    np.testing.assert_allclose(matrix @ tokens.ravel() + bias, np.mean(logits, axis=0), atol=1e-12)


@pytest.mark.parametrize(
    ("prefix_tokens", "tokens", "heads"),
    [(0, (), ("head",)), (1, ("cls_token",), ("head",)),
     (2, ("cls_token", "dist_token"), ("head", "head_dist"))],
)  # fmt: skip
def test_tokens_and_heads_have_timms_names(
    prefix_tokens: int, tokens: tuple[str, ...], heads: tuple[str, ...]
) -> None:
    spec = msgspec.structs.replace(DEIT, prefix_tokens=prefix_tokens)
    assert (prefix_names(spec), head_names(spec)) == (tokens, heads)
    assert prefix_tokens_in(tokens) == prefix_tokens
