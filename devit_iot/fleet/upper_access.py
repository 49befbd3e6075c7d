"""Who may publish and read what at an upper broker, which shows many cells.

A cell's own broker has the list of :mod:`devit_iot.fleet.access`, as a fleet without cells has. Its
bridge needs no entry there: mosquitto lets its own bridges read what they forward.
"""

import re
from collections.abc import Mapping, Sequence

from devit_iot.errors import ConfigError
from devit_iot.fleet.access import Role
from devit_iot.fleet.grants import Grants
from devit_iot.protocol.cells import CellTopics, answers, present
from devit_iot.protocol.topics import (
    DISCOVERY_PREFIX,
    HOME_ASSISTANT_STATUS,
    DiscoveryTopics,
    check_name,
)

UPPER_ROLES: tuple[Role, ...] = ("viewer", "upper")
"""Each has a first client from the start, called like it."""

_RUN = "[0-9a-f]{8}"


def cell_user(cell: str) -> str:
    """The user as which a cell says what holds now."""
    return f"cell-{cell}"


def labels_user(cell: str) -> str:
    """The user as which a cell sends its labels, one by one."""
    return f"labels-{cell}"


def upper_members(cells: Sequence[str]) -> dict[str, Role]:
    """The users of an upper broker: two of each cell, and one of every role that looks on.

    Raises:
        ConfigError: a cell is named twice.
    """
    if len({*cells}) < len(cells):
        raise ConfigError("cells: each needs a name of its own")
    roles: tuple[Role, ...] = ("viewer", "dashboard", "homeassistant", "upper")
    users: dict[str, Role] = {role: role for role in roles}
    for cell in cells:
        users |= {cell_user(cell): "cell", labels_user(cell): "labels"}
    return users


def upper_access_list(fleet: str, users: Mapping[str, Role]) -> dict[str, Grants]:
    """What each user of an upper broker may do.

    A cell writes below its own name and reads nothing. Viewers and dashboards read what all cells
    say. The service of ``devit upper`` reads that too, and announces it to Home Assistant. An owner
    deletes what is kept of members that are gone.

    Raises:
        ConfigError: a name is unusable, or a role has nothing to do at an upper broker.
    """
    return {user: _grants(fleet, user, role) for user, role in users.items()}


def _grants(fleet: str, user: str, role: Role) -> Grants:
    check_name("user", user)
    if role in {"cell", "labels"}:
        own = CellTopics(fleet, _cell_of(user, f"{role}-"))
        write = (*present(own), own.connected) if role == "cell" else answers(own)
        return Grants(write, (), re.escape(user))
    every = CellTopics(fleet)
    said = (*answers(every), *present(every), every.connected)
    devices = DiscoveryTopics().devices
    lookers = {
        "viewer": Grants((), said, _client_ids(user, every, "top", "labels")),
        "dashboard": Grants((), said, re.escape(every.dashboard_client_id("")) + _RUN),
        "homeassistant": Grants(
            (devices, HOME_ASSISTANT_STATUS), (*said, f"{DISCOVERY_PREFIX}/#"), re.escape(user)
        ),
        "upper": Grants(
            (devices,), (*said, HOME_ASSISTANT_STATUS), _client_ids(user, every, "upper")
        ),
        "owner": Grants(
            (*said, devices), (*said, devices), _client_ids(user, every, "top", "labels", "forget")
        ),
    }
    if role not in lookers:
        raise ConfigError(
            f"'{user}': an upper broker has no role '{role}'; give the folder of a cell to --folder"
        )
    return lookers[role]


def _client_ids(user: str, topics: CellTopics, *commands: str) -> str:
    runs = (re.escape(topics.command_client_id(name, "")) + _RUN for name in commands)
    return f"({'|'.join((re.escape(user), *runs))})"


def _cell_of(user: str, start: str) -> str:
    cell = user.removeprefix(start)
    if cell == user or not cell:
        raise ConfigError(f"'{user}': the user of a cell is called {start}<cell>")
    return check_name("cell", cell)
