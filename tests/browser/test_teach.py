"""From a camera's first pictures to a head that answers, in a browser; and back again."""

import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from devit_iot.fleet.access import access_list, members, mosquitto_acl
from devit_iot.protocol.topics import DEFAULT_IMAGE_FILTERS
from tests.browser.conftest import Opener, live
from tests.browser.teaching import Camera, TeachingFleet, camera_of, open_dialog, say
from tests.support.fleets import wait_until
from tests.support.mosquitto import PASSWD

KINDS = ("closed", "open")
EACH = 10
LIVE_MS = 180_000

pytestmark = pytest.mark.skipif(
    shutil.which("mosquitto") is None, reason="mosquitto is not on PATH: install it to test"
)


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[TeachingFleet]:
    with TeachingFleet(tmp_path) as fleet:
        fleet.start_all()
        yield fleet
        for name in ("aggregator", "collector"):
            log = fleet.log(name)
            print(f"--- {name}\n{log[-3000:]}")  # noqa: T201 - shown if the test fails
            assert "Traceback" not in log


def show_both(camera: Camera, first: int = 0) -> None:
    """Ten pictures of each class, those of one class after those of the other."""
    for kind in KINDS:
        for _ in range(EACH):
            camera.show(kind)
    camera.kept(first + 2 * EACH)


def mark_both(page: Page) -> None:
    """The latest ten are open, by keys; the ten before are closed, by clicks."""
    expect(page.locator("#teach .shot")).to_have_count(2 * EACH)
    for name in KINDS:
        page.locator("#teach-class").fill(name)
        page.locator("#teach-class").press("Enter")
    shots = page.locator("#teach-shots .shot")
    shots.nth(0).focus()
    page.keyboard.press("Space")
    shots.nth(EACH - 1).click(modifiers=["Shift"])
    expect(page.locator("#teach-count")).to_have_text("10 of 20 chosen")
    page.keyboard.press("2")
    expect(page.locator("#teach-classes [data-name=open] .figure")).to_have_text("10")
    for index in range(EACH, 2 * EACH):
        shots.nth(index).click()
    page.locator("#teach-classes [data-name=closed]").click()
    expect(page.locator("#teach-classes [data-name=closed] .figure")).to_have_text("10")
    expect(page.locator("#teach-shots .shot .mark:text-is('open')")).to_have_count(EACH)


def fit(page: Page) -> None:
    page.locator("#teach-each").check()
    page.locator("#teach-fit").click()
    expect(page.locator("#teach-report .accuracy")).to_contain_text(
        "right of 20 pictures", timeout=LIVE_MS
    )


def put_live(page: Page) -> None:
    page.locator("#teach-live").click()
    expect(page.locator("#teach-status")).to_contain_text("Live: version", timeout=LIVE_MS)


def check_taught(camera: Camera) -> None:
    for kind in (*KINDS, *KINDS):
        label = camera.show(kind)
        assert (label.head, label.label) == ("gate", kind)


def test_from_the_first_picture_to_a_live_head_and_back(
    fleet: TeachingFleet, opened: Opener
) -> None:
    page = live(opened(fleet.websocket_url, width=390, height=844))
    with camera_of(fleet) as camera:
        show_both(camera)
        expect(page.locator("#collected")).to_contain_text("Pictures are kept on the hub")
        open_dialog(page)
        wide = page.evaluate("document.getElementById('teach').scrollWidth")
        assert wide <= 390
        mark_both(page)
        begin = time.monotonic()
        fit(page)
        fitted = time.monotonic()
        put_live(page)
        done = time.monotonic()
        print(f"fit {fitted - begin:.2f} s, live {done - begin:.2f} s")  # noqa: T201 - measured
        check_taught(camera)
        assert camera.show("closed", "hall").head == "default"
        first = camera.show("open").head_version

        page.locator("#teach-order").select_option("marked")
        expect(page.locator("#teach-shots .shot")).to_have_count(2 * EACH)
        page.locator("#teach-shots .shot").nth(0).click()
        page.keyboard.press("0")
        expect(page.locator("#teach-classes [data-name=open] .figure")).to_have_text("9")
        page.locator("#teach-fit").click()
        expect(page.locator("#teach-report .accuracy")).to_contain_text("right of 19 pictures")
        put_live(page)
        assert camera.show("open").head_version != first
        page.locator("#teach-undo").click()
        say(page, "answers again")
        assert camera.show("open").head_version == first


