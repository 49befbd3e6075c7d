"""The aggregator over the in-process broker: fusion, deadlines, refusals."""

import time
from collections.abc import Callable

import msgspec
import numpy as np
import pytest

from devit_iot.aggregator import inbox, presence
from devit_iot.aggregator.deadline import SAMPLES
from devit_iot.bundle.reading import Bundle
from devit_iot.engine.fusion import Fusion
from devit_iot.protocol.feature import Feature
from devit_iot.protocol.status import NodeStatus
from devit_iot.transport.memory import MemoryBroker, MemoryTransport
from tests.support.features import PARTS, announce, make_feature
from tests.support.fleets import wait_until
from tests.support.running import (
    TOPICS,
    aggregator_status,
    labels,
    listen,
    make_aggregator,
    running,
)

pytestmark = pytest.mark.usefixtures("prompt_status")


@pytest.fixture
def broker() -> MemoryBroker:
    return MemoryBroker()


def send(broker: MemoryBroker, feature: Feature, qos: int = 0) -> None:
    """Publish ``feature`` as its node would, as soon as somebody is there."""
    wait_until(lambda: TOPICS.aggregator_status(0) in broker.retained)
    broker.publish(TOPICS.feature(0, f"node-{feature.part}"), feature.encode(), qos=qos)


def test_all_parts_make_a_label_at_once(broker: MemoryBroker, bundle: Bundle) -> None:
    with running(make_aggregator(broker, bundle, deadline_s=1000, lifetime_s=1000)):
        for part in (2, 0, 1):
            send(broker, make_feature(bundle, part))
        wait_until(lambda: labels(broker))
    (label,) = labels(broker)
    fusion = Fusion(bundle)
    received = {part: make_feature(bundle, part).encode() for part in range(PARTS)}
    wanted = fusion.rank(
        fusion.logits({part: Feature.decode(wire).values for part, wire in received.items()})
    )
    assert label.top5 == tuple(wanted)
    assert (label.label, label.confidence) == (wanted[0].label, wanted[0].confidence)
    assert (label.camera, label.request_id) == ("door", bytes(16).hex())
    assert (label.parts_used, label.parts, label.degraded) == ((0, 1, 2), 3, False)
    assert label.latency_ms["wait"] == 1
    assert label.latency_ms["decode"] == 2
    assert label.latency_ms["compute"] == 3.001  # part 1 came last
    assert TOPICS.label("door") in broker.retained


def test_collect_is_the_time_from_the_first_feature_to_the_last(
    broker: MemoryBroker, bundle: Bundle
) -> None:
    """The aggregator reads the clock when it gets a feature, so while it is published here."""
    with running(make_aggregator(broker, bundle, deadline_s=1000, lifetime_s=1000)):
        wait_until(lambda: TOPICS.aggregator_status(0) in broker.retained)
        before = time.monotonic()
        send(broker, make_feature(bundle, 1))
        between = time.monotonic()
        time.sleep(0.05)
        send(broker, make_feature(bundle, 0))
        again = time.monotonic()
        send(broker, make_feature(bundle, 2))
        after = time.monotonic()
        wait_until(lambda: labels(broker))
    latency_ms = labels(broker)[0].latency_ms
    rounding = 0.001
    assert 1e3 * (again - between) - rounding <= latency_ms["collect"]
    assert latency_ms["collect"] <= 1e3 * (after - before) + rounding
    assert latency_ms["fuse"] > 0


def test_the_deadline_falls_to_its_configured_floor(broker: MemoryBroker, bundle: Bundle) -> None:
    """These features come at once, so that twice the longest spread is far below the floor."""
    service = make_aggregator(broker, bundle, deadline_s=900, min_deadline_s=600, lifetime_s=1000)
    with running(service):
        send(broker, make_feature(bundle, 0))
        wait_until(lambda: aggregator_status(broker).features == 1)
        assert aggregator_status(broker).deadline_s == 900
        for request in range(1, 1 + SAMPLES):
            for part in range(PARTS):
                send(broker, make_feature(bundle, part, request))
        wait_until(lambda: len(labels(broker)) == SAMPLES)
        wait_until(lambda: aggregator_status(broker).deadline_s == 600)


