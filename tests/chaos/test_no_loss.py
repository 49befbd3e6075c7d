"""Every image of an `every` camera gets its label, whoever is killed meanwhile."""

import random
import threading
import time
from pathlib import Path

import pytest

from devit_iot.demo.processes import FleetProcesses
from tests.chaos.clients import Outside
from tests.chaos.conftest import LONG, SEED, Report
from tests.chaos.fleet import CASCADE, EVERY, PARTS, ChaosFleet
from tests.e2e.watching import IMAGES
from tests.support.fleets import wait_until

SEEDS = (SEED, SEED + 1, SEED + 2) if LONG else (SEED,)
COUNT = 1000 if LONG else 100
RATE = 12.0


def wreck(fleet: ChaosFleet, rng: random.Random, until: threading.Event) -> list[str]:
    """Kill one process after the other and start it again; return their names."""
    killed = []
    while not until.wait(rng.uniform(0.5, 2.0)):
        name = rng.choice(fleet.names)
        fleet.kill(name)
        killed.append(name)
        time.sleep(rng.uniform(0.0, 1.5))
        fleet.start(name)
    return killed


@pytest.mark.parametrize("config", [EVERY, CASCADE], ids=["together", "cascade"])
@pytest.mark.parametrize("seed", SEEDS)
def test_every_image_gets_its_label(
    processes: FleetProcesses, tmp_path: Path, report: Report, seed: int, config: str
) -> None:
    rng = random.Random(seed)
    fleet = ChaosFleet(processes, tmp_path, config)
    fleet.start_all()
    outside = Outside(processes.url)
    done = threading.Event()

    def publish() -> None:
        begin = time.monotonic()
        for number in range(COUNT):
            time.sleep(max(0.0, begin + number / RATE - time.monotonic()))
            outside.publish_every(f"cam-{number % 3}", IMAGES[number % len(IMAGES)].payload)
        done.set()

    with outside.connected():
        wait_until(lambda: len(outside.online) == PARTS + 1, 60)
        fleet.wait_saved()  # from here on the broker knows us even if it is killed
        begin = time.monotonic()
        camera = threading.Thread(target=publish)
        camera.start()
        killed = wreck(fleet, rng, done)
        camera.join()
        wait_until(lambda: not outside.missing, 120)
        seconds = time.monotonic() - begin
    assert len(outside.sent) == COUNT
    report(
        f"{COUNT} images, {len(killed)} kills ({killed.count('broker')} of the broker), "
        f"{len(outside.labels)} labels, {outside.duplicates} duplicates, parts "
        f"{dict(sorted(outside.parts_used().items()))}, {seconds:.0f} s"
    )
