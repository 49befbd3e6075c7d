"""What a board says of itself in its node's status."""

from typing import NamedTuple

from devit_iot.energy.meter import EnergyMeter
from devit_iot.node.sensors import Sensors


class Instruments(NamedTuple):
    """A board's sensors and its meter.

    Attributes:
        sensors: temperature and throttling.
        meter: what the board takes.
    """

    sensors: Sensors
    meter: EnergyMeter

    def read(self, busy_s: float) -> dict[str, object]:
        """Fields of :class:`devit_iot.protocol.status.NodeStatus`.

        Args:
            busy_s: seconds in which images were decoded and computed since the start.
        """
        reading = self.sensors.read()
        energy = self.meter.read(busy_s)
        return {
            "temperature_c": reading.temperature_c,
            "throttled": reading.throttled,
            "energy_j": round(energy.joules, 3),
            "energy_from": energy.source,
        }
