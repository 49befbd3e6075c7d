"""What is acknowledged, and when."""

import pytest

from devit_iot.service.pending_acks import Promises
from devit_iot.transport.base import Message, Receipt
from devit_iot.transport.memory import MemoryBroker, MemoryTransport


class Acknowledged(MemoryTransport):
    """Remembers the receipts that it got back."""

    def __init__(self) -> None:
        super().__init__(MemoryBroker())
        self.receipts: list[Receipt | None] = []

    def acknowledge(self, message: Message) -> None:
        self.receipts.append(message.receipt)


def message(number: int, connection: int = 1) -> Message:
    return Message("t", b"payload", retained=False, receipt=Receipt(connection, number))


@pytest.fixture
def transport() -> Acknowledged:
    return Acknowledged()


def test_all_messages_of_a_request_are_acknowledged_with_it(transport: Acknowledged) -> None:
    promises = Promises(transport)
    assert promises.hold(b"a", message(1))
    assert promises.hold(b"b", message(2))
    assert not promises.hold(b"a", message(3))
    assert (len(promises), promises.messages) == (2, 3)
    promises.release(b"a")
    assert transport.receipts == [Receipt(1, 1), Receipt(1, 3)]
    assert (len(promises), promises.messages) == (1, 1)
    promises.release(b"a")
    assert len(transport.receipts) == 2


def test_after_a_reconnection_only_the_new_deliveries_count(transport: Acknowledged) -> None:
    promises = Promises(transport)
    promises.hold(b"a", message(1))
    promises.hold(b"a", message(2))
    assert not promises.hold(b"a", message(7, connection=2))
    assert promises.messages == 1
    promises.release(b"a")
    assert transport.receipts == [Receipt(2, 7)]


def test_joining_needs_a_request_under_way(transport: Acknowledged) -> None:
    promises = Promises(transport)
    assert not promises.join(b"a", message(1))
    assert promises.messages == 0
    promises.hold(b"a", message(1))
    assert promises.join(b"a", message(2))
    promises.release(b"a")
    assert len(transport.receipts) == 2


def test_what_is_forgotten_is_not_acknowledged(transport: Acknowledged) -> None:
    promises = Promises(transport)
    promises.hold(b"a", message(1))
    promises.forget(b"a")
    promises.release(b"a")
    assert transport.receipts == []
    assert (len(promises), promises.messages) == (0, 0)
    assert promises.hold(b"a", message(1))


def test_what_is_held_takes_no_memory_for_its_payload(transport: Acknowledged) -> None:
    promises = Promises(transport)
    promises.hold(b"a", message(1))
    promises.join(b"a", message(2))
    assert [held.payload for held in promises.forget(b"a")] == [b"", b""]


def test_a_message_without_receipt_cannot_be_promised(transport: Acknowledged) -> None:
    with pytest.raises(ValueError, match="receipt"):
        Promises(transport).hold(b"a", Message("t", b"", retained=False))
