"""What a fleet looks like: from messages with made-up times, also hostile ones."""

import math
from collections.abc import Iterable

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devit_iot.aggregator.presence import MAX_NODES
from devit_iot.monitor.overview import MAX_CAMERAS, Overview
from devit_iot.monitor.views import FleetView
from devit_iot.protocol.label import LATENCIES, Label
from devit_iot.protocol.status import AggregatorStatus, NodeStatus
from devit_iot.protocol.topics import Topics
from devit_iot.transport.base import Message
from tests.golden.make import AGGREGATOR_STATUS, LABEL, NODE_STATUS_3, STEADY_STATE

TOPICS = Topics("home")
AGGREGATOR = msgspec.structs.replace(AGGREGATOR_STATUS, state="online")


def label(camera: str = "door", request: int = 0, **changes: object) -> Message:
    changed = msgspec.structs.replace(LABEL, camera=camera, request_id=f"{request:032x}", **changes)
    return Message(TOPICS.label(camera), changed.encode(), retained=False)


def node(name: str = "pi-1", **changes: object) -> Message:
    status = msgspec.structs.replace(NODE_STATUS_3, node=name, **changes)
    return Message(TOPICS.node_status(name), status.encode(), retained=False)


def aggregator(number: int = 0, **changes: object) -> Message:
    status = msgspec.structs.replace(AGGREGATOR, **changes)
    return Message(TOPICS.aggregator_status(number), status.encode(), retained=False)


def seen(messages: Iterable[Message], now: float = 100.0) -> FleetView:
    overview = Overview(TOPICS, 90.0)
    for message in messages:
        overview.take(message, now)
    return overview.view(now)


def test_nothing_said_yet() -> None:
    view = seen([])
    assert (view.parts, view.parts_online, view.labels_per_s) == (0, (), 0.0)
    assert (view.nodes, view.cameras, view.aggregators, view.latency_ms) == ((), (), (), {})


def test_a_node_shows_what_it_says() -> None:
    (found,) = seen([node()]).nodes
    assert (found.name, found.part, found.state, found.age_s) == ("pi-1", 2, "online", 0.0)
    assert (found.compute_ms, found.temperature_c, found.throttled) == (41.25, 61.5, False)
    assert found.drops == {"overload": 2, "age": 1}
    assert found.refused == 2
    assert "refuses" in found.problem


def test_parts_are_online_as_the_aggregator_says() -> None:
    view = seen([node(), aggregator(parts_online=(0, 3))])
    assert (view.parts, view.parts_online) == (4, (0, 3))


def test_without_an_aggregator_the_nodes_speak_for_their_parts() -> None:
    messages = [node("a", part=1), node("b", part=3), node("c", part=0, state="offline")]
    assert seen([*messages, aggregator(state="offline")]).parts_online == (1, 3)


def test_two_shards_see_the_same_parts() -> None:
    view = seen([aggregator(0), aggregator(1, parts_online=(3,))])
    assert view.parts_online == (0, 1, 2, 3)
    assert [found.shard for found in view.aggregators] == ["0", "1"]


def test_a_node_that_says_nothing_any_more_is_silent() -> None:
    overview = Overview(TOPICS, 0.0)
    overview.take(node(part=1), 5.0)
    assert overview.view(95.0).nodes[0].state == "online"
    late = overview.view(95.2)
    assert late.nodes[0].state == "silent"
    assert late.nodes[0].age_s == 90.2
    assert late.parts_online == ()


def test_rate_and_degraded_share_are_of_the_last_ten_seconds() -> None:
    overview = Overview(TOPICS, 0.0)
    for second in range(40):
        overview.take(label(request=second, degraded=second >= 35), second + 0.5)
    view = overview.view(40.0)
    assert view.labels_per_s == 1.0
    assert view.degraded_share == 0.5
    assert overview.view(60.0).labels_per_s == 0.0


