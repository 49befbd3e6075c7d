"""Bytes that one inference moves to and from memory, by a model of a Pi Zero 2 W's caches.

PYTHONPATH=. python benchmarks/arm/traffic.py --qemu QEMU --qemu-source SOURCE [--run demo:int8:max]

See benchmarks/README.md for the model and what is counted.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import click
from emulator import Run, get_emulator, watch

from devit_iot.bench.peers import OURS, Source
from devit_iot.bundle.storage import Dtype, pack

RUNS = tuple(
    f"{model}:{dtype}:cortex-a53"
    for model in ("M3", "demo")
    for dtype in ("float32", "float16", "int8")
)


def weight_bytes(source: Source, dtype: Dtype) -> int:
    """Bytes of all weights as the engine keeps them, without what fills up its panels."""
    total = 0
    for tensor in source.spec.tensors():
        packed = pack(tensor, source.tensors[tensor.name], dtype)
        size = sum(array.nbytes for array in packed.values())
        # bundles keep it in float32; in int8 it is rounded when it is loaded
        total += size // 4 if dtype == "int8" and tensor.name == "patch_embed.weight" else size
    return total


@click.command()
@click.option("--qemu", required=True, type=click.Path(path_type=Path), help="qemu-aarch64")
@click.option("--qemu-source", required=True, type=click.Path(path_type=Path), help="Of QEMU.")
@click.option("--run", "runs", multiple=True, default=RUNS, help="MODEL:DTYPE:CPU")
def main(qemu: Path, qemu_source: Path, runs: Sequence[str]) -> None:
    """Print a table, MB."""
    parsed = [Run.parse(text) for text in runs]
    emulator = get_emulator(qemu, qemu_source, "traffic.c", peers=False)
    click.echo("| run | kernels | weights | image | read | written | moved / (weights + image) |")
    click.echo("| --- | --- |" + " ---: |" * 5)
    for run in parsed:
        source = run.source()
        with tempfile.TemporaryDirectory(prefix="devit-traffic-") as folder:
            detail, moved = watch(emulator, run, OURS, source, Path(folder))
        weights = weight_bytes(source, run.dtype)
        image = source.tensors["golden.image"].nbytes
        ratio = (moved["read"] + moved["written"]) / (weights + image)
        cells = (weights, image, moved["read"], moved["written"])
        megabytes = " | ".join(f"{size / 1e6:.2f}" for size in cells)
        name = f"{run.model}, {run.dtype}, {run.cpu}"
        click.echo(f"| {name} | {detail} | {megabytes} | {ratio:.2f} |")


if __name__ == "__main__":
    main()
