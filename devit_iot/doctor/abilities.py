"""What the broker can do: its limits, retained messages, the will."""

import time
from collections.abc import Callable, Iterator

from devit_iot.doctor.finding import Finding, bad, ok, warn
from devit_iot.errors import BrokerError
from devit_iot.protocol.json_message import MAX_JSON_BYTES
from devit_iot.transport.base import Will
from devit_iot.transport.limits import LARGEST_PACKET
from devit_iot.transport.probe import Probe

_KEEP = "allow retained messages there (mosquitto: retain_available true), or use another broker"


def await_message(
    probe: Probe, topic: str, payload: bytes, wait_s: float, *, retained: bool = False
) -> float | None:
    """When ``payload`` came on ``topic`` (monotonic); None if it does not come in time."""
    end = time.monotonic() + wait_s
    while (left := end - time.monotonic()) > 0:
        arrival = probe.get(left)
        if arrival is None:
            return None
        message = arrival.message
        if (message.topic, message.payload) == (topic, payload) and message.retained >= retained:
            return arrival.at
    return None


def check_limits(probe: Probe) -> Finding:
    """What the broker said in CONNACK, against what a fleet sends."""
    limits = probe.limits
    if not limits.max_qos:
        remedy = "allow QoS 1 there (mosquitto: max_qos 1), or use another broker"
        return bad("limits", "the broker takes QoS 0 alone", remedy)
    packet = "of any size" if limits.max_packet == LARGEST_PACKET else f"of {limits.max_packet} B"
    text = f"takes {limits.window} messages at once, packets {packet}"
    if limits.max_packet < MAX_JSON_BYTES:
        remedy = "let it take larger ones (mosquitto: max_packet_size)"
        return warn("limits", f"{text}: a status may not fit", remedy)
    return ok("limits", text)


def check_retained(
    probe: Probe, connect: Callable[[], Probe], topic: str, status: bytes, wait_s: float
) -> Finding:
    """Whether the broker keeps a retained message; to be called for a topic that has none.

    Args:
        probe: connected.
        connect: makes another one.
        topic: the node's status topic.
        status: what a node that does not run says; it is kept for a moment.
        wait_s: the longest time for each answer.

    Raises:
        BrokerError: the broker has ended the connection.
    """
    check = "retained messages"
    if not probe.limits.retain:
        return bad(check, "the broker keeps none, and a fleet needs them", _KEEP)
    refusal = probe.publish(topic, status, qos=1, retain=True)
    try:
        with connect() as later:
            if later.foreign:
                return ok(check, "not checked: the broker lets a user in once")
            later.subscribe(topic)
            kept = not refusal and await_message(later, topic, status, wait_s, retained=True)
    except BrokerError as error:
        return ok(check, f"not checked: {str(error).partition(';')[0]}")
    finally:
        probe.publish(topic, b"", qos=1, retain=True)
    if kept:
        return ok(check, "kept, and delivered to who comes later")
    return bad(
        check, "the broker does not deliver what it should keep, and a fleet needs it", _KEEP
    )


def check_will(
    probe: Probe, connect: Callable[[Will], Probe], topic: str, status: bytes, wait_s: float
) -> Finding:
    """Whether others hear of a node that vanishes.

    Args:
        probe: connected, listens on ``topic``.
        connect: makes another one with that will, which is not retained.
        topic: the node's status topic.
        status: what the will says.
        wait_s: the longest time for each answer.
    """
    will = Will(topic, status + b" ")  # JSON ignores the space; it tells the will from echoes
    try:
        with connect(will) as mortal:
            if mortal.foreign:
                return ok("will", "not checked: the broker lets a user in once")
            mortal.vanish()
        came = await_message(probe, topic, will.payload, wait_s) is not None
    except BrokerError as error:
        return ok("will", f"not checked: {str(error).partition(';')[0]}")
    if came:
        return ok("will", "published when its client vanished")
    remedy = "see the broker's log: a fleet learns from it that a node is gone"
    return bad("will", "the broker does not publish the will of a client that vanishes", remedy)


def check_abilities(
    probe: Probe,
    connect: Callable[[Will | None], Probe],
    topic: str,
    status: bytes,
    wait_s: float,
    *,
    kept: bool,
) -> Iterator[Finding]:
    """Retained messages and the will; ``kept``: the broker had a retained status already."""
    if kept:
        yield ok("retained messages", "kept: the node's last status came at once")
    else:
        yield check_retained(probe, lambda: connect(None), topic, status, wait_s)
    yield check_will(probe, connect, topic, status, wait_s)
