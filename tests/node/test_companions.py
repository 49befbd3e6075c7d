"""Which of the living nodes with one part computes a request, without a network."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from devit_iot.errors import MessageError
from devit_iot.node.companions import MAX_NODES, Companions, Seat, seat_of
from devit_iot.protocol.request import weight
from devit_iot.protocol.status import STATUS_LIFETIME_S, NodeStatus
from tests.golden.make import NODE_STATUS

SEAT = Seat(1, "1122334455667788")
NAMES = ["a", "b", "c", "d", "e"]
IDS = [bytes([number, *bytes(15)]) for number in range(200)]


def says(name: str, **changed: object) -> bytes:
    """The status of a node that shares the requests of ``SEAT``."""
    fields = {"node": name, "part": 1, "parts_fingerprint": SEAT.parts, "shares": True, **changed}
    return msgspec.structs.replace(NODE_STATUS, **fields).encode()


def companions(name: str, others: list[str]) -> Companions:
    known = Companions(name, SEAT)
    for other in others:
        known.hear(other, says(other), 0.0)
    return known


@given(
    st.lists(st.sampled_from(NAMES), min_size=1, unique=True), st.binary(min_size=16, max_size=16)
)
def test_all_agree_on_one_node_and_on_the_order(names: list[str], request_id: bytes) -> None:
    ranks = {
        name: companions(name, [n for n in names if n != name]).rank(request_id, 1.0)
        for name in names
    }
    assert sorted(ranks.values()) == list(range(len(names)))


def test_only_the_requests_of_a_node_that_left_change_hands() -> None:
    before = {i: min(NAMES, key=lambda n: _ranked(n, NAMES, i)) for i in IDS}
    left = [name for name in NAMES if name != "c"]
    after = {i: min(left, key=lambda n: _ranked(n, left, i)) for i in IDS}
    assert all(after[i] == owner for i, owner in before.items() if owner != "c")
    shares = [list(before.values()).count(name) for name in NAMES]
    assert all(20 <= share <= 60 for share in shares)  # 40 each would be even


def _ranked(name: str, names: list[str], request_id: bytes) -> int:
    return companions(name, [n for n in names if n != name]).rank(request_id, 1.0)


def test_the_weight_is_what_the_protocol_says() -> None:
    assert weight(bytes(range(16)), "pi-0") == 9903251227222806491


@pytest.mark.parametrize(
    "changed",
    [
        {"state": "offline"},
        {"part": 0},
        {"parts_fingerprint": "ffffffffffffffff"},
        {"parts_fingerprint": "", "fingerprint": "ffffffffffffffff"},
        {"shares": False},
    ],
)
def test_who_cannot_stand_in_is_no_companion(changed: dict[str, object]) -> None:
    known = companions("a", ["b"])
    assert known.alive(1.0) == ["b"]
    known.hear("b", says("b", **changed), 1.0)
    assert known.alive(1.0) == []


def test_a_node_that_says_nothing_is_no_companion_for_long() -> None:
    known = companions("a", ["b"])
    assert known.alive(STATUS_LIFETIME_S - 1) == ["b"]
    assert known.alive(STATUS_LIFETIME_S + 1) == []


def test_a_node_that_is_forgotten_is_no_companion() -> None:
    known = companions("a", ["b"])
    known.hear("b", b"", 1.0)
    assert known.alive(1.0) == []


@pytest.mark.parametrize(
    "payload",
    [b"{", b"[]", b"\xff", b'{"state": "online"}', b'"' + b"x" * 70_000 + b'"'],
)
def test_rubbish_is_refused_and_changes_nothing(payload: bytes) -> None:
    known = companions("a", ["b"])
    with pytest.raises(MessageError):
        known.hear("b", payload, 1.0)
    assert known.alive(1.0) == ["b"]


def test_what_is_remembered_is_bounded() -> None:
    known = companions("a", [f"n{number}" for number in range(MAX_NODES + 10)])
    assert len(known.alive(1.0)) == MAX_NODES


def test_a_node_without_a_fingerprint_of_its_parts_is_told_by_its_bundle() -> None:
    status = NodeStatus(state="online", fingerprint="f" * 16, parts=4, node="a", part=2)
    assert seat_of(status) == Seat(2, "f" * 16)
