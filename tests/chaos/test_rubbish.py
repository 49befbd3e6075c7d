"""Hostile payloads on every topic that we read: counted, and nothing else happens."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from paho.mqtt.enums import MQTTProtocolVersion

from devit_iot.demo.processes import FleetProcesses
from devit_iot.engine.image import load_image
from devit_iot.protocol.image_message import unwrap_image
from tests.chaos.attack import FEATURES, NODES, STATUSES, Attack, Expected, Watcher
from tests.chaos.conftest import LONG, Report
from tests.chaos.fleet import PARTS, ChaosFleet
from tests.chaos.rubbish import FINE, MAX_PAYLOAD, MAX_PIXELS, TEXTS, images
from tests.chaos.rubbish_messages import LABELS
from tests.chaos.senders import is_thrown_out, sender
from tests.e2e.watching import known_images
from tests.fuzz.targets import SPEC
from tests.support.fleets import reason_of, wait_until
from tests.support.memory import resident_kib

ROUNDS = 12 if LONG else 2
BATCH = 25
CONFIG = f"""\
[node]
max_pixels = {MAX_PIXELS}
max_payload_bytes = {MAX_PAYLOAD}
max_cameras = 4096
max_age_s = 600.0
memory_mib = 8192

[aggregator]
deadline_s = 60.0
min_deadline_s = 60.0
lifetime_s = 600.0

[[images]]
topic = "cameras/{{camera}}/image"

[[images]]
topic = "cameras/{{camera}}/image/{{request}}"

[[images]]
topic = "frigate/{{camera}}/{{camera}}/snapshot"

