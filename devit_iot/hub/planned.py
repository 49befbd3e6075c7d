"""Which board the plan gives which part. Pure: what is known of the nodes is an argument."""

from collections.abc import Collection, Mapping
from typing import Annotated

import msgspec

from devit_iot.errors import DevitError
from devit_iot.hub.known import Known
from devit_iot.protocol.json_message import PartCount
from devit_iot.protocol.release import Release

MAX_PLANNED = 4096
"""Boards of a plan."""


class PlannedParts(msgspec.Struct, frozen=True):
    """What ``devit fleet plan`` tells the hub.

    Attributes:
        parts: number of parts of the bundle that is planned.
        members: name of a node -> the part that it is to run.
        fingerprint: the bundle's fingerprint; empty: the plan counts for every bundle of as many
            parts.
    """

    parts: PartCount
    members: Annotated[dict[str, PartCount], msgspec.Meta(min_length=1, max_length=MAX_PLANNED)]
    fingerprint: Annotated[str, msgspec.Meta(pattern="^([0-9a-f]{16})?$")] = ""

    def check(self) -> None:
        """Check that each part has a board.

        Raises:
            DevitError: one has none, or a board has a part that there is not.
        """
        if set(self.members.values()) != set(range(self.parts)):
            raise DevitError(f"the plan does not give each of its {self.parts} parts a board")

    def suits(self, release: Release) -> bool:
        """Whether the plan is about the bundle of a release."""
        return release.parts == self.parts and self.fingerprint in ("", release.fingerprint)


def seats(
    plan: PlannedParts | None,
    release: Release,
    nodes: Mapping[str, Known],
    out: Collection[str],
    steady_s: float,
    now: float,
) -> dict[str, int]:
    """Who can have the part that the plan gives it: node -> part.

    A node that was away gets its part back when it has been there for a while, as a spare would.

    Args:
        plan: plan of the operator; None: there is none.
        release: the release with its members.
        nodes: what is known of each.
        out: nodes that are gone, or failed the release.
        steady_s: how long a node must be there that was away.
        now: monotonic seconds.
    """
    if plan is None or not plan.suits(release):
        return {}
    return {
        node: part
        for node, part in plan.members.items()
        if node not in out
        and (known := nodes.get(node)) is not None
        and known.update is not None
        and (release.members.get(node) == part or known.is_steady(now, steady_s))
    }


def stand_ins(
    seated: Mapping[str, int],
    release: Release,
    nodes: Mapping[str, Known],
    *,
    is_served: bool,
) -> set[str]:
    """Nodes that leave a part to who is planned for it: at once, or when that one serves it too.

    Args:
        seated: what :func:`seats` said.
        release: the release with its members.
        nodes: what is known of each.
        is_served: whether labels rest on the release already.
    """
    settled = {
        part
        for node, part in seated.items()
        if not is_served or nodes[node].serves(release.number, part)
    }
    return {
        node for node, part in release.members.items() if part in settled and node not in seated
    }
