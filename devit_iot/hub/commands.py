"""What a person asks of the hub, and what it answers: JSON over HTTP."""

from typing import Annotated

import msgspec

from devit_iot.hub.planned import PlannedParts
from devit_iot.protocol.head_message import MAX_HEADS
from devit_iot.protocol.release import Hex, ReleaseHead, Rollout, Sha256, UpdateStatus


class PushRequest(msgspec.Struct, frozen=True):
    """Go over to a bundle.

    Attributes:
        manifest: SHA-256 of the bundle's manifest.
        signature: signature of the manifest, in hex; empty: none.
        canary: node that proves the bundle first; empty: none.
        offer: whether it waits until somebody says that it is to be installed.
        heads: heads that lie beside the bundle.
    """

    manifest: Sha256
    signature: Hex = ""
    canary: str = ""
    offer: bool = False
    heads: Annotated[tuple[ReleaseHead, ...], msgspec.Meta(max_length=MAX_HEADS)] = ()


class SignRequest(msgspec.Struct, frozen=True):
    """What the owner allows from now on.

    Attributes:
        roots: every root of the fleet, the first one first, as TUF's JSON.
        targets: the bundles that may be installed, as TUF's JSON.
    """

    roots: tuple[str, ...]
    targets: str


class SignedView(msgspec.Struct, frozen=True):
    """What the hub has of the owner.

    Attributes:
        targets: what was signed last; empty: nothing was yet.
        kept: fingerprints of the bundles that are served, under way, or served before.
    """

    targets: str
    kept: tuple[str, ...]


class Done(msgspec.Struct, frozen=True):
    """A command was carried out.

    Attributes:
        said: what was done, in words.
        number: number of the release that the command is about; 0: none.
    """

    said: str
    number: int = 0


class MemberView(msgspec.Struct, frozen=True):
    """One node or aggregator.

    Attributes:
        online: whether the member says that it is online.
        part: part that it is to run in the release that is served; None: none.
        update: how far the member is; None: it has a bundle of its own.
    """

    online: bool
    part: int | None
    update: UpdateStatus | None


class Status(msgspec.Struct, frozen=True):
    """Where the fleet is.

    Attributes:
        rollout: what the hub wants.
        outcome: how the last push ended, or that it is under way.
        nodes: every node by its name.
        aggregators: every aggregator by its shard.
        plan: which node is to run which part, as the operator planned; None: the hub chooses.
    """

    rollout: Rollout
    outcome: str
    nodes: dict[str, MemberView]
    aggregators: dict[str, MemberView]
    plan: PlannedParts | None = None