def test_labels_of_every_are_kept_until_the_broker_has_them(
    broker: MemoryBroker, bundle: Bundle
) -> None:
    """All labels travel at QoS 1, but those of `latest` may be dropped while it is away."""
    broker.acknowledging = False
    heard = listen(broker, TOPICS.labels)
    with running(make_aggregator(broker, bundle)):
        for part in range(PARTS):
            send(broker, make_feature(bundle, part, request=1))
        wait_until(lambda: len(heard) == 1)
        assert broker.all_acknowledged
        for part in range(PARTS):
            send(broker, make_feature(bundle, part, request=2), qos=1)
        wait_until(lambda: len(heard) == 2)
        wait_until(lambda: not broker.all_acknowledged)
    assert all(message.delivery is not None for message in heard)


@pytest.mark.parametrize("part", range(PARTS))
def test_a_feature_of_any_part_may_have_the_longest_header(
    broker: MemoryBroker, bundle: Bundle, part: int
) -> None:
    wire = make_feature(bundle, part).encode()
    header = int.from_bytes(wire[4:6], "little")
    padded = wire[:header].ljust(4096, b"\0") + wire[header:]
    with running(make_aggregator(broker, bundle)):
        wait_until(lambda: TOPICS.aggregator_status(0) in broker.retained)
        topic = TOPICS.feature(0, "node")
        broker.publish(topic, padded[:4] + (4096).to_bytes(2, "little") + padded[6:])
        wait_until(lambda: aggregator_status(broker).features == 1)
        longer = padded[:4096] + bytes(4) + padded[4096:]
        broker.publish(topic, longer[:4] + (4100).to_bytes(2, "little") + longer[6:])
        wait_until(lambda: aggregator_status(broker).refused == {"length": 1})


def test_a_missing_part_counts_with_its_mean(broker: MemoryBroker, bundle: Bundle) -> None:
    with running(make_aggregator(broker, bundle, deadline_s=0.05)):
        for part in (0, 2):
            send(broker, make_feature(bundle, part))
        wait_until(lambda: labels(broker))
        send(broker, make_feature(bundle, 1))  # too late
        wait_until(lambda: aggregator_status(broker).late == 1)
    (label,) = labels(broker)
    fusion = Fusion(bundle)
    present = {p: Feature.decode(make_feature(bundle, p).encode()).values for p in (0, 2)}
    assert label.top5 == tuple(fusion.rank(fusion.logits(present)))
    assert (label.parts_used, label.degraded) == ((0, 2), True)
    assert aggregator_status(broker).degraded == 1


def test_a_part_known_to_be_offline_is_not_waited_for(broker: MemoryBroker, bundle: Bundle) -> None:
    with running(make_aggregator(broker, bundle, deadline_s=1000, lifetime_s=1000)):
        for part in range(PARTS):
            announce(broker, bundle, part, "online")
        for part in (0, 2):
            send(broker, make_feature(bundle, part))
        wait_until(lambda: aggregator_status(broker).features == 2)
        assert not labels(broker)
        announce(broker, bundle, 1, "offline")  # answers what waits
        wait_until(lambda: len(labels(broker)) == 1)
        for part in (0, 2):
            send(broker, make_feature(bundle, part, request=1))  # features that come now
        wait_until(lambda: len(labels(broker)) == 2)
        announce(broker, bundle, 1, "online")
        for part in range(PARTS):
            send(broker, make_feature(bundle, part, request=2))
        wait_until(lambda: len(labels(broker)) == 3)
    assert [label.degraded for label in labels(broker)] == [True, True, False]


def test_duplicates_are_counted_and_answered_once(broker: MemoryBroker, bundle: Bundle) -> None:
    with running(make_aggregator(broker, bundle)):
        for part in (0, 0, 1, 2, 2):
            send(broker, make_feature(bundle, part))
        wait_until(lambda: aggregator_status(broker).late == 1)
    assert len(labels(broker)) == 1
    assert aggregator_status(broker).duplicate == 1