def test_the_rate_of_the_first_seconds() -> None:
    overview = Overview(TOPICS, 0.0)
    for request in range(6):
        overview.take(label(request=request), 1.0)
    assert overview.view(2.0).labels_per_s == 3.0


def test_quantiles_by_stage() -> None:
    times = [{"wait": 1.0, "decode": float(n), "compute": 0.0} for n in range(1, 101)]
    view = seen(label(request=n, latency_ms=t) for n, t in enumerate(times))
    assert list(view.latency_ms) == list(LATENCIES)
    assert view.latency_ms["wait"].p50 == view.latency_ms["wait"].p99 == 1.0
    assert view.latency_ms["decode"].p50 == 50.5
    assert view.latency_ms["decode"].p99 == pytest.approx(99.01)
    assert view.latency_ms["fuse"].p99 == 0.0


def test_a_retained_label_is_old() -> None:
    overview = Overview(TOPICS, 0.0)
    overview.take(label(request=1)._replace(retained=True), 1.0)
    view = overview.view(3.0)
    assert view.cameras[0].retained
    assert (view.cameras[0].age_s, view.labels_per_s, view.latency_ms) == (2.0, 0.0, {})


def test_after_a_reconnection_a_known_label_stays_what_it_was() -> None:
    overview = Overview(TOPICS, 0.0)
    overview.take(label(request=1), 1.0)
    overview.take(label(request=1)._replace(retained=True), 5.0)
    (camera,) = overview.view(6.0).cameras
    assert (camera.age_s, camera.retained) == (5.0, False)
    overview.take(label(request=2)._replace(retained=True), 7.0)
    assert overview.view(7.0).cameras[0].retained


BAD = [
    Message(TOPICS.label("door"), b"not JSON", retained=False),
    label("door")._replace(topic=TOPICS.label("yard")),
    Message(TOPICS.node_status("pi\x1b[2J"), NODE_STATUS_3.encode(), retained=False),
    Message(TOPICS.node_status("pi-1"), LABEL.encode(), retained=False),
    Message(TOPICS.aggregator_status("0"), b"{}", retained=False),
    label(label="cat\x1b[2J"),
]


@pytest.mark.parametrize("message", BAD)
def test_bad_messages_are_counted(message: Message) -> None:
    view = seen([message])
    assert view.refused == 1
    assert (view.nodes, view.cameras, view.aggregators) == ((), (), ())


def test_what_is_remembered_is_bounded() -> None:
    overview = Overview(TOPICS, 0.0)
    for number in range(MAX_NODES + 10):
        overview.take(node(f"n{number}"), float(number))
        overview.take(label(f"c{number}"), float(number))
        overview.take(aggregator(number), float(number))
    view = overview.view(1e4)
    assert (len(view.nodes), len(view.cameras), len(view.aggregators)) == (
        MAX_NODES,
        MAX_CAMERAS,
        64,
    )
    names = {found.name for found in view.nodes}
    assert "n0" not in names
    assert f"n{MAX_NODES + 9}" in names


def test_a_liar_with_many_reasons_and_parts() -> None:
    drops = {"door": {f"reason-{n}": 1 for n in range(1000)}}
    used = tuple(range(5000))
    view = seen([node(drops=drops), aggregator(parts_online=used), label(parts_used=used)])
    assert len(view.nodes[0].drops) == 9
    assert sum(view.nodes[0].drops.values()) == 1000
    assert view.parts_online == (0, 1, 2, 3)
    assert len(view.cameras[0].parts_used) <= 1024


NUMBERS = st.integers(-(10**30), 10**30) | st.floats(allow_nan=False, allow_infinity=False)


