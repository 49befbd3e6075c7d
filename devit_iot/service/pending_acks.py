"""Kept messages whose work is under way: the broker may forget them when it is done."""

import threading

from devit_iot.transport.base import Message, Transport


class Promises:
    """The deliveries to acknowledge for each request. Safe to use from several threads.

    One request may stand for several messages: the features of its parts, or one image that came
    again after a reconnection. Receipts of an earlier connection are void, so only those of the
    newest one are kept.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._lock = threading.Lock()
        self._held: dict[bytes, list[Message]] = {}
        self._messages = 0

    def __contains__(self, request_id: bytes) -> bool:
        with self._lock:
            return request_id in self._held

    def __len__(self) -> int:
        """How many requests are under way."""
        return len(self._held)

    @property
    def messages(self) -> int:
        """How many messages the broker still keeps for us."""
        return self._messages

    def hold(self, request_id: bytes, message: Message) -> bool:
        """Acknowledge ``message`` when its request is done; whether the request is a new one."""
        with self._lock:
            new = request_id not in self._held
            self._hold(request_id, message)
            return new

    def join(self, request_id: bytes, message: Message) -> bool:
        """Like :meth:`hold`, if the request is under way; otherwise False, and nothing is held."""
        with self._lock:
            under_way = request_id in self._held
            if under_way:
                self._hold(request_id, message)
            return under_way

    def release(self, request_id: bytes) -> None:
        """The request is done: acknowledge all that is held for it."""
        for message in self.forget(request_id):
            self._transport.acknowledge(message)

    def forget(self, request_id: bytes) -> list[Message]:
        """Hold the request no longer: what is not acknowledged comes again some day."""
        with self._lock:
            messages = self._held.pop(request_id, [])
            self._messages -= len(messages)
            return messages

    def _hold(self, request_id: bytes, message: Message) -> None:
        receipt = message.receipt
        if receipt is None:
            raise ValueError("a message without receipt cannot be held")
        before = self._held.get(request_id, [])
        valid = [m for m in before if m.receipt and m.receipt.connection == receipt.connection]
        self._held[request_id] = [*valid, message._replace(payload=b"")]  # spare the memory
        self._messages += len(valid) + 1 - len(before)
