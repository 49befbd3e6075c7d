"""What anybody at the broker can write: it stays text, it stays bounded, and the page goes on."""

import base64
import re
from collections import Counter

import pytest
from playwright.sync_api import Page, expect

from devit_iot.demo.processes import FleetProcesses
from devit_iot.protocol.status import AggregatorStatus
from tests.browser.conftest import TOPICS, Opener, live
from tests.browser.said import label, node, say
from tests.support.fleets import huge_jpeg, image_file, wait_until
from tests.support.mosquitto import Client

HTML = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
LONG = "W" * 1000


@pytest.fixture
def page(processes: FleetProcesses, opened: Opener) -> Page:
    return live(opened(processes.websocket_url, width=360, height=800))


def shown_count(page: Page, reason: str) -> int:
    """How often a message was refused for this reason, as the foot of the page says."""
    found = re.search(rf"{reason} (\d+)", page.locator("#footnote").inner_text())
    return int(found[1]) if found else 0


TEXTS = [
    HTML,
    "&lt;b&gt;",
    "{{7*7}}",
    "javascript:alert(1)",
    "قطة",
    "חתול",
    "猫",
    "a" + "\u0301" * 900,
]


def test_a_label_stays_text(page: Page, writer: Client) -> None:
    say(writer, label("door"), "door")
    page.get_by_text("Other guesses").click()
    for text in TEXTS:
        say(writer, label("door", text), "door")
        shown = page.locator(".camera .label")
        expect(shown).to_have_text(text)
        assert shown.evaluate("element => element.childElementCount") == 0
        expect(page.locator(".others li span").first).to_have_text(text)
        say(writer, node("pi-0", problem=text, engine=text), "pi-0")
        expect(page.locator(".board .problem")).to_have_text(text)
    assert page.title() == "test - devit-iot"
    pictures = page.locator("img:not(.rectangle-stage img)")
    assert pictures.count() == 2  # the logo and the picture
    assert page.evaluate("document.scripts.length") == 1


REFUSED = [
    (label("door", "safe\u202egnp.exe"), "text"),  # turns the writing direction round
    (label("door", "zero\u200bwidth"), "text"),
    (label("door", "two\nlines"), "text"),
    (label("door", "\x1b[31mred"), "text"),
    (label("door", "x" * 1001), "text"),
    (label("x" * 65), "camera"),
    (label("door", confidence=1.5), "json"),
    (label("door", parts_used=(2,)), "json"),
    (label("door", request_id="1"), "json"),
    (label("door", "x" * 70000), "too_large"),
]


def test_a_message_that_is_not_as_documented_is_counted_and_not_shown(
    page: Page, writer: Client
) -> None:
    counts = {reason: 0 for _, reason in REFUSED}
    for message, reason in REFUSED:
        say(writer, message, "door")
        counts[reason] += 1
        wait_until(lambda: {name: shown_count(page, name) for name in counts} == counts)
    expect(page.locator(".camera")).to_have_count(0)
    say(writer, label("door", "cat"), "door")
    expect(page.locator(".camera .label")).to_have_text("cat")


def test_what_is_no_message_is_counted(page: Page, writer: Client) -> None:
    for payload in (b"{", b"[]", b"null", b"\xff", b"{}", b'{"parts": 1e999}', b"[" * 60000):
        writer.publish(TOPICS.label("door"), payload)
        writer.publish(TOPICS.node_status("pi-0"), payload)
    writer.publish(TOPICS.node_status("pi;0"), node("pi-0").encode())
    wait_until(lambda: (shown_count(page, "json"), shown_count(page, "node")) == (14, 1))


def test_long_texts_do_not_widen_a_narrow_page(page: Page, writer: Client) -> None:
    name = "x" * 64
    say(writer, label(name, LONG), name)
    say(writer, node(name, problem=LONG, engine=LONG, machine=LONG, replica=LONG), name)
    expect(page.locator(".camera .label")).to_have_text(LONG)
    expect(page.locator(".board .problem")).to_have_text(LONG)
    page.get_by_text("Other guesses").click()
    widths = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert widths == [360, 360]
    assert page.locator(".camera .label").bounding_box()["height"] < 80  # type: ignore[index]


