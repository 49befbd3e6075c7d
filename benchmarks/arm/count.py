"""Instructions of one inference on 64-bit Arm, ours and the peers', counted by an emulator.

PYTHONPATH=. python benchmarks/arm/count.py --qemu QEMU --qemu-source SOURCE [--run M4:int8:max ...]

See benchmarks/README.md for what is counted and how to get a QEMU that can.
"""

import json
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, get_args

import click
import numpy as np

from devit_iot.bench.graph import peer_pixels
from devit_iot.bench.models import MODELS, model_tensors
from devit_iot.bench.peers import ENGINES, OURS, Source
from devit_iot.bench.runners import Job
from devit_iot.bundle.spec import macs
from devit_iot.bundle.storage import Dtype
from devit_iot.errors import ConfigError
from tests.arm.emulated import (
    BUILD,
    PYTHON,
    ROOT,
    cached,
    check,
    cross_build,
    get_rootfs,
    get_site,
    pip_install,
)

HERE = Path(__file__).parent
PEERS = {"onnxruntime": "onnxruntime", "litert": "ai-edge-litert"}
"""Engine -> package."""
RUNS = (
    "M1:float32:cortex-a72",
    "M4:float32:cortex-a72",
    "M3:int8:cortex-a72",
    "M3:int8:cortex-a76",
)
KINDS = ("all", "fmla", "fmla16", "dot", "mmla", "mull", "load", "store")


class Emulator(NamedTuple):
    """What runs a counted program.

    Attributes:
        qemu: a user-mode QEMU for AArch64 that takes plugins.
        plugin: instructions.c, for it.
        marks: marks.c, for the emulated program.
        path: folders of the emulated Python's packages.
    """

    qemu: Path
    plugin: Path
    marks: Path
    path: str


class Run(NamedTuple):
    """What is counted: one model, in one dtype, on one CPU of QEMU's."""

    model: str
    dtype: Dtype
    cpu: str

    @classmethod
    def parse(cls, text: str) -> "Run":
        """MODEL:DTYPE:CPU.

        Raises:
            ConfigError: there is no such model or dtype.
        """
        model, _, rest = text.partition(":")
        dtype, _, cpu = rest.partition(":")
        for known in get_args(Dtype):
            if known == dtype and model in MODELS and cpu:
                return cls(model, known, cpu)
        raise ConfigError(f"'{text}' is no run: MODEL:DTYPE:CPU, such as {RUNS[0]}")


def get_emulator(qemu: Path, source: Path) -> Emulator:
    """Compile both C files and our module, and install the peers, under ``build/arm``."""
    rootfs = get_rootfs()
    plugin, marks = BUILD / "instructions.so", BUILD / "marks.so"
    shared = ("-shared", "-fPIC", "-O2", "-Wall", "-Wextra")
    flags = check("pkg-config", "--cflags", "glib-2.0").split()
    headers = f"-I{source / 'include' / 'qemu'}"
    check("cc", *shared, *flags, headers, HERE / "instructions.c", "-o", plugin)
    check("aarch64-linux-gnu-gcc", *shared, HERE / "marks.c", "-o", marks)
    peers = cached(BUILD / "site-peers", lambda path: pip_install(path, *PEERS.values()))
    tree = BUILD / "counted"
    shutil.rmtree(tree, ignore_errors=True)
    shutil.copytree(ROOT / "devit_iot", tree / "devit_iot", ignore=shutil.ignore_patterns("*.so"))
    shutil.copy(cross_build(rootfs), tree / "devit_iot")
    return Emulator(qemu.resolve(), plugin, marks, f"{tree}:{get_site()}:{peers}")


def count(emulator: Emulator, run: Run, job: Job, folder: Path) -> tuple[str, dict[str, int]]:
    """What the engine chose, and the instructions of one inference by kind."""
    counts, file = folder / "counts.json", folder / "job.json"
    file.write_text(json.dumps(job._asdict()))
    rootfs = get_rootfs()
    said = check(
        emulator.qemu, "-cpu", run.cpu, "-L", rootfs,
        "-plugin", f"{emulator.plugin},out={counts}",
        rootfs / "usr" / "bin" / f"python{PYTHON}", HERE / "contender.py", file, emulator.marks,
        PYTHONPATH=emulator.path, OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1",
    )  # fmt: skip
    kinds: dict[str, int] = json.loads(counts.read_text())
    return said.rpartition("chose: ")[2].strip(), kinds


def count_engines(emulator: Emulator, run: Run, engines: Sequence[str]) -> None:
    """Print a line of the table for each engine."""
    _, spec = MODELS[run.model]
    source = Source(spec, model_tensors(run.model))
    name = f"{run.model}, {run.dtype}, {run.cpu}"
    with tempfile.TemporaryDirectory(prefix="devit-count-") as temporary:
        for engine in engines:
            peer, folder = ENGINES[engine], Path(temporary) / engine
            folder.mkdir()
            image = source.tensors["golden.image"]
            pixels = peer_pixels(source.tensors, image, peer.layout) if peer.layout else image
            np.save(folder / "pixels.npy", pixels)
            model = str(peer.write(source, folder, run.dtype))
            job = Job(engine, model, str(folder / "pixels.npy"), threads=1, dtype=run.dtype)
            detail, kinds = count(emulator, run, job, folder)
            cells = " | ".join(f"{kinds[kind] / 1e6:.1f}" for kind in KINDS)
            click.echo(f"| {name} | {engine} {detail} | {cells} |")
    rest = " |" * (len(KINDS) - 2)
    click.echo(f"| {name} | multiply-accumulates / 4 | | {macs(spec) / 4e6:.1f} |{rest}")


@click.command()
@click.option("--qemu", required=True, type=click.Path(path_type=Path), help="qemu-aarch64")
@click.option("--qemu-source", required=True, type=click.Path(path_type=Path), help="Of QEMU.")
@click.option("--run", "runs", multiple=True, default=RUNS, help="MODEL:DTYPE:CPU")
@click.option("--engine", "engines", multiple=True, default=(OURS, *PEERS))
def main(qemu: Path, qemu_source: Path, runs: Sequence[str], engines: Sequence[str]) -> None:
    """Print a table, millions of instructions."""
    parsed = [Run.parse(text) for text in runs]
    emulator = get_emulator(qemu, qemu_source)
    click.echo(f"| run | engine | {' | '.join(KINDS)} |\n| --- | --- |{' ---: |' * len(KINDS)}")
    for run in parsed:
        count_engines(emulator, run, engines)


if __name__ == "__main__":
    main()
