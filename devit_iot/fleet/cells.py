"""Cells of an upper broker: each has a fleet's folder of its own, below ``cells`` in that of all.

A cell has a certificate authority of its own, so that no member of one gets into another. What its
broker shows the upper one are certificates of the upper broker's authority, one for each bridge.
"""

import shutil
from pathlib import Path
from typing import NamedTuple

import msgspec

from devit_iot.errors import ConfigError
from devit_iot.fleet.access import Role
from devit_iot.fleet.bridge import UPPER_AUTHORITY, Bridge
from devit_iot.fleet.folder import FleetFolder, FleetState
from devit_iot.fleet.upper_access import cell_user, labels_user
from devit_iot.protocol.cells import CELLS
from devit_iot.protocol.topics import check_name


class CellPlace(NamedTuple):
    """A cell, and how its members reach its broker."""

    name: str
    host: str
    port: int


def create_with_cells(path: Path, fleet: FleetState, cells: tuple[CellPlace, ...]) -> FleetFolder:
    """Make the folder of an upper broker, and one for each cell.

    Raises:
        ConfigError: ``path`` exists, or a name or filter is unusable.
    """
    names = [check_name("cell", cell.name) for cell in cells]
    if len({*names}) < len(names):
        raise ConfigError("cells: each needs a name of its own")
    owner = FleetFolder.create(path, msgspec.structs.replace(fleet, upper=True))
    for cell in cells:
        add_cell(owner, cell)
    return owner


def add_cell(owner: FleetFolder, cell: CellPlace) -> FleetFolder:
    """Make the folder of one more cell, and let its bridges in at the upper broker.

    Raises:
        ConfigError: ``owner`` is no upper broker's, or the name is unusable or taken.
    """
    check_name("cell", cell.name)
    upper = owner.fleet
    if not upper.upper:
        raise ConfigError(
            f"{owner.path} is the folder of a fleet without cells; "
            "`devit fleet init FOLDER --cells a,b` makes one with cells"
        )
    path = owner.path / CELLS / cell.name
    if path.exists():
        raise ConfigError(f"{path} exists already; choose another name for the cell")
    users: dict[str, Role] = {cell_user(cell.name): "cell", labels_user(cell.name): "labels"}
    for user, role in users.items():
        owner.add(user, role)
    state = FleetState(
        upper.name,
        (cell.host,),
        cell.port,
        upper.images,
        upper.trust,
        _beside(upper.broker_folder, cell.name),
        bridge=Bridge(cell.name, upper.hosts[0], upper.port),
    )
    path.parent.mkdir(mode=0o700, exist_ok=True)
    made = FleetFolder.create(path, state)
    broker = path / "broker"
    for user in users:
        for kind in ("crt", "key"):
            shutil.copy(owner.path / "clients" / user / f"client.{kind}", broker / f"{user}.{kind}")
    shutil.copy(owner.path / "broker" / "ca.crt", broker / UPPER_AUTHORITY)
    return made


def _beside(broker_folder: str, cell: str) -> str:
    """Where a cell's broker finds its files if the upper one's lie in ``broker_folder``."""
    return str(Path(broker_folder).parent / CELLS / cell / "broker") if broker_folder else ""
