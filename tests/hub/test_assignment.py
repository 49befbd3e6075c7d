"""Who gets which part."""

from hypothesis import given
from hypothesis import strategies as st

from devit_iot.hub.assignment import Nodes, assign

NAMES = [f"pi-{number}" for number in range(8)]


def test_vacant_parts_go_to_the_best_spares() -> None:
    assert assign(2, {}, Nodes(["b", "a", "c"], ())) == {"b": 0, "a": 1}
    assert assign(3, {"x": 1}, Nodes(["b"], ())) == {"x": 1, "b": 0}


def test_who_is_away_keeps_its_part_until_another_one_takes_it() -> None:
    assert assign(1, {"a": 0}, Nodes([], {"a"})) == {"a": 0}
    assert assign(1, {"a": 0}, Nodes(["b"], ())) == {"a": 0}
    assert assign(1, {"a": 0}, Nodes(["b"], {"a"})) == {"b": 0}


def test_a_part_with_one_node_left_is_not_given_away() -> None:
    members = {"a": 0, "b": 0}
    assert assign(1, members, Nodes(["c"], {"a"})) == members
    assert assign(1, members, Nodes(["c"], {"a", "b"})) == {"c": 0}


@given(
    parts=st.integers(1, 5),
    members=st.dictionaries(st.sampled_from(NAMES), st.integers(0, 6)),
    spares=st.lists(st.sampled_from(NAMES), unique=True),
    gone=st.frozensets(st.sampled_from(NAMES)),
)
def test_nobody_loses_a_part_but_for_a_spare(
    parts: int, members: dict[str, int], spares: list[str], gone: frozenset[str]
) -> None:
    assigned = assign(parts, members, Nodes(spares, gone))
    assert set(assigned.values()) <= set(range(parts))
    for node, part in members.items():
        if part < parts and assigned.get(node) != part:
            assert node in gone or list(members.values()).count(part) > 1
            assert node in assigned or any(held == part for held in assigned.values())
    newcomers = assigned.keys() - members.keys()
    assert newcomers <= set(spares)
    assert len({assigned[node] for node in newcomers}) == len(newcomers)


def test_the_largest_part_goes_to_the_strongest() -> None:
    assert assign(3, {}, Nodes(["a", "b", "c"]), needs=[5, 20, 10]) == {"a": 1, "b": 2, "c": 0}


def test_a_part_goes_only_where_it_fits() -> None:
    small = Nodes(["a", "b"], fits=lambda node, part: (node, part) != ("a", 0))
    assert assign(1, {}, small) == {"b": 0}
    assert assign(1, {}, Nodes(["a"], fits=lambda _node, _part: False)) == {}


def test_a_node_that_came_back_only_now_takes_over_from_nobody() -> None:
    nodes = Nodes(["b"], gone={"a"}, unsteady={"b"})
    assert assign(1, {"a": 0}, nodes) == {"a": 0}
    assert assign(1, {"a": 0}, nodes._replace(spares=["b", "c"])) == {"c": 0}
    assert assign(1, {}, nodes) == {"b": 0}  # nobody had it


def test_a_pinned_node_has_its_part_and_no_other() -> None:
    nodes = Nodes(["a", "b", "c"], pinned={"a": 1})
    assert assign(2, {}, nodes) == {"a": 1, "b": 0}
    assert assign(1, {}, Nodes(["a"], pinned={"a": 1})) == {}
    assert assign(2, {"a": 0, "b": 1}, Nodes([], pinned={"a": 1})) == {"a": 1, "b": 0}


def test_a_spare_stands_in_for_a_pinned_node() -> None:
    nodes = Nodes(["b"], gone={"a"}, pinned={"a": 0})
    both = assign(1, {"a": 0}, nodes)
    assert both == {"a": 0, "b": 0}
    assert assign(2, both, Nodes(["c"], pinned={"a": 0})) == {"a": 0, "b": 0, "c": 1}
    assert assign(2, both, Nodes([], pinned={"a": 0})) == {"a": 0, "b": 1}  # it is needed there


def test_a_node_of_a_part_with_several_goes_where_none_is() -> None:
    members = {"a": 0, "b": 0, "c": 1}
    assert assign(2, members, Nodes([], gone={"c"})) in ({"a": 0, "b": 1}, {"b": 0, "a": 1})
    assert assign(2, members, Nodes(["d"], gone={"c"})) == {"a": 0, "b": 0, "d": 1}


def test_spares_join_the_weakest_part_only_if_they_shall() -> None:
    nodes = Nodes(["d", "c"], power={"a": 10, "b": 2, "c": 1, "d": 5})
    assert assign(2, {"a": 0, "b": 1}, nodes) == {"a": 0, "b": 1}
    joined = assign(2, {"a": 0, "b": 1}, nodes, replicas=True)
    assert joined == {"a": 0, "b": 1, "d": 1, "c": 1}
    assert assign(2, joined, nodes._replace(spares=[]), replicas=True) == joined
