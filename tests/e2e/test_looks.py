"""Heads that look only sometimes, over a real mosquitto: an aggregator sends what nodes look at."""

import io
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from devit_iot.bundle.reading import Bundle
from devit_iot.collect.album import Album, Limits
from devit_iot.config.config import BrokerConfig
from devit_iot.demo.processes import FleetProcesses
from devit_iot.programs import own_program
from devit_iot.protocol.label import Label
from devit_iot.protocol.teaching import TeachState
from devit_iot.protocol.topics import Topics
from devit_iot.transport.base import Message
from devit_iot.transport.mqtt import MqttTransport
from tests.e2e.conftest import DEMO
from tests.support.fleets import wait_until
from tests.support.mosquitto import needs_mosquitto
from tests.teach.pictures import teach

TOPICS = Topics("test")
RIGHT = "x = 0.5\ny = 0.0\nw = 0.5\nh = 1.0"
CONFIG = f"""
[heads]
changing = ["default", "gate"]
waiting = ["default", "gate"]
drawn = ["default", "gate"]

[crops.changing.gate]
{RIGHT}
change = 0.1

[crops.waiting.gate]
{RIGHT}
interval_s = 86400.0

[crops.drawn.gate]
{RIGHT}
one_in = 3

[collect]
interval_s = 0.0
"""
EVERY = '\n[[images]]\ntopic = "cameras/{camera}/image"\ndelivery = "every"\n'

COLOURS = {"closed": (60, 5, 5), "open": (120, 200, 240)}
LOOKING = "images are looked at"
"""What an aggregator logs when its second connection is ready."""

pytestmark = needs_mosquitto


def gate(kind: str, seed: int) -> NDArray[np.uint8]:
    """A grey wall over a gate, which fills less than half: light that changes all is no change."""
    pixels = np.random.default_rng(seed).integers(110, 146, (32, 20, 3))
    pixels[20:] = COLOURS[kind] + pixels[20:] // 10
    return pixels.astype(np.uint8)


