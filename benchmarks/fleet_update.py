"""How long 400 boards take for a release, and what that costs the hub: real hub, real mosquitto.

    python benchmarks/fleet_update.py
    python benchmarks/fleet_update.py --nodes 40 --mb 5

The boards are the updaters of real nodes in this one process, each with a store of its own, over
one connection to the broker; their engines are stubs. A file is removed once it was verified, so
that the disk need not hold all of them. Linux only: the hub's memory and time come from /proc.
"""

import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import click
import msgspec
import numpy as np

from devit_iot.bundle.manifest import (
    MANIFEST,
    FileEntry,
    Manifest,
    PartEntry,
    file_entry,
    fingerprint_of,
)
from devit_iot.bundle.reading import Bundle
from devit_iot.bundle.spec import BlockSpec, FusionSpec, SubVitSpec
from devit_iot.bundle.writing import PartData, write_bundle
from devit_iot.cli.common import one_line_errors
from devit_iot.config.config import BrokerConfig
from devit_iot.demo.processes import FleetProcesses, free_port
from devit_iot.errors import BrokerError
from devit_iot.export.reference import with_golden
from devit_iot.hub.client import HubClient
from devit_iot.programs import own_program
from devit_iot.protocol.board import BoardProfile
from devit_iot.protocol.release import UpdateStatus
from devit_iot.protocol.status import HEARTBEAT_S, NodeStatus
from devit_iot.protocol.topics import Topics
from devit_iot.transport.base import Message
from devit_iot.transport.mqtt import MqttTransport
from devit_iot.updates.fetch import Fetcher
from devit_iot.updates.installer import Installer
from devit_iot.updates.store import Held, Store
from devit_iot.updates.updater import Member, Serving, Updater

TOPICS = Topics("bench")
GIGABIT_BYTES_S = 0.941e9 / 8
"""What TCP gets out of 1 Gbit/s Ethernet with frames of 1500 bytes."""

_WAIT_S = 1800.0


class Result(msgspec.Struct):
    """One release for all boards.

    Attributes:
        nodes: number of boards.
        file_mb: size of the file that each fetches, 10^6 bytes.
        downloads: number of files that the hub sends at once.
        most_at_once: the most files at one moment that were under way to a board or hashed there.
        installed_s: time from the push until every board was INSTALLED or further.
        activated_s: time until every board served it.
        gigabytes: bytes of all boards' files, 10^9.
        hub_peak_mib: most memory that the hub had at once (VmHWM).
        hub_rest_mib: its memory before the push (VmRSS).
        hub_cpu_s: processor time of the hub during the release.
        gigabit_s: time that the bytes alone take over 1 Gbit/s Ethernet, calculated.
    """

    nodes: int
    file_mb: float
    downloads: int
    most_at_once: int
    installed_s: float
    activated_s: float
    gigabytes: float
    hub_peak_mib: float
    hub_rest_mib: float
    hub_cpu_s: float
    gigabit_s: float


