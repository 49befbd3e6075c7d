"""The folded sub-ViT as Python describes it: C++ and the oracle of the tests do so on their own."""

import inspect
from collections.abc import Callable

import numpy as np
import pytest

from devit_iot.bundle.spec import BlockSpec, ConvSpec, SubVitSpec
from devit_iot.engine.native import NativeEngine
from devit_iot.export import reference
from devit_iot.export.fold import F64
from tests.kernels.reference import features, random_tensors

BLOCKS = (BlockSpec(2, 12), BlockSpec(1, 9))
CONVS = (ConvSpec(5, 3, 1, 1), ConvSpec(8, 3, 2, 0))
SPECS = {
    "ViT": SubVitSpec(12, 12, 4, 8, 4, 1, BLOCKS),
    "DeiT": SubVitSpec(12, 12, 4, 8, 4, 2, BLOCKS),
    "CCT": SubVitSpec(20, 20, 0, 8, 4, 0, BLOCKS, 1e-5, CONVS, residual_norm=True),
    "CCT, pre-norm": SubVitSpec(20, 20, 0, 8, 4, 0, BLOCKS, 1e-5, CONVS),
}
KINDS = pytest.mark.parametrize("kind", SPECS)


def distance(kind: str) -> tuple[float, float]:
    """How far Python's network is from the oracle, and from the C++ engine; relative L2."""
    spec = SPECS[kind]
    tensors = random_tensors(spec, 1)
    image = np.random.default_rng(2).integers(
        0, 256, (spec.image_size, spec.image_size, 3), np.uint8
    )
    found = reference.features(spec, tensors, image[None])[0]
    others = (
        features(spec, tensors, image),
        NativeEngine(spec, tensors, threads=1, isa="").features(image),
    )
    first, second = (float(np.linalg.norm(found - o) / np.linalg.norm(o)) for o in others)
    return first, second


@KINDS
def test_what_python_describes_is_what_cpp_and_the_oracle_compute(kind: str) -> None:
    oracle, native = distance(kind)
    assert oracle < 1e-12
    assert native < 1e-5


def unchanged(_: object, sheet: F64, *_others: object) -> F64:
    return sheet


@KINDS
@pytest.mark.parametrize(
    ("operation", "instead"),
    [
        ("normalise", unchanged),
        ("gelu", unchanged),
        ("add", unchanged),
        ("add", lambda _, _sheet, other: other),
        ("attention", unchanged),
        ("add_positions", lambda _, sheet, positions: 0 * sheet[:, :1] + positions),
    ],
    ids=["no norm", "no gelu", "no change", "no residual", "no attention", "no pixels"],
)
def test_a_network_with_another_step_is_noticed(
    kind: str, operation: str, instead: Callable[..., F64], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By either of those who state the order by themselves."""
    monkeypatch.setattr(reference._Arrays, operation, instead)
    assert min(distance(kind)) > 1e-3


def test_the_order_of_operations_is_said_once() -> None:
    """Whoever computes or writes the network asks for it; the oracle of the tests does not."""
    from devit_iot.bench import graph
    from devit_iot.engine import torch as torch_engine

    for module in (reference, torch_engine, graph):
        text = inspect.getsource(module)
        assert "sub_vit(" in text
        assert "mlp.fc1" not in text
        assert "attn.qkv" not in text
    oracle = inspect.getsource(features)
    assert "attn.qkv" in oracle
    assert "sub_vit" not in oracle
