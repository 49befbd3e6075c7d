"""What is acknowledged, and when."""

import pytest

from devit_iot.service.pending_acks import PendingAcks
from devit_iot.transport.base import DeliveryId, Message
from devit_iot.transport.memory import MemoryBroker, MemoryTransport


class Acknowledged(MemoryTransport):
    """Remembers the receipts that it got back."""

    def __init__(self) -> None:
        super().__init__(MemoryBroker())
        self.receipts: list[DeliveryId | None] = []

    def acknowledge(self, message: Message) -> None:
        self.receipts.append(message.delivery)


def message(number: int, connection: int = 1) -> Message:
    return Message("t", b"payload", retained=False, delivery=DeliveryId(connection, number))


@pytest.fixture
def transport() -> Acknowledged:
    return Acknowledged()


def test_all_messages_of_a_request_are_acknowledged_with_it(transport: Acknowledged) -> None:
    pending = PendingAcks(transport)
    assert pending.add(b"a", message(1))
    assert pending.add(b"b", message(2))
    assert not pending.add(b"a", message(3))
    assert (len(pending), pending.messages) == (2, 3)
    pending.acknowledge(b"a")
    assert transport.receipts == [DeliveryId(1, 1), DeliveryId(1, 3)]
    assert (len(pending), pending.messages) == (1, 1)
    pending.acknowledge(b"a")
    assert len(transport.receipts) == 2


def test_after_a_reconnection_only_the_new_deliveries_count(transport: Acknowledged) -> None:
    pending = PendingAcks(transport)
    pending.add(b"a", message(1))
    pending.add(b"a", message(2))
    assert not pending.add(b"a", message(7, connection=2))
    assert pending.messages == 1
    pending.acknowledge(b"a")
    assert transport.receipts == [DeliveryId(2, 7)]


def test_joining_needs_a_request_under_way(transport: Acknowledged) -> None:
    pending = PendingAcks(transport)
    assert not pending.add_if_pending(b"a", message(1))
    assert pending.messages == 0
    pending.add(b"a", message(1))
    assert pending.add_if_pending(b"a", message(2))
    pending.acknowledge(b"a")
    assert len(transport.receipts) == 2


def test_what_is_forgotten_is_not_acknowledged(transport: Acknowledged) -> None:
    pending = PendingAcks(transport)
    pending.add(b"a", message(1))
    pending.pop(b"a")
    pending.acknowledge(b"a")
    assert transport.receipts == []
    assert (len(pending), pending.messages) == (0, 0)
    assert pending.add(b"a", message(1))


def test_what_is_held_takes_no_memory_for_its_payload(transport: Acknowledged) -> None:
    pending = PendingAcks(transport)
    pending.add(b"a", message(1))
    pending.add_if_pending(b"a", message(2))
    assert [held.payload for held in pending.pop(b"a")] == [b"", b""]


def test_a_message_without_a_delivery_id_cannot_be_acknowledged(transport: Acknowledged) -> None:
    with pytest.raises(ValueError, match="delivery id"):
        PendingAcks(transport).add(b"a", Message("t", b"", retained=False))
