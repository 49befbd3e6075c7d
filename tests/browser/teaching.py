"""A fleet of a tiny bundle that a person teaches, and what the page says of it."""

import itertools
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page, expect

from devit_iot.config.config import BrokerConfig
from devit_iot.demo.processes import FleetProcesses
from devit_iot.programs import own_program
from devit_iot.protocol.label import Label
from devit_iot.protocol.teaching import TeachState
from tests.browser.conftest import TOPICS
from tests.support.fleets import make_bundle, wait_until
from tests.support.mosquitto import Client
from tests.teach.pictures import picture

PARTS = 4
WAIT_S = 60.0
AGAIN_S = 5.0
CONFIG = """
[collect]
interval_s = 0
last = 60
least_certain = 10
"""


class TeachingFleet(FleetProcesses):
    """Four nodes of a random bundle, an aggregator, and the process that collects pictures."""

    def __init__(self, folder: Path) -> None:
        self.bundle = make_bundle(folder / "bundle", parts=PARTS)
        super().__init__(folder, bundle=self.bundle.path, fleet="test")
        self.folder = folder
        (folder / "collect.toml").write_text(CONFIG)

    def start_collector(self, *options: str) -> None:
        """Start the process that collects pictures."""
        command = [*own_program("devit_iot.cli.devit"), "collect", "--fleet", "test"]
        where = ["--broker", self.url, "--config", str(self.folder / "collect.toml")]
        folder = ["--collect-folder", str(self.folder / "pictures")]
        self._start("collector", [*command, *where, *folder, *options])

    def start_all(self, *settings: str, options: Sequence[str] = ()) -> None:
        """Everything, the broker first."""
        self.start_broker("mosquitto", *settings, websocket=True)
        for part in range(PARTS):
            self.start_node(part)
        self.start_aggregator()
        self.start_collector(*options)


class Camera:
    """Shows pictures of two kinds, and knows the label of each.

    Args:
        client: a connection to the broker that hears labels and the state of teaching.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._seeds = itertools.count()
        self.labels: dict[str, Label] = {}
        self.state = TeachState(collecting=False)

    def hear(self) -> None:
        """Take what the broker delivered."""
        while not self._client.inbox.empty():
            message = self._client.inbox.get()
            if message.topic == TOPICS.teach_state:
                self.state = TeachState.decode(message.payload)
            elif not message.is_deletion:
                label = Label.decode(message.payload)
                self.labels[label.request_id] = label

    def show(self, kind: str, camera: str = "door") -> Label:
        """Show pictures of a kind until the fleet labels one; what nobody hears is lost."""
        until = time.monotonic() + WAIT_S
        while True:
            request = f"{next(self._seeds):032x}"
            payload = picture(kind, int(request, 16))
            self._client.publish(f"cameras/{camera}/image/{request}", payload)
            again = time.monotonic() + AGAIN_S
            while time.monotonic() < again:
                self.hear()
                if request in self.labels:
                    return self.labels[request]
                time.sleep(0.01)
            assert time.monotonic() < until, "no label came"

    def kept(self, count: int, camera: str = "door") -> None:
        """Wait until so many pictures are kept."""

        def there() -> bool:
            self.hear()
            return self.state.cameras.get(camera, 0) >= count

        wait_until(there, WAIT_S)


@contextmanager
def camera_of(fleet: TeachingFleet) -> Iterator[Camera]:
    """A camera whose fleet is whole."""
    filters = (TOPICS.labels, TOPICS.teach_state)
    with Client(BrokerConfig(url=fleet.url), *filters, client_id="camera-door") as client:
        camera = Camera(client)

        def whole() -> bool:
            camera.hear()
            return camera.state.collecting

        wait_until(whole, WAIT_S)
        until = time.monotonic() + WAIT_S
        while len(camera.show("closed", "hall").parts_used) < PARTS:
            assert time.monotonic() < until
        yield camera


def open_dialog(page: Page, camera: str = "door") -> None:
    """Click where the page says that pictures of a camera are kept."""
    page.locator(f"#collected button[data-camera='{camera}']").click()
    expect(page.locator("#teach")).to_be_visible()


def say(page: Page, words: str) -> None:
    """Wait for the line that says what was done."""
    expect(page.locator("#teach-status")).to_contain_text(words)
