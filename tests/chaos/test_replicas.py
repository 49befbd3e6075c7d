"""Three nodes with the only part of a bundle: killed, hung and back again, with mosquitto."""

import random
import signal
import threading
import time
from pathlib import Path

import pytest

from devit_iot.demo.processes import FleetProcesses
from devit_iot.programs import own_program
from devit_iot.protocol.status import NodeStatus
from devit_iot.transport.base import Message
from tests.chaos.conftest import LONG, SEED, Report
from tests.chaos.fleet import EVERY, shipped_limits
from tests.support.fleets import make_bundle, wait_until
from tests.support.hub_fleet import TOPICS, Watcher
from tests.support.mosquitto import needs_mosquitto

pytestmark = needs_mosquitto

NAMES = ("pi-0", "pi-1", "pi-2")
IMAGES = 1000 if LONG else 150
WAIT_S = 120.0
CONFIG = f"""\
fleet = "test"

[homeassistant]
enabled = false

{EVERY}
"""


class Replicas(FleetProcesses):
    """Nodes that all have part 0, of which nobody was told who the others are."""

    def __init__(self, folder: Path) -> None:
        bundle = make_bundle(folder / "bundle", parts=1)
        super().__init__(folder, bundle=bundle.path, fleet="test")
        self._config = folder / "fleet.toml"
        self._config.write_text(CONFIG)

    def start(self, name: str) -> None:
        """Start one node."""
        options = ("--config", str(self._config), "--name", name, "--threads", "1")
        command = own_program("devit_iot.cli.node")
        self._start(name, [*command, "start", *self._common(), *options])

    def start_all(self) -> None:
        """Start everything, the broker first."""
        self.start_broker("mosquitto", *shipped_limits())
        self.start_aggregator("--config", str(self._config))
        for name in NAMES:
            self.start(name)

    def hang(self, name: str, *, on: bool = True) -> None:
        """Let a node do nothing, or go on."""
        self._running[name].send_signal(signal.SIGSTOP if on else signal.SIGCONT)


class Outside(Watcher):
    """Remembers what the nodes said last, too."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.latest: dict[str, NodeStatus] = {}
        self._transport.subscribe(TOPICS.node_statuses, self._on_status, qos=1)

    def _on_status(self, message: Message) -> None:
        status = NodeStatus.decode(message.payload)
        self.latest[status.node] = status

    def share(self, *names: str) -> bool:
        """Whether exactly these nodes share the part, as each of them knows."""
        online = {name: s for name, s in self.latest.items() if s.state == "online"}
        return set(online) == set(names) and all(
            s.shares and s.replicas == len(names) for s in online.values()
        )


def wreck(fleet: Replicas, rng: random.Random, until: threading.Event) -> int:
    """Kill one node after the other and start it again; how often."""
    kills = 0
    while not until.wait(rng.uniform(0.5, 3.0)):
        name = rng.choice(NAMES)
        fleet.kill(name)
        kills += 1
        time.sleep(rng.uniform(0.0, 2.0))
        fleet.start(name)
    return kills


def test_every_image_is_labelled_while_replicas_are_killed(tmp_path: Path, report: Report) -> None:
    """Without other parts there is no label of an image that nobody computes."""
    rng = random.Random(SEED)
    with Replicas(tmp_path) as fleet:
        fleet.start_all()
        watcher = Outside(fleet.url)
        with watcher.connected():
            wait_until(lambda: watcher.share(*NAMES), WAIT_S)
            done = threading.Event()
            kills: list[int] = []
            wrecker = threading.Thread(target=lambda: kills.append(wreck(fleet, rng, done)))
            wrecker.start()
            try:
                with watcher.camera(10.0):
                    wait_until(lambda: len(watcher.sent) >= IMAGES, 600)
            finally:
                done.set()
                wrecker.join()
            wait_until(lambda: not watcher.missing, WAIT_S)
        labels = sum(map(len, watcher.labels.values()))
        report(f"{len(watcher.sent)} images, {labels} labels, {kills[0]} kills")


def test_who_is_killed_for_good_or_hangs_leaves_nothing_behind(tmp_path: Path) -> None:
    with Replicas(tmp_path) as fleet:
        fleet.start_all()
        watcher = Outside(fleet.url)
        with watcher.connected():
            wait_until(lambda: watcher.share(*NAMES), WAIT_S)
            for _ in range(30):
                watcher.show()
            wait_until(lambda: not watcher.missing, WAIT_S)
            wait_until(lambda: sum(s.published for s in watcher.latest.values()) == 30, WAIT_S)
            assert all(s.published for s in watcher.latest.values())  # each computed some
            fleet.hang("pi-0")
            fleet.kill("pi-1")
            for _ in range(30):
                watcher.show()
            wait_until(lambda: not watcher.missing, WAIT_S)
            fleet.hang("pi-0", on=False)
            wait_until(lambda: watcher.share("pi-0", "pi-2"), WAIT_S)


@pytest.mark.parametrize("how", ["killed", "ended"])
def test_of_latest_cameras_too_the_living_compute_all(tmp_path: Path, how: str) -> None:
    with Replicas(tmp_path) as fleet:
        (tmp_path / "fleet.toml").write_text(CONFIG.replace('"every"', '"latest"'))
        fleet.start_all()
        watcher = Outside(fleet.url)
        with watcher.connected():
            wait_until(lambda: watcher.share(*NAMES), WAIT_S)
            for name in NAMES[:2]:
                fleet.kill(name) if how == "killed" else fleet.terminate(name)
            wait_until(lambda: watcher.share("pi-2"), WAIT_S)
            for _ in range(15):
                watcher.show()
                wait_until(lambda: not watcher.missing, WAIT_S)
