"""Messages that are to be acknowledged when the work that they ask for is done."""

import threading

from devit_iot.transport.base import Message, Transport


class PendingAcks:
    """The deliveries to acknowledge for each request. Safe to use from several threads.

    One request may stand for several messages: the features of its parts, or one image that came
    again after a reconnection. Deliveries of an earlier connection are void, so only those of the
    newest one are kept.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._lock = threading.Lock()
        self._pending: dict[bytes, list[Message]] = {}
        self._messages = 0

    def __contains__(self, request_id: bytes) -> bool:
        with self._lock:
            return request_id in self._pending

    def __len__(self) -> int:
        """How many requests are under way."""
        return len(self._pending)

    @property
    def messages(self) -> int:
        """How many messages the broker still keeps for us."""
        return self._messages

    def add(self, request_id: bytes, message: Message) -> bool:
        """Acknowledge ``message`` when its request is done; whether the request is a new one."""
        with self._lock:
            new = request_id not in self._pending
            self._add(request_id, message)
            return new

    def add_if_pending(self, request_id: bytes, message: Message) -> bool:
        """Add ``message`` if its request is under way; whether it is."""
        with self._lock:
            under_way = request_id in self._pending
            if under_way:
                self._add(request_id, message)
            return under_way

    def acknowledge(self, request_id: bytes) -> None:
        """The request is done: acknowledge all of its messages."""
        for message in self.pop(request_id):
            self._transport.acknowledge(message)

    def pop(self, request_id: bytes) -> list[Message]:
        """Remove the request: what is not acknowledged comes again after a reconnection."""
        with self._lock:
            messages = self._pending.pop(request_id, [])
            self._messages -= len(messages)
            return messages

    def _add(self, request_id: bytes, message: Message) -> None:
        delivery = message.delivery
        if delivery is None:
            raise ValueError("a message without a delivery id cannot be acknowledged")
        before = self._pending.get(request_id, [])
        valid = [m for m in before if m.delivery and m.delivery.connection == delivery.connection]
        self._pending[request_id] = [*valid, message._replace(payload=b"")]  # spare the memory
        self._messages += len(valid) + 1 - len(before)
