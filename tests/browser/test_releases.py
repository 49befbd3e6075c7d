"""The page shows releases: what is on its way, what each board serves, and what failed."""

import msgspec
import pytest
from playwright.sync_api import Page, expect

from devit_iot.demo.processes import FleetProcesses
from devit_iot.protocol.hub_status import HubStatus
from devit_iot.protocol.release import UpdateStatus
from tests.browser.conftest import TOPICS, Opener, live
from tests.browser.said import node, say
from tests.support.mosquitto import Client

HUB = HubStatus(
    state="online",
    installed_version="3",
    latest_version="4",
    in_progress=True,
    update_percentage=40,
)
UPDATE = UpdateStatus(
    release=4, fingerprint="1" * 16, state="DOWNLOADING", part=1, progress=0.25, serving=3
)


@pytest.fixture
def page(processes: FleetProcesses, opened: Opener) -> Page:
    return live(opened(processes.websocket_url))


def hub(writer: Client, **changed: object) -> None:
    status = msgspec.structs.replace(HUB, **changed)
    writer.publish(TOPICS.hub_status, status.encode(), retain=True)


def update(writer: Client, **changed: object) -> None:
    said = msgspec.structs.replace(UPDATE, **changed)
    writer.publish(TOPICS.node_update("pi-0"), said.encode(), retain=True)


def test_what_the_hub_does_stands_above_everything(page: Page, writer: Client) -> None:
    notices = page.locator("#notices")
    for changed, text in (
        ({}, "Release 4 is on its way: 40 %."),
        ({"paused": True}, "The hub is paused"),
        ({"in_progress": False, "update_percentage": None}, "Release 4 is offered."),
        ({"state": "offline"}, "The hub is away"),
    ):
        hub(writer, **changed)
        expect(notices).to_contain_text(text)
    hub(writer, latest_version="3", in_progress=False, update_percentage=None)
    expect(notices).not_to_contain_text("hub")
    expect(notices).not_to_contain_text("Release")


def test_a_board_says_what_it_serves_and_how_far_it_is(page: Page, writer: Client) -> None:
    say(writer, node("pi-0", replica="auto", replicas=2), "pi-0")
    update(writer)
    board = page.locator(".board")
    expect(board.locator(".role")).to_contain_text("one of 2 that share it")
    expect(board.locator(".release")).to_have_text("Serves release 3 · release 4 DOWNLOADING 25 %")
    update(writer, state="ACTIVATED", serving=4, trial=True)
    expect(board.locator(".release")).to_have_text("Serves release 4 on trial")
    update(writer, state="TERMINATED", error="the disk is full")
    expect(board.locator(".problem")).to_have_text("the disk is full")


def test_a_spare_is_called_so(page: Page, writer: Client) -> None:
    say(writer, node("pi-0", fingerprint="", parts=0, part=0), "pi-0")
    expect(page.locator(".board .role")).to_contain_text("Spare")


def test_rubbish_of_releases_is_counted(page: Page, writer: Client) -> None:
    writer.publish(TOPICS.hub_status, b"{", retain=True)
    writer.publish(TOPICS.node_update("pi-0"), b'{"state": "FINE"}', retain=True)
    expect(page.locator("#footnote")).to_contain_text("json 2")
