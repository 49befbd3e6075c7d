"""A fleet of real processes whose bundles come from a hub."""

import itertools
import json
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from devit_iot.bundle.reading import Bundle
from devit_iot.config.config import BrokerConfig
from devit_iot.demo.processes import FleetProcesses, free_port
from devit_iot.evaluation.local import LocalFleet
from devit_iot.hub.client import HubClient
from devit_iot.hub.commands import MemberView, Status
from devit_iot.programs import own_program
from devit_iot.protocol.label import Label
from devit_iot.protocol.release import Rollout, UpdateStatus
from devit_iot.protocol.topics import Topics
from devit_iot.transport.base import Message, Session
from devit_iot.transport.mqtt import MqttTransport
from tests.support.fleets import image_file, wait_until

TOPICS = Topics("test")
NODES = tuple(f"pi-{number}" for number in range(4))
WAIT_S = 60.0

CONFIG = """\
fleet = "test"

[broker]
url = "{url}"

[homeassistant]
enabled = false

[hub]
url = "http://127.0.0.1:{port}"
listen = "127.0.0.1:{port}"
folder = "hub"
good_labels = 3
{limits}
[aggregator]
every_deadline_s = 5

[[images]]
topic = "cameras/{{camera}}/image/{{request}}"
delivery = "every"
"""


def image_of(request_id: str) -> bytes:
    """The image file of a request."""
    return image_file(int(request_id, 16))


class HubFleet(FleetProcesses):
    """Starts and kills members by name: a node's, ``hub``, ``aggregator``, ``broker``.

    Args:
        folder: for configuration, logs, stores and the hub.
        limits: lines of the table ``[hub]``.
        wrappers: what to put before a process's command, by its name.
    """

    def __init__(
        self, folder: Path, limits: str = "", wrappers: Mapping[str, Sequence[str]] | None = None
    ) -> None:
        super().__init__(folder, bundle=folder, fleet="test", wrappers=wrappers)
        self.folder = folder
        self._hub_port = free_port()
        self.config = folder / "fleet.toml"
        self.config.write_text(CONFIG.format(url=self.url, port=self._hub_port, limits=limits))

    @property
    def client(self) -> HubClient:
        """A client of the hub that has the token."""
        token = (self.folder / "hub/token").read_text().strip()
        return HubClient(f"http://127.0.0.1:{self._hub_port}", token, None)

    def start(self, name: str, *options: str) -> None:
        """Start one process; a node with more options."""
        store = ("--store", str(self.folder / "stores" / name), "--config", str(self.config))
        match name:
            case "broker":
                self.start_broker("mosquitto", "max_queued_messages 10000")
            case "hub":
                command = own_program("devit_iot.cli.devit")
                self._start("hub", [*command, "hub", "--config", str(self.config)])
                wait_until((self.folder / "hub/token").exists, WAIT_S)
            case "aggregator":
                self._start(name, [*own_program("devit_iot.cli.aggregate"), "start", *store])
            case _:
                command = own_program("devit_iot.cli.node")
                self._start(
                    name, [*command, "start", "--name", name, "--threads", "1", *store, *options]
                )

    def start_all(self) -> None:
        """Everything, the broker first."""
        for name in ("broker", "hub", "aggregator", *NODES):
            self.start(name)

    def runs(self, name: str) -> bool:
        """Whether a process that was started still runs."""
        return name in self._running and self._running[name].poll() is None

    def status(self) -> Status:
        """The hub's."""
        return self.client.status()

    def node(self, name: str) -> MemberView | None:
        """What the hub says of one node."""
        return self.status().nodes.get(name)

    def store(self, name: str) -> dict[str, object]:
        """What is in a member's state.json."""
        path = self.folder / "stores" / name / "state.json"
        content: dict[str, object] = json.loads(path.read_text()) if path.exists() else {}
        return content


class Watcher:
    """Publishes images of ``every`` and remembers labels and what members say.

    Attributes:
        sent: request ids of the images.
        labels: request id -> labels.
        updates: name of a node -> what it said last; its states in turn are in ``states``.
        rollouts: what the hub said, in turn.
    """

    def __init__(self, url: str) -> None:
        self.sent: list[str] = []
        self.labels: dict[str, list[Label]] = {}
        self.updates: dict[str, UpdateStatus] = {}
        self._numbers = itertools.count()
        self._showing = threading.Lock()
        self.states: dict[str, list[tuple[int, str]]] = {}
        self.rollouts: list[Rollout] = []
        self._transport = MqttTransport(
            BrokerConfig(url=url), client_id="outside", session=Session(3600, 1000)
        )
        self._transport.subscribe(TOPICS.labels, self._on_label, qos=1)
        self._transport.subscribe(TOPICS.node_update("+"), self._on_update, qos=1)
        self._transport.subscribe(TOPICS.release, self._on_release, qos=1)

    @contextmanager
    def connected(self) -> Iterator["Watcher"]:
        """Be connected inside the block."""
        ready = threading.Event()
        self._transport.start(on_ready=ready.set, on_refused=lambda _error: None)
        assert ready.wait(WAIT_S)
        try:
            yield self
        finally:
            self._transport.stop()

    @contextmanager
    def camera(self, rate: float = 20.0) -> Iterator[None]:
        """Publish images inside the block."""
        done = threading.Event()

        def publish() -> None:
            while not done.wait(1 / rate):
                self.show()

        thread = threading.Thread(target=publish)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def show(self) -> None:
        """Publish one image."""
        with self._showing:
            request_id = f"{next(self._numbers):032x}"
            self.sent.append(request_id)
        topic = f"cameras/door/image/{request_id}"
        self._transport.publish(topic, image_of(request_id), qos=1, on_puback=lambda: None)

    @property
    def missing(self) -> set[str]:
        """Images without a label."""
        return set(self.sent) - self.labels.keys()

    def _on_label(self, message: Message) -> None:
        if not message.retained:
            label = Label.decode(message.payload)
            self.labels.setdefault(label.request_id, []).append(label)

    def _on_update(self, message: Message) -> None:
        name = TOPICS.node_of(message.topic)
        update = UpdateStatus.decode(message.payload)
        self.updates[name] = update
        states = self.states.setdefault(name, [])
        if not states or states[-1] != (update.release, update.state):
            states.append((update.release, update.state))

    def _on_release(self, message: Message) -> None:
        self.rollouts.append(Rollout.decode(message.payload))


def wait_serving(watcher: Watcher, number: int, names: tuple[str, ...] = NODES) -> None:
    """Wait until these nodes serve a release."""
    wait_until(
        lambda: all(n in watcher.updates and watcher.updates[n].serving == number for n in names),
        WAIT_S,
    )


class Judge:
    """Knows what each bundle says of an image: a label of two bundles is told by its numbers.

    Args:
        bundles: all that the fleet may serve.
    """

    def __init__(self, *bundles: Bundle) -> None:
        self._fleets = {b.manifest.fingerprint: LocalFleet(b, threads=1) for b in bundles}

    def check(self, labels: Iterable[Label]) -> None:
        """Fail if a label is not what the parts that it names say with the bundle that it names."""
        for label in labels:
            fleet = self._fleets[label.fingerprint]
            features = fleet.features(image_of(label.request_id))
            sent = {
                part: features[part].values.astype(np.float16).astype(np.float32)
                for part in label.parts_used
            }
            best = fleet.fusion.rank(fleet.fusion.logits(sent))[0]
            assert abs(best.confidence - label.confidence) < 0.02, label
            assert label.degraded == (len(label.parts_used) < label.parts)
