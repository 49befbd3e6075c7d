"""Brokers that have no WebSocket listener, want a login, speak TLS, or deny a subscription."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from playwright.sync_api import Page, expect

from devit_iot.demo.processes import free_port
from devit_iot.fleet.folder import FleetFolder, FleetState
from devit_iot.protocol.topics import DEFAULT_IMAGE_FILTERS
from tests.browser.conftest import Opener, live
from tests.support.mosquitto import PASSWD, needs_mosquitto, running_mosquitto

GUIDE = (Path(__file__).parents[2] / "docs" / "dashboard.md").read_text()
USER, SECRET = "dashboard", "pass word é"

pytestmark = needs_mosquitto


class Door(NamedTuple):
    """A broker's listener for browsers."""

    port: int
    tls: bool = False

    @property
    def url(self) -> str:
        return f"{'wss' if self.tls else 'ws'}://localhost:{self.port}/mqtt"


@contextmanager
def closed_broker(folder: Path, door: Door) -> Iterator[None]:
    """A mosquitto that lets in who knows the password."""
    passwd = folder / "passwd"
    passwd.touch(mode=0o600)
    subprocess.run([str(PASSWD), "-b", str(passwd), USER, SECRET], check=True)
    config = folder / "mosquitto.conf"
    config.write_text(
        f"listener {free_port()} 127.0.0.1\n"  # 2.0.11 does not start with WebSockets alone
        f"listener {door.port} 127.0.0.1\nprotocol websockets\n"
        f"allow_anonymous false\npassword_file {passwd}\n"
    )
    with running_mosquitto(config, [door.port], folder / "log"):
        yield


def sign_in(page: Page, password: str) -> None:
    """With the keyboard, as the dialog leaves the focus."""
    page.wait_for_selector("#login[open]")
    expect(page.locator("#login-user")).to_be_focused()
    page.locator("#login-user").fill(USER)
    page.keyboard.press("Tab")
    page.keyboard.type(password)
    page.keyboard.press("Enter")


def test_without_a_listener_the_page_says_how_to_add_one(tmp_path: Path, opened: Opener) -> None:
    door = Door(free_port())
    page = opened(door.url)
    expect(page.locator("#help")).to_be_visible()
    expect(page.locator("#help")).to_contain_text(door.url)
    expect(page.locator("#help pre")).to_have_text(f"listener {door.port}\nprotocol websockets")
    expect(page.locator("#connection")).to_have_text("No connection")
    page.get_by_role("button", name="Try again now").click()
    with closed_broker(tmp_path, door):
        page.wait_for_selector("#login[open]")
        expect(page.locator("#help")).to_be_hidden()


def test_a_login_is_asked_for_kept_for_the_tab_and_forgotten(
    tmp_path: Path, opened: Opener
) -> None:
    door = Door(free_port())
    with closed_broker(tmp_path, door):
        page = opened(door.url)
        sign_in(page, "wrong")
        expect(page.locator("#login-error")).to_have_text(
            "The broker refused this name or password."
        )
        expect(page.locator("#login-password")).to_have_value("")
        sign_in(page, SECRET)
        expect(page.locator("#connection")).to_have_text(f"Live as {USER}")
        page.reload()
        expect(page.locator("#connection")).to_have_text(f"Live as {USER}")
        assert page.evaluate("[localStorage.length, document.cookie]") == [0, ""]
        page.get_by_role("button", name="Sign out").click()
        page.wait_for_selector("#login[open]")
        assert page.evaluate("sessionStorage.length") == 0


def test_a_lost_connection_comes_back(tmp_path: Path, opened: Opener) -> None:
    door = Door(free_port())
    with closed_broker(tmp_path, door):
        page = opened(door.url)
        sign_in(page, SECRET)
        live(page)
    expect(page.locator("#connection")).to_have_text("Connection lost, trying again")
    expect(page.locator("#help")).to_be_hidden()
    with closed_broker(tmp_path, door):
        expect(page.locator("#connection")).to_have_text(f"Live as {USER}")
    expect(page.locator(".events")).to_contain_text("connected again")


def test_the_guides_lines_open_a_secure_fleet_to_browsers(tmp_path: Path, opened: Opener) -> None:
    door = Door(free_port(), tls=True)
    broker = tmp_path / "fleet" / "broker"
    fleet = FleetState("test", ("localhost",), free_port(), DEFAULT_IMAGE_FILTERS, "", str(broker))
    FleetFolder.create(tmp_path / "fleet", fleet).add(USER, "dashboard")
    passwd = broker / "passwd"
    passwd.touch(mode=0o600)
    subprocess.run([str(PASSWD), "-b", str(passwd), USER, SECRET], check=True)
    (lines,) = [block for block in GUIDE.split("```") if "certfile" in block]
    config = broker / "mosquitto.conf"
    added = lines.replace("listener 9001", f"listener {door.port}")
    config.write_text(config.read_text() + added.replace("/etc/mosquitto", str(broker)))
    with running_mosquitto(config, [door.port, fleet.port], tmp_path / "log"):
        page = opened(door.url, any_certificate=True)
        sign_in(page, SECRET)
        expect(page.locator("#connection")).to_have_text(f"Live as {USER}")
        stranger = opened(door.url)  # who does not know the fleet's authority
        expect(stranger.locator("#help")).to_contain_text("untrusted certificate")
