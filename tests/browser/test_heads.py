"""A camera's card has a line for each head: its state and since when, or its label."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from playwright.sync_api import Page, expect

from devit_iot.demo.processes import FleetProcesses
from devit_iot.protocol.steady_state import SteadyState
from tests.browser.conftest import TOPICS, Opener, live
from tests.browser.said import label, say
from tests.support.mosquitto import Client

HTML = "<img src=x onerror=\"document.title='owned'\">"


@pytest.fixture
def page(processes: FleetProcesses, opened: Opener) -> Page:
    return live(opened(processes.websocket_url, width=360, height=800))


def tell(writer: Client, camera: str, head: str, state: str, minutes: float = 3.5) -> None:
    since = datetime.now(UTC) - timedelta(minutes=minutes)
    said = SteadyState(camera, head, state, 1, since)
    writer.publish(TOPICS.state(camera, head), said.encode())


def tell_label(writer: Client, camera: str, head: str, text: str) -> None:
    said = msgspec.structs.replace(label(camera, text), head=head)
    writer.publish(TOPICS.head_label(camera, head), said.encode())


def test_each_head_has_a_line(page: Page, writer: Client) -> None:
    say(writer, label("yard", "fox"), "yard")
    lines = page.locator(".camera .heads li")
    expect(page.locator(".camera .label")).to_have_text("fox")
    expect(page.locator(".camera .heads")).to_be_hidden()
    tell_label(writer, "yard", "bird", "tit")
    tell(writer, "yard", "gate", "open")
    expect(lines).to_have_text(["birdtit50 %", "gateopenfor 3 min"])
    tell_label(writer, "yard", "gate", "closed")  # one image is no state
    tell(writer, "yard", "bird", "robin", minutes=0)
    expect(lines.first).to_contain_text("birdrobinfor")
    expect(lines.last).to_have_text("gateopenfor 3 min")
    writer.publish(TOPICS.state("yard", "gate"), b"")
    expect(lines.last).to_have_text("gateclosed50 %")
    writer.publish(TOPICS.head_label("yard", "gate"), b"")
    expect(lines).to_have_count(1)


def test_what_others_write_there_stays_text_and_bounded(page: Page, writer: Client) -> None:
    say(writer, label("yard"), "yard")
    tell(writer, "yard", "gate", HTML)
    shown = page.locator(".camera .heads .answer")
    expect(shown).to_have_text(HTML)
    assert shown.evaluate("element => element.childElementCount") == 0
    for number in range(40):
        tell(writer, "yard", f"head-{number}", "x")
    for wrong in (
        b"{}",
        b"[" * 5000,
        SteadyState("hall", "gate", "x", 0, datetime.now(UTC)).encode(),
    ):
        writer.publish(TOPICS.state("yard", "gate"), wrong)
    expect(page.locator("#footnote")).to_contain_text("camera 1")
    assert page.locator(".camera .heads li").count() == 16
    expect(shown.first).to_have_text(HTML)
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
