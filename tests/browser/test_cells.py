"""The page of an upper broker shows many cells as one fleet, and which are cut off."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from devit_iot.dashboard.server import PageFacts
from devit_iot.demo.processes import FleetProcesses
from devit_iot.protocol.cells import CellTopics
from devit_iot.protocol.status import AggregatorStatus
from tests.browser.conftest import Opener, live
from tests.browser.said import FINGERPRINT, label, node
from tests.support.mosquitto import Client

CELLS = {name: CellTopics("test", name) for name in ("hall", "yard")}


@pytest.fixture
def page(processes: FleetProcesses, opened: Opener) -> Page:
    return live(opened(PageFacts(CellTopics("test"), (), processes.websocket_url)))


def say_all(writer: Client, cell: str) -> None:
    topics = CELLS[cell]
    status = AggregatorStatus(
        state="online", fingerprint=FINGERPRINT, parts=2, shard="0/1", parts_online=(0, 1)
    )
    writer.publish(topics.connected, b"1", retain=True)
    writer.publish(topics.node_status("pi-0"), node("pi-0").encode(), retain=True)
    writer.publish(topics.aggregator_status(0), status.encode(), retain=True)
    writer.publish(topics.label("door"), label("door", f"cat of {cell}").encode(), retain=True)


@pytest.fixture(autouse=True)
def said(writer: Client) -> Iterator[None]:
    for cell in CELLS:
        say_all(writer, cell)
    yield
    for topics in CELLS.values():
        for topic in (
            *(topics.connected, topics.node_status("pi-0"), topics.aggregator_status(0)),
            topics.label("door"),
        ):
            writer.publish(topic, b"", retain=True)


def test_members_are_named_with_their_cell(page: Page) -> None:
    for cell in CELLS:
        camera = page.locator(f".camera:has(h3[title='{cell}/door'])")
        expect(camera.locator(".label")).to_have_text(f"cat of {cell}")
        expect(page.locator(f".board:has(h3[title='{cell}/pi-0'])")).to_contain_text("Online")
        expect(page.locator(f".board:has(h3[title='aggregator {cell}/0'])")).to_be_visible()
    expect(page.locator("#summary")).to_contain_text("2 of 2")
    expect(page.locator("#notices")).to_be_empty()


def test_a_cell_that_is_cut_off_is_shown_and_comes_back(page: Page, writer: Client) -> None:
    notices = page.locator("#notices")
    board = page.locator(".board:has(h3[title='hall/pi-0'])")
    expect(board).to_contain_text("Online")
    writer.publish(CELLS["hall"].connected, b"0", retain=True)
    expect(notices).to_contain_text("Cell hall is cut off")
    expect(board).to_contain_text("Cut off with its cell")
    expect(page.locator("#summary")).to_contain_text("0 of 2")  # no part is online in each cell
    expect(page.locator(".board:has(h3[title='yard/pi-0'])")).to_contain_text("Online")
    writer.publish(CELLS["hall"].connected, b"1", retain=True)
    expect(notices).to_be_empty()
    expect(board).to_contain_text("Online")
    expect(page.locator("#summary")).to_contain_text("2 of 2")


def test_statuses_that_come_after_the_cut_do_not_hide_it(page: Page, writer: Client) -> None:
    """A page that is opened meanwhile gets the retained ones in any order."""
    writer.publish(CELLS["hall"].connected, b"0", retain=True)
    expect(page.locator("#notices")).to_contain_text("Cell hall is cut off")
    status = node("pi-9").encode()
    writer.publish(CELLS["hall"].node_status("pi-9"), status)
    board = page.locator(".board:has(h3[title='hall/pi-9'])")
    expect(board).to_contain_text("Cut off with its cell")


def test_a_label_that_comes_again_counts_once_and_what_is_of_no_cell_is_counted(
    page: Page, writer: Client
) -> None:
    topics = CELLS["hall"]
    for _ in range(3):
        writer.publish(topics.label("door"), label("door", request_id="1" * 32).encode())
    writer.publish("cells/a b/connected", b"1")
    expect(page.locator("#footnote")).to_contain_text("topic 1")
    expect(page.locator("#summary")).to_contain_text("Labels in the last minute1")


def test_a_cell_that_is_forgotten_goes_with_its_members(page: Page, writer: Client) -> None:
    expect(page.locator(".board:has(h3[title='hall/pi-0'])")).to_be_visible()
    writer.publish(CELLS["hall"].connected, b"", retain=True)
    expect(page.locator(".board:has(h3[title='hall/pi-0'])")).to_have_count(0)
    expect(page.locator(".board:has(h3[title='yard/pi-0'])")).to_be_visible()
