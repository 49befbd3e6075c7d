"""How far a fleet is with its releases, as who looks on sees it."""

import msgspec
import pytest
from rich.console import Console

from devit_iot.cli.top_view import render
from devit_iot.monitor.overview import Overview
from devit_iot.monitor.releases import MAX_MEMBERS
from devit_iot.monitor.views import FleetView
from devit_iot.protocol.hub_status import HubStatus
from devit_iot.protocol.release import Release, Rollout, UpdateStatus
from devit_iot.protocol.topics import Topics
from devit_iot.transport.base import Message

TOPICS = Topics("home")
ONE = Release(1, "1" * 16, "a" * 64, 100, 2, members={"pi-0": 0, "pi-1": 1})
TWO = msgspec.structs.replace(ONE, number=2, fingerprint="2" * 16)
HUB = HubStatus(
    state="online",
    installed_version="1",
    latest_version="2",
    in_progress=True,
    update_percentage=40,
    release_summary="bundle 22; node pi-1 takes over part 1 from pi-9",
)
COMING = UpdateStatus(
    release=2, fingerprint="2" * 16, state="DOWNLOADING", part=0, progress=0.25, serving=1
)
FAILED = msgspec.structs.replace(COMING, state="TERMINATED", part=1, error="the disk is full")
WAITS = UpdateStatus(release=0, fingerprint="", state="CREATED")


def view(*more: tuple[str, bytes]) -> FleetView:
    overview = Overview(TOPICS, 0.0)
    for topic, payload in (
        (TOPICS.release, Rollout("http://hub", ONE, TWO).encode()),
        (TOPICS.hub_status, HUB.encode()),
        (TOPICS.node_update("pi-0"), COMING.encode()),
        (TOPICS.node_update("pi-1"), FAILED.encode()),
        (TOPICS.node_update("pi-2"), WAITS.encode()),
        (TOPICS.aggregator_update(0), COMING.encode()),
        *more,
    ):
        overview.take(Message(topic, payload, retained=True), 1.0)
    return overview.view(2.0)


def drawn(fleet: FleetView) -> str:
    console = Console(width=160, force_terminal=False)
    with console.capture() as capture:
        console.print(render(fleet, connected=True))
    return capture.get()


def test_parts_and_duties_come_from_the_hub() -> None:
    releases = view().releases
    assert (releases.current, releases.coming, releases.activate) == (1, 2, False)
    assert [(m.name, m.part, m.duty) for m in releases.members] == [
        ("pi-0", 0, "part"),
        ("pi-1", 1, "part"),
        ("pi-2", None, "spare"),
        ("aggregator 0", None, "fusion"),
    ]


def test_top_draws_state_progress_and_take_over() -> None:
    text = drawn(view())
    for fact in (
        "release 1, 2 coming, 40 %",
        "takes over part 1 from pi-9",
        "DOWNLOADING 25 %",
        "TERMINATED",
        "pi-1: the disk is full",
        "spare",
        "fusion",
    ):
        assert fact in text


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"state": "offline"}, "hub offline"),
        ({"paused": True}, "paused"),
        ({"release_summary": ""}, "nothing was pushed yet"),
    ],
)
def test_top_says_how_the_hub_fares(changed: dict[str, object], said: str) -> None:
    hub = msgspec.structs.replace(HUB, **changed)
    assert said in drawn(view((TOPICS.hub_status, hub.encode())))


def test_a_trial_and_a_canary_are_named() -> None:
    rollout = Rollout("http://hub", ONE, TWO, activate=True, canary="pi-1")
    trial = msgspec.structs.replace(COMING, state="ACTIVATED", serving=2, trial=True)
    text = drawn(
        view((TOPICS.release, rollout.encode()), (TOPICS.node_update("pi-0"), trial.encode()))
    )
    assert "2 on trial" in text
    assert "canary pi-1" in text
    assert "release 1, 2 on trial" in text


def test_a_fleet_without_a_hub_shows_no_releases() -> None:
    assert "release" not in drawn(Overview(TOPICS, 0.0).view(1.0))


def test_who_is_forgotten_is_shown_no_more() -> None:
    fleet = view((TOPICS.node_update("pi-1"), b""), (TOPICS.hub_status, b""))
    assert [m.name for m in fleet.releases.members] == ["pi-0", "pi-2", "aggregator 0"]
    assert fleet.releases.hub is None


@pytest.mark.parametrize(
    "topic",
    [TOPICS.release, TOPICS.hub_status, TOPICS.node_update("pi-0"), "devit/v1/other/x/y/update"],
)
def test_rubbish_is_counted_and_changes_nothing(topic: str) -> None:
    fleet = view((topic, b"{"))
    assert fleet.refused == 1
    assert fleet.releases == view().releases


def test_what_is_remembered_is_bounded() -> None:
    many = [(TOPICS.node_update(f"n{i}"), WAITS.encode()) for i in range(MAX_MEMBERS + 5)]
    assert len(view(*many).releases.members) == MAX_MEMBERS
