"""A conductor and the members that it leads, without a network."""

from typing import Any

import msgspec

from devit_iot.hub.conductor import Conductor
from devit_iot.hub.limits import Limits
from devit_iot.hub.state import HubState
from devit_iot.protocol.board import BoardProfile
from devit_iot.protocol.release import Release, Rollout, UpdateState, UpdateStatus
from tests.golden.make import LABEL

LIMITS = Limits(
    good_labels=2,
    failure_share=0.25,
    offer_s=10,
    download_s=20,
    install_s=30,
    activate_s=40,
    takeover_s=100,
)
ONE = Release(0, "1" * 16, "a" * 64, 100, 2)
TWO = Release(0, "2" * 16, "b" * 64, 100, 2)
EMPTY = HubState(Rollout("http://hub"))


class Fleet:
    """A conductor, and members that say what a test makes them say."""

    def __init__(self, state: HubState = EMPTY) -> None:
        self.now = 1000.0
        self.conductor = Conductor(state, LIMITS, self.now)

    @property
    def rollout(self) -> Rollout:
        return self.conductor.state.rollout

    @property
    def outcome(self) -> str:
        return self.conductor.state.outcome

    def join(self, *names: str, cores: int = 4) -> None:
        for name in names:
            board = BoardProfile(name, cores=cores, fma_gflops=10.0)
            self.conductor.known(self.conductor.nodes, name, self.now).see_state(
                self.now, online=True, board=board
            )
            self.say(name, "CREATED", 0)

    def online(self, name: str, *, online: bool = True) -> None:
        self.conductor.known(self.conductor.nodes, name, self.now).see_state(
            self.now, online=online
        )

    def aggregator(self, state: UpdateState | None, release: int = 0) -> None:
        kind = self.conductor.aggregators
        self.conductor.known(kind, "0", self.now).see_state(self.now, online=True)
        if state is not None:
            update = UpdateStatus(release=release, fingerprint="", state=state)
            self.conductor.see_update(kind, "0", update, self.now)

    def say(self, name: str, state: UpdateState, release: int, **more: Any) -> None:  # noqa: ANN401
        update = UpdateStatus(release=release, fingerprint="", state=state, **more)
        self.conductor.see_update(self.conductor.nodes, name, update, self.now)

    def tick(self, seconds: float = 0.0) -> None:
        self.now += seconds
        for known in self.conductor.nodes.values():
            known.see_state(self.now, online=known.online)  # they say it every few seconds
        for known in self.conductor.aggregators.values():
            known.see_state(self.now, online=known.online)
        self.conductor.tick(self.now)

    def push(self, release: Release, canary: str = "") -> int:
        number = self.conductor.push(release, canary, self.now)
        self.tick()
        return number

    def label(self, fingerprint: str, *, degraded: bool = False) -> None:
        replace = msgspec.structs.replace
        self.conductor.see_label(replace(LABEL, fingerprint=fingerprint, degraded=degraded))

    def restart(self) -> None:
        """The hub was killed; the members' messages are retained."""
        before = self.conductor
        self.conductor = Conductor(before.state, LIMITS, self.now)
        for name, known in before.nodes.items():
            self.online(name, online=known.online)
            if known.update is not None:
                self.conductor.see_update(self.conductor.nodes, name, known.update, self.now)


def whole_fleet(release: Release = ONE) -> Fleet:
    """Two nodes that serve release 1."""
    fleet = Fleet()
    fleet.join("a", "b")
    number = fleet.push(release)
    go_over(fleet, number, release)
    assert fleet.rollout.current is not None
    return fleet


def go_over(fleet: Fleet, number: int, release: Release) -> None:
    for state in ("INSTALLED", "ACTIVATED"):
        for name in ("a", "b"):
            fleet.say(name, state, number)
        fleet.tick()
    for _ in range(LIMITS.good_labels):
        fleet.label(release.fingerprint)
    fleet.tick()
