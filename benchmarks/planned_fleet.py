"""Is a planned fleet as fast as predicted, and faster than equal parts?

    python benchmarks/planned_fleet.py [--cores 1.0,0.5,0.25] [--images 60] [--json]

Boards are processes under CPU quotas (control groups; needs root and mosquitto). Each measures
itself by ``devit bench --profile``; a DeiT-Small is planned over them; then real nodes serve, with
random weights, one image at a time. What is compared is the time from publishing an image to each
board's feature.
"""

import queue
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import click
import msgspec
import numpy as np
from broker_clock import WAIT_S, BrokerClock
from quota import board, cgroup_version, dealt_cpus, hub

from devit_iot.bench.models import MODELS, random_image, random_tensors
from devit_iot.bundle.reading import Bundle
from devit_iot.bundle.spec import FusionSpec, SubVitSpec
from devit_iot.bundle.writing import PartData, write_bundle
from devit_iot.cli.common import one_line_errors
from devit_iot.cli.plan_family import of_teacher
from devit_iot.config.board_profile import read_profile
from devit_iot.datasets.picture import picture_file
from devit_iot.demo.processes import FleetProcesses
from devit_iot.errors import DevitError
from devit_iot.export.reference import with_golden
from devit_iot.planning.exact import solve
from devit_iot.planning.greedy import equal_parts
from devit_iot.planning.picture import draw
from devit_iot.planning.plan import make_plan
from devit_iot.planning.problem import Demand, Problem, Solution, make_problem
from devit_iot.programs import own_program
from devit_iot.protocol.board import BoardProfile
from devit_iot.protocol.feature import Feature
from devit_iot.protocol.topics import Topics

FLEET = "planned"
WARM_UP = 5
LINK = {"link_mbps": 10_000.0, "link_ms": 0.5}
"""The loopback interface with a broker on it."""


class BoardResult(msgspec.Struct):
    """One board: its share of a core, its part, and the times from image to feature."""

    name: str
    mmacs: float
    dtype: str
    predicted_ms: float
    measured_ms: float

    @property
    def error(self) -> float:
        """Relative error of the prediction."""
        return self.predicted_ms / self.measured_ms - 1


class FleetResult(msgspec.Struct):
    """One fleet; the slowest board decides, in each image anew."""

    name: str
    boards: list[BoardResult]
    predicted_ms: float
    measured_ms: float


