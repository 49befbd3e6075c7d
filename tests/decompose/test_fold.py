"""Folding changes no number: a trained network with random weights against its engine tensors."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from devit_iot.decompose import reference
from devit_iot.decompose.export import export, state_float64
from devit_iot.decompose.fold import Normalisation, fold_sub_vit, trained_shapes
from devit_iot.decompose.models import FusionHead, SubVit
from devit_iot.engine.torch import TorchEngine
from devit_iot.spec import BlockSpec, SubVitSpec, golden_tensors, tensors

CLASSES = 5


@st.composite
def specs(draw: st.DrawFn) -> SubVitSpec:
    """Small uneven shapes, one or two prefix tokens."""
    patch = draw(st.sampled_from([2, 3, 4]))
    size = patch * draw(st.integers(1, 4))
    block = st.builds(BlockSpec, st.integers(1, 4), st.integers(1, 24))
    return SubVitSpec(
        image_size=size,
        resize_size=size,
        patch_size=patch,
        embed_dim=draw(st.integers(2, 24)),
        head_dim=draw(st.sampled_from([1, 3, 4, 8])),
        prefix_tokens=draw(st.sampled_from([1, 2])),
        blocks=tuple(draw(st.lists(block, min_size=1, max_size=3))),
        norm_eps=draw(st.sampled_from([1e-6, 1e-5, 1e-3])),
    )


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


def pixels(images: NDArray[np.uint8], normalisation: Normalisation) -> torch.Tensor:
    scaled = (images / 255 - np.array(normalisation.mean)) / np.array(normalisation.std)
    return torch.from_numpy(scaled.transpose(0, 3, 1, 2).copy())


def relative_error(found: NDArray[np.floating], wanted: NDArray[np.floating]) -> float:
    return float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))


@settings(deadline=None, max_examples=60)
@given(spec=specs(), parts=st.integers(1, 3), seed=st.integers(0, 2**32 - 1))
def test_folded_fleet_computes_what_the_trained_one_does(
    spec: SubVitSpec, parts: int, seed: int
) -> None:
    rng, generator = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    normalisation = Normalisation(
        mean=(rng.uniform(), rng.uniform(), rng.uniform()),
        std=(rng.uniform(0.1, 1), rng.uniform(0.1, 1), rng.uniform(0.1, 1)),
    )
    images = random_images(rng, spec.image_size, 3)
    models = [random_model(spec, generator) for _ in range(parts)]
    head = FusionHead([spec] * parts, 7, CLASSES)
    exported = export(models, head, [(0,)] * parts, images, normalisation)

    inputs = pixels(images, normalisation)
    with torch.no_grad():
        wanted = head.double()([model.double()(inputs).prefix for model in models]).numpy()
    found = exported.fusion["bias"].astype(np.float64)
    mean_found = found.copy()
    for index, part in enumerate(exported.parts):
        features = reference.features(spec, part.tensors, images)
        found = found + features @ exported.fusion[f"parts.{index}.weight"].T
        mean_found += exported.fusion[f"parts.{index}.mean"]
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-4 * np.abs(wanted).max())
    scale = np.abs(wanted).max()
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
    wanted = [*tensors(spec), *golden_tensors(spec)]
    assert {k: (v.shape, v.dtype.name) for k, v in complete.items()} == {
        tensor.name: (tensor.shape, tensor.dtype) for tensor in wanted
    }


def test_intermediates_are_returned() -> None:
    spec = SubVitSpec(8, 8, 4, 6, 3, 2, (BlockSpec(1, 4), BlockSpec(2, 5)))
    output = SubVit(spec)(torch.zeros(3, 3, 8, 8))
    assert output.prefix.shape == (3, 2, 6)
    assert [stream.shape for stream in output.streams] == [(3, 6, 6)] * 2


def test_reference_gives_the_same_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = SubVitSpec(8, 8, 4, 6, 3, 1, (BlockSpec(2, 5),))
    weights = state_float64(random_model(spec, torch.Generator().manual_seed(1)))
    folded = fold_sub_vit(spec, weights, Normalisation((0, 0, 0), (1, 1, 1)))
    images = random_images(np.random.default_rng(2), 8, 5)
    whole = reference.features(spec, folded, images)
    monkeypatch.setattr(reference, "_BATCH_ELEMENTS", 1)
    np.testing.assert_allclose(reference.features(spec, folded, images), whole, rtol=1e-12)


def test_torch_engine_refuses_another_shape() -> None:
    spec = SubVitSpec(8, 8, 4, 6, 3, 1, (BlockSpec(2, 5),))
    folded = fold_sub_vit(spec, state_float64(SubVit(spec)), Normalisation((0, 0, 0), (1, 1, 1)))
    with pytest.raises(ValueError, match=r"expected uint8\[8, 8, 3\], got uint8\(8, 7, 3\)"):
        TorchEngine(spec, folded, threads=0, isa="").features(np.zeros((8, 7, 3), np.uint8))
