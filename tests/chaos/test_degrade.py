"""A node that dies costs accuracy, by as much as one process predicts, and no label."""

import time
import uuid
from collections.abc import Collection
from pathlib import Path

from devit_iot.bundle.reading import Bundle
from devit_iot.demo.processes import FleetProcesses
from devit_iot.evaluation.local import LocalFleet
from devit_iot.protocol.label import Label
from tests.chaos.clients import Outside
from tests.chaos.conftest import LONG, Report
from tests.chaos.fleet import PARTS, ChaosFleet
from tests.e2e.conftest import DEMO
from tests.e2e.watching import IMAGES
from tests.support.fleets import wait_until

COUNT = len(IMAGES) if LONG else 25
DEADLINE_S = 1.0
RECOVERY_S = 2.0
CONFIG = f"""\
[aggregator]
deadline_s = {DEADLINE_S}

[[images]]
topic = "cameras/{{camera}}/image/{{request}}"
"""


class Prediction:
    """The labels that one process computes without some part."""

    def __init__(self) -> None:
        self._fleet = LocalFleet(Bundle(DEMO / "bundle"))
        self._features = [self._fleet.features(image.payload) for image in IMAGES[:COUNT]]

    def right(self, missing: int) -> int:
        """How many of the images the others get right."""
        found = 0
        for image, features in zip(IMAGES[:COUNT], self._features, strict=True):
            values = {i: f.values for i, f in enumerate(features) if i != missing}
            ranked = self._fleet.fusion.rank(self._fleet.fusion.logits(values))
            found += ranked[0].label == image.class_name
        return found


def ask(outside: Outside, payload: bytes) -> tuple[Label, float]:
    """The label of an image, and the seconds that it took."""
    request_id = uuid.uuid4().hex
    begin = time.monotonic()
    outside.show("door", payload, request_id)
    wait_until(lambda: request_id in outside.labels)
    return outside.labels[request_id][0], outside.seen[request_id] - begin


def others(part: int) -> Collection[int]:
    return tuple(other for other in range(PARTS) if other != part)


def test_each_node_in_turn(processes: FleetProcesses, tmp_path: Path, report: Report) -> None:
    prediction = Prediction()
    fleet = ChaosFleet(processes, tmp_path, CONFIG)
    fleet.start_all()
    outside = Outside(processes.url)
    with outside.connected():
        wait_until(lambda: len(outside.online) == PARTS + 1, 60)
        for part in range(PARTS):
            name = f"node-{part}"
            fleet.kill(name)
            right, longest = 0, 0.0
            for image in IMAGES[:COUNT]:  # the first ones before anybody could notice
                label, seconds = ask(outside, image.payload)
                assert label.degraded
                assert label.parts_used == others(part)
                right += label.label == image.class_name
                longest = max(longest, seconds)
            predicted = prediction.right(missing=part)

            fleet.start(name)
            wait_until(lambda name=name: name in outside.online, 60)  # type: ignore[misc]
            begin = time.monotonic()
            while ask(outside, IMAGES[0].payload)[0].degraded:
                assert time.monotonic() < begin + RECOVERY_S
            recovered = time.monotonic() - begin
            report(
                f"without part {part} {right}/{COUNT} right, predicted {predicted}; longest wait "
                f"{1e3 * longest:.0f} ms; whole {1e3 * recovered:.0f} ms after its return"
            )
            assert abs(right - predicted) <= max(1, COUNT // 50)  # float16 on the wire
            assert longest < DEADLINE_S + RECOVERY_S
            assert recovered < RECOVERY_S
