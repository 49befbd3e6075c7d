"""What one slow board of four costs, with and without early labels.

    python benchmarks/throttled_board.py [--images 300] [--confidence 0.95] [--json]

Boards are processes under CPU quotas (control groups; needs root and mosquitto): each may use four
tenths of a core, the last one a quarter of that. The demo's fleet labels its never-seen images one
after the other, in the portable kernels, so that computing takes longest; once each label waits for
all parts, once until the answer is sure.
"""

import queue
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import click
import msgspec
import numpy as np
from broker_clock import WAIT_S, BrokerClock
from quota import board, cgroup_version, dealt_cpus, hub

from devit_iot.bundle.reading import Bundle
from devit_iot.cli.common import one_line_errors
from devit_iot.datasets.source import read_image_folder
from devit_iot.demo.processes import FleetProcesses
from devit_iot.errors import DevitError
from devit_iot.protocol.feature import Feature
from devit_iot.protocol.label import Label
from devit_iot.protocol.topics import Topics

DEMO = Path(__file__).parents[1] / "devit_iot" / "demo"
FLEET = "throttled"
SHARE, THROTTLED = 0.4, 0.1
PERIOD_US = 10_000
WARM_UP = 10


class Seen(NamedTuple):
    """One image: milliseconds to each part's feature, by part, and to the label."""

    features: dict[int, float]
    label_ms: float
    parts_used: int
    right: bool


class Result(msgspec.Struct):
    """What one fleet did; times in milliseconds from publishing an image.

    Attributes:
        fastest_ms: median time to the first feature.
        throttled_ms: median time to the throttled board's feature.
        label_p50_ms: median time to the label.
        label_p99_ms: its 99th percentile.
        transport_ms: median time from the last feature that a label rests on to the label.
        parts_used: mean number of parts that a label rests on.
        right: share of right labels.
    """

    name: str
    fastest_ms: float
    throttled_ms: float
    label_p50_ms: float
    label_p99_ms: float
    transport_ms: float
    parts_used: float
    right: float