def test_the_same_bytes_are_a_new_request_after_its_lifetime(
    broker: MemoryBroker, bundle: Bundle
) -> None:
    with running(make_aggregator(broker, bundle, deadline_s=0.01, lifetime_s=0.01)):
        for count in (1, 2):

            def answered(count: int = count) -> bool:
                for part in range(PARTS):
                    send(broker, make_feature(bundle, part))
                return len(labels(broker)) >= count

            wait_until(answered)


def changed(**fields: object) -> Callable[[Feature], bytes]:
    return lambda feature: msgspec.structs.replace(feature, **fields).encode()


def with_nan(feature: Feature) -> bytes:
    return feature.encode()[:-2] + np.array(np.nan, "<f2").tobytes()


REFUSED: dict[str, tuple[Callable[[Feature], bytes], str]] = {
    "other-bundle": (changed(fingerprint=b"stranger"), "other_bundle"),
    "other-parts": (changed(parts_fingerprint=b"stranger"), "other_bundle"),
    "wrong-length": (changed(values=np.zeros(5, np.float32)), "length"),
    "cut": (lambda feature: feature.encode()[:-1], "length"),
    "other-fleet-size": (changed(parts=9), "part"),
    "no-such-part": (changed(part=3, parts=3), "part"),
    "nan": (with_nan, "not_finite"),
    "empty": (lambda _: b"", "magic"),
    "long": (lambda _: bytes(9000), "length"),  # refused before it is read
    "json": (lambda _: b'{"feature": [1, 2, 3]}' * 9, "magic"),
    "future": (lambda feature: feature.encode()[:7] + b"\xff" + feature.encode()[8:], "version"),
}


@pytest.mark.parametrize(("spoil", "reason"), REFUSED.values(), ids=REFUSED)
def test_a_bad_feature_harms_no_request(
    broker: MemoryBroker,
    bundle: Bundle,
    caplog: pytest.LogCaptureFixture,
    spoil: Callable[[Feature], bytes],
    reason: str,
) -> None:
    with running(make_aggregator(broker, bundle, deadline_s=1000, lifetime_s=1000)):
        send(broker, make_feature(bundle, 0))
        broker.publish(TOPICS.feature(0, "node-1"), spoil(make_feature(bundle, 1)), retain=False)
        for part in (1, 2):
            send(broker, make_feature(bundle, part))
        wait_until(lambda: labels(broker))
    assert [label.degraded for label in labels(broker)] == [False]
    assert aggregator_status(broker).refused == {reason: 1}
    assert len([r for r in caplog.records if "refused" in r.getMessage()]) == 1


def test_a_node_with_another_bundle_is_not_waited_for(broker: MemoryBroker, bundle: Bundle) -> None:
    with running(make_aggregator(broker, bundle, deadline_s=1000, lifetime_s=1000)):
        stranger = NodeStatus(
            state="online", node="node-1", part=1, parts=PARTS, fingerprint="00" * 8
        )
        broker.publish(TOPICS.node_status("node-1"), stranger.encode(), retain=True)
        broker.publish(TOPICS.node_status("node-9"), b"\xff not json", retain=True)
        for part in (0, 2):
            send(broker, make_feature(bundle, part))
        wait_until(lambda: labels(broker))
    assert aggregator_status(broker).refused == {"other_bundle": 1, "json": 1}
    assert aggregator_status(broker).parts_online == (0, 2)


def test_a_node_whose_status_is_deleted_is_a_member_no_more(
    broker: MemoryBroker, bundle: Bundle
) -> None:
    with running(make_aggregator(broker, bundle, deadline_s=1000, lifetime_s=1000)):
        for part in range(PARTS):
            announce(broker, bundle, part, "online")
        wait_until(lambda: len(aggregator_status(broker).parts_online) == PARTS)
        broker.publish(TOPICS.node_status("node-1"), b"", retain=True)
        wait_until(lambda: aggregator_status(broker).parts_online == (0, 2))
        for part in (0, 2):
            send(broker, make_feature(bundle, part))
        wait_until(lambda: labels(broker))
    assert aggregator_status(broker).refused == {}


