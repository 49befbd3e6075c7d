"""One temperature: recovered where it is known, and never a loss."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from devit_iot.decompose.calibrate import fit_temperature

SLACK = 1e-6
"""The search ends this close to the minimum, where the cost is flat."""


def cost(logits: Tensor, labels: Tensor, temperature: float) -> float:
    confidence, best = functional.softmax(logits.double() / temperature, dim=1).max(dim=1)
    return functional.binary_cross_entropy(confidence, (best == labels).double()).item()


@pytest.mark.parametrize("temperature", [0.1, 0.5, 1.0, 2.7, 12.0])
def test_the_temperature_of_sampled_labels_is_recovered(temperature: float) -> None:
    generator = torch.Generator().manual_seed(1)
    honest = 2 * torch.randn(20000, 6, generator=generator)
    labels = torch.multinomial(honest.softmax(1), 1, generator=generator)[:, 0]
    assert fit_temperature(honest * temperature, labels) == pytest.approx(temperature, rel=0.05)


@settings(deadline=None, max_examples=50)
@given(right=st.integers(51, 99), margin=st.floats(1, 10))
def test_one_margin_gets_the_confidence_that_it_deserves(right: int, margin: float) -> None:
    """With two classes and one margin the minimum is where confidence equals accuracy."""
    wanted = margin / math.log(right / (100 - right))
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
    assert temperature == pytest.approx(math.exp(-3), rel=1e-3)  # all right: as sure as may be
    assert torch.equal((logits / temperature).argmax(dim=1), labels)
    assert fit_temperature(-logits, labels) == pytest.approx(math.exp(3), rel=1e-3)
