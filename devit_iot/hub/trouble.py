"""What stands against a release on its way: who failed, who is late. Pure: time is an argument."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import msgspec

from devit_iot.hub.known import READY, Known
from devit_iot.hub.limits import Limits
from devit_iot.protocol.release import Release, UpdateState


class Failed(msgspec.Struct, frozen=True):
    """A node that cannot serve a release, and is not asked again for it.

    Attributes:
        release: number of the release.
        part: part that the node was to run.
        said: on which node the part failed and why, in words that follow the part's number.
        replaced: whether another node was given the part.
    """

    release: int
    part: int
    said: str
    replaced: bool = False


class Course(NamedTuple):
    """A release on its way.

    Attributes:
        release: the release with its members.
        activate: whether members are to serve it now.
        canary: the only node that is asked for the time being; empty: all are.
        began: when this phase began, monotonic seconds.
        given: node -> when it was given its part, if that was later, monotonic seconds.
        failed: node -> how it failed this release.
    """

    release: Release
    activate: bool
    canary: str
    began: float
    given: Mapping[str, float]
    failed: Mapping[str, Failed]

    def asked(self, part: int) -> list[str]:
        """The nodes that are to prove a part in this phase."""
        holders = [node for node, held in self.release.members.items() if held == part]
        return [node for node in holders if self.canary in ("", node)]

    def since(self, node: str, moment: float) -> float:
        """The later one of a moment and of when the node's time began, monotonic seconds."""
        return max(moment, self.began, self.given.get(node, self.began))


def failures(
    course: Course, nodes: Mapping[str, Known], limits: Limits, now: float
) -> dict[str, Failed]:
    """Those who failed until now: node -> how.

    One that is late counts only if no node of its part is in time.
    """
    number = course.release.number
    failed = dict(course.failed)
    for node, part in course.release.members.items():
        known = nodes.get(node)
        if known is not None and (failure := known.failure_of(number)) and node not in failed:
            failed[node] = Failed(number, part, f"failed on {node}: {failure}")
    for part in range(course.release.parts):
        left = [node for node in course.asked(part) if node not in failed]
        late = {node: _lateness(course, node, nodes, limits, now) for node in left}
        if all(late.values()):
            for node, why in late.items():
                failed[node] = Failed(number, part, f"on {node}: {why}")
    return failed


def troubles(
    course: Course,
    nodes: Mapping[str, Known],
    aggregators: Mapping[str, Known],
    limits: Limits,
    now: float,
) -> Iterator[str]:
    """Say why the release cannot be had, once parts that failed were given to who can take them."""
    release = course.release
    for part in range(release.parts):
        asked = course.asked(part)
        failed = [course.failed[node] for node in asked if node in course.failed]
        if failed and len(failed) == len(asked):
            yield f"part {part} {failed[0].said}"
        elif not asked and not course.canary and now - course.began > limits.offer_s:
            yield f"part {part} has no node"
    yield from _too_many(course, limits)
    for shard, known in aggregators.items():
        if failure := known.failure_of(release.number):
            yield f"aggregator {shard} failed: {failure}"
    for shard, known in aggregators.items():
        late = _overdue(course, known, nodes, limits, known.changed, now)
        if known.online and late and not course.canary:
            yield f"aggregator {shard}: {late}"


def _too_many(course: Course, limits: Limits) -> Iterator[str]:
    """Say that more than the tolerated share of the nodes failed.

    A part that goes from one failing node to the next counts once. If it is all that failed, the
    release ends when nobody else can take it.
    """
    kept = [failed for failed in course.failed.values() if not failed.replaced]
    parts = {failed.part for failed in course.failed.values() if failed.replaced}
    count, of = len(kept) + len(parts), len(course.release.members)
    if count > limits.failure_share * of and (kept or len(parts) > 1):
        last = list(course.failed.values())[-1]
        yield f"{count} of {of} nodes failed, part {last.part} {last.said}"


def _lateness(
    course: Course, node: str, nodes: Mapping[str, Known], limits: Limits, now: float
) -> str:
    """Why a node is too late; empty if it is where it is wanted, or may still get there."""
    known = nodes.get(node)
    if known is None:
        away = now - course.since(node, course.began) > limits.offer_s
        return "it was never here" if away else ""
    if not known.online:
        return "it is away" if now - course.since(node, known.since) > limits.offer_s else ""
    return _overdue(course, known, nodes, limits, course.since(node, known.changed), now)


def _overdue(
    course: Course,
    known: Known,
    nodes: Mapping[str, Known],
    limits: Limits,
    since: float,
    now: float,
) -> str:
    """Why a member that is there is too late; empty: it is not."""
    wanted: frozenset[UpdateState] = frozenset({"ACTIVATED"}) if course.activate else READY
    state = known.state_of(course.release.number)
    since = max(since, course.began)
    if state == "DOWNLOADING":  # others may be served first
        since = max((since, *(other.changed for other in nodes.values())))
    limit_s = limits.of(state)
    if state in wanted or now - since <= limit_s:
        return ""
    if known.update is None:
        return "it has a bundle of its own: start it with --store"
    error = f" ({known.update.error})" if known.update.error else ""
    return f"no progress in state {state or 'CREATED'} for {limit_s:g} s{error}"