@click.command()
@click.option("--cores", default="1.0,0.5,0.25", show_default=True, help="Quota of each board.")
@click.option("--capacity", default=0.9, show_default=True, help="Of the teacher, all parts.")
@click.option("--seconds", default=9.0, show_default=True, help="Of each board's measurement.")
@click.option("--images", default=60, show_default=True, type=click.IntRange(1))
@click.option("--picture", type=click.Path(path_type=Path), help="Draw the plan into this PNG.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@one_line_errors
def main(
    *,
    cores: str,
    capacity: float,
    seconds: float,
    images: int,
    picture: Path | None,
    as_json: bool,
) -> None:
    """Compare prediction and measurement of a planned fleet, and of one of equal parts."""
    shares = {f"core-{share.strip()}": float(share) for share in cores.split(",")}
    with tempfile.TemporaryDirectory(prefix="devit-planned-") as made, ExitStack() as stack:
        folder = Path(made)
        cpus = dealt_cpus(shares)
        prefix = stack.enter_context(hub())
        prefixes = {
            name: stack.enter_context(board(name, share, cpus[name]))
            for name, share in shares.items()
        } | {"hub": prefix}
        boards = measured_boards(folder, {name: prefixes[name] for name in shares}, seconds)
        _, teacher = MODELS["M2"]
        choice = of_teacher(write(folder / "teacher", [teacher]).path, "")
        demand = Demand(len(picture_file()), macs=round(capacity * choice.macs))
        problem = make_problem(boards, choice.kinds, demand, whole=False)
        if picture is not None:
            draw(make_plan(problem, choice.family), picture)
        fleets = {"planned": solve(problem), "equal parts": equal_parts(problem)}
        results = [
            served(folder / name.split()[0], name, problem, solution, prefixes, images)
            for name, solution in fleets.items()
            if solution is not None
        ]
    click.echo(msgspec.json.encode(results) if as_json else table(results))


def measured_boards(
    folder: Path, prefixes: Mapping[str, Sequence[str]], seconds: float
) -> list[BoardProfile]:
    """Each board's own measurement, all at once, as they will serve."""
    running = {}
    for name, prefix in prefixes.items():
        options = ["--profile", folder / f"{name}.toml", "--threads", 1, "--seconds", seconds]
        command = [*prefix, *own_program("devit_iot.cli.devit"), "bench", *map(str, options)]
        running[name] = subprocess.Popen(command, stderr=subprocess.DEVNULL)  # noqa: S603 - ours
    codes = [process.wait() for process in running.values()]  # waits for all before the groups end
    if any(codes):
        raise DevitError("a board could not measure itself")
    profiles = {name: read_profile(folder / f"{name}.toml") for name in running}
    return [
        msgspec.structs.replace(profile, name=name, **LINK) for name, profile in profiles.items()
    ]


def write(folder: Path, specs: Sequence[SubVitSpec]) -> Bundle:
    """A bundle of parts with random weights."""
    parts = [
        PartData(spec, (part,), with_golden(spec, random_tensors(spec, part), random_image(spec)))
        for part, spec in enumerate(specs)
    ]
    shape = FusionSpec(len(specs), tuple(spec.feature_dim for spec in specs))
    fusion = {t.name: np.zeros(t.shape, np.float32) for t in shape.tensors()}
    classes = [f"class {part}" for part in range(len(specs))]
    return write_bundle(
        folder, name="random", classes=classes, parts=parts, fusion=fusion, provenance={}
    )


def served(
    folder: Path,
    name: str,
    problem: Problem,
    solution: Solution,
    prefixes: Mapping[str, Sequence[str]],
    images: int,
) -> FleetResult:
    """Run the fleet that ``solution`` describes and time ``images`` images."""
    folder.mkdir()
    bundle = write(folder / "bundle", [problem.kinds[part.kind].spec for part in solution.parts])
    seats = [part.seats[0] for part in solution.parts]
    wrappers = {"broker": prefixes["hub"]} | {
        f"node-{part}": prefixes[problem.boards[seat.board].name] for part, seat in enumerate(seats)
    }
    fleet = FleetProcesses(folder, bundle=bundle.path, fleet=FLEET, wrappers=wrappers)
    with fleet:
        fleet.start_broker("mosquitto")
        for part, seat in enumerate(seats):
            fleet.start_node(part, "--dtype", seat.option.dtype)
        with Clock(fleet.url) as clock:
            rows = [clock.time_image(len(seats)) for _ in range(WARM_UP + images)][WARM_UP:]
    times = np.array(rows)
    return FleetResult(
        name,
        [
            BoardResult(
                problem.boards[seat.board].name,
                problem.kinds[part.kind].macs / 1e6,
                seat.option.dtype,
                seat.option.total_ms,
                float(np.median(times[:, index])),
            )
            for index, (part, seat) in enumerate(zip(solution.parts, seats, strict=True))
        ],
        solution.slowest_ms,
        float(np.median(times.max(axis=1))),
    )


class Clock(BrokerClock[Feature]):
    """Publishes an image and waits for the features of all parts."""

    def __init__(self, url: str) -> None:
        self._picture, self._number = picture_file(), 0
        super().__init__(url, FLEET, {Topics(FLEET).feature("+", "+"): Feature.decode})

    def time_image(self, parts: int) -> list[float]:
        """Milliseconds from publishing an image to each part's feature."""
        deadline = time.monotonic() + WAIT_S
        while time.monotonic() < deadline:
            self._number += 1
            begin = time.monotonic()
            topic = f"cameras/door/image/{self._number:032x}"
            self.transport.publish(topic, self._picture)
            found = self._features(begin)
            if len(found) == parts:
                return [found[part] for part in range(parts)]
        raise DevitError("the nodes do not answer")

    def _features(self, begin: float) -> dict[int, float]:
        """By part, of the image that was published at ``begin``; some may be lacking."""
        found: dict[int, float] = {}
        while True:
            try:
                at, feature = self.heard.get(timeout=2.0 if not found else 1.0)
            except queue.Empty:
                return found
            if int.from_bytes(feature.request_id, "big") == self._number:
                found[feature.part] = 1e3 * (at - begin)
                if len(found) == feature.parts:
                    return found


def table(results: Sequence[FleetResult]) -> str:
    """For people, in Markdown."""
    lines = [
        f"CPU quotas by control groups, version {cgroup_version()}",
        "",
        "| fleet | board | MMACs | dtype | predicted ms | measured ms | error |",
        "| --- | --- | ---: | --- | ---: | ---: | ---: |",
    ]
    for fleet in results:
        lines += [
            f"| {fleet.name} | {row.name} | {row.mmacs:.0f} | {row.dtype} | {row.predicted_ms:.1f} "
            f"| {row.measured_ms:.1f} | {row.error:+.0%} |"
            for row in fleet.boards
        ]
        lines.append(
            f"| {fleet.name} | **slowest** | | | {fleet.predicted_ms:.1f} "
            f"| {fleet.measured_ms:.1f} | {fleet.predicted_ms / fleet.measured_ms - 1:+.0%} |"
        )
    if len(results) > 1:
        ratio = results[1].measured_ms / results[0].measured_ms
        lines += ["", f"the planned fleet is {ratio:.2f} times as fast as equal parts"]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
