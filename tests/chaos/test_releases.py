"""Every image gets its label, and none of two bundles, while releases come and processes die."""

import random
import threading
import time
from pathlib import Path

import pytest

from devit_iot.bundle.reading import Bundle
from devit_iot.errors import DevitError
from devit_iot.hub.commands import Status
from tests.chaos.conftest import LONG, SEED, Report
from tests.chaos.fleet import shipped_limits
from tests.support.fleets import make_bundle, wait_until
from tests.support.hub_fleet import NODES, HubFleet, Judge, Watcher
from tests.support.mosquitto import needs_mosquitto

SEEDS = (SEED, SEED + 1, SEED + 2) if LONG else (SEED,)
STEPS = [*["push"] * 5, "rollback"] * 2 if LONG else ["push", "push", "rollback"]
IMAGES = 1000 if LONG else 60
RATE = 10.0 if LONG else 5.0
BUNDLES = 4
WAIT_S = 120.0


def wreck(fleet: HubFleet, rng: random.Random, until: threading.Event) -> list[str]:
    """Kill one process after the other, the broker excepted, and start it again."""
    killed = []
    while not until.wait(rng.uniform(0.5, 3.0)):
        name = rng.choice(["hub", "aggregator", *NODES])
        fleet.kill(name)
        killed.append(name)
        time.sleep(rng.uniform(0.0, 1.0))
        fleet.start(name)
    return killed


class Owner:
    """Pushes and rolls back, as often as the hub has to be asked."""

    def __init__(self, fleet: HubFleet) -> None:
        self.outcomes: list[str] = []
        self._fleet = fleet

    def status(self) -> Status | None:
        """The hub's; None while it is away."""
        try:
            return self._fleet.status()
        except DevitError:
            return None

    def is_idle(self) -> bool:
        """Whether nothing is under way."""
        now = self.status()
        return now is not None and now.rollout.next is None

    def do(self, step: str, bundles: list[Path]) -> None:
        """One step, and wait for its end, good or not."""

        def told() -> bool:
            now = self.status()
            if now is None:
                return False
            current = now.rollout.current
            served = current.fingerprint if current is not None else ""
            try:
                if step == "push":
                    other = [b for b in map(Bundle, bundles) if b.manifest.fingerprint != served]
                    self._fleet.client.push(other[len(self.outcomes) % len(other)], "")
                else:
                    self._fleet.client.tell(step)
            except DevitError as error:  # killed meanwhile, perhaps after it was told
                return "under way" in str(error) or "already" in str(error)
            return True

        wait_until(told, WAIT_S)
        wait_until(self.is_idle, WAIT_S)
        now = self.status()
        self.outcomes.append(now.outcome if now is not None else "")


@needs_mosquitto
@pytest.mark.parametrize("seed", SEEDS)
def test_every_image_is_labelled_by_one_bundle(tmp_path: Path, report: Report, seed: int) -> None:
    rng = random.Random(seed)
    made = [make_bundle(tmp_path / f"bundle-{n}", parts=4, seed=n) for n in range(BUNDLES)]
    with HubFleet(tmp_path, "activate_s = 30\ninstall_s = 30\noffer_s = 30") as fleet:
        fleet.start_broker("mosquitto", *shipped_limits())
        for name in ("hub", "aggregator", *NODES):
            fleet.start(name)
        owner = Owner(fleet)
        with Watcher(fleet.url).connected() as watcher:
            with watcher.camera(2.0):
                owner.do("push", [made[0].path])  # to begin with, in peace
            first = len(watcher.sent)
            done = threading.Event()
            killed: list[str] = []
            wrecker = threading.Thread(target=lambda: killed.extend(wreck(fleet, rng, done)))
            wrecker.start()
            try:
                with watcher.camera(RATE):
                    for step in STEPS:
                        owner.do(step, [bundle.path for bundle in made])
                    wait_until(lambda: len(watcher.sent) >= first + IMAGES, 600)
            finally:
                done.set()
                wrecker.join()
            wait_until(lambda: not watcher.missing, WAIT_S)
            labels = [label for labels in watcher.labels.values() for label in labels]
    Judge(*made).check(labels)
    good = sum("is good" in outcome for outcome in owner.outcomes)
    report(
        f"{len(watcher.sent)} images, {len(labels)} labels, {len(killed)} kills, {good} of "
        f"{len(owner.outcomes)} releases good, {sum(x.degraded for x in labels)} labels degraded"
    )
