"""Image to label, and a node's memory, of the fleets of two checkouts over one broker, in turn.

python benchmarks/two_checkouts.py BEFORE AFTER [--images 300] [--bundle DIR] [--json]

BEFORE and AFTER are folders that hold a ``devit_iot`` with its built module. Each fleet is one node
with part 0 and one aggregator, without heads; both run all the time, and are asked one image after
the other.
"""

import io
import os
import queue
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import click
import msgspec
import numpy as np
from PIL import Image

from devit_iot.cli.common import one_line_errors
from devit_iot.config.config import BrokerConfig
from devit_iot.demo.processes import FleetProcesses
from devit_iot.errors import DataError
from devit_iot.programs import own_program
from devit_iot.protocol.topics import Topics
from devit_iot.transport.base import Message
from devit_iot.transport.mqtt import MqttTransport

_WARM_UP = 20
_START_S = 120.0
LABEL_S = 30.0


class Measured(msgspec.Struct, frozen=True):
    """One checkout: milliseconds from publishing an image to its label, and MiB of its node.

    Attributes:
        fastest: least time.
        median: median time.
        node_cpu: CPU time of the node for an image, milliseconds.
        aggregator_cpu: CPU time of the aggregator for an image, milliseconds.
        node_pss: proportional resident memory, so what both fleets share counts half.
        node_private: memory that is the node's alone.
    """

    fastest: float
    median: float
    node_cpu: float
    aggregator_cpu: float
    node_pss: float
    node_private: float


@contextmanager
def service(checkout: Path, name: str, log: Path, *options: str) -> Iterator[int]:
    """Run a service of a checkout inside the block; its process id."""
    command = [*own_program(f"devit_iot.cli.{name}"), "start", *options]
    environment = os.environ | {"PYTHONPATH": str(checkout)}
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 - our own commands
            command, cwd=log.parent, env=environment, stdout=output, stderr=output
        )
        try:
            yield process.pid
        finally:
            process.terminate()
            process.wait()


class Asker:
    """Publishes images and waits for their labels."""

    def __init__(self, url: str, fleets: tuple[str, str]) -> None:
        self._labels: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._transport = MqttTransport(BrokerConfig(url=url), client_id="two-checkouts")
        for fleet in fleets:
            self._transport.subscribe(Topics(fleet).label("door"), self._labels.put)
        self._transport.start(on_ready=lambda: None, on_refused=lambda _: None)

    def ask(self, camera_topic: str, image: bytes, patience_s: float) -> float | None:
        """Milliseconds to the image's label; None if none came."""
        request = os.urandom(16).hex()
        begin = time.perf_counter()
        self._transport.publish(f"{camera_topic}/{request}", image)
        while time.perf_counter() - begin < patience_s:
            try:
                message = self._labels.get(timeout=0.05)
            except queue.Empty:
                continue
            if request in message.payload.decode():
                return 1e3 * (time.perf_counter() - begin)
        return None

    def stop(self) -> None:
        """Disconnect."""
        self._transport.stop()


def _memory_mib(process: int) -> tuple[float, float]:
    """Proportional and private resident memory."""
    found: dict[str, int] = {}
    for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()[1:]:
        name, kib, *_ = line.split()
        found[name.rstrip(":")] = int(kib)
    return found["Pss"] / 1024, (found["Private_Clean"] + found["Private_Dirty"]) / 1024


def _cpu_ms(process: int) -> float:
    """CPU time that a process has used, all threads together."""
    threads = Path(f"/proc/{process}/task").iterdir()
    return sum(int((one / "schedstat").read_text().split()[0]) for one in threads) / 1e6


def picture() -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).resize((640, 480)).save(buffer, "JPEG")
    return buffer.getvalue()


def wait_for(asker: Asker, fleet: str, picture: bytes) -> None:
    """Ask a fleet until it answers; DataError if it does not."""
    until = time.monotonic() + _START_S
    while asker.ask(f"{fleet}/door/image", picture, 1.0) is None:
        if time.monotonic() > until:
            raise DataError(f"no label of the fleet '{fleet}'")


def measure(checkouts: tuple[Path, Path], bundle: Path, images: int) -> tuple[Measured, ...]:
    """Run both fleets and ask them in turn, the first one first and last in turn.

    Raises:
        DataError: a fleet does not answer.
    """
    fleets, shown = ("before", "after"), picture()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        broker = stack.enter_context(FleetProcesses(folder, bundle=bundle, fleet="none"))
        broker.start_broker("mosquitto")
        services = []
        for fleet, checkout in zip(fleets, checkouts, strict=True):
            topic = f"{fleet}/{{camera}}/image/{{request}}"
            own = ["--broker", broker.url, "--fleet", fleet, "--bundle", str(bundle)]
            node = [*own, "--part", "0", "--name", "node", "--threads", "1", "--images", topic]
            for name, options in (("aggregate", own), ("node", node)):
                log = folder / f"{fleet}-{name}.log"
                services.append(stack.enter_context(service(checkout, name, log, *options)))
        asker = Asker(broker.url, fleets)
        stack.callback(asker.stop)
        times: tuple[list[float], list[float]] = ([], [])
        for fleet in fleets:
            wait_for(asker, fleet, shown)
        time.sleep(6)  # until then an aggregator waits for parts that it has not heard of
        used = [0.0] * len(services)
        for turn in range(_WARM_UP + images):
            if turn == _WARM_UP:
                used = [_cpu_ms(process) for process in services]
            for place in (0, 1) if turn % 2 else (1, 0):
                taken = asker.ask(f"{fleets[place]}/door/image", shown, LABEL_S)
                if taken is None:
                    raise DataError(f"no label of the fleet '{fleets[place]}'")
                if turn >= _WARM_UP:
                    times[place].append(taken)
        used = [(_cpu_ms(one) - ms) / images for one, ms in zip(services, used, strict=True)]
        memory = [_memory_mib(node) for node in services[1::2]]
    return tuple(
        Measured(min(taken), statistics.median(taken), node, aggregator, *found)
        for taken, node, aggregator, found in zip(times, used[1::2], used[::2], memory, strict=True)
    )


@click.command()
@click.argument("before", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("after", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--bundle", type=click.Path(path_type=Path), help="Default: BEFORE's demo bundle.")
@click.option("--images", default=300, show_default=True)
@click.option("--json", "as_json", is_flag=True)
@one_line_errors
def main(before: Path, after: Path, *, bundle: Path | None, images: int, as_json: bool) -> None:
    """Measure the fleets of two checkouts in turn."""
    found = measure(
        (before.resolve(), after.resolve()),
        (bundle or before / "devit_iot" / "demo" / "bundle").resolve(),
        images,
    )
    if as_json:
        click.echo(msgspec.json.encode(found))
        return
    for name, one in zip(("before", "after"), found, strict=True):
        click.echo(
            f"{name}: {one.fastest:.1f} ms fastest, {one.median:.1f} ms median; CPU "
            f"{one.node_cpu:.2f} ms node, {one.aggregator_cpu:.2f} ms aggregator; node "
            f"{one.node_pss:.1f} MiB, {one.node_private:.1f} MiB of its own"
        )


if __name__ == "__main__":
    main()
