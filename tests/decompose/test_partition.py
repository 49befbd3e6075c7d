import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devit_iot.decompose.partition import partition
from devit_iot.errors import ConfigError


@settings(deadline=None)
@given(data=st.data(), classes=st.integers(1, 300), seed=st.integers(0, 2**32))
def test_groups_are_disjoint_cover_all_and_are_balanced(
    data: st.DataObject, classes: int, seed: int
) -> None:
    parts = data.draw(st.integers(1, classes))
    groups = partition(classes, parts, seed)
    sizes = [len(group) for group in groups]
    assert len(groups) == parts
    assert sorted(label for group in groups for label in group) == list(range(classes))
    assert max(sizes) - min(sizes) <= 1
    assert groups == partition(classes, parts, seed)


def test_the_seed_decides_and_the_result_never_changes() -> None:
    assert partition(10, 4, 42) == ((2, 3, 7), (5, 6, 8), (4, 9), (0, 1))
    assert partition(100, 4, 1) != partition(100, 4, 2)


@pytest.mark.parametrize("parts", [0, 11])
def test_impossible_counts_are_refused(parts: int) -> None:
    with pytest.raises(ConfigError, match="cannot cut 10 classes"):
        partition(10, parts, 42)
