"""The fusion against float64, with parts missing, and a softmax that cannot overflow."""

import itertools
import math

import numpy as np
import pytest
from numpy.typing import NDArray

from devit_iot.bundle.reading import Bundle
from devit_iot.bundle.spec import FusionSpec
from devit_iot.bundle.writing import write_bundle
from devit_iot.engine.fusion import Fusion
from tests.golden.make import GOLDEN, random_fusion, random_part, tiny_spec

DIMS = (4, 8, 4)
CLASSES = 7
F64 = NDArray[np.float64]
F32 = NDArray[np.float32]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    rng = np.random.default_rng(7)
    specs = [tiny_spec(1), tiny_spec(1, prefix_tokens=2), tiny_spec(2)]
    assert tuple(spec.feature_dim for spec in specs) == DIMS
    return write_bundle(
        tmp_path_factory.mktemp("fusion") / "bundle",
        name="fusion",
        classes=[f"class {index}" for index in range(CLASSES)],
        parts=[random_part(spec, (0,), rng) for spec in specs],
        fusion=random_fusion(FusionSpec(CLASSES, DIMS), rng),
        provenance={},
    )


@pytest.fixture(scope="module")
def fusion(bundle: Bundle) -> Fusion:
    return Fusion(bundle)


def reference(bundle: Bundle, features: dict[int, F32]) -> F64:
    stored = {name: array.astype(np.float64) for name, array in bundle.fusion_tensors().items()}
    total = stored["bias"]
    for index in range(len(DIMS)):
        if index in features:
            total = total + stored[f"parts.{index}.weight"] @ features[index].astype(np.float64)
        else:
            total = total + stored[f"parts.{index}.mean"]
    return np.asarray(total)


PRESENT = [set(c) for n in range(4) for c in itertools.combinations(range(3), n)]


@pytest.mark.parametrize("present", PRESENT, ids=str)
def test_logits_equal_float64_whichever_parts_are_missing(
    bundle: Bundle, fusion: Fusion, present: set[int]
) -> None:
    rng = np.random.default_rng(3)
    features = {i: rng.standard_normal(DIMS[i]).astype(np.float32) for i in present}
    for _ in range(2):  # the second call starts from the same bias
        found = fusion.logits(features)
        assert found.dtype == np.float32
        assert found.shape == (CLASSES,)
        np.testing.assert_allclose(found, reference(bundle, features), rtol=0, atol=1e-5)


def test_the_order_of_arrival_does_not_matter(fusion: Fusion) -> None:
    rng = np.random.default_rng(4)
    features = {i: rng.standard_normal(DIMS[i]).astype(np.float32) for i in range(3)}
    backwards = dict(reversed(features.items()))
    np.testing.assert_array_equal(fusion.logits(features), fusion.logits(backwards))


def test_what_the_bundle_says_is_kept(fusion: Fusion) -> None:
    assert fusion.feature_dims == DIMS
    assert fusion.classes[6] == "class 6"


def test_ranking_equals_float64_softmax(fusion: Fusion) -> None:
    logits = np.array([0.5, -1, 3, 2, 2.5, -7, 0], np.float32)
    exact = np.exp(logits.astype(np.float64))
    exact /= exact.sum()
    ranked = fusion.rank(logits)
    assert [entry.class_index for entry in ranked] == [2, 4, 3, 0, 6]
    for entry in ranked:
        assert entry.label == f"class {entry.class_index}"
        assert entry.confidence == pytest.approx(exact[entry.class_index], rel=1e-6)
        assert type(entry.class_index) is int
        assert type(entry.confidence) is float


@pytest.mark.parametrize("shift", [-3e4, -200.0, 0.0, 200.0, 3e4])
def test_the_softmax_does_not_overflow(fusion: Fusion, shift: float) -> None:
    logits = np.array([0, 1, 2, 3, 4, 5, 6], np.float32) + np.float32(shift)
    ranked = fusion.rank(logits, count=CLASSES)
    assert [entry.class_index for entry in ranked] == [6, 5, 4, 3, 2, 1, 0]
    assert sum(entry.confidence for entry in ranked) == pytest.approx(1)
    assert ranked[0].confidence == pytest.approx((1 - math.exp(-1)) / (1 - math.exp(-7)), rel=1e-5)


def test_a_certain_answer(fusion: Fusion) -> None:
    logits = np.array([0, 1e30, -1e30, 0, 0, 0, 0], np.float32)
    first, second, *_ = fusion.rank(logits)
    assert (first.class_index, first.confidence) == (1, 1.0)
    assert second.confidence == 0.0


def test_equal_classes_come_in_their_order(fusion: Fusion) -> None:
    ranked = fusion.rank(np.zeros(CLASSES, np.float32), count=3)
    assert [entry.class_index for entry in ranked] == [0, 1, 2]
    assert ranked[0].confidence == pytest.approx(1 / CLASSES)


def test_fewer_classes_than_asked_for() -> None:
    golden = Fusion(Bundle(GOLDEN / "bundle"))
    ranked = golden.rank(golden.logits({}))
    assert len(ranked) == 3
    assert {entry.label for entry in ranked} == {"ant", "bee", "cat"}