def test_cameras_and_boards_are_bounded(page: Page, writer: Client) -> None:
    for index in range(40):
        say(writer, label(f"camera-{index}"), f"camera-{index}")
    for index in range(140):
        say(writer, node(f"pi-{index}"), f"pi-{index}")
    expect(page.locator("#notices")).to_contain_text("Only the first 32 cameras are shown")
    expect(page.locator("#notices")).to_contain_text("Only the first 128 boards are shown")
    expect(page.locator(".camera")).to_have_count(32)
    expect(page.locator(".board")).to_have_count(128)


PICTURES = {
    "huge": (huge_jpeg(), "too_large"),
    "svg": (b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>", "unknown_codec"),
    "gif": (b"GIF89a" + bytes(100), "unknown_codec"),
    "html": (b"data:text/html;base64," + base64.b64encode(b"<script>alert(1)"), "unknown_codec"),
    "json": (b'{"image": 7}', "json"),
    "cut": (image_file(0)[:12], "damaged"),
}


def test_other_pictures_are_not_shown(page: Page, writer: Client) -> None:
    for name, (payload, _) in PICTURES.items():
        writer.publish(f"cameras/{name}/image", payload)
    for name in PICTURES:
        shown = page.locator(f".camera:has(h3[title='{name}'])")
        expect(shown.locator(".note")).to_contain_text("This picture is not shown")
        expect(shown.locator("img")).to_be_hidden()
    counts = Counter(reason for _, reason in PICTURES.values())
    wait_until(lambda: {name: shown_count(page, name) for name in counts} == counts)


def test_a_picture_that_does_not_decode_says_so(page: Page, writer: Client) -> None:
    writer.publish("cameras/door/image", image_file(0)[:40] + bytes(100))
    expect(page.locator(".camera .note")).to_have_text("This picture does not decode.")


def test_pictures_are_given_back(processes: FleetProcesses, writer: Client, opened: Opener) -> None:
    page = live(opened(processes.websocket_url))
    page.evaluate(
        """() => {
          window.urls = { made: 0, revoked: 0 };
          const { createObjectURL, revokeObjectURL } = URL;
          URL.createObjectURL = (blob) => (window.urls.made += 1, createObjectURL(blob));
          URL.revokeObjectURL = (url) => (window.urls.revoked += 1, revokeObjectURL(url));
        }"""
    )
    for index in range(5):
        identity = f"{index:032x}"
        writer.publish(f"cameras/door/image/{identity}", image_file(index))
        say(writer, label("door", str(index), request_id=identity), "door")
        expect(page.locator(".camera .label")).to_have_text(str(index))
        expect(page.locator(".camera img")).to_be_visible()
    assert page.evaluate("window.urls.made - window.urls.revoked") == 1
    assert page.evaluate("window.urls.made") == 5


def test_a_flood_leaves_the_page_at_work(page: Page, writer: Client) -> None:
    for index in range(300):
        writer.publish("cameras/door/image", image_file(index % 4))
        say(writer, label("door", f"label {index}"), "door")
    expect(page.locator(".camera .label")).to_have_text("label 299")
    expect(page.locator("#summary")).to_contain_text("300")


def test_a_last_will_does_not_wipe_the_figures(page: Page, writer: Client) -> None:
    alive = node("pi-0", published=1234, uptime_s=60.0)
    say(writer, alive, "pi-0")
    expect(page.locator(".board")).to_contain_text("Online")
    say(writer, node("pi-0", state="offline"), "pi-0")
    expect(page.locator(".board")).to_contain_text("Offline")
    expect(page.locator(".board .values")).to_contain_text("1\u2009234")


def test_another_bundle_is_named(page: Page, writer: Client) -> None:
    aggregator = AggregatorStatus(state="online", fingerprint="0" * 16, parts=2, shard="0/1")
    writer.publish(TOPICS.aggregator_status(0), aggregator.encode())
    say(writer, node("pi-0"), "pi-0")
    expect(page.locator("#notices .notice")).to_contain_text(
        "Another bundle than the aggregator's runs on pi-0"
    )
