"""What many pictures cost: memory for their features once, not for copies in double precision."""

import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from devit_iot.datasets.source import ImageSource
from devit_iot.datasets.sources import open_source
from devit_iot.evaluation.local import LocalFleet
from devit_iot.teach.cache import FeatureCache
from devit_iot.teach.examples import Examples, read_examples
from devit_iot.teach.fit import fit, require_solver
from devit_iot.teach.moments import moments
from tests.support.images import encoded, noise

COUNT = 40_000
DIMS = (16, 32)
FEATURES = 4 * COUNT * sum(DIMS)


def peak(work: Callable[[], object]) -> float:
    """Bytes that ``work`` needs at once, as a multiple of those of all features."""
    tracemalloc.start()
    try:
        kept = work()
        del kept
        return tracemalloc.get_traced_memory()[1] / FEATURES
    finally:
        tracemalloc.stop()


class Answer(NamedTuple):
    values: NDArray[np.float32]


class StubFleet:
    """A fleet whose features are the picture's number."""

    crop = None

    def features(self, payload: bytes) -> list[Answer]:
        number = int.from_bytes(payload, "big")
        return [Answer(np.full(dim, number % 1000, np.float32)) for dim in DIMS]


def many(tmp_path: Path, count: int) -> Examples:
    names = tuple(f"{'ab'[number % 2]}/{number}.jpg" for number in range(count))
    labels = np.arange(count) % 2
    source = ImageSource("stub", ("a", "b"), names, labels, lambda at, _: at.to_bytes(4, "big"))
    with FeatureCache(tmp_path, "0" * 16, DIMS) as cache:
        fleet = cast("LocalFleet", StubFleet())
        return read_examples(fleet, source, cache, lambda places: places)


@pytest.fixture(scope="module")
def features() -> tuple[NDArray[np.float32], ...]:
    rng = np.random.default_rng(0)
    return tuple(rng.normal(size=(COUNT, dim)).astype(np.float32) for dim in DIMS)


def test_features_are_read_into_their_place(tmp_path: Path) -> None:
    """Names, labels and keys are small beside them."""
    small = COUNT // 10
    assert many(tmp_path, small).features[1][small - 1, 0] == (small - 1) % 1000
    assert 10 * peak(lambda: many(tmp_path, small)) < 6


def test_a_fit_has_one_copy_in_single_precision(features: tuple[NDArray[np.float32], ...]) -> None:
    labels = np.arange(COUNT) % 2
    require_solver()
    assert peak(lambda: fit(features, labels, [0.01])) < 3


def test_neighbours_are_compared_in_pieces(features: tuple[NDArray[np.float32], ...]) -> None:
    nowhen, names = np.full(COUNT, np.nan), ("",) * COUNT
    found = Examples(("a", "b"), names, np.arange(COUNT) % 2, nowhen, features, 0, (), 0)
    assert peak(lambda: moments(found, 60.0)) < 1


def test_files_are_read_one_by_one(tmp_path: Path) -> None:
    """Two hundred JPEG files of 100 kB, of which no two are in memory."""
    count = 200
    file = encoded(noise(320, 240), "JPEG")
    for number in range(count):
        place = tmp_path / "photos" / "ab"[number % 2] / f"{number}.jpg"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(file + number.to_bytes(4, "big") + bytes(100_000 - len(file) - 4))

    class NumberedFleet(StubFleet):
        def features(self, payload: bytes) -> list[Answer]:
            return super().features(payload[len(file) : len(file) + 4])

    def read() -> Examples:
        source = open_source(str(tmp_path / "photos"), tmp_path, split="train", strict=False)
        with FeatureCache(tmp_path / "cache", "0" * 16, DIMS) as cache:
            fleet = cast("LocalFleet", NumberedFleet())
            return read_examples(fleet, source, cache, lambda places: places)

    tracemalloc.start()
    try:
        assert read().computed == count
        assert tracemalloc.get_traced_memory()[1] < 20 * 100_000
    finally:
        tracemalloc.stop()