@click.command()
@click.option(
    "--bundle",
    "path",
    default=DEMO / "bundle",
    show_default="the demo's",
    type=click.Path(path_type=Path),
    help="A bundle that `devit bundle calibrate` has fitted.",
)
@click.option("--images", default=300, show_default=True, type=click.IntRange(1))
@click.option("--confidence", default=0.95, show_default=True, type=click.FloatRange(0, 1))
@click.option("--isa", default="scalar", show_default=True, help="Kernels of the nodes.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@one_line_errors
def main(*, path: Path, images: int, confidence: float, isa: str, as_json: bool) -> None:
    """Compare whole and early labels of a fleet with one throttled board."""
    bundle = Bundle(path)
    parts = len(bundle.manifest.parts)
    shares = {f"node-{part}": SHARE for part in range(parts)} | {f"node-{parts - 1}": THROTTLED}
    cpus = dealt_cpus(shares)
    results = []
    with tempfile.TemporaryDirectory(prefix="devit-throttled-") as made, ExitStack() as stack:
        prefix = stack.enter_context(hub())
        wrappers = {"broker": prefix, "aggregator": prefix} | {
            name: stack.enter_context(board(name, share, cpus[name], PERIOD_US))
            for name, share in shares.items()
        }
        for name, sure in (("all parts", 0.0), (f"confidence {confidence:g}", confidence)):
            folder = Path(made) / f"{sure:g}"
            folder.mkdir()
            results.append(served(folder, name, sure, isa, bundle, wrappers, images))
    click.echo(msgspec.json.encode(results) if as_json else table(results))


def served(
    folder: Path,
    name: str,
    confidence: float,
    isa: str,
    bundle: Bundle,
    wrappers: Mapping[str, Sequence[str]],
    images: int,
) -> Result:
    """Run one fleet and show it ``images`` images, each after the label of the one before."""
    parts = len(bundle.manifest.parts)
    config = folder / "devit.toml"
    topic = "cameras/{camera}/image/{request}"
    config.write_text(f'[[images]]\ntopic = "{topic}"\nconfidence = {confidence}\n')
    with FleetProcesses(folder, bundle=bundle.path, fleet=FLEET, wrappers=wrappers) as fleet:
        fleet.start_broker("mosquitto")
        fleet.start_aggregator("--config", str(config))
        for part in range(parts):
            fleet.start_node(part, "--isa", isa, "--config", str(config))
        with Clock(fleet.url) as clock:
            clock.wait_for_fleet(fleet, parts)
            seen = [clock.show(parts) for _ in range(WARM_UP + images)][WARM_UP:]
    labels = np.array([image.label_ms for image in seen])
    last = [sorted(image.features.values())[image.parts_used - 1] for image in seen]
    return Result(
        name,
        float(np.median([min(image.features.values()) for image in seen])),
        float(np.median([image.features[parts - 1] for image in seen])),
        float(np.median(labels)),
        float(np.percentile(labels, 99)),
        float(np.median(labels - np.array(last))),
        float(np.mean([image.parts_used for image in seen])),
        float(np.mean([image.right for image in seen])),
    )


class Clock(BrokerClock[Feature | Label]):
    """Publishes the demo's images and hears features and labels."""

    def __init__(self, url: str) -> None:
        topics = Topics(FLEET)
        self._samples = list(read_image_folder(DEMO / "images.zip"))
        self._number = 0
        super().__init__(
            url,
            FLEET,
            {topics.feature("+", "+"): Feature.decode, topics.label("door"): Label.decode},
        )

    def wait_for_fleet(self, fleet: FleetProcesses, parts: int) -> None:
        """Show images until one has a label and all features.

        Raises:
            DevitError: a process ended, or nothing comes.
        """
        deadline = time.monotonic() + WAIT_S
        while time.monotonic() < deadline:
            fleet.check()
            try:
                self.show(parts, limit_s=2.0)
            except DevitError:
                continue
            return
        raise DevitError("the fleet does not answer")

    def show(self, parts: int, limit_s: float = WAIT_S) -> Seen:
        """Publish the next image; wait for its label and all features, so that none queues.

        Raises:
            DevitError: something did not come in time.
        """
        self._number += 1
        sample = self._samples[self._number % len(self._samples)]
        request = f"{self._number:032x}"
        begin = time.monotonic()
        self.transport.publish(f"cameras/door/image/{request}", sample.payload)
        features: dict[int, float] = {}
        label: tuple[float, Label] | None = None
        while label is None or len(features) < parts:
            left_s = begin + limit_s - time.monotonic()
            try:
                at, message = self.heard.get(timeout=max(0.0, left_s))
            except queue.Empty:
                raise DevitError(f"image {self._number} had no answer in {limit_s:g} s") from None
            passed_ms = 1e3 * (at - begin)
            if isinstance(message, Label):
                if message.request_id == request:
                    label = (passed_ms, message)
            elif message.request_id.hex() == request:
                features[message.part] = passed_ms
        took_ms, said = label
        return Seen(features, took_ms, len(said.parts_used), said.label == sample.class_name)


def table(results: Sequence[Result]) -> str:
    """For people, in Markdown."""
    heading = (
        "| labels | first feature | throttled board | label p50 | label p99 | feature to label "
        "| parts used | right |"
    )
    lines = [
        f"CPU quotas by control groups, version {cgroup_version()}; milliseconds from the image",
        "",
        heading,
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {row.name} | {row.fastest_ms:.1f} | {row.throttled_ms:.1f} | {row.label_p50_ms:.1f} "
        f"| {row.label_p99_ms:.1f} | {row.transport_ms:.1f} | {row.parts_used:.2f} "
        f"| {row.right:.0%} |"
        for row in results
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
