"""How a fleet goes over to another bundle: what the hub says, and what each member answers.

Normative: docs/protocol.md, section 13.
"""

from typing import Annotated, Literal

import msgspec

from devit_iot.protocol.json_message import JsonMessage, PartCount

UpdateState = Literal[
    "CREATED",
    "DOWNLOADING",
    "DOWNLOADED",
    "INSTALLING",
    "INSTALLED",
    "ACTIVATING",
    "ACTIVATED",
    "TERMINATED",
]
"""The states of one member on its way to a release, in their order; any may end ``TERMINATED``."""

Hex = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]*$", max_length=128)]
Fingerprint = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{16}$")]
Sha256 = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
Count = Annotated[int, msgspec.Meta(ge=0)]


class ReleaseHead(msgspec.Struct, frozen=True):
    """A head that comes with a release, for aggregators.

    Attributes:
        name: name of the head.
        manifest: SHA-256 of its head.json, which names the other file.
        manifest_size: bytes of head.json.
        signature: content of head.sig in hex; empty if it is not signed.
    """

    name: Annotated[str, msgspec.Meta(pattern="^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]
    manifest: Sha256
    manifest_size: Count
    signature: Hex = ""


class Release(msgspec.Struct, frozen=True):
    """One bundle under the number that the hub gave it.

    Attributes:
        number: counts the pushes; a later one is larger.
        fingerprint: fingerprint of the bundle, 16 hex digits.
        manifest: SHA-256 of the bundle's manifest.
        manifest_size: bytes of the manifest.
        parts: how many parts the bundle has.
        signature: signature of the manifest, 128 hex digits; empty if it is not signed.
        members: name of a node -> the part that it is to run.
        heads: heads that come with the bundle.
    """

    number: Count
    fingerprint: Fingerprint
    manifest: Sha256
    manifest_size: Count
    parts: PartCount
    signature: Hex = ""
    members: dict[str, PartCount] = {}
    heads: tuple[ReleaseHead, ...] = ()


class Rollout(JsonMessage, frozen=True):
    """What the fleet serves and what it goes over to, as the hub's retained message.

    Attributes:
        url: where files are: ``<url>/files/<sha256>``.
        current: what is served; None before the first release is good.
        next: what is installed beside it, or on trial; None if nothing is under way.
        activate: whether members serve ``next`` now.
        canary: the only node that may install ``next`` for the time being; empty: all may.
        paused: whether the hub gives out no files and decides nothing.
    """

    url: str
    current: Release | None = None
    next: Release | None = None
    activate: bool = False
    canary: str = ""
    paused: bool = False

    @property
    def wanted(self) -> Release | None:
        """What members serve now."""
        return self.next if self.activate and self.next is not None else self.current


class UpdateStatus(JsonMessage, frozen=True):
    """How far a node or an aggregator is with a release, as retained JSON.

    Attributes:
        release: number of the release; 0 if the hub wants nothing of this member.
        fingerprint: fingerprint of the release's bundle; empty with release 0.
        state: one of :data:`UpdateState`.
        part: part that a node is to run; None: an aggregator, or a node without a part.
        progress: share of the bytes that are there, 0 to 1.
        attempt: number of the attempt at this release, from 1.
        error: why the last attempt failed, in words; empty if none did.
        serving: number of the release that is served; 0: none.
        trial: whether that release is not known to be good yet.
    """

    release: Count
    fingerprint: str
    state: UpdateState
    part: PartCount | None = None
    progress: float = 0.0
    attempt: int = 0
    error: str = ""
    serving: Count = 0
    trial: bool = False
