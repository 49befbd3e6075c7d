"""The dialog for teaching for everybody, and with a collector that says what it must not."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import msgspec
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from devit_iot.config.config import BrokerConfig
from devit_iot.datasets.thumbnail import thumbnail
from devit_iot.demo.processes import FleetProcesses
from devit_iot.protocol.teaching import (
    FittedClass,
    ShownPicture,
    TeachAnswer,
    TeachState,
    decode_ask,
)
from tests.browser.conftest import TOPICS, Opener, live
from tests.browser.teaching import open_dialog, say
from tests.support.fleets import image_file
from tests.support.mosquitto import Client

HOSTILE = "<img src=x onerror=alert(1)>"
SHOWN = tuple(
    ShownPicture(number, 1_777_600_000_000, "cat", 0.5, name, thumbnail(image_file(number)), "open")
    for number, name in ((2, HOSTILE), (1, ""))
)
FITTED = (FittedClass(HOSTILE, 3, 1.0), FittedClass("open", 2, 0.5))


def whole(ask: str) -> bytes:
    """Everything that an answer may have."""
    answer = TeachAnswer(
        ask,
        pictures=SHOWN,
        more=True,
        classes={HOSTILE: 3, "open": 2},
        accuracy=0.8,
        measured=5,
        unknown=0.6,
        fitted=FITTED,
        version="0" * 16,
    )
    return msgspec.json.encode(answer)


@contextmanager
def collector(url: str, answer: Callable[[str], bytes]) -> Iterator[None]:
    """Says that pictures are kept, and answers every ask in the same way."""
    with Client(BrokerConfig(url=url), TOPICS.teach_ask("+"), client_id="collector") as client:
        state = TeachState(
            collecting=True, cameras={"door": 2, HOSTILE: 1}, can_fit=False, problem=HOSTILE
        )
        client.publish(TOPICS.teach_state, state.encode(), retain=True)
        ended = threading.Event()

        def serve() -> None:
            while not ended.wait(0.02):
                while not client.inbox.empty():
                    message = client.inbox.get()
                    tab = message.topic.rpartition("/")[2]
                    ask = decode_ask(message.payload)
                    client.publish(TOPICS.teach_answer(tab), answer(ask.id))

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            client.publish(TOPICS.teach_state, b"", retain=True)


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
    expect(page.locator("#teach-status")).to_contain_text(words, timeout=60_000)
    say(page, words)
