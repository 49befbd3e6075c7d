"""Who gets which part."""

from hypothesis import given
from hypothesis import strategies as st

from devit_iot.hub.assignment import assign

NAMES = [f"pi-{number}" for number in range(8)]


def test_vacant_parts_go_to_the_best_spares() -> None:
    assert assign(2, {}, spares=["b", "a", "c"], gone=()) == {"b": 0, "a": 1}
    assert assign(3, {"x": 1}, spares=["b"], gone=()) == {"x": 1, "b": 0}


def test_who_is_away_keeps_its_part_until_another_one_takes_it() -> None:
    assert assign(1, {"a": 0}, spares=[], gone={"a"}) == {"a": 0}
    assert assign(1, {"a": 0}, spares=["b"], gone=()) == {"a": 0}
    assert assign(1, {"a": 0}, spares=["b"], gone={"a"}) == {"b": 0}


def test_a_part_with_one_node_left_is_not_given_away() -> None:
    members = {"a": 0, "b": 0}
    assert assign(1, members, spares=["c"], gone={"a"}) == members
    assert assign(1, members, spares=["c"], gone={"a", "b"}) == {"c": 0}


@given(
    parts=st.integers(1, 5),
    members=st.dictionaries(st.sampled_from(NAMES), st.integers(0, 6)),
    spares=st.lists(st.sampled_from(NAMES), unique=True),
    gone=st.frozensets(st.sampled_from(NAMES)),
)
def test_nobody_loses_a_part_but_for_a_spare(
    parts: int, members: dict[str, int], spares: list[str], gone: frozenset[str]
) -> None:
    assigned = assign(parts, members, spares=spares, gone=gone)
    assert set(assigned.values()) <= set(range(parts))
    for node, part in members.items():
        if part < parts and assigned.get(node) != part:
            assert node in gone
            assert any(held == part for held in assigned.values())
    newcomers = assigned.keys() - members.keys()
    assert newcomers <= set(spares)
    assert len({assigned[node] for node in newcomers}) == len(newcomers)