@settings(max_examples=100, deadline=None)
@given(
    parts=st.integers(-(10**20), 10**20),
    online=st.lists(st.integers(-(10**20), 10**20), max_size=5),
    latency=st.dictionaries(st.sampled_from([*LATENCIES, "other"]), NUMBERS, max_size=6),
    confidence=NUMBERS,
)
def test_any_numbers_make_a_view(
    parts: int, online: list[int], latency: dict[str, float], confidence: float
) -> None:
    view = seen(
        [
            node(parts=parts, part=parts),
            aggregator(parts=parts, parts_online=tuple(online)),
            label(parts=parts, latency_ms=latency, confidence=confidence),
        ]
    )
    assert all(0 <= part < parts for part in view.parts_online)
    assert all(math.isfinite(q.p50) and q.p50 >= 0 for q in view.latency_ms.values())


def test_topics_of_another_kind_are_refused() -> None:
    statuses: list[NodeStatus | AggregatorStatus | Label] = [NODE_STATUS_3, AGGREGATOR, LABEL]
    for status in statuses:
        assert seen([Message(TOPICS.feature(0, "pi-1"), status.encode(), retained=False)]).refused


DELETED = [
    Message(topic, b"", retained=retained)
    for topic in (TOPICS.label("door"), TOPICS.node_status("pi-1"), TOPICS.aggregator_status(0))
    for retained in (False, True)
]


@pytest.mark.parametrize("deleted", DELETED, ids=range(len(DELETED)))
def test_an_empty_message_takes_one_away_and_is_not_refused(deleted: Message) -> None:
    others = [label("hall"), node("pi-2"), aggregator(1)]
    said = [label("door"), node("pi-1"), aggregator(0), *others]
    view = seen([*said, deleted, deleted])
    assert view.refused == 0
    rows = [*view.cameras, *view.nodes, *view.aggregators]
    assert len(rows) == len(said) - 1
    (gone,) = [message for message in said if message.topic == deleted.topic]
    again = seen([*said, deleted, gone])
    assert len([*again.cameras, *again.nodes, *again.aggregators]) == len(said)


def test_an_empty_message_of_somebody_unknown_is_nothing() -> None:
    assert seen(DELETED) == seen([])


def state(camera: str = "door", head: str = "gate", **changes: object) -> Message:
    said = msgspec.structs.replace(STEADY_STATE, camera=camera, head=head, **changes)
    return Message(TOPICS.state(camera, head), said.encode(), retained=True)


def head_label(head: str, **changes: object) -> Message:
    said = msgspec.structs.replace(LABEL, camera="door", head=head, **changes)
    return Message(TOPICS.head_label("door", head), said.encode(), retained=False)


def test_each_head_of_a_camera_has_a_row_with_its_state() -> None:
    view = seen([head_label("bird"), label(), head_label("gate", label="open"), state()])
    rows = [(row.camera, row.head, row.main, row.label, row.state) for row in view.cameras]
    assert rows == [
        ("door", "default", True, "cat", ""),
        ("door", "bird", False, "cat", ""),
        ("door", "gate", False, "open", "open"),
    ]
    assert view.cameras[2].since == "2026-05-01T07:30:11.250000+00:00"
    assert view.labels_per_s == 0.1  # images, not answers


def test_a_deleted_state_and_a_deleted_label_of_a_head_are_gone() -> None:
    gone = [Message(TOPICS.state("door", "gate"), b"", retained=False)]
    view = seen([label(head="gate"), state(), *gone, head_label("bird")])
    assert [row.state for row in view.cameras] == ["", ""]
    deleted = Message(TOPICS.head_label("door", "bird"), b"", retained=False)
    assert len(seen([label(), head_label("bird"), deleted]).cameras) == 1


def test_a_state_or_label_on_the_topic_of_another_is_refused() -> None:
    on_gate = TOPICS.state("door", "gate")
    messages = [
        Message(on_gate, state(head="bird").payload, retained=True),
        Message(on_gate, state(camera="hall").payload, retained=True),
        Message(on_gate, b"{}", retained=True),
        Message(TOPICS.head_label("door", "gate"), head_label("bird").payload, retained=False),
    ]
    assert (seen(messages).refused, seen(messages).cameras) == (4, ())
