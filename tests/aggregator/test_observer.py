"""Whoever observes an aggregator is told what it learns, and only of its own fleet."""

from collections.abc import Mapping, Sequence

import msgspec
import pytest

from devit_iot.aggregator.observer import Nobody
from devit_iot.bundle.reading import Bundle
from devit_iot.protocol.status import NodeStatus
from devit_iot.transport.memory import MemoryBroker
from tests.support.features import PARTS, announce, make_feature
from tests.support.fleets import wait_until
from tests.support.running import TOPICS, labels, make_aggregator, running

pytestmark = pytest.mark.usefixtures("prompt_status")


class Notes(Nobody):
    """An observer that writes down what it is told, and how often it is refreshed."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []
        self.refreshed = 0

    def connected(self) -> None:
        self.told.append(("connected", ""))

    def see_node(self, name: str, status: NodeStatus) -> None:
        assert status.node == name
        self.told.append(("node", name))

    def forget_node(self, name: str) -> None:
        self.told.append(("forget", name))

    def see_camera(self, camera: str, heads: Mapping[str, Sequence[str]]) -> None:
        assert {head: len(classes) for head, classes in heads.items()} == {"default": 5}
        self.told.append(("camera", camera))

    def refresh(self) -> None:
        self.refreshed += 1


def test_an_observer_is_told_in_order(bundle: Bundle) -> None:
    broker, notes = MemoryBroker(), Notes()
    with running(make_aggregator(broker, bundle, observer=notes)):
        announce(broker, bundle, 1, "online")
        announce(broker, bundle, 1, "offline")
        for part in range(PARTS):
            broker.publish(
                TOPICS.feature(0, f"node-{part}"), make_feature(bundle, part).encode(), qos=0
            )
        wait_until(lambda: labels(broker))
        broker.publish(TOPICS.node_status("node-1"), b"", retain=True)
        wait_until(lambda: len(notes.told) == 4)
        before = notes.refreshed
        wait_until(lambda: notes.refreshed > before)
    assert notes.told == [
        ("connected", ""),
        ("node", "node-1"),
        ("camera", "door"),
        ("forget", "node-1"),
    ]


def test_an_observer_hears_nothing_of_a_node_with_another_bundle(bundle: Bundle) -> None:
    broker, notes = MemoryBroker(), Notes()
    with running(make_aggregator(broker, bundle, observer=notes)):
        announce(broker, bundle, 0, "online")
        status = NodeStatus.decode(broker.retained[TOPICS.node_status("node-0")])
        other = msgspec.structs.replace(status, node="other", fingerprint="0" * 16)
        broker.publish(TOPICS.node_status("other"), other.encode(), retain=True)
        announce(broker, bundle, 2, "online")
        wait_until(lambda: ("node", "node-2") in notes.told)
    assert ("node", "other") not in notes.told