def test_another_bundle_counts_as_offline(broker: MemoryBroker, bundle: Bundle) -> None:
    """A node was waited for, and its feature would be refused now."""
    with running(make_aggregator(broker, bundle, deadline_s=1000, lifetime_s=1000)):
        for part in range(PARTS):
            announce(broker, bundle, part, "online")
        for part in (0, 2):
            send(broker, make_feature(bundle, part))
        wait_until(lambda: aggregator_status(broker).parts_online == (0, 1, 2))
        changed = NodeStatus(
            state="online", node="node-1", part=1, parts=PARTS, fingerprint="00" * 8
        )
        broker.publish(TOPICS.node_status("node-1"), changed.encode(), retain=True)
        wait_until(lambda: labels(broker))
    assert aggregator_status(broker).parts_online == (0, 2)


def test_equal_parts_make_equal_features_whatever_the_fusion(
    broker: MemoryBroker, bundle: Bundle
) -> None:
    """Boards keep their bundle when the hub gets one with another fusion or other classes."""
    parts = bundle.parts_fingerprint
    with running(make_aggregator(broker, bundle, deadline_s=1000, lifetime_s=1000)):
        status = NodeStatus(
            state="online", node="node-0", part=0, parts=PARTS, fingerprint="00" * 8,
            parts_fingerprint=parts.hex(),
        )  # fmt: skip
        wait_until(lambda: TOPICS.aggregator_status(0) in broker.retained)
        broker.publish(TOPICS.node_status("node-0"), status.encode(), retain=True)
        for part in range(PARTS):
            feature = make_feature(bundle, part)
            send(
                broker,
                Feature.decode(changed(fingerprint=bytes(8), parts_fingerprint=parts)(feature)),
            )
        wait_until(lambda: labels(broker))
    assert [label.parts_used for label in labels(broker)] == [(0, 1, 2)]
    assert aggregator_status(broker).refused == {}


@pytest.mark.parametrize("qos", [0, 1])
def test_a_feature_that_the_broker_kept_is_refused(
    broker: MemoryBroker, bundle: Bundle, qos: int
) -> None:
    """Its image is old, and it would come again at each connection."""
    topic = TOPICS.feature(0, "node-1")
    broker.retained[topic] = make_feature(bundle, 1, request=7).encode()
    transport = MemoryTransport(broker)
    with running(make_aggregator(broker, bundle, transport=transport, deadline_s=1000)):
        for part in range(PARTS):
            send(broker, make_feature(bundle, part), qos)
        wait_until(lambda: labels(broker))
        assert not transport.unacknowledged
    (label,) = labels(broker)
    assert label.request_id == bytes(16).hex()
    assert aggregator_status(broker).refused == {"retained": 1}


def test_with_a_full_inbox_features_of_every_are_taken_all_the_same(
    broker: MemoryBroker, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbox, "MAX_ITEMS", 0)
    with running(make_aggregator(broker, bundle, deadline_s=1000, lifetime_s=1000)):
        for part in range(PARTS):
            send(broker, make_feature(bundle, part, request=1))
            send(broker, make_feature(bundle, part, request=2), qos=1)
        wait_until(lambda: labels(broker))
    (label,) = labels(broker)
    assert label.request_id == make_feature(bundle, 0, request=2).request_id.hex()
    assert aggregator_status(broker).dropped == PARTS


@pytest.mark.parametrize("name", ["\x1b[2J", "pi\n0", "\u202eip", "x" * 65, "", "-"])
def test_a_node_whose_name_may_not_be_shown_is_refused(
    broker: MemoryBroker, bundle: Bundle, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    with running(make_aggregator(broker, bundle, deadline_s=1000, lifetime_s=1000)):
        feature = make_feature(bundle, 1).encode()
        broker.publish(TOPICS.feature(0, name), feature, retain=False)
        for part in range(PARTS):
            send(broker, make_feature(bundle, part))
        wait_until(lambda: labels(broker))
    assert aggregator_status(broker).refused == {"node": 1}
    assert all(record.getMessage().isprintable() for record in caplog.records)


def test_an_unheard_part_is_waited_for_only_at_the_start(
    broker: MemoryBroker, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presence, "GRACE_S", 0.0)
    with running(make_aggregator(broker, bundle, deadline_s=1000, lifetime_s=1000)):
        send(broker, make_feature(bundle, 0))
        wait_until(lambda: labels(broker))
    assert labels(broker)[0].parts_used == (0,)
    assert aggregator_status(broker).state == "offline"  # said goodbye
