"""Leads a fleet from one release to the next. Pure: time and what members say are arguments."""

from collections.abc import Callable, Collection, Sequence

import msgspec

from devit_iot.errors import DevitError
from devit_iot.hub.assignment import Nodes, assign
from devit_iot.hub.known import READY, Known
from devit_iot.hub.limits import Limits
from devit_iot.hub.planned import PlannedParts, seats, stand_ins
from devit_iot.hub.state import HubState
from devit_iot.hub.trouble import Course, Failed, failures, troubles
from devit_iot.protocol.label import Label
from devit_iot.protocol.release import Release, UpdateState, UpdateStatus

MAX_KNOWN = 4096

MAX_OUTCOME = 900
"""Characters of what is said about a release."""

MAX_AHEAD = 10**6
"""So far a member's release number may be ahead of a hub's that lost its files."""


class Conductor:
    """Decides; who calls it saves :attr:`state` and publishes its rollout when it changed.

    Args:
        state: as it was saved.
        limits: how long and how many.
        now: monotonic seconds.
        needs: MiB that each part of a release takes on its node.

    Attributes:
        nodes: by name; those that do not say how far they are have a bundle of their own.
        aggregators: by shard.
    """

    def __init__(
        self,
        state: HubState,
        limits: Limits,
        now: float,
        needs: Callable[[Release], Sequence[int]] = lambda release: (0,) * release.parts,
    ) -> None:
        self.state = state
        self.nodes: dict[str, Known] = {}
        self.aggregators: dict[str, Known] = {}
        self._limits = limits
        self._needs = needs
        self._began = now  # this phase of the rollout, here
        self._given: dict[str, float] = {}  # in this phase
        self._labels = 0

    def known(self, kind: dict[str, Known], name: str, now: float) -> Known:
        """What is known of a member, perhaps nothing yet."""
        if name not in kind and len(kind) >= MAX_KNOWN:
            del kind[min(kind, key=lambda other: kind[other].since)]
        return kind.setdefault(name, Known(now))

    def see_update(
        self, kind: dict[str, Known], name: str, update: UpdateStatus, now: float
    ) -> None:
        """A member said how far it is; numbers of an earlier hub are not used again.

        One that nobody can have counted up to is not believed: the next would not fit a message.
        """
        self.known(kind, name, now).see_update(update, now)
        highest = max(update.release, update.serving)
        if self.state.number < highest <= self.state.number + MAX_AHEAD:
            self._change(number=highest)

    def see_label(self, label: Label) -> None:
        """A label was published."""
        coming = self.state.rollout.next
        if coming is not None and label.fingerprint == coming.fingerprint and not label.degraded:
            self._labels += 1

    def offer(self, release: Release) -> int:
        """Let a bundle wait until somebody installs it; its number.

        Raises:
            DevitError: it is served already, or a push is under way.
        """
        self._check_free(release)
        number = self.state.number + 1
        self._change(number=number, offered=msgspec.structs.replace(release, number=number))
        return number

    def install(self, now: float) -> int:
        """Begin to go over to what is offered; its number.

        Raises:
            DevitError: nothing is, or see :meth:`push`.
        """
        if self.state.offered is None:
            raise DevitError("no release is offered: `devit fleet push --offer` does that")
        return self.push(self.state.offered, "", now, self.state.offered.number)

    def push(self, release: Release, canary: str, now: float, number: int = 0) -> int:
        """Begin to go over to a bundle; its number.

        Args:
            release: its number and members are not looked at.
            canary: the node that proves it before any other begins; empty: none.
            now: monotonic seconds.
            number: the number that it has already; 0: the next one.

        Raises:
            DevitError: another push is under way, it is served already, or there is no such node.
        """
        rollout = self.state.rollout
        self._check_free(release)
        if canary and canary not in self.nodes:
            raise DevitError(f"no node '{canary}' is known; `devit fleet status` lists them")
        number = number or self.state.number + 1
        members = rollout.current.members if rollout.current is not None else {}
        members = {node: part for node, part in members.items() if part < release.parts}
        coming = msgspec.structs.replace(release, number=number, members=members)
        if canary or self.state.plan is not None:
            coming = self._manned(coming, now)
        if canary and canary not in coming.members:
            raise DevitError(f"node '{canary}' has no part, so it cannot prove the release")
        self._begin(now, next=coming, activate=False, canary=canary)
        highest = max(number, self.state.number)
        self._change(
            number=highest, offered=None, outcome=f"release {number} is under way", failed={}
        )
        return number

    def roll_back(self, now: float) -> str:
        """End what is under way, or go back to the release before; what is done, in words.

        Raises:
            DevitError: there is nothing to go back to.
        """
        coming = self.state.rollout.next
        if coming is not None:
            self._abort("it was rolled back by hand", now)
            return f"release {coming.number} is taken back"
        previous = self.state.previous
        if previous is None:
            raise DevitError("there is no release before this one")
        number = self.push(previous, "", now)
        return f"release {number} is the bundle of release {previous.number}"

    def plan(self, planned: PlannedParts | None) -> None:
        """Give boards their parts by a plan from now on; None: by their strength again."""
        self._change(plan=planned)

    def pause(self, *, paused: bool) -> None:
        """Give out no files and decide nothing, or go on."""
        self._say(paused=paused)

    def tick(self, now: float) -> None:
        """Decide what is to be decided."""
        for known in (*self.nodes.values(), *self.aggregators.values()):
            known.expire(now)
        rollout = self.state.rollout
        if rollout.paused:
            self._began = now
            return
        current, coming = rollout.current, rollout.next
        if current is not None:
            manned = self._manned(current, now)
            self._note_moves(current, manned)
            self._say(current=manned)
        if coming is not None:
            self._change(failed=failures(self._course(coming), self.nodes, self._limits, now))
            manned = self._manned(coming, now)
            self._note_given(coming, manned, now)
            self._say(next=manned)
            self._judge(manned, now)

    def _note_moves(self, before: Release, after: Release) -> None:
        """Say which part went from a node that is gone to another one."""
        for node in after.members.keys() - before.members.keys():
            part = after.members[node]
            held = [n for n, p in before.members.items() if p == part and n not in after.members]
            why = f"node {node} takes over part {part}"
            self._change(outcome=f"{why} from {held[0]}" if held else f"{why} too")

    def _note_given(self, before: Release, after: Release, now: float) -> None:
        """Begin the time of those who were given a part, and say from whom they take it."""
        for node, part in after.members.items() - before.members.items():
            self._given[node] = now
            losers = {
                name: msgspec.structs.replace(failed, replaced=True)
                for name, failed in self._failed(after).items()
                if failed.part == part and not failed.replaced
            }
            if losers:
                said = next(iter(losers.values())).said
                self._change(
                    failed=self.state.failed | losers,
                    outcome=f"release {after.number} is under way: part {part} {said}; "
                    f"{node} takes it"[:MAX_OUTCOME],
                )

    def _failed(self, release: Release) -> dict[str, Failed]:
        return {n: f for n, f in self.state.failed.items() if f.release == release.number}

    def _course(self, coming: Release) -> Course:
        rollout = self.state.rollout
        return Course(
            coming, rollout.activate, rollout.canary, self._began, self._given, self._failed(coming)
        )

    def _judge(self, coming: Release, now: float) -> None:
        found = troubles(self._course(coming), self.nodes, self.aggregators, self._limits, now)
        trouble = next(found, "")
        if trouble:
            self._abort(trouble, now)
        elif self.state.rollout.activate:
            if self._labels >= self._limits.good_labels and self._all(coming, {"ACTIVATED"}, now):
                self._settle(coming)
        elif self.state.rollout.canary:
            known = self.nodes.get(self.state.rollout.canary)
            if known is not None and known.state_of(coming.number) in READY:
                self._begin(now, canary="")
        elif self._all(coming, READY, now):
            self._begin(now, activate=True)

    def _all(
        self, coming: Release, states: frozenset[UpdateState] | set[UpdateState], now: float
    ) -> bool:
        """Whether a node of each part, and all aggregators, are so far.

        An aggregator that was just killed comes back, and must know the bundle of the features that
        wait for it: it is not waited for when it is away for long.
        """
        ready = {
            part
            for node, part in coming.members.items()
            if (known := self.nodes.get(node)) is not None
            and known.online
            and known.state_of(coming.number) in states
        }
        return ready == set(range(coming.parts)) and all(
            known.state_of(coming.number) in states
            for known in self.aggregators.values()
            if known.online
            or (known.update is not None and not known.is_gone(now, self._limits.offer_s))
        )

    def _manned(self, release: Release, now: float) -> Release:
        """The release with a node for each part, as far as there are any."""
        away_s = self._limits.takeover_s
        gone = {node for node, known in self.nodes.items() if known.is_gone(now, away_s)}
        unknown = release.members.keys() - self.nodes.keys()
        if now - self._began > away_s:
            gone |= unknown
        needs = self._needs(release)
        rollout = self.state.rollout
        failed = self._failed(release)
        if not rollout.canary:  # nobody stands in for a canary
            gone |= failed.keys()
        pinned = {
            node: known.pinned
            for node, known in self.nodes.items()
            if known.pinned is not None and (known.online or node in release.members)
        }
        out = gone | pinned.keys()
        planned = seats(self.state.plan, release, self.nodes, out, away_s, now)
        is_served = rollout.wanted is not None and rollout.wanted.number == release.number
        stay = {*pinned, rollout.canary}
        leaving = stand_ins(planned, release, self.nodes, is_served=is_served) - stay

        def fits(node: str, part: int) -> bool:
            known = self.nodes.get(node)
            board = known.board if known is not None else None
            return board is None or needs[part] <= board.memory_mib - board.overhead_mib

        nodes = Nodes(
            self._spares(release, failed),
            gone,
            {n for n, known in self.nodes.items() if not known.is_steady(now, away_s)},
            planned | pinned,
            fits,
            {node: _power(known) for node, known in self.nodes.items()},
        )
        before = {node: part for node, part in release.members.items() if node not in leaving}
        replicas = self._limits.replicas and not planned  # a plan says who shares a part
        members = assign(release.parts, before, nodes, needs=needs, replicas=replicas)
        return msgspec.structs.replace(release, members=members)

    def _spares(self, release: Release, failed: Collection[str]) -> list[str]:
        """Nodes that could take a part, the strongest first."""
        spare = [
            name
            for name, known in self.nodes.items()
            if known.online
            and known.update is not None
            and name not in release.members
            and name not in failed
            and not known.failure_of(release.number)
        ]
        return sorted(spare, key=lambda name: (-_power(self.nodes[name]), name))

    def _abort(self, why: str, now: float) -> None:
        coming = self.state.rollout.next
        number = coming.number if coming is not None else 0
        self._begin(now, next=None, activate=False, canary="")
        self._change(outcome=f"release {number} was ended: {why}"[:MAX_OUTCOME], failed={})

    def _settle(self, coming: Release) -> None:
        self._change(
            previous=self.state.rollout.current or self.state.previous,
            outcome=f"release {coming.number} is good",
        )
        self._say(current=coming, next=None, activate=False, canary="")

    def _check_free(self, release: Release) -> None:
        coming, current = self.state.rollout.next, self.state.rollout.current
        if coming is not None:
            raise DevitError(
                f"release {coming.number} is under way: wait until it is good, or take it back "
                "with `devit fleet rollback`"
            )
        if current is not None and current.fingerprint == release.fingerprint:
            raise DevitError(f"bundle {release.fingerprint} is what the fleet serves already")

    def _begin(self, now: float, **changes: object) -> None:
        """Begin another phase: its time-outs count from now."""
        self._began = now
        self._given = {}
        self._labels = 0
        self._say(**changes)

    def _say(self, **changes: object) -> None:
        self._change(rollout=msgspec.structs.replace(self.state.rollout, **changes))

    def _change(self, **changes: object) -> None:
        self.state = msgspec.structs.replace(self.state, **changes)


def _power(known: Known) -> float:
    """How strong a node's board is, by what it announced."""
    return known.board.cores * known.board.fma_gflops if known.board is not None else 0.0
