"""Which subscriptions get the messages of a topic, and that this is not searched each time."""

import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from devit_iot.transport import subscriptions as subscriptions_module
from devit_iot.transport.base import Message
from devit_iot.transport.subscriptions import Subscription, Subscriptions


def ignore(_message: Message) -> None:
    """Take a message."""


def subscription(topic_filter: str, qos: int = 0) -> Subscription:
    return Subscription(topic_filter, ignore, qos, manual_ack=False, required=True)


def test_every_filter_that_matches_gets_the_message() -> None:
    subscriptions = Subscriptions()
    wide, narrow, other = map(subscription, ("a/#", "a/+/c", "b/c"))
    for one in (wide, narrow, other):
        subscriptions.add(one)
    for _ in range(2):  # the second time from memory
        assert set(subscriptions.of("a/b/c")) == {wide, narrow}
        assert subscriptions.of("b/c") == (other,)
        assert subscriptions.of("c") == ()


def test_a_subscription_that_comes_later_counts_at_once() -> None:
    subscriptions = Subscriptions()
    subscriptions.add(subscription("a/+"))
    assert len(subscriptions.of("a/b")) == 1
    subscriptions.add(subscription("#"))
    assert len(subscriptions.of("a/b")) == 2
    later = subscription("a/+", qos=1)
    subscriptions.add(later)  # instead of the first one of its filter
    assert later in subscriptions.of("a/b")
    assert len(subscriptions.of("a/b")) == 2


def test_topics_without_end_take_no_memory_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscriptions_module, "REMEMBERED", 10)
    subscriptions = Subscriptions()
    images = subscription("cameras/+/image/+")
    subscriptions.add(images)
    for number in range(100):
        assert subscriptions.of(f"cameras/door/image/{number}") == (images,)
    assert subscriptions.remembered <= 10


def test_the_properties_of_messages_share_what_paho_knows_of_all() -> None:
    first, second = Properties(PacketTypes.PUBLISH), Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    assert first.names is second.names
    second.ReceiveMaximum = 7
    assert vars(second)["ReceiveMaximum"] == 7
    assert vars(second)["packetType"] == PacketTypes.CONNECT
    assert "ReceiveMaximum" not in vars(first)
