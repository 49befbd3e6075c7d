"""Every image gets its label on a NATS cluster, whoever is killed: brokers, nodes, aggregators."""

import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from devit_iot.demo.processes import FleetProcesses
from devit_iot.programs import own_program
from tests.chaos.clients import Outside
from tests.chaos.conftest import LONG, SEED, Report
from tests.chaos.fleet import EVERY
from tests.e2e.conftest import DEMO
from tests.e2e.watching import IMAGES
from tests.support.fleets import wait_until
from tests.support.nats import NatsCluster, needs_nats

pytestmark = needs_nats

COUNT = 1000 if LONG else 60
RATE = 8.0
NODES = {"pi-0": 0, "pi-0b": 0, "pi-1": 1, "pi-2": 2, "pi-3": 3}
"""Each node's part; two have part 0."""
SHARDS = 2
WAIT_S = 240.0
CONFIG = f"""\
fleet = "test"

[homeassistant]
enabled = false

{EVERY}
"""


class NatsFleet(FleetProcesses):
    """Four parts, two replicas of one of them, two shards, three brokers."""

    def __init__(self, folder: Path, cluster: NatsCluster) -> None:
        super().__init__(folder, bundle=DEMO / "bundle", fleet="test")
        self.cluster = cluster
        self.killed: Counter[str] = Counter()
        self._config = folder / "fleet.toml"
        self._config.write_text(CONFIG)

    @property
    def url(self) -> str:
        """The URLs of all brokers."""
        return self.cluster.url

    @property
    def names(self) -> list[str]:
        """The names of nodes and aggregators."""
        return [*NODES, *(f"shard-{shard}" for shard in range(SHARDS))]

    def start(self, name: str) -> None:
        """Start a node or an aggregator."""
        options = ["--config", str(self._config), "--shards", str(SHARDS)]
        if name in NODES:
            program = "node"
            options += ["--name", name, "--part", str(NODES[name]), "--threads", "1"]
        else:
            program = "aggregate"
            options += ["--shard", name.removeprefix("shard-")]
        command = own_program(f"devit_iot.cli.{program}")
        self._start(name, [*command, "start", *self._common(), *options])

    def wreck(self, rng: random.Random, until: threading.Event) -> None:
        """Kill a broker or another process and start it again, one after the other.

        A broker may take the time to find its place in the cluster before the next one is killed:
        of three brokers one may fail.
        """
        while not until.wait(rng.uniform(0.5, 3.0)):
            if rng.random() < 1 / 4:
                index = rng.randrange(len(self.cluster.ports))
                self.cluster.kill(index)
                self.killed["brokers"] += 1
                time.sleep(rng.uniform(0.0, 3.0))
                self.cluster.start(index)
                self.cluster.wait_whole()
            else:
                name = rng.choice(self.names)
                self.kill(name)
                self.killed["nodes" if name in NODES else "aggregators"] += 1
                time.sleep(rng.uniform(0.0, 2.0))
                self.start(name)


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[NatsFleet]:
    with ExitStack() as stack:
        cluster = stack.enter_context(NatsCluster(tmp_path))
        running = stack.enter_context(NatsFleet(tmp_path, cluster))
        yield running
        for name in running.names:
            log = running.log(name)
            print(f"--- {name}\n{log[-3000:]}")  # noqa: T201 - shown if the test fails
            assert "Traceback" not in log


def wait_answered(outside: Outside) -> None:
    """Wait for every label, for as long as further ones come: a busy machine may be slow."""
    left, since = len(outside.missing), time.monotonic()
    while outside.missing:
        if len(outside.missing) < left:
            left, since = len(outside.missing), time.monotonic()
        stalled = time.monotonic() - since > WAIT_S
        assert not stalled, f"{left} of {len(outside.sent)} images without a label, and none comes"
        time.sleep(0.1)


def test_every_image_gets_its_label(fleet: NatsFleet, report: Report) -> None:
    rng = random.Random(SEED)
    outside = Outside(fleet.url)
    done = threading.Event()
    with outside.connected():
        for name in fleet.names:
            fleet.start(name)
        wait_until(lambda: len(outside.online) == len(NODES) + 1, WAIT_S)
        wrecker = threading.Thread(target=fleet.wreck, args=(rng, done))
        wrecker.start()
        begin = time.monotonic()
        try:
            for number in range(COUNT):
                time.sleep(max(0.0, begin + number / RATE - time.monotonic()))
                outside.publish_every(f"cam-{number % 3}", IMAGES[number % len(IMAGES)].payload)
        finally:
            done.set()
            wrecker.join()
        wait_answered(outside)
        seconds = time.monotonic() - begin
    assert len(outside.sent) == COUNT
    report(
        f"seed {SEED}: {COUNT} images, killed {dict(sorted(fleet.killed.items()))}, "
        f"{len(outside.labels)} labelled, {outside.duplicates} labels more than once, parts "
        f"{dict(sorted(outside.parts_used().items()))}, {seconds:.0f} s"
    )
