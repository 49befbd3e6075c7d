"""What labels and statuses say to the page."""

import msgspec

from devit_iot.protocol.label import Label, Ranked
from devit_iot.protocol.status import NodeStatus
from tests.browser.conftest import TOPICS
from tests.support.mosquitto import Client

FINGERPRINT = "f0e1d2c3b4a59687"


def label(camera: str, text: str = "cat", **changes: object) -> Label:
    """A label that says ``text``."""
    whole = Label(
        request_id="0" * 32,
        camera=camera,
        label=text,
        class_index=0,
        confidence=0.5,
        top5=(Ranked(text, 0, 0.5), Ranked(text, 1, 0.25)),
        parts_used=(0, 1),
        parts=2,
        degraded=False,
        latency_ms={"wait": 1.0, "decode": 1.0, "compute": 2.0, "collect": 1.0, "fuse": 0.1},
    )
    return msgspec.structs.replace(whole, **changes)


def node(name: str, **changes: object) -> NodeStatus:
    status = NodeStatus(state="online", fingerprint=FINGERPRINT, parts=2, node=name, part=0)
    return msgspec.structs.replace(status, **changes)


def say(writer: Client, message: Label | NodeStatus, name: str) -> None:
    topic = TOPICS.label(name) if isinstance(message, Label) else TOPICS.node_status(name)
    writer.publish(topic, message.encode())
