"""A fleet of `every` cameras on a broker that keeps what the shipped configuration keeps."""

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

from devit_iot.demo.processes import FleetProcesses
from tests.support.fleets import wait_until

ROOT = Path(__file__).parents[2]
PARTS = 4
_LIMITS = re.compile(r"^(?:max_|autosave_|persistence |persistent_).*$", re.MULTILINE)

EVERY = """\
[[images]]
topic = "cameras/{camera}/image/{request}"
delivery = "every"
"""

CASCADE = (
    EVERY
    + """\
confidence = 0.9
mode = "cascade"
hold_s = 0.2
"""
)


def shipped_limits() -> list[str]:
    """The lines of broker/mosquitto.conf that bound queues and say what is saved."""
    return _LIMITS.findall((ROOT / "broker/mosquitto.conf").read_text())


class ChaosFleet:
    """Starts and kills the processes of a fleet by name.

    Args:
        processes: none of them started.
        folder: folder for configuration and the broker's data.
        config: the fleet's TOML.
        settings: more lines of the broker's configuration.
    """

    def __init__(
        self, processes: FleetProcesses, folder: Path, config: str, *settings: str
    ) -> None:
        self._settings = settings
        self._processes = processes
        self._data = folder
        self._config = folder / "fleet.toml"
        self._config.write_text(config)

    @property
    def names(self) -> list[str]:
        """The names of all processes."""
        return ["broker", "aggregator", *(f"node-{part}" for part in range(PARTS))]

    def start_all(self) -> None:
        """The broker first, so that nobody has to wait for it."""
        for name in self.names:
            self.start(name)

    def start(self, name: str) -> None:
        """Start one process."""
        options = ("--config", str(self._config))
        if name == "broker":
            self._processes.start_broker("mosquitto", *self._broker_settings())
        elif name == "aggregator":
            self._processes.start_aggregator(*options)
        else:
            self._processes.start_node(int(name.removeprefix("node-")), *options)

    def kill(self, name: str) -> None:
        """SIGKILL."""
        self._processes.kill(name)

    def wait_saved(self) -> None:
        """Return when the broker has written to its disk who its clients are now."""
        begin = time.time()
        saved = self._data / "mosquitto.db"
        wait_until(lambda: saved.exists() and saved.stat().st_mtime > begin, 20)

    def _broker_settings(self) -> Iterator[str]:
        yield from shipped_limits()
        yield from self._settings
        yield f"persistence_location {self._data}/"
        if os.geteuid() == 0:
            yield "user root"  # another user could not write where root's tests let it
