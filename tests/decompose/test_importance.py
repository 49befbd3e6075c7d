"""The batched scores against the formulas, written out in plain loops."""

import math

import msgspec
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from devit_iot.bundle.spec import BlockSpec, ConvSpec, SubVitSpec
from devit_iot.decompose.network.models import Classifier
from devit_iot.decompose.shrinking.hsic import hsic, linear_gram, rbf_grams, scalar_hsic
from devit_iot.decompose.shrinking.importance import rank

F64 = NDArray[np.float64]

VIT = SubVitSpec(
    image_size=16,
    resize_size=16,
    patch_size=8,
    embed_dim=12,
    head_dim=4,
    prefix_tokens=1,
    blocks=(BlockSpec(3, 10), BlockSpec(1, 7)),
)
DEIT = msgspec.structs.replace(VIT, prefix_tokens=2)
CCT = msgspec.structs.replace(
    VIT, patch_size=0, prefix_tokens=0, tokenizer=(ConvSpec(12, 3, 1, 1),), residual_norm=True
)


def slow_rbf(views: F64) -> F64:
    """float64[n, d] -> float64[n, n], one pair of samples and one width at a time."""
    count = len(views)
    mean = views.mean(axis=0)
    deviation = math.sqrt(sum(float(((v - mean) ** 2).sum()) for v in views) / count)
    gram = np.zeros((count, count))
    for i in range(count):
        for j in range(count):
            square = float((((views[i] - views[j]) / deviation) ** 2).sum())
            gram[i, j] = sum(math.exp(-square / (2 * s**2)) for s in (1, 2, 4, 8, 16)) / 5
    return gram


def slow_hsic(left: F64, right: F64) -> float:
    count = len(left)
    centring = np.eye(count) - 1 / count
    return float(np.trace(centring @ left @ centring @ centring @ right @ centring)) / (
        (count - 1) ** 2
    )


def minmax(values: list[float]) -> F64:
    low, high = min(values), max(values)
    return np.array([(value - low) / (high - low) for value in values])


def random_model(spec: SubVitSpec) -> Classifier:
    generator = torch.Generator().manual_seed(3)
    model = Classifier(spec, 6).double().eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.4, generator=generator)
    return model


@pytest.mark.parametrize("spec", [VIT, DEIT, CCT], ids=["vit", "deit", "cct"])
@torch.no_grad()
def test_scores_are_the_formulas(spec: SubVitSpec) -> None:
    model = random_model(spec)
    generator = torch.Generator().manual_seed(4)
    images = torch.randn(9, 3, 16, 16, dtype=torch.float64, generator=generator)
    ranking = rank(model, images, micro_batch=4, chunk=3)
    output = model(images, keep=range(2))
    classes = torch.softmax(output.logits.mean(dim=1), dim=1).numpy()
    answers = classes @ classes.T
    assert len(ranking) == 2
    for index, (heads, neurons) in enumerate(ranking):
        trace = output.traces[index]
        vectors = trace.heads.mean(dim=3).numpy()
        grams = [slow_rbf(vectors[:, h]) for h in range(vectors.shape[1])]
        wanted_heads: list[float] = []
        for own in grams:
            shared = [slow_hsic(own, other) for other in grams if other is not own]
            redundancy = sum(shared) / max(1, len(shared))
            wanted_heads.append(slow_hsic(own, answers) - 0.1 * redundancy)
        hidden = trace.hidden.numpy()
        relevance, magnitude = [], []
        for neuron in range(hidden.shape[2]):
            means = hidden[:, :, neuron].mean(axis=1)
            relevance.append(slow_hsic(slow_rbf(means[:, None]), answers))
            magnitude.append(float(np.abs(hidden[:, :, neuron]).sum()))
        wanted_neurons = 0.1 * minmax(relevance) + 0.9 * minmax(magnitude)
        assert heads.dtype == neurons.dtype == np.float64
        np.testing.assert_allclose(heads, wanted_heads, rtol=1e-5)
        np.testing.assert_allclose(neurons, wanted_neurons, rtol=1e-5, atol=1e-6)


def test_scalars_are_vectors_of_one() -> None:
    generator = torch.Generator().manual_seed(5)
    values = torch.randn(11, 30, dtype=torch.float64, generator=generator)
    values[3, 0] = 1e3  # one outlier spans the interval
    values[4] = (values[4] > 0).double()
    gram = linear_gram(torch.randn(30, 4, dtype=torch.float64, generator=generator))
    wanted = hsic(rbf_grams(values[:, :, None]), gram[None])[:, 0]
    for chunk in (1, 4, 64):
        got = scalar_hsic(values, gram, chunk=chunk)
        torch.testing.assert_close(got, wanted, rtol=1e-8, atol=0)


def test_dependence_is_seen_and_size_is_not() -> None:
    generator = torch.Generator().manual_seed(6)
    answer = torch.randn(64, dtype=torch.float64, generator=generator)
    other = torch.randn(64, dtype=torch.float64, generator=generator)
    constant = torch.full_like(answer, 3)
    rows = torch.stack([answer**3, 1000 * answer**3 + 5, other, constant])
    cubed, scaled, unrelated, still = scalar_hsic(rows, linear_gram(answer[:, None])).tolist()
    assert cubed > 5 * unrelated > 0
    assert scaled == pytest.approx(cubed, rel=1e-9)
    assert still == pytest.approx(0, abs=1e-12)


def test_one_image_ranks_nothing() -> None:
    with pytest.raises(ValueError, match="at least two"):
        rank(random_model(VIT), torch.zeros(1, 3, 16, 16))
