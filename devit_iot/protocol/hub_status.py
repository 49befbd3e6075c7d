"""What the hub says of itself, for people and Home Assistant. Normative: docs/protocol.md."""

from devit_iot.protocol.json_message import JsonMessage
from devit_iot.protocol.status import State

INSTALL = b"install"
"""The hub's command: begin with the release that is offered."""


class HubStatus(JsonMessage, frozen=True):
    """Which release the fleet has and could have, as retained JSON; the last will is ``offline``.

    Names are those of Home Assistant's MQTT update entity.

    Attributes:
        state: ``offline`` before a clean disconnect and as the last will.
        installed_version: number of the release that is served and good; empty: none.
        latest_version: number of the release that is under way or offered, else the same.
        in_progress: whether a release is under way.
        update_percentage: how far it is, 0 to 100; None: nothing is under way.
        release_summary: bundle of the latest release, and how the last push ended, in words.
        paused: whether the hub gives out no files and decides nothing.
    """

    state: State
    installed_version: str = ""
    latest_version: str = ""
    in_progress: bool = False
    update_percentage: int | None = None
    release_summary: str = ""
    paused: bool = False
