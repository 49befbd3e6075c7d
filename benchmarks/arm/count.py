"""Instructions of one inference on 64-bit Arm, ours and the peers', counted by an emulator.

PYTHONPATH=. python benchmarks/arm/count.py --qemu QEMU --qemu-source SOURCE [--run M4:int8:max ...]

See benchmarks/README.md for what is counted and how to get a QEMU that can.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import click
from emulator import PEERS, Emulator, Run, get_emulator, watch

from devit_iot.bench.peers import OURS
from devit_iot.bundle.spec import macs

RUNS = (
    "M1:float32:cortex-a72",
    "M4:float32:cortex-a72",
    "M3:int8:cortex-a72",
    "M3:int8:cortex-a76",
)
KINDS = ("all", "fmla", "fmla16", "dot", "mmla", "mull", "load", "store")


def count_engines(emulator: Emulator, run: Run, engines: Sequence[str]) -> None:
    """Print a line of the table for each engine."""
    source = run.source()
    name = f"{run.model}, {run.dtype}, {run.cpu}"
    for engine in engines:
        with tempfile.TemporaryDirectory(prefix="devit-count-") as folder:
            detail, kinds = watch(emulator, run, engine, source, Path(folder))
        cells = " | ".join(f"{kinds[kind] / 1e6:.1f}" for kind in KINDS)
        click.echo(f"| {name} | {engine} {detail} | {cells} |")
    rest = " |" * (len(KINDS) - 2)
    click.echo(f"| {name} | multiply-accumulates / 4 | | {macs(source.spec) / 4e6:.1f} |{rest}")


@click.command()
@click.option("--qemu", required=True, type=click.Path(path_type=Path), help="qemu-aarch64")
@click.option("--qemu-source", required=True, type=click.Path(path_type=Path), help="Of QEMU.")
@click.option("--run", "runs", multiple=True, default=RUNS, help="MODEL:DTYPE:CPU")
@click.option("--engine", "engines", multiple=True, default=(OURS, *PEERS))
def main(qemu: Path, qemu_source: Path, runs: Sequence[str], engines: Sequence[str]) -> None:
    """Print a table, millions of instructions."""
    parsed = [Run.parse(text) for text in runs]
    peers = any(engine != OURS for engine in engines)
    emulator = get_emulator(qemu, qemu_source, "instructions.c", peers=peers)
    click.echo(f"| run | engine | {' | '.join(KINDS)} |\n| --- | --- |{' ---: |' * len(KINDS)}")
    for run in parsed:
        count_engines(emulator, run, engines)


if __name__ == "__main__":
    main()