class Crowd:
    """Boards without engines, over one connection."""

    def __init__(self, url: str, folder: Path, count: int) -> None:
        self.latest: dict[str, UpdateStatus] = {}
        self.bytes = 0
        self.most_at_once = 0
        self._at_once = 0
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._names = [f"node-{number:03d}" for number in range(count)]
        self._transport = MqttTransport(BrokerConfig(url=url, queue=10 * count), client_id="crowd")
        self._updaters = [self._updater(name, folder / name) for name in self._names]
        self._transport.subscribe(TOPICS.release, self._on_release, qos=1)

    @contextmanager
    def connected(self) -> Iterator["Crowd"]:
        """Be a fleet inside the block."""
        ready = threading.Event()

        def refused(error: BrokerError) -> None:
            raise error

        self._transport.start(on_ready=ready.set, on_refused=refused)
        ready.wait(_WAIT_S)
        beats = threading.Thread(target=self._beat)
        threads = [beats, *(threading.Thread(target=u.run) for u in self._updaters)]
        for thread in threads:
            thread.start()
        try:
            yield self
        finally:
            self._ended.set()
            for updater in self._updaters:
                updater.stop()
            for thread in threads:
                thread.join()
            self._transport.stop()

    def _updater(self, name: str, folder: Path) -> Updater[str]:
        folder.mkdir(parents=True)
        store = Store(folder)

        member = Member(name, _load, _serve, lambda: None)
        say = partial(self._say, name)
        return Updater(member, store, Installer(store, _Counting(self)), say, None)

    def _on_release(self, message: Message) -> None:
        for updater in self._updaters:
            updater.receive(message)

    def _say(self, name: str, status: UpdateStatus) -> None:
        self.latest[name] = status
        topic = TOPICS.node_update(name)
        self._transport.publish(topic, status.encode(), qos=1, retain=True)

    def _beat(self) -> None:
        while True:
            for name in self._names:
                board = BoardProfile(name, cores=4, fma_gflops=10.0, memory_mib=4096)
                status = NodeStatus(
                    state="online", fingerprint="", parts=0, node=name, part=0, board=board
                )
                topic = TOPICS.node_status(name)
                self._transport.publish(topic, status.encode(), qos=1, retain=True)
            if self._ended.wait(HEARTBEAT_S):
                return

    def count(self, step: int) -> None:
        """A download began (1) or ended (-1)."""
        with self._lock:
            self._at_once += step
            self.most_at_once = max(self.most_at_once, self._at_once)

    def add(self, size: int) -> None:
        """A file of so many bytes was fetched."""
        with self._lock:
            self.bytes += size

    def all_in(self, *states: str) -> bool:
        """Whether every board is so far."""
        said = list(self.latest.values())
        return len(said) == len(self._names) and all(s.state in states for s in said)


class _Counting(Fetcher):
    """Counts bytes, and how many files come at the same moment."""

    def __init__(self, crowd: Crowd) -> None:
        super().__init__(None)
        self._crowd = crowd

    def fetch(
        self, url: str, entry: FileEntry, path: Path, *, on_bytes: Callable[[int], None]
    ) -> None:
        began = False

        def came(done: int) -> None:
            nonlocal began
            if not began:
                began = True
                self._crowd.count(1)
            on_bytes(done)

        try:
            super().fetch(url, entry, path, on_bytes=came)
            self._crowd.add(entry.size)
        finally:
            if began:
                self._crowd.count(-1)


def _load(folder: Path, held: Held) -> str:
    """What a stub serves: nothing but a name."""
    for file in folder.glob("*.safetensors"):  # verified a moment ago
        file.unlink()
    return held.fingerprint


def _serve(_serving: Serving[str]) -> None:
    """Nobody asks anything of a stub."""


def large_bundle(folder: Path, megabytes: float) -> Bundle:
    """A bundle of one part whose file has so many bytes; nobody computes with them."""
    spec = SubVitSpec(8, 8, 4, 8, 4, 1, (BlockSpec(1, 4),))
    rng = np.random.default_rng(0)
    tensors = {t.name: rng.standard_normal(t.shape, np.float32) for t in spec.tensors()}
    golden = with_golden(spec, tensors, np.zeros((8, 8, 3), np.uint8))
    fusion_spec = FusionSpec(2, (spec.feature_dim,))
    fusion = {t.name: rng.standard_normal(t.shape, np.float32) for t in fusion_spec.tensors()}
    bundle = write_bundle(
        folder,
        name="large",
        classes=("a", "b"),
        parts=[PartData(spec, (0, 1), golden)],
        fusion=fusion,
        provenance={},
    )
    entry: PartEntry = bundle.part(0)
    path = folder / entry.weights.file
    path.write_bytes(rng.bytes(round(megabytes * 1e6)))
    weights = msgspec.structs.replace(entry, weights=file_entry(path))
    manifest: Manifest = msgspec.structs.replace(bundle.manifest, parts=(weights,))
    manifest = msgspec.structs.replace(manifest, fingerprint=fingerprint_of(manifest))
    (folder / MANIFEST).write_bytes(msgspec.json.encode(manifest))
    return Bundle(folder)


