"""What Home Assistant is told at an upper broker: the devices of many cells."""

from collections.abc import Sequence

from devit_iot.homeassistant.devices import Announcement, Devices
from devit_iot.homeassistant.heads import HeadSensor
from devit_iot.protocol.status import NodeStatus


class CellDevices:
    """Describes devices whose names begin with their cell, ``<cell>/<name>``.

    Args:
        fleet: the fleet's name.
        version: version of this software.
        label_expire_s: as in :class:`Devices`.
    """

    def __init__(self, fleet: str, *, version: str, label_expire_s: int = 0) -> None:
        self._fleet = fleet
        self._version = version
        self._label_expire_s = label_expire_s
        self._shards: dict[str, int] = {}

    @property
    def fleet_name(self) -> str:
        """The fleet's name."""
        return self._fleet

    def lasting(self) -> Sequence[Announcement]:
        """Nothing: cells are announced as they are seen."""
        return ()

    def cell(self, cell: str, shards: int) -> Announcement:
        """A cell with so many aggregators, which count for its cameras from now on."""
        self._shards[cell] = shards
        return self._devices(cell).fleet()

    def camera(self, camera: str, heads: Sequence[HeadSensor] = ()) -> Announcement:
        """One camera: see :meth:`Devices.camera`."""
        cell, _, name = camera.partition("/")
        return self._devices(cell).camera(name, heads)

    def node(self, name: str, status: NodeStatus, *, has_thermometer: bool) -> Announcement:
        """One node: see :meth:`Devices.node`."""
        cell, _, own = name.partition("/")
        return self._devices(cell).node(own, status, has_thermometer=has_thermometer)

    def _devices(self, cell: str) -> Devices:
        return Devices(
            self._fleet,
            shards=self._shards.get(cell, 1),
            version=self._version,
            label_expire_s=self._label_expire_s,
            cell=cell,
        )
