"""A small MQTT broker that behaves as other brokers may: limits, refusals, slow answers."""

import asyncio
import contextlib
import struct
import threading
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, Self

WAIT_S = 20.0
CONNECT, PUBLISH, PUBACK, SUBSCRIBE, PINGREQ, DISCONNECT = 1, 3, 4, 8, 12, 14
RECEIVE_MAXIMUM_EXCEEDED = 0x93


@dataclass
class Behaviour:
    """What this broker does.

    Attributes:
        receive_maximum: QoS 1 messages that it takes before it has acknowledged them; it says so,
            and ends the connection of those who send more. 0: says nothing, takes any number.
        ack_delay_s: seconds until it acknowledges a message.
        connack: the reason code of each CONNACK; the connection ends after one that is not 0.
        properties: further properties of CONNACK, encoded.
        version: 5 or 4, which is MQTT 3.1.1.
        max_packet: ends the connection for a longer packet, without a word.
        hang_up: ends each connection right after CONNACK.
        forgetful: keeps no retained message, though it does not say so.
    """

    receive_maximum: int = 0
    ack_delay_s: float = 0.0
    connack: int = 0
    properties: bytes = b""
    version: int = 5
    max_packet: int = 2**28
    hang_up: bool = False
    forgetful: bool = False


@dataclass
class Session:
    """What is kept of a client: its subscriptions, and what it has not acknowledged."""

    filters: dict[str, int] = field(default_factory=dict)
    unacknowledged: dict[int, tuple[str, bytes]] = field(default_factory=dict)
    last_id: int = 0


