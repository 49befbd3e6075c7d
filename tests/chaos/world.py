"""A fleet whose processes are hosts of their own, its cameras, and a viewer in this process."""

import re
import subprocess
import threading
import time
import uuid
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from devit_iot.demo.processes import FleetProcesses
from devit_iot.programs import own_program
from tests.chaos.clients import Outside
from tests.chaos.fleet import PARTS, ChaosFleet
from tests.chaos.network import Link, Network
from tests.e2e.conftest import DEMO
from tests.e2e.watching import IMAGES
from tests.support.fleets import wait_until

HOSTS = ("broker", "aggregator", *(f"node-{part}" for part in range(PARTS)), "camera")
FAR = HOSTS[1:]
RATE = 5.0


class World:
    """A fleet whose members are hosts of a network.

    Args:
        network: a network without hosts.
        folder: folder for logs and files.
        config: the fleet's TOML, whose images are of ``cameras/{camera}/image/{request}``.

    Raises:
        NoNamespacesError: this machine lets nobody make hosts.
    """

    def __init__(self, network: Network, folder: Path, config: str) -> None:
        self.network = network
        addresses = {name: network.add(name) for name in HOSTS}
        network.join("viewer")
        self._folder = folder
        self._config = config
        self._processes = FleetProcesses(
            folder,
            bundle=DEMO / "bundle",
            fleet="test",
            host=addresses["broker"],
            wrappers={name: network.command(name) for name in HOSTS},
        )
        self.outside = Outside(self._processes.url)
        with zipfile.ZipFile(DEMO / "images.zip") as archive:
            archive.extractall(folder / "images")

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run the fleet inside the block."""
        with self._processes as processes:
            ChaosFleet(processes, self._folder, self._config).start_all()
            with self.outside.connected():
                wait_until(lambda: len(self.outside.online) == PARTS + 1, 120)
                yield

    @contextmanager
    def links(self, names: Sequence[str], link: Link) -> Iterator[None]:
        """Let the hosts' links be like that inside the block."""
        for name in names:
            self.network.links[name] = link
        try:
            yield
        finally:
            for name in names:
                self.network.links[name] = Link()

    @contextmanager
    def every_camera(self, count: int) -> Iterator[subprocess.Popen[bytes]]:
        """A ``devit camera --delivery every`` on its host, five images a second."""
        command = [
            *self.network.command("camera"),
            *own_program("devit_iot.cli.devit"),
            *("camera", str(self._folder / "images")),
            *("--config", str(self._folder / "fleet.toml"), "--broker", self._processes.url),
            *("--topic", "cameras/line/image/{request}", "--delivery", "every"),
            *("--rate", str(RATE), "--count", str(count), "--repeat"),
        ]
        with (self._folder / "camera.log").open("ab") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    @property
    def published(self) -> set[str]:
        """Request ids of that camera's images."""
        return set(re.findall("-> cameras/line/image/([0-9a-f]{32}) ", self.log("camera")))

    @property
    def unanswered(self) -> set[str]:
        """Those without a label."""
        return self.published - self.outside.labels.keys()

    def log(self, name: str) -> str:
        """What a process printed."""
        return self._processes.log(name)


class LatestCamera:
    """Publishes at QoS 0 from this process, five images a second, inside the ``with`` block.

    Attributes:
        sent: request id -> when it was published, monotonic seconds.
    """

    def __init__(self, outside: Outside) -> None:
        self.sent: dict[str, float] = {}
        self._outside = outside
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._publish, name="latest camera")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _publish(self) -> None:
        while not self._done.wait(1 / RATE):
            request_id = uuid.uuid4().hex
            payload = IMAGES[len(self.sent) % len(IMAGES)].payload
            self.sent[request_id] = time.monotonic()
            self._outside.show("door", payload, request_id)

    def answered(self, begin: float, end: float) -> list[str]:
        """Request ids of the images that were published then and have a label."""
        sent = [r for r, when in list(self.sent.items()) if begin <= when <= end]
        return [r for r in sent if r in self._outside.labels]

    def whole(self, since: float) -> bool:
        """Whether an image that was published since then has a label of all parts."""
        answers = (self._outside.labels[r][0] for r in self.answered(since, time.monotonic()))
        return not all(label.degraded for label in answers)
