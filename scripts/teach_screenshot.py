"""Take the picture of the teaching dialog in docs/: a real fleet, a camera, two classes, a fit.

    make screenshots

Needs mosquitto, Chromium, Playwright and the extra `teach`.
"""

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from playwright.sync_api import Page, expect, sync_playwright
from screenshots import DEMO, FLEET, OUT, PARTS, served

from devit_iot.config.config import BrokerConfig
from devit_iot.datasets.source import Sample, read_image_folder
from devit_iot.demo.processes import FleetProcesses
from devit_iot.programs import own_program
from devit_iot.transport.mqtt import MqttTransport

CLASSES = {  # name -> classes of the demo's images
    "animal": ("bear", "camel", "cattle", "elephant", "fox", "lion", "otter", "rabbit", "wolf"),
    "vehicle": (
        *("bicycle", "bus", "motorcycle", "pickup_truck", "streetcar"),
        *("tank", "tractor", "train", "lawn_mower"),
    ),
}
SIZE = (1100, 1000)
WAIT_MS = 180_000
SHOW_MS = 700


class Fleet(FleetProcesses):
    """A fleet whose pictures are kept."""

    def start_collector(self, folder: Path) -> None:
        """Start the process that keeps pictures."""
        command = [*own_program("devit_iot.cli.devit"), "collect", "--fleet", FLEET]
        self._start("collector", [*command, "--broker", self.url, "--collect-folder", str(folder)])


def main() -> None:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        fleet = stack.enter_context(Fleet(folder, bundle=DEMO / "bundle", fleet=FLEET))
        fleet.start_broker("mosquitto", websocket=True)
        for part in range(PARTS):
            fleet.start_node(part)
        fleet.start_aggregator()
        fleet.start_collector(folder / "pictures")
        url = stack.enter_context(served(fleet.websocket_url))
        playwright = stack.enter_context(sync_playwright())
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        page = browser.new_page(viewport={"width": SIZE[0], "height": SIZE[1]})
        page.set_default_timeout(WAIT_MS)
        page.goto(url)
        take(page, stack.enter_context(sending(fleet.url)))
        browser.close()


def take(page: Page, camera: MqttTransport) -> None:
    """Show the pictures, mark them, fit, and take the picture."""
    expect(page.locator("#summary")).to_contain_text(f"{PARTS} of {PARTS}", timeout=WAIT_MS)
    expect(page.locator("#collected")).to_be_visible(timeout=WAIT_MS)
    samples = [chosen(names) for names in CLASSES.values()]
    for pictures in samples:
        for index, sample in enumerate(pictures):
            request = f"{index + 1:x}{sample.class_name.encode().hex()}".rjust(32, "0")
            camera.publish(f"cameras/road/image/{request}", sample.payload)
            page.wait_for_timeout(2 * SHOW_MS)
    page.locator("#collected button[data-camera=road]").click()
    page.locator("#teach-head").fill("vehicle")
    page.locator("#teach-head").press("Tab")
    page.wait_for_timeout(SHOW_MS)
    for name in CLASSES:
        page.locator("#teach-class").fill(name)
        page.locator("#teach-class").press("Enter")
    shots = page.locator("#teach-shots .shot")
    expect(shots).not_to_have_count(0, timeout=WAIT_MS)
    count = shots.count()
    newest = count - count // 2
    for first, last, key in ((0, newest - 1, "2"), (newest, count - 1, "1")):
        shots.nth(first).click()
        shots.nth(last).click(modifiers=["Shift"])
        page.keyboard.press(key)
        page.wait_for_timeout(SHOW_MS)
    page.locator("#teach-each").check()
    page.locator("#teach-fit").click()
    expect(page.locator("#teach-report .accuracy")).to_be_visible(timeout=WAIT_MS)
    shots.nth(2).click()
    page.locator("#teach").screenshot(path=OUT / "teach-page.png")


def chosen(classes: Sequence[str]) -> Sequence[Sample]:
    """The demo's images of these classes."""
    samples = read_image_folder(DEMO / "images.zip")
    return [sample for sample in samples if sample.class_name in classes]


@contextmanager
def sending(url: str) -> Iterator[MqttTransport]:
    transport = MqttTransport(BrokerConfig(url=url), client_id="camera-road")
    transport.start(on_ready=lambda: None, on_refused=lambda _error: None)
    try:
        yield transport
    finally:
        transport.stop()


if __name__ == "__main__":
    main()
