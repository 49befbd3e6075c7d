"""What Frigate publishes, replayed: its snapshots get labels, and nothing else does."""

import json
from collections.abc import Sequence
from functools import partial

import pytest

from devit_iot.bundle.reading import Bundle
from devit_iot.config.camera_apps import PRESETS
from devit_iot.config.config import ImagesConfig
from devit_iot.transport.memory import MemoryBroker
from tests.support.fleets import image_file, wait_until
from tests.support.running import labels, make_aggregator, make_node, node_status, running

SNAPSHOTS = tuple(ImagesConfig(topic) for topic in PRESETS["frigate"].filters)
EVERYTHING = (ImagesConfig("frigate/#"),)
"""What somebody writes who does not look closely."""

EVENT = {
    "id": "1607123955.475377-mxklsc",
    "camera": "front_door",
    "frame_time": 1607123961.837752,
    "snapshot": {"frame_time": 1607123965.975463, "box": [415, 489, 528, 700], "score": 0.77546},
    "label": "person",
    "sub_label": None,
    "top_score": 0.958984375,
    "false_positive": False,
    "end_time": None,
    "box": [424, 500, 536, 712],
    "current_zones": ["driveway"],
    "has_snapshot": True,
    "data": {"type": "object"},
}
REVIEW = {
    "id": "1718987129.308396-fqk5ka",
    "camera": "front_door",
    "severity": "detection",
    "thumb_path": "/media/frigate/clips/review/thumb-front_door-1718987129.308396-fqk5ka.webp",
    "data": {"detections": ["1718987128.947436-g92ztx"], "objects": ["person"], "zones": []},
}
OTHERS: list[tuple[str, bytes]] = [
    ("frigate/available", b"online"),
    ("frigate/events", json.dumps({"type": "new", "before": EVENT, "after": EVENT}).encode()),
    ("frigate/reviews", json.dumps({"type": "end", "before": REVIEW, "after": REVIEW}).encode()),
    ("frigate/tracked_object_update", json.dumps({"type": "description", "id": "1"}).encode()),
    ("frigate/stats", json.dumps({"cameras": {"front_door": {"camera_fps": 5.0}}}).encode()),
    ("frigate/front_door/person", b"1"),
    ("frigate/front_door/person/active", b"0"),
    ("frigate/front_door/all", b"1234"),  # four characters of base64
    ("frigate/front_door/motion", b"OFF"),
    ("frigate/front_door/detect/state", b"ON"),
    ("frigate/front_door/snapshots/state", b"ON"),
    ("frigate/front_door/motion_threshold/state", b"30"),
    ("frigate/front_door/review_status", b"NONE"),  # four more follow it
    ("frigate/front_door/audio/rms", b"12.5"),
    ("frigate/onConnect", b""),
]


def old(broker: MemoryBroker) -> None:
    """What Frigate left at the broker before the fleet came."""
    for camera in ("front_door", "yard"):
        snapshot = image_file(7, kind="JPEG")
        broker.publish(f"frigate/{camera}/person/snapshot", snapshot, retain=True)
    broker.publish("frigate/available", b"online", retain=True)


@pytest.mark.parametrize(
    ("images", "cameras"),
    [
        (SNAPSHOTS, ["front_door-person", "yard-car"]),
        (EVERYTHING, ["front_door-person-snapshot", "yard-car-snapshot"]),
    ],
    ids=["preset", "everything"],
)
def test_labels_are_for_new_snapshots_only(
    bundle: Bundle, images: Sequence[ImagesConfig], cameras: list[str]
) -> None:
    broker = MemoryBroker()
    old(broker)
    nodes = [make_node(broker, bundle, part, images=images) for part in range(3)]
    with running(make_aggregator(broker, bundle), *nodes):
        wait_until(lambda: sum("/status" in topic for topic in broker.retained) == 4)
        for topic, payload in OTHERS:
            broker.publish(topic, payload)
        for topic, seed in (("front_door/person", 1), ("yard/car", 2)):
            snapshot = image_file(seed, kind="JPEG")
            broker.publish(f"frigate/{topic}/snapshot", snapshot, retain=True)
        for topic, payload in OTHERS:
            broker.publish(topic, payload)
        wait_until(lambda: len(labels(broker)) == 2)
        matched = 0 if images == SNAPSHOTS else 2 * (len(OTHERS) - 1)  # one of them is empty

        def accounted() -> bool:
            """Whether every image was taken or dropped; some of a topic that repeats go unseen."""
            status = node_status(broker)
            return sum(status.refused.values()) + status.dropped == matched

        wait_until(accounted)
    assert sorted(label.camera for label in labels(broker)) == cameras
    status = node_status(broker)
    assert (status.published, status.lost) == (2, 0)
    assert set(status.refused) == (
        set() if images == SNAPSHOTS else {"json", "base64", "unknown_codec"}
    )


@pytest.mark.parametrize(("lifetime_s", "count"), [(1e-6, 2), (86400.0, 1)])
def test_what_a_bridge_repeats_is_one_request_while_it_is_remembered(
    bundle: Bundle, lifetime_s: float, count: int
) -> None:
    """As docs/frigate.md has it: at each reconnection it comes without the flag of an old one."""
    broker = MemoryBroker()
    nodes = [make_node(broker, bundle, part, images=SNAPSHOTS) for part in range(3)]
    snapshot = image_file(1, kind="JPEG")
    with running(make_aggregator(broker, bundle, lifetime_s=lifetime_s), *nodes):
        wait_until(lambda: sum("/status" in topic for topic in broker.retained) == 4)
        for number in (1, 2):
            broker.publish("frigate/yard/car/snapshot", snapshot)
            broker.publish(f"frigate/yard/{number}/snapshot", image_file(number, kind="JPEG"))
            for camera in ("yard-car", f"yard-{number}"):
                wait_until(partial(has_label, broker, camera))
        wait_until(lambda: named(broker, "yard-car") == count)
    assert named(broker, "yard-car") == count


def has_label(broker: MemoryBroker, camera: str) -> bool:
    return named(broker, camera) > 0


def named(broker: MemoryBroker, camera: str) -> int:
    """Number of labels of a camera."""
    return sum(label.camera == camera for label in labels(broker))
