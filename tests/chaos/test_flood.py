"""Ten times what the fleet can compute: the newest images count, and nothing grows."""

import io
import statistics
import time
import uuid
from pathlib import Path

from PIL import Image

from devit_iot.demo.processes import FleetProcesses
from devit_iot.protocol.status import NodeStatus
from tests.chaos.clients import Outside
from tests.chaos.conftest import LONG, Report
from tests.chaos.fleet import PARTS, ChaosFleet
from tests.support.fleets import wait_until
from tests.support.memory import resident_kib

SECONDS = 60.0 if LONG else 6.0
CAMERAS = 4
WARM = 10
OVERLOAD = 10
MAX_AGE_S = 3.5  # waiting in a node, then for the other parts, then half a second of work
LATEST = """\
[node]
max_age_s = 2.0

[aggregator]
deadline_s = 1.0

[[images]]
topic = "cameras/{camera}/image/{request}"
"""


def slow_image() -> bytes:
    """Few bytes, many pixels: decoding is what limits the nodes, not the network."""
    buffer = io.BytesIO()
    Image.new("RGB", (3000, 2000), (40, 90, 160)).save(buffer, "JPEG")
    return buffer.getvalue()


def accounted(status: NodeStatus) -> int:
    return status.published + status.dropped + sum(status.refused.values()) + status.lost


def capacity(outside: Outside, image: bytes) -> float:
    """Images per second, one after the other."""
    begin = time.monotonic()
    for number in range(WARM):
        outside.show(f"warm-{number % CAMERAS}", image, uuid.uuid4().hex)
        wait_until(lambda count=number + 1: len(outside.labels) == count)  # type: ignore[misc]
    return WARM / (time.monotonic() - begin)


def test_a_flood_costs_images_and_nothing_else(
    processes: FleetProcesses, tmp_path: Path, report: Report
) -> None:
    fleet = ChaosFleet(processes, tmp_path, LATEST)
    fleet.start_all()
    outside = Outside(processes.url)
    image = slow_image()
    sent: dict[str, float] = {}
    with outside.connected():
        wait_until(lambda: len(outside.online) == PARTS + 1, 60)
        rate = OVERLOAD * capacity(outside, image)
        memory: dict[str, int] = {}
        begin = time.monotonic()
        while (now := time.monotonic()) < begin + SECONDS:
            request_id = uuid.uuid4().hex
            sent[request_id] = now
            outside.show(f"cam-{len(sent) % CAMERAS}", image, request_id)
            if not memory and now > begin + SECONDS / 3:
                memory = resident_kib(processes)
            time.sleep(max(0.0, begin + len(sent) / rate - time.monotonic()))
        grown = resident_kib(processes)
        nodes = outside.nodes
        wait_until(lambda: all(accounted(s) == s.received for s in nodes.values()), 30)
        wait_until(lambda: outside.aggregator and outside.aggregator.features == published(outside))
    ages = [outside.seen[r] - sent[r] for r in outside.labels if r in sent]
    growth = max(grown[name] / memory[name] - 1 for name in memory)
    parts = statistics.mean(len(found[0].parts_used) for found in outside.labels.values())
    aggregator = outside.aggregator
    assert aggregator is not None
    report(
        f"{len(sent)} images at {rate:.0f}/s, {len(ages)} labels of {parts:.2f} parts, age p50 "
        f"{1e3 * statistics.median(ages):.0f} ms, p99 "
        f"{1e3 * statistics.quantiles(ages, n=100)[98]:.0f} ms, resident memory "
        f"{100 * growth:+.1f} % at most, dropped {sum(s.dropped for s in nodes.values())}"
    )
    assert statistics.quantiles(ages, n=100)[98] < MAX_AGE_S
    assert growth < 0.1
    shown = len(sent) + WARM - outside.unsent  # a busy machine may not take them all
    assert {status.received for status in nodes.values()} == {shown}
    assert all(s.dropped == sum(sum(c.values()) for c in s.drops.values()) for s in nodes.values())
    assert min(s.dropped / s.received for s in nodes.values()) > 0.5
    # Every feature that was published is in a label, or counted as late or duplicate.
    used = sum(len(found[0].parts_used) for found in outside.labels.values())
    uncounted = aggregator.features - aggregator.late - aggregator.duplicate - used
    assert uncounted == 0


def published(outside: Outside) -> int:
    return sum(status.published for status in outside.nodes.values())