@contextmanager
def hub_process(folder: Path, broker: str, downloads: int) -> Iterator[tuple[int, HubClient]]:
    """A hub whose boards are all replicas of the part; yields its process id and a client."""
    port = free_port()
    config = folder / "hub.toml"
    config.write_text(
        f'fleet = "{TOPICS.fleet}"\n[broker]\nurl = "{broker}"\n[hub]\n'
        f'folder = "{folder / "hub"}"\nlisten = "127.0.0.1:{port}"\n'
        f'url = "http://127.0.0.1:{port}"\ndownloads = {downloads}\nreplicas = true\n'
        "offer_s = 3600\ndownload_s = 3600\ninstall_s = 3600\nactivate_s = 3600\n"
    )
    command = [*own_program("devit_iot.cli.devit"), "hub", "--config", str(config)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)  # noqa: S603 - ours
    token = folder / "hub/token"
    try:
        wait(lambda: token.exists() and token.read_text().strip())
        yield process.pid, HubClient(f"http://127.0.0.1:{port}", token.read_text().strip(), None)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def wait(condition: Callable[[], object]) -> None:
    """Wait until it is so; for at most half an hour."""
    end = time.monotonic() + _WAIT_S
    while not condition():
        if time.monotonic() > end:
            raise BrokerError("the release did not get through within half an hour")
        time.sleep(0.05)


def memory_mib(pid: int, field: str) -> float:
    """A figure of /proc/PID/status."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(field))


def cpu_s(pid: int) -> float:
    """Processor time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(folder: Path, nodes: int, megabytes: float, downloads: int) -> Result:
    """One release from the push to the last board."""
    bundle = large_bundle(folder / "bundle", megabytes)
    with FleetProcesses(folder, bundle=folder, fleet=TOPICS.fleet) as processes:
        processes.start_broker("mosquitto", "max_queued_messages 0", "max_inflight_messages 0")
        with (
            hub_process(folder, processes.url, downloads) as (pid, client),
            Crowd(processes.url, folder / "stores", nodes).connected() as crowd,
        ):
            wait(lambda: len(client.status().nodes) == nodes and crowd.all_in("CREATED"))
            rest, cpu = memory_mib(pid, "VmRSS:"), cpu_s(pid)
            begin = time.monotonic()
            client.push(bundle, "")
            wait(lambda: crowd.all_in("INSTALLED", "ACTIVATING", "ACTIVATED"))
            installed = time.monotonic() - begin
            wait(lambda: crowd.all_in("ACTIVATED"))
            activated = time.monotonic() - begin
            return Result(
                nodes=nodes,
                file_mb=megabytes,
                downloads=downloads,
                most_at_once=crowd.most_at_once,
                installed_s=round(installed, 1),
                activated_s=round(activated, 1),
                gigabytes=round(crowd.bytes / 1e9, 3),
                hub_peak_mib=round(memory_mib(pid, "VmHWM:"), 1),
                hub_rest_mib=round(rest, 1),
                hub_cpu_s=round(cpu_s(pid) - cpu, 1),
                gigabit_s=round(crowd.bytes / GIGABIT_BYTES_S, 1),
            )


@click.command()
@click.option("--nodes", default=400, show_default=True, type=click.IntRange(1))
@click.option("--mb", default=25.0, show_default=True, help="Size of each board's file.")
@click.option("--downloads", default=8, show_default=True, type=click.IntRange(1))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@one_line_errors
def main(*, nodes: int, mb: float, downloads: int, as_json: bool) -> None:
    """Bring one release to many boards and say what it took."""
    if shutil.which("mosquitto") is None:
        raise BrokerError("mosquitto is not on PATH: install it")
    with tempfile.TemporaryDirectory(prefix="devit-update-") as made:
        result = measure(Path(made), nodes, mb, downloads)
    if as_json:
        click.echo(msgspec.json.encode(result))
        return
    for name, value in msgspec.structs.asdict(result).items():
        click.echo(f"{name:14} {value:g}")


if __name__ == "__main__":
    main()