def test_an_aggregator_that_is_killed_goes_on_with_a_whole_head(
    fleet: TeachingFleet, opened: Opener
) -> None:
    page = live(opened(fleet.websocket_url))
    with camera_of(fleet) as camera:
        show_both(camera)
        open_dialog(page)
        mark_both(page)
        fit(page)
        fleet.kill("aggregator")
        page.locator("#teach-live").click()
        expect(page.locator("#teach-status")).to_contain_text(
            "It gets this head when it comes", timeout=LIVE_MS
        )
        fleet.start_aggregator()
        wait_until(lambda: camera.show("open").head == "gate", 60)
        check_taught(camera)
        for moment in range(4):  # while the same head comes again, and the one before
            page.locator("#teach-undo" if moment % 2 == 0 else "#teach-live").click()
            page.wait_for_timeout(300 * moment)
            fleet.kill("aggregator")
            fleet.start_aggregator()
            assert camera.show("open").label != ""
        expect(page.locator("#teach[aria-busy=true]")).to_have_count(0, timeout=LIVE_MS)
        put_live(page)
        check_taught(camera)


def test_what_cannot_be_fitted_is_said(fleet: TeachingFleet, opened: Opener) -> None:
    page = live(opened(fleet.websocket_url))
    with camera_of(fleet) as camera:
        camera.show("closed")
        camera.show("closed")
        camera.kept(2)
        open_dialog(page)
        page.locator("#teach-fit").click()
        say(page, "no picture has a class of head 'gate'")
        page.locator("#teach-class").fill("closed")
        page.locator("#teach-class").press("Enter")
        page.locator("#teach-all").click()
        page.locator("#teach-classes [data-name=closed]").click()
        expect(page.locator("#teach-classes [data-name=closed] .figure")).to_have_text("2")
        page.locator("#teach-fit").click()
        say(page, "mark some of another class too")
        page.locator("#teach-head").fill("default")
        page.locator("#teach-fit").click()
        say(page, "not default")
        expect(page.locator("#teach-live")).to_be_disabled()


def test_a_viewer_cannot_teach(tmp_path: Path, opened: Opener) -> None:
    """A dashboard reads that pictures are kept; what it asks for goes nowhere."""
    users = members([f"node-{part}" for part in range(4)])
    acl = tmp_path / "acl"
    acl.write_text(mosquitto_acl(access_list("test", users, DEFAULT_IMAGE_FILTERS)))
    acl.chmod(0o600)
    passwd = tmp_path / "passwd"
    passwd.touch(mode=0o600)
    for user in users:
        subprocess.run([str(PASSWD), "-b", str(passwd), user, "secret"], check=True)
    lines = (f"password_file {passwd}", f"acl_file {acl}", "allow_anonymous false")
    secret = tmp_path / "secret"
    secret.write_text("secret")
    with TeachingFleet(tmp_path) as fleet:
        fleet.start_broker("mosquitto", *lines, "user root", websocket=True)
        fleet.start_collector("--username", "collector", "--password-file", str(secret))
        for user, allowed in (("dashboard", False), ("teacher", True)):
            page = opened(fleet.websocket_url)
            page.wait_for_selector("#login[open]")
            page.locator("#login-user").fill(user)
            page.locator("#login-password").fill("secret")
            page.keyboard.press("Enter")
            live(page)
            expect(page.locator("#collected")).to_be_visible(timeout=LIVE_MS)
            page.evaluate("document.getElementById('teach').showModal()")
            page.locator("#teach-refresh").click()
            expect(page.locator("#teach-status")).to_contain_text(
                "No picture yet" if allowed else "this user may not teach",
                timeout=LIVE_MS,
            )
            page.close()
