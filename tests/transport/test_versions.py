"""What paho would do with the properties that others give their messages."""

import time

from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

import devit_iot.transport.versions  # noqa: F401 - changes how paho reads

SHORT = b"\x26\0\0\0\0"  # a user property, both of its texts empty


def varint(number: int) -> bytes:
    digits = bytearray()
    while number > 127:
        digits.append(number & 127 | 128)
        number >>= 7
    return bytes((*digits, number))


def unpacked(packet: int, properties: bytes) -> tuple[Properties, int]:
    buffer = varint(len(properties)) + properties + b"payload"
    found: tuple[Properties, int] = Properties(packet).unpack(buffer)  # type: ignore[no-untyped-call]
    assert buffer[found[1] :] == b"payload"
    return found


def test_properties_of_a_message_are_skipped() -> None:
    for size in (0, 25, 26, 3277, 419_431):  # where their length takes a byte more
        begin = time.thread_time()
        properties, _ = unpacked(PacketTypes.PUBLISH, SHORT * size)
        assert properties.isEmpty()  # type: ignore[no-untyped-call]
        assert time.thread_time() - begin < 1  # paho alone: minutes for the last one


def test_a_byte_order_mark_in_one_ends_no_connection() -> None:
    mark = b"\x26\0\x03\xef\xbb\xbf\0\0"
    assert unpacked(PacketTypes.PUBLISH, mark)[0].isEmpty()  # type: ignore[no-untyped-call]


def test_those_of_the_broker_are_read() -> None:
    properties, _ = unpacked(PacketTypes.CONNACK, b"\x27\0\0\x10\0")
    assert vars(properties) | {"MaximumPacketSize": 4096} == vars(properties)
