"""Both partitions: disjoint, complete, balanced, repeatable; similarity finds what is similar."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from devit_iot.decompose.stages.partition import Groups, partition, partition_by_similarity
from devit_iot.errors import ConfigError

F64 = NDArray[np.float64]


def check(groups: Groups, classes: int, parts: int) -> None:
    sizes = [len(group) for group in groups]
    assert len(groups) == parts
    assert sorted(label for group in groups for label in group) == list(range(classes))
    assert all(list(group) == sorted(group) for group in groups)
    assert all(type(label) is int for group in groups for label in group)
    assert max(sizes) - min(sizes) <= 1


def spread_within(means: F64, groups: Groups) -> float:
    """Mean squared distance of the directions to their group's centre."""
    unit = means / np.linalg.norm(means, axis=1, keepdims=True)
    gaps = [((unit[list(g)] - unit[list(g)].mean(axis=0)) ** 2).sum() for g in groups]
    return float(np.sum(gaps)) / len(means)


def clusters(rng: np.random.Generator, count: int, size: int, noise: float) -> tuple[F64, Groups]:
    """Means around ``count`` orthogonal directions in shuffled order, and who belongs together."""
    owner = rng.permutation(np.repeat(np.arange(count), size))
    directions = np.linalg.qr(rng.normal(size=(2 * count, 2 * count)))[0][:count]
    means = directions[owner] + noise * rng.normal(size=(len(owner), 2 * count))
    lengths = rng.uniform(0.5, 20, size=(len(owner), 1))  # only directions count
    together = [tuple(np.flatnonzero(owner == i).tolist()) for i in range(count)]
    return means * lengths, tuple(together)


@settings(deadline=None)
@given(data=st.data(), classes=st.integers(1, 300), seed=st.integers(0, 2**32))
def test_groups_are_disjoint_cover_all_and_are_balanced(
    data: st.DataObject, classes: int, seed: int
) -> None:
    parts = data.draw(st.integers(1, classes))
    groups = partition(classes, parts, seed)
    check(groups, classes, parts)
    assert groups == partition(classes, parts, seed)


@settings(deadline=None, max_examples=50)
@given(
    data=st.data(),
    classes=st.integers(1, 60),
    dim=st.integers(1, 8),
    seed=st.integers(0, 2**32 - 1),
    distinct=st.integers(1, 60),
)
def test_similar_groups_are_disjoint_cover_all_and_are_balanced(
    data: st.DataObject, classes: int, dim: int, seed: int, distinct: int
) -> None:
    """Groups differ by one class at most, also where fewer means are distinct than parts."""
    parts = data.draw(st.integers(1, classes))
    means = np.random.default_rng(seed).normal(size=(distinct, dim))
    means = np.resize(means, (classes, dim))
    groups = partition_by_similarity(means, parts, seed)
    check(groups, classes, parts)
    assert groups == partition_by_similarity(means.copy(), parts, seed)


def test_the_seed_decides_and_the_result_never_changes() -> None:
    assert partition(10, 4, 42) == ((2, 3, 7), (5, 6, 8), (4, 9), (0, 1))
    assert partition(100, 4, 1) != partition(100, 4, 2)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize(("count", "size"), [(2, 5), (4, 5), (5, 20), (10, 2)])
def test_clusters_that_lie_apart_become_the_groups(count: int, size: int, seed: int) -> None:
    means, together = clusters(np.random.default_rng(seed), count, size, noise=0.01)
    assert sorted(partition_by_similarity(means, count, seed)) == sorted(together)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("parts", [3, 4, 7])
def test_similar_groups_are_tighter_than_random_ones(parts: int, seed: int) -> None:
    """The clusters neither fit the parts in number nor lie apart."""
    means, _ = clusters(np.random.default_rng(seed), 6, 7, noise=0.2)
    similar = spread_within(means, partition_by_similarity(means, parts, seed))
    assert similar < 0.9 * spread_within(means, partition(len(means), parts, seed))


@pytest.mark.parametrize("parts", [0, 11])
def test_impossible_counts_are_refused(parts: int) -> None:
    message = f"cannot cut 10 classes into {parts} parts; give 1 to 10 parts"
    with pytest.raises(ConfigError, match=message):
        partition(10, parts, 42)
    with pytest.raises(ConfigError, match=message):
        partition_by_similarity(np.eye(10), parts, 42)