class StandInBroker:
    """Runs in a thread inside a ``with`` block; sessions outlast :meth:`restart`.

    Attributes:
        port: on 127.0.0.1.
        connects: how many CONNECTs came.
        received: topics and payloads, in order, each as often as it came.
        exceeded: how many connections ended for the receive maximum.
        largest: how many QoS 1 messages of one client were unacknowledged at once.
    """

    def __init__(self, behaviour: Behaviour | None = None) -> None:
        self.behaviour = behaviour or Behaviour()
        self.port = 0
        self.connects = 0
        self.received: list[tuple[str, bytes]] = []
        self.exceeded = 0
        self.largest = 0
        self._retained: dict[str, bytes] = {}
        self._sessions: dict[str, Session] = {}
        self._online: dict[str, _Connection] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"

    @property
    def online(self) -> list[str]:
        """The client ids that are connected."""
        return list(self._online)

    def __enter__(self) -> Self:
        self._thread.start()
        self._run(self._open())
        return self

    def __exit__(self, *_: object) -> None:
        self._run(self._shut())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(WAIT_S)
        self._loop.close()

    def restart(self) -> None:
        """End all connections without a word, and listen again on the same port."""
        self._run(self._shut())
        self._run(self._open())

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(WAIT_S)

    async def _open(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _shut(self) -> None:
        assert self._server is not None
        self._server.close()
        for connection in list(self._online.values()):
            connection.close()
        while self._online:  # noqa: ASYNC110 - they end by themselves now
            await asyncio.sleep(0.005)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = _Connection(self, reader, writer)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            await connection.serve()
        if self._online.get(connection.name) is connection:
            del self._online[connection.name]
        connection.close()

    def session(self, connection: "_Connection") -> Session:
        old = self._online.get(connection.name)
        if old is not None:
            old.close()
        self._online[connection.name] = connection
        return self._sessions.setdefault(connection.name, Session())

    def take(self, topic: str, payload: bytes, *, retain: bool) -> None:
        self.received.append((topic, payload))
        if retain and not self.behaviour.forgetful:
            self._retained[topic] = payload
        for name, session in self._sessions.items():
            qos = max((q for f, q in session.filters.items() if matches(f, topic)), default=None)
            if qos is None:
                continue
            session.last_id = session.last_id % 60_000 + 1
            if qos:
                session.unacknowledged[session.last_id] = (topic, payload)
            if name in self._online:
                self._online[name].deliver(topic, payload, session.last_id if qos else 0)

    def retained(self, topic_filter: str) -> list[tuple[str, bytes]]:
        return [item for item in self._retained.items() if matches(topic_filter, item[0])]


class _Connection:
    def __init__(
        self, broker: StandInBroker, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.name = ""
        self._broker = broker
        self._reader = reader
        self._writer = writer
        self._version_5 = broker.behaviour.version == 5
        self._session = Session()
        self._waiting = 0
        self._tasks: set[asyncio.Task[None]] = set()

    def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        self._writer.close()

    def deliver(self, topic: str, payload: bytes, number: int, *, retain: bool = False) -> None:
        body = text(topic) + (struct.pack("!H", number) if number else b"") + self._no_properties
        self._send(0x30 | (2 if number else 0) | retain, body + payload)

    async def serve(self) -> None:
        behaviour = self._broker.behaviour
        while True:
            kind, body = await self._packet()
            if kind >> 4 == CONNECT and not self._welcome(body):
                return
            if kind >> 4 == SUBSCRIBE:
                self._subscribe(body)
            elif kind >> 4 == PUBLISH:
                self._publish(kind, body)
                if self._waiting > (behaviour.receive_maximum or self._waiting):
                    self._broker.exceeded += 1
                    self._send(0xE0, bytes((RECEIVE_MAXIMUM_EXCEEDED, 0)))
                    return
            elif kind >> 4 == PUBACK:
                self._session.unacknowledged.pop(struct.unpack("!H", body[:2])[0], None)
            elif kind >> 4 == PINGREQ:
                self._send(0xD0, b"")
            elif kind >> 4 == DISCONNECT:
                return

    @property
    def _no_properties(self) -> bytes:
        return b"\0" if self._version_5 else b""

    async def _packet(self) -> tuple[int, bytes]:
        kind = (await self._reader.readexactly(1))[0]
        length = shift = 0
        while True:
            digit = (await self._reader.readexactly(1))[0]
            length |= (digit & 127) << shift
            shift += 7
            if not digit & 128:
                break
        if length > self._broker.behaviour.max_packet:
            raise ConnectionError
        return kind, await self._reader.readexactly(length)

    def _send(self, kind: int, body: bytes) -> None:
        if not self._writer.is_closing():
            self._writer.write(bytes((kind,)) + length(len(body)) + body)

    def _welcome(self, body: bytes) -> bool:
        """Answer CONNECT; whether the connection goes on."""
        self._broker.connects += 1
        behaviour = self._broker.behaviour
        if body[6] != behaviour.version:
            self._send(0x20, b"\0\x01")  # unacceptable protocol version
            return False
        at = 10 + (1 + body[10] if self._version_5 else 0)  # no properties of 128 bytes here
        size = struct.unpack("!H", body[at : at + 2])[0]
        self.name = body[at + 2 : at + 2 + size].decode()
        properties = behaviour.properties
        if behaviour.receive_maximum:
            properties += b"\x21" + struct.pack("!H", behaviour.receive_maximum)
        answer = bytes((0, behaviour.connack))
        self._send(
            0x20, answer + length(len(properties)) + properties if self._version_5 else answer
        )
        if behaviour.connack or behaviour.hang_up:
            return False
        self._session = self._broker.session(self)
        for number, (topic, payload) in self._session.unacknowledged.items():
            self.deliver(topic, payload, number)
        return True

    def _subscribe(self, body: bytes) -> None:
        at = 2 + (1 + body[2] if self._version_5 else 0)
        size = struct.unpack("!H", body[at : at + 2])[0]
        topic_filter, qos = body[at + 2 : at + 2 + size].decode(), body[at + 2 + size] & 3
        self._session.filters[topic_filter] = min(1, qos)
        self._send(0x90, body[:2] + self._no_properties + bytes((min(1, qos),)))
        for topic, payload in self._broker.retained(topic_filter):
            self.deliver(topic, payload, 0, retain=True)

    def _publish(self, kind: int, body: bytes) -> None:
        size = struct.unpack("!H", body[:2])[0]
        topic, at = body[2 : 2 + size].decode(), 2 + size
        qos = (kind >> 1) & 3
        number, at = body[at : at + 2], at + (2 if qos else 0)
        payload = body[at + (1 + body[at] if self._version_5 else 0) :]
        if qos:
            self._waiting += 1
            self._broker.largest = max(self._broker.largest, self._waiting)
            task = asyncio.ensure_future(self._acknowledge(number))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        self._broker.take(topic, payload, retain=bool(kind & 1))

    async def _acknowledge(self, number: bytes) -> None:
        await asyncio.sleep(self._broker.behaviour.ack_delay_s)
        self._waiting -= 1
        self._send(0x40, number)


def matches(topic_filter: str, topic: str) -> bool:
    wanted, levels = topic_filter.split("/"), topic.split("/")
    for level, name in enumerate(wanted):
        if name == "#":
            return True
        if level >= len(levels) or name not in {"+", levels[level]}:
            return False
    return len(wanted) == len(levels)


def text(value: str) -> bytes:
    data = value.encode()
    return struct.pack("!H", len(data)) + data


def length(size: int) -> bytes:
    """A variable byte integer."""
    digits = bytearray()
    while True:
        size, digit = divmod(size, 128)
        digits.append(digit | (128 if size else 0))
        if not size:
            return bytes(digits)
