"""What the hub remembers: one file, and the same in a retained message."""

from pathlib import Path

import msgspec

from devit_iot.errors import ConfigError
from devit_iot.hub.planned import PlannedParts
from devit_iot.hub.trouble import Failed
from devit_iot.protocol.release import Release, Rollout
from devit_iot.updates.durable import write_file

_FILE = "hub.json"


class HubState(msgspec.Struct, frozen=True):
    """The content of hub.json.

    Attributes:
        rollout: what was said last; its url is that of the last start.
        number: number of the last push.
        previous: what was good before the current release.
        offered: release that waits for somebody to install it.
        outcome: how the last push ended, in words.
        plan: which node is to run which part, as the operator planned; None: the hub chooses.
        failed: node -> how it failed the release that was pushed last.
    """

    rollout: Rollout
    number: int = 0
    previous: Release | None = None
    offered: Release | None = None
    outcome: str = ""
    plan: PlannedParts | None = None
    failed: dict[str, Failed] = {}


def read_state(folder: Path, url: str) -> HubState:
    """The state in ``folder``, a new one if there is none.

    Raises:
        ConfigError: the file cannot be read, or is none of ours.
    """
    path = folder / _FILE
    try:
        state = msgspec.json.decode(path.read_bytes(), type=HubState)
    except FileNotFoundError:
        return HubState(Rollout(url))
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot use the hub's state {path}: {error}") from error
    return msgspec.structs.replace(state, rollout=msgspec.structs.replace(state.rollout, url=url))


def write_state(folder: Path, state: HubState) -> None:
    """Write the state, for good."""
    write_file(folder / _FILE, msgspec.json.format(msgspec.json.encode(state)))
