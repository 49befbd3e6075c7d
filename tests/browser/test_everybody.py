"""The page for everybody: contrast and roles by axe-core, the keyboard alone, small and dark."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from devit_iot.demo.processes import FleetProcesses
from devit_iot.protocol.status import AggregatorStatus
from tests.browser.conftest import TOPICS, Opener, live
from tests.browser.said import FINGERPRINT, label, node, say
from tests.support.fleets import image_file
from tests.support.mosquitto import Client


@pytest.fixture
def busy(writer: Client) -> Client:
    """Everything that the page can show: a degraded label, a dead board, one with a problem."""
    aggregator = AggregatorStatus(
        state="online", fingerprint=FINGERPRINT, parts=2, shard="0/1", parts_online=(0,)
    )
    writer.publish(TOPICS.aggregator_status(0), aggregator.encode(), retain=True)
    hot = node("pi-0", temperature_c=84.5, throttled=True, published=3, dropped=2)
    for status in (hot, node("pi-1", part=1, state="offline")):
        writer.publish(TOPICS.node_status(status.node), status.encode(), retain=True)
    return writer


def show(page: Page, writer: Client) -> None:
    """A whole label, then a degraded one, with pictures."""
    for index, parts in enumerate([(0, 1), (0,)]):
        identity = f"{index:032x}"
        writer.publish(f"cameras/door/image/{identity}", image_file(index))
        changes = {"request_id": identity, "parts_used": parts, "degraded": len(parts) < 2}
        say(writer, label("door", f"cat {index}", **changes), "door")
        expect(page.locator(".camera .label")).to_have_text(f"cat {index}")
    expect(page.locator(".camera .badge")).to_be_visible()
    expect(page.locator("#notices .notice")).to_have_count(1)
    expect(page.locator(".board .problem").first).to_contain_text("heat or a weak power supply")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360])
def test_axe_finds_nothing(
    processes: FleetProcesses,
    busy: Client,
    opened: Opener,
    width: int,
    dark: bool,  # noqa: FBT001
) -> None:
    page = live(opened(processes.websocket_url, width=width, dark=dark))
    show(page, busy)
    page.get_by_text("Other guesses").click()
    violations = Axe().run(page).response["violations"]
    assert [(v["id"], [n["html"][:200] for n in v["nodes"]]) for v in violations] == []
    page.evaluate("document.querySelector('.camera img').removeAttribute('alt')")
    assert [v["id"] for v in Axe().run(page).response["violations"]] == ["image-alt"]


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_axe_finds_nothing_in_the_help_and_the_login(opened: Opener, dark: bool) -> None:  # noqa: FBT001
    page = opened("ws://127.0.0.1:9/mqtt", dark=dark)
    expect(page.locator("#help")).to_be_visible()
    assert [v["id"] for v in Axe().run(page).response["violations"]] == []
    page.locator("#sign-in").click()
    expect(page.locator("#login")).to_be_visible()
    assert [v["id"] for v in Axe().run(page).response["violations"]] == []


def test_nothing_is_wider_than_the_screen(
    processes: FleetProcesses, busy: Client, opened: Opener
) -> None:
    page = live(opened(processes.websocket_url))
    show(page, busy)
    for width in (320, 360, 768, 1024, 1920):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") == width


def test_dark_and_light_follow_the_system(processes: FleetProcesses, opened: Opener) -> None:
    page = live(opened(processes.websocket_url))
    colour = "getComputedStyle(document.body).backgroundColor"
    assert page.evaluate(colour) == "rgb(243, 244, 247)"
    page.emulate_media(color_scheme="dark")
    assert page.evaluate(colour) == "rgb(13, 16, 22)"


def test_less_motion_is_less(processes: FleetProcesses, opened: Opener, busy: Client) -> None:
    seconds = "getComputedStyle(document.querySelector('.fill')).transitionDuration"
    for calm, duration in ((False, "0.2s"), (True, "0s")):
        page = live(opened(processes.websocket_url, calm=calm))
        show(page, busy)
        assert page.evaluate(seconds) == duration


def test_the_keyboard_reaches_and_works_everything(
    processes: FleetProcesses, busy: Client, opened: Opener
) -> None:
    page = live(opened(processes.websocket_url))
    show(page, busy)
    focused = "document.activeElement.textContent.trim() || document.activeElement.value"
    outlined = """() => [document.activeElement, document.activeElement.nextElementSibling]
      .some((element) => element && getComputedStyle(element).outlineStyle === "solid")"""
    stops = []
    for _ in range(4):
        page.keyboard.press("Tab")
        stops.append(page.evaluate(focused))
        assert page.evaluate(outlined), stops
    assert stops[:3] == ["Skip to the cameras", "Other guesses", "5"]
    assert "labels lack part 1" in stops[3]

    page.locator(".skip").focus()
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    page.keyboard.press("Tab")
    expect(page.locator(".others")).to_be_hidden()
    page.keyboard.press("Enter")
    expect(page.locator(".others")).to_be_visible()
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("radio", name="30 min")).to_be_checked()


def test_what_happens_is_said_once_and_politely(
    processes: FleetProcesses, busy: Client, opened: Opener
) -> None:
    page = live(opened(processes.websocket_url))
    spoken = page.locator("#announcer")
    assert spoken.get_attribute("aria-live") == "polite"
    show(page, busy)
    expect(spoken).to_have_text("labels lack part 1.")
    say(busy, node("pi-0", state="offline"), "pi-0")
    expect(spoken).to_have_text("pi-0 went offline.")
    expect(page.get_by_role("img", name="labels: degraded for")).to_be_visible()
    expect(page.get_by_role("img", name="pi-0: offline for")).to_be_visible()
    expect(page.get_by_role("img", name="The last 2 labels. Median: wait")).to_be_visible()
