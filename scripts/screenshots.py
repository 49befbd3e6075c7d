"""Take the pictures of the live page in docs/: a real fleet, three cameras, a board that dies.

    make screenshots

Needs mosquitto, Chromium and Playwright. They are looked at before they are committed.
"""

import io
import itertools
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, Playwright, expect, sync_playwright

from devit_iot.camera.camera import Camera
from devit_iot.camera.source import CameraImage
from devit_iot.config.config import BrokerConfig
from devit_iot.dashboard.server import DashboardServer, PageFacts
from devit_iot.datasets.source import read_image_folder
from devit_iot.demo.processes import FleetProcesses
from devit_iot.protocol.topics import DEFAULT_IMAGE_FILTERS, Topics
from devit_iot.transport.mqtt import MqttTransport

ROOT = Path(__file__).resolve().parent.parent
DEMO = ROOT / "devit_iot" / "demo"
OUT = ROOT / "docs"
FLEET = "home"
PARTS = 4
CAMERAS = {  # name -> classes of the demo's images
    "garden": ("bee", "butterfly", "rabbit", "fox"),
    "road": ("bus", "bicycle", "motorcycle", "pickup_truck"),
    "shore": ("dolphin", "otter", "crab", "seal"),
    "stable": ("camel", "cattle", "elephant", "lion"),
}
RATE = 0.7
WARM_UP_MS = 40_000
DESK, PHONE = (1280, 1000), (390, 844)


def main() -> None:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        fleet = stack.enter_context(FleetProcesses(folder, bundle=DEMO / "bundle", fleet=FLEET))
        fleet.start_broker("mosquitto", websocket=True)
        for part in range(PARTS):
            fleet.start_node(part)
        fleet.start_aggregator()
        url = stack.enter_context(served(fleet.websocket_url))
        for name in CAMERAS:
            stack.enter_context(filming(fleet.url, name))
        take(stack.enter_context(sync_playwright()), url, fleet)


def take(playwright: Playwright, url: str, fleet: FleetProcesses) -> None:
    """Open all windows at first, so that each has a history to show."""
    browser = playwright.chromium.launch(
        executable_path=shutil.which("chromium"),
        args=["--no-sandbox"] if os.geteuid() == 0 else [],
    )

    def window(size: tuple[int, int], scheme: str) -> Page:
        page = browser.new_page(
            viewport={"width": size[0], "height": size[1]},
            color_scheme="dark" if scheme == "dark" else "light",
        )
        page.set_default_timeout(60_000)
        page.goto(url)
        return page

    light, dark, phone = window(DESK, "light"), window(DESK, "dark"), window(PHONE, "light")
    expect(light.locator("#summary")).to_contain_text(f"{PARTS} of {PARTS}", timeout=60_000)
    light.wait_for_timeout(WARM_UP_MS)
    save(light, "light")
    fleet.kill("node-1")
    expect(dark.locator(".notice.warn")).to_be_visible(timeout=60_000)
    dark.wait_for_timeout(12_000)
    save(dark, "degraded")
    save(light, "boards", "#boards")
    fleet.start_node(1)
    expect(phone.locator("#notices .notice")).to_have_count(0, timeout=60_000)
    phone.wait_for_timeout(8_000)
    save(phone, "phone")
    save(dark, "dark")
    browser.close()


def save(page: Page, name: str, section: str | None = None) -> None:
    """What the window shows, or one section: a PNG without transparency, optimised."""
    taken = page.locator(section).screenshot() if section else page.screenshot()
    taken_image = Image.open(io.BytesIO(taken)).convert("RGB")
    taken_image.save(OUT / f"dashboard-{name}.png", optimize=True)


@contextmanager
def served(websocket: str) -> Iterator[str]:
    server = DashboardServer(
        "127.0.0.1", 0, PageFacts(Topics(FLEET), DEFAULT_IMAGE_FILTERS, websocket)
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield server.url
    finally:
        server.stop()
        thread.join()


@contextmanager
def filming(url: str, name: str) -> Iterator[None]:
    samples = read_image_folder(DEMO / "images.zip")
    images = [CameraImage(s.name, s.payload) for s in samples if s.class_name in CAMERAS[name]]
    transport = MqttTransport(BrokerConfig(url=url), client_id=f"camera-{name}")
    topic = f"cameras/{name}/image/{{request}}"
    camera = Camera(itertools.cycle(images), transport, topic=topic, rate=RATE)
    thread = threading.Thread(target=camera.run)
    thread.start()
    try:
        yield
    finally:
        camera.stop()
        thread.join()


if __name__ == "__main__":
    main()
