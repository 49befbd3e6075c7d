"""The live page in a real browser, Debian's Chromium, driven by Playwright.

Without Chromium or mosquitto these tests are skipped; ``make test-browser`` installs both.
"""

import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Protocol

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Error, Page, expect, sync_playwright

from devit_iot.config.config import BrokerConfig
from devit_iot.dashboard.server import DashboardServer, PageFacts
from devit_iot.demo.processes import FleetProcesses
from devit_iot.protocol.topics import DEFAULT_IMAGE_FILTERS, Topics
from tests.e2e.conftest import DEMO
from tests.support.mosquitto import Client

CHROMIUM = shutil.which("chromium")
TOPICS = Topics("test")
WAIT_MS = 90_000
# What the browser itself says of a broker that is not there, and of a file whose header lies.
EXPECTED = ("WebSocket connection to", "ERR_CERT_AUTHORITY_INVALID")

expect.set_options(timeout=WAIT_MS)


class Opener(Protocol):
    """Opens a page in a browser window of its own: that of a broker, or the one with the facts."""

    def __call__(
        self,
        shown: str | PageFacts,
        *,
        width: int = 1280,
        height: int = 900,
        dark: bool = False,
        calm: bool = False,
        any_certificate: bool = False,
    ) -> Page:
        """With the window's size, the system's wishes, and whether certificates count."""


@contextmanager
def served(view: PageFacts) -> Iterator[str]:
    """The address of a page that is served meanwhile."""
    server = DashboardServer("127.0.0.1", 0, view)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield server.url
    finally:
        server.stop()
        thread.join()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("chromium is not on PATH: make test-browser installs it")
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=sandbox)
        yield browser
        browser.close()


@pytest.fixture
def opened(browser: Browser) -> Iterator[Opener]:
    """Windows that must not have shown an error in the console when the test ends."""
    problems: list[str] = []

    def on_console(message: ConsoleMessage) -> None:
        if message.type == "error" and not message.text.startswith(EXPECTED):
            problems.append(message.text)

    def on_error(error: Error) -> None:
        problems.append(str(error))

    with ExitStack() as stack:

        def open_page(
            shown: str | PageFacts,
            *,
            width: int = 1280,
            height: int = 900,
            dark: bool = False,
            calm: bool = False,
            any_certificate: bool = False,
        ) -> Page:
            if isinstance(shown, str):
                shown = PageFacts(TOPICS, DEFAULT_IMAGE_FILTERS, shown)
            url = stack.enter_context(served(shown))
            context = browser.new_context(
                viewport={"width": width, "height": height},
                color_scheme="dark" if dark else "light",
                reduced_motion="reduce" if calm else "no-preference",
                ignore_https_errors=any_certificate,
            )
            stack.callback(context.close)
            page = context.new_page()
            page.set_default_timeout(WAIT_MS)
            page.on("console", on_console)
            page.on("pageerror", on_error)
            page.goto(url)
            return page

        yield open_page
    assert problems == []


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FleetProcesses]:
    """A mosquitto with a WebSocket listener; a module's tests start what else they need."""
    if shutil.which("mosquitto") is None:
        pytest.skip("mosquitto is not on PATH: make test-browser installs it")
    folder = tmp_path_factory.mktemp("fleet")
    with FleetProcesses(folder, bundle=DEMO / "bundle", fleet="test") as processes:
        processes.start_broker("mosquitto", websocket=True)
        yield processes


@pytest.fixture
def writer(processes: FleetProcesses) -> Iterator[Client]:
    """Somebody at the broker who may write anything."""
    with Client(BrokerConfig(url=processes.url, queue=1000)) as client:
        yield client


def live(page: Page) -> Page:
    """Wait until the page is connected."""
    page.wait_for_selector("#connection[data-phase=live]")
    return page
