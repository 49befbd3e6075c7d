"""One temperature: recovered where it is known, and never a loss."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from devit_iot.decompose.stages.calibrate import fit_temperature

SLACK = 1e-6
"""The search ends this close to the minimum, where the cost is flat."""


def cost(logits: Tensor, labels: Tensor, temperature: float) -> float:
    """Binary cross-entropy towards Platt's targets."""
    confidence, best = functional.softmax(logits.double() / temperature, dim=1).max(dim=1)
    right = best == labels
    hits, misses = int(right.sum()), int((~right).sum())
    wanted = torch.where(right, (hits + 1) / (hits + 2), 1 / (misses + 2)).double()
    return functional.binary_cross_entropy(confidence, wanted).item()


@pytest.mark.parametrize("temperature", [0.1, 0.5, 1.0, 2.7, 12.0])
def test_the_temperature_of_sampled_labels_is_recovered(temperature: float) -> None:
    generator = torch.Generator().manual_seed(1)
    honest = 2 * torch.randn(20000, 6, generator=generator)
    labels = torch.multinomial(honest.softmax(1), 1, generator=generator)[:, 0]
    assert fit_temperature(honest * temperature, labels) == pytest.approx(temperature, rel=0.05)


@settings(deadline=None, max_examples=50)
@given(right=st.integers(51, 99), margin=st.floats(1, 10))
def test_one_margin_gets_the_confidence_that_it_deserves(right: int, margin: float) -> None:
    """With two classes and one margin the minimum is where confidence equals Platt's accuracy."""
    accuracy = (right * (right + 1) / (right + 2) + (100 - right) / (102 - right)) / 100
    wanted = margin / math.log(accuracy / (1 - accuracy))
    logits = torch.tensor([[margin, 0.0]], dtype=torch.float64).expand(100, 2)
    labels = (torch.arange(100) >= right).long()
    found = fit_temperature(logits, labels)
    if -3 < math.log(wanted) < 3:
        assert found == pytest.approx(wanted, rel=1e-3)
    else:
        assert abs(math.log(found)) == pytest.approx(3, abs=1e-3)


@settings(deadline=None, max_examples=100)
@given(
    seed=st.integers(0, 2**32 - 1),
    images=st.integers(1, 40),
    classes=st.integers(2, 7),
    scale=st.floats(1e-3, 1e3),
)
def test_the_cost_never_rises(seed: int, images: int, classes: int, scale: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(images, classes, generator=generator)
    labels = torch.randint(classes, (images,), generator=generator)
    temperature = fit_temperature(logits, labels)
    assert math.exp(-3) <= temperature <= math.exp(3)
    assert cost(logits, labels, temperature) <= cost(logits, labels, 1.0) * (1 + SLACK) + SLACK


def test_the_order_of_the_classes_stays() -> None:
    logits = torch.randn(50, 5, generator=torch.Generator().manual_seed(2))
    labels = logits.argmax(dim=1)
    temperature = fit_temperature(logits, labels)
    assert torch.equal((logits / temperature).argmax(dim=1), labels)


def test_a_few_images_that_are_all_right_make_nothing_certain() -> None:
    best = torch.arange(50) % 5
    logits = 3 * functional.one_hot(best, 5).double()
    published = (logits / fit_temperature(logits, best)).softmax(dim=1).amax(dim=1)
    torch.testing.assert_close(published, torch.full((50,), 51 / 52).double(), rtol=0, atol=1e-3)
    none_right = fit_temperature(logits, (best + 1) % 5)
    assert none_right == pytest.approx(math.exp(3), rel=1e-3)