[[images]]
topic = "kept/{{camera}}/{{request}}"
delivery = "every"
"""


def test_the_images_are_what_they_say() -> None:
    """To one reader in this process: what the services count is compared with these reasons."""

    def read(payload: bytes) -> object:
        return load_image(unwrap_image(payload), SPEC, max_pixels=MAX_PIXELS)

    short = [image for image in images() if len(image.payload) <= MAX_PAYLOAD]
    assert {i.name: reason_of(read, i.payload) or FINE for i in short} == {
        i.name: i.reason for i in short
    }
    assert {image.reason for image in images() if image not in short} == {"too_large"}


def test_there_are_enough_of_them() -> None:
    assert len({image.payload for image in images()}) > 250
    assert len({rubbish.payload for rubbish in (*FEATURES, *STATUSES, *LABELS)}) > 150


class Honest:
    """A camera whose images must get the right label, whatever the others send.

    Attributes:
        asked: request id -> class.
    """

    def __init__(self, watcher: Watcher, expected: Expected) -> None:
        self.asked: dict[str, str] = {}
        self._watcher = watcher
        self._expected = expected
        self._images = known_images()[:20]

    def show(self, camera: str) -> str:
        """Publish the next image and return its request id."""
        image = self._images[len(self.asked) % len(self._images)]
        request = uuid.uuid4().hex
        self.asked[request] = image.class_name
        self._expected.fine += 1
        self._watcher.show(camera, image.payload, request)
        return request

    def ask(self) -> None:
        """Wait for the label: then all that was sent before is behind us, too."""
        request = self.show("door")
        wait_until(lambda: request in self._watcher.labels, 120)

    def check(self) -> None:
        for request, class_name in self.asked.items():
            (label,) = self._watcher.labels[request]
            assert (label.label, label.degraded) == (class_name, False)


class Battle:
    """A fleet, those who send rubbish to it, and those who rely on it."""

    def __init__(self, processes: FleetProcesses, folder: Path) -> None:
        self.expected = Expected()
        self.memory: list[dict[str, int]] = []
        self._processes = processes
        self._fleet = ChaosFleet(processes, folder, CONFIG)

    @contextmanager
    def begun(self) -> Iterator[None]:
        """Rubbish is retained before a service starts; all live at the end as at the start."""
        self._fleet.start("broker")
        url = self._processes.url
        with (
            sender(url, MQTTProtocolVersion.MQTTv5) as modern,
            sender(url, MQTTProtocolVersion.MQTTv311) as old,
        ):
            self.modern = modern
            self.attack = Attack((modern, old), self.expected)
            self.attack.retained()
            self.watcher = Watcher(url)
            self.honest = Honest(self.watcher, self.expected)
            with self.watcher.connected():
                wait_until(lambda: self.watcher.refused == self.expected.watcher)
                for name in ("aggregator", *NODES):
                    self._fleet.start(name)
                    wait_until(lambda name=name: name in self.watcher.online, 60)  # type: ignore[misc]
                running = self._pids
                yield
                with suppress(AssertionError):  # the test says what differs
                    wait_until(self._is_counted, 60)
                self._processes.check()
                assert self._pids == running

    def round(self, number: int) -> None:
        """Everything once, each image on another topic than last time."""
        for index, image in enumerate(images()):
            self.attack.image(number, index, image)
            if index % BATCH == BATCH // 2:
                self.honest.show("gate")
            elif index % BATCH == BATCH - 1:
                self.honest.ask()
        attack = self.attack
        for rest in (attack.odd_topics, attack.features, attack.statuses, attack.screens):
            rest()
            self.honest.ask()
        self.memory.append(resident_kib(self._processes))

    def growth(self, since: int) -> float:
        """The growth of the resident memory since that round, at the service where it is most."""
        before, after = self.memory[since], self.memory[-1]
        return max(after[name] / before[name] - 1 for name in before if name != "broker")

    @property
    def _pids(self) -> dict[str, int]:
        return {name: process.pid for name, process in self._processes._running.items()}

    def _is_counted(self) -> bool:
        watcher, expected = self.watcher, self.expected
        aggregator = watcher.aggregator
        nodes = [watcher.nodes[name] for name in NODES]
        return (
            all(n.refused == expected.at(n.node) and n.published == expected.fine for n in nodes)
            and aggregator is not None
            and aggregator.refused == expected.aggregator
            and aggregator.labels == expected.fine
            and watcher.refused == expected.watcher
        )


def test_rubbish_is_counted_and_nothing_else_happens(
    processes: FleetProcesses, tmp_path: Path, report: Report
) -> None:
    battle = Battle(processes, tmp_path)
    with battle.begun():
        battle.honest.ask()
        battle.attack.replays(dict(battle.watcher.features))
        for number in range(ROUNDS):
            battle.round(number)
        battle.modern.send("cameras/door/image", bytes(5 * MAX_PAYLOAD), qos=0)  # not delivered
    expected, watcher = battle.expected, battle.watcher
    sent = sum(expected.nodes.values()) + expected.fine
    for node in (watcher.nodes[name] for name in NODES):
        assert node.refused == expected.at(node.node)
        assert (node.received, node.published) == (sent, expected.fine)
        assert (node.dropped, node.lost, node.problem) == (0, 0, "")
    aggregator = watcher.aggregator
    assert aggregator is not None
    assert aggregator.refused == expected.aggregator
    assert aggregator.features == PARTS * expected.fine + expected.replayed
    assert (aggregator.late, aggregator.duplicate) == (expected.replayed, 0)
    assert (aggregator.labels, aggregator.degraded) == (expected.fine, 0)
    assert aggregator.dropped == 0
    assert watcher.refused == expected.watcher
    battle.honest.check()
    for name in ("aggregator", *NODES):
        assert all(line.isprintable() for line in processes.log(name).splitlines())
    refused = sum(expected.nodes.values())
    messages = sum(expected.aggregator.values())
    report(
        f"{ROUNDS} rounds: {sent} images, {refused} refused for {len(expected.nodes)} reasons; "
        f"{messages} features and statuses refused for {len(expected.aggregator)}; "
        f"{len(battle.honest.asked)} honest labels right; resident memory "
        f"{100 * battle.growth(0):+.1f} % at most since the first round, "
        f"{100 * battle.growth(ROUNDS // 2):+.1f} % in the second half"
    )
    assert battle.growth(0) < 0.1


def test_a_broker_passes_no_topic_that_is_no_text(
    processes: FleetProcesses, tmp_path: Path
) -> None:
    """The broker refuses these texts of a topic, so they need not be sent to us."""
    ChaosFleet(processes, tmp_path, CONFIG).start("broker")
    for text in ("ansi", "newline", "return", "nul", "c1"):
        assert is_thrown_out(processes.url, f"cameras/{TEXTS[text]}/image".encode()), text
    assert is_thrown_out(processes.url, b"cameras/\xff\xfe/image")
    assert not is_thrown_out(processes.url, b"nobody/reads/this")
