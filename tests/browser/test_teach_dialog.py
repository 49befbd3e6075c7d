"""The dialog for teaching for everybody, and with a collector that says what it must not."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from devit_iot.demo.processes import FleetProcesses
from tests.browser.collector import HOSTILE, collector, whole
from tests.browser.conftest import WAIT_MS, Opener, live
from tests.browser.teaching import open_dialog, say


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360])
def test_axe_finds_nothing_in_the_dialog(
    processes: FleetProcesses,
    opened: Opener,
    width: int,
    dark: bool,  # noqa: FBT001
) -> None:
    page = live(opened(processes.websocket_url, width=width, dark=dark))
    with collector(processes.url, whole):
        expect(page.locator("#collected .notice")).to_have_text(HOSTILE)
        open_dialog(page)
        expect(page.locator("#teach-shots .shot")).to_have_count(2)
        page.locator("#teach-fit").click()
        expect(page.locator("#teach-report .shot")).to_have_count(2)
        page.locator("#teach-shots .shot").first.click()
        page.locator("#teach-rectangle summary").click()
        violations = Axe().run(page).response["violations"]
        assert [(v["id"], [n["html"][:200] for n in v["nodes"]]) for v in violations] == []
        assert page.evaluate("document.getElementById('teach').scrollWidth") <= width
        assert page.locator("#teach img[src=x]").count() == 0
        expect(page.locator("#teach-classes .class").first).to_contain_text(HOSTILE)
        page.keyboard.press("Escape")
        expect(page.locator("#teach")).to_be_hidden()
    expect(page.locator("#collected")).to_be_hidden()


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (b"{", "No answer"),
        (b'{"id": "ID", "pictures": [{"id": 1}]}', "No answer"),
        (b'{"id": "ID", "pictures": 7}', "No answer"),
        (b'{"id": "ID", "classes": {"a\\u202eb": 1}}', "No answer"),
        (b'{"id": "ID", "error": "the disk is full"}', "the disk is full"),
    ],
)
def test_an_answer_that_is_not_as_documented_changes_nothing(
    processes: FleetProcesses, opened: Opener, said: bytes, words: str
) -> None:
    page = live(opened(processes.websocket_url))
    with collector(processes.url, lambda ask: said.replace(b"ID", ask.encode())):
        open_dialog(page)
        say_within(page, words)
        expect(page.locator("#teach-shots .shot")).to_have_count(0)
        if words == "No answer":
            expect(page.locator("#footnote")).to_contain_text("not shown")


def say_within(page: Page, words: str) -> None:
    """The page waits for an answer for twenty seconds."""
    expect(page.locator("#teach-status")).to_contain_text(words, timeout=2 * WAIT_MS)
    say(page, words)