def png(pixels: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def scene(kind: str, seed: int) -> bytes:
    """A gate on the right, and on the left of it another colour with each seed."""
    left = np.empty((32, 20, 3), np.uint8)
    left[:] = np.random.default_rng(seed).integers(0, 256, 3)
    return png(np.concatenate([left, gate(kind, seed)], axis=1))


class Page:
    """What the live page hears of labels and of the collector, on a connection of its own."""

    def __init__(self, url: str, qos: int) -> None:
        self._qos = qos
        self.main: list[Label] = []
        self.gate: dict[str, list[Label]] = {}
        self.kept: dict[str, int] = {}
        self.collecting = False
        self.services: set[str] = set()
        self.transport = MqttTransport(BrokerConfig(url=url), client_id="page")
        hear: dict[str, Callable[[Message], None]] = {
            TOPICS.labels: self._on_label,
            TOPICS.head_labels: self._on_head_label,
            TOPICS.teach_state: self._on_kept,
            TOPICS.node_statuses: lambda message: self.services.add(message.topic),
            TOPICS.aggregator_status("+"): lambda message: self.services.add(message.topic),
        }
        for topic_filter, handler in hear.items():
            self.transport.subscribe(topic_filter, handler, qos=qos)
        self.transport.start(on_ready=lambda: None, on_refused=lambda _error: None)

    def show(self, camera: str, picture: bytes) -> None:
        """Publish a picture, and wait for the label of the head that looks at each."""
        before = len(self.main)
        self.transport.publish(f"cameras/{camera}/image", picture, qos=self._qos)
        wait_until(lambda: len(self.main) > before, 60)
        assert (self.main[-1].camera, self.main[-1].head) == (camera, "default")

    def said(self, camera: str) -> list[str]:
        """The labels of the head that looks sometimes."""
        labels = self.gate.get(camera, [])
        assert {label.head for label in labels} <= {"gate"}
        return [label.label for label in labels]

    def _on_label(self, message: Message) -> None:
        self.main.append(Label.decode(message.payload))

    def _on_head_label(self, message: Message) -> None:
        label = Label.decode(message.payload)
        self.gate.setdefault(label.camera, []).append(label)

    def _on_kept(self, message: Message) -> None:
        state = TeachState.decode(message.payload)
        self.collecting, self.kept = state.collecting, dict(state.cameras)


@pytest.fixture
def taught(tmp_path: Path) -> Bundle:
    """The demo's bundle with a head that tells a shut gate from an open one."""
    bundle = Bundle(Path(shutil.copytree(DEMO / "bundle", tmp_path / "taught/bundle")))
    for kind in COLOURS:
        folder = tmp_path / "photos" / kind
        folder.mkdir(parents=True)
        for hour in range(8):
            name = f"gate-{1_777_600_000 + 3600 * hour}.png"
            (folder / name).write_bytes(png(gate(kind, 1000 + hour)))
    assert teach(bundle, tmp_path / "photos", "--unknown", "0").exit_code == 0
    return bundle


class Fleet(FleetProcesses):
    """Four nodes of the demo's bundle, an aggregator with a head, and what collects pictures."""

    def __init__(self, folder: Path, config: str) -> None:
        super().__init__(folder, bundle=DEMO / "bundle", fleet="test")
        (folder / "fleet.toml").write_text(config)
        self.folder = folder
        self.pictures = folder / "pictures"

    def start_aggregator_of(self, taught: Bundle) -> None:
        """Start the aggregator, and wait until it decides what is looked at."""
        before = self.log("aggregator").count(LOOKING)
        self.start_aggregator(*self._config, "--bundle", str(taught.path))
        wait_until(lambda: self.log("aggregator").count(LOOKING) > before, 60)

    def start_all(self, taught: Bundle) -> None:
        """Start everything, the broker first."""
        self.start_broker("mosquitto")
        for part in range(4):
            self.start_node(part, *self._config)
        self.start_aggregator_of(taught)
        command = [*own_program("devit_iot.cli.devit"), "collect", "--fleet", "test"]
        where = ["--broker", self.url, "--collect-folder", str(self.pictures)]
        self._start("collector", [*command, *self._config, *where])

    @property
    def _config(self) -> tuple[str, str]:
        return "--config", str(self.folder / "fleet.toml")


@pytest.mark.parametrize("delivery", ["latest", "every"])
def test_what_is_looked_at_reaches_the_page_and_is_kept_once(
    tmp_path: Path, taught: Bundle, delivery: str
) -> None:
    every = delivery == "every"
    with (
        Fleet(tmp_path, CONFIG + EVERY * every) as fleet,
        watching(fleet, taught, int(every)) as page,
    ):
        order = ("open", "open", "open", "closed", "closed", "open")
        for seed, right in enumerate(order):
            page.show("changing", scene(right, seed))
            page.show("waiting", scene(right, 100 + seed))
        # The last picture changed, so its label comes after any that came for nothing.
        wait_until(lambda: len(page.said("changing")) >= 3, 60)
        assert page.said("changing") == ["open", "closed", "open"]
        wait_until(lambda: bool(page.said("waiting")), 60)

        drawn = 0
        while not page.said("drawn"):
            page.show("drawn", scene("closed", 200 + drawn))
            drawn += 1
            assert drawn < 100, "one in three is drawn, and none of a hundred was"
        assert set(page.said("drawn")) == {"closed"}

        # A new aggregator remembers no look, so it looks at the next picture.
        assert page.said("waiting") == ["open"]
        fleet.kill("aggregator")
        fleet.start_aggregator_of(taught)
        page.show("waiting", scene("closed", 300))
        wait_until(lambda: len(page.said("waiting")) >= 2, 60)
        assert page.said("waiting") == ["open", "closed"]

        # What an aggregator sent to be looked at is not kept again.
        shown = {"changing": len(order), "waiting": len(order) + 1, "drawn": drawn}
        wait_until(lambda: sum(page.kept.values()) >= sum(shown.values()), 60)
        assert page.kept == shown
        for name in ("aggregator", "collector", *(f"node-{part}" for part in range(4))):
            assert "Traceback" not in fleet.log(name)
    with closing(Album(fleet.pictures, Limits(200, 100, 2**29, 30, 64))) as album:
        assert album.counts() == shown
        assert {kept.label for kept in album.show("drawn", "gate", "recent", 0, 100)} != {""}


@contextmanager
def watching(fleet: Fleet, taught: Bundle, qos: int) -> Iterator[Page]:
    """Start the fleet, and look on from before its first image inside the block."""
    fleet.start_all(taught)
    page = Page(fleet.url, qos)
    try:
        wait_until(lambda: len(page.services) == 5 and page.collecting, 60)
        yield page
    finally:
        page.transport.stop()
