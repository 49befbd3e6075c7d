"""One inference on 64-bit Arm in an emulator, watched by one of the plugins beside this file."""

import json
import shutil
from pathlib import Path
from typing import NamedTuple, get_args

import numpy as np

from devit_iot.bench.graph import peer_pixels
from devit_iot.bench.models import MODELS, model_tensors
from devit_iot.bench.peers import ENGINES, Source
from devit_iot.bench.runners import Job
from devit_iot.bundle.reading import Bundle
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
DEMO = ROOT / "devit_iot" / "demo" / "bundle"
PEERS = {"onnxruntime": "onnxruntime", "litert": "ai-edge-litert"}
"""Engine -> package."""


class Emulator(NamedTuple):
    """What runs a watched program.

    Attributes:
        qemu: a user-mode QEMU for AArch64 that takes plugins.
        plugin: what watches, compiled for it.
        marks: marks.c, for the emulated program.
        path: folders of the emulated Python's packages.
    """

    qemu: Path
    plugin: Path
    marks: Path
    path: str


class Run(NamedTuple):
    """What is watched: one model, in one dtype, on one CPU of QEMU's."""

    model: str
    dtype: Dtype
    cpu: str

    @classmethod
    def parse(cls, text: str) -> "Run":
        """MODEL:DTYPE:CPU; the model "demo" is the demo's part 0.

        Raises:
            ConfigError: there is no such model or dtype.
        """
        model, _, rest = text.partition(":")
        dtype, _, cpu = rest.partition(":")
        for known in get_args(Dtype):
            if known == dtype and (model in MODELS or model == "demo") and cpu:
                return cls(model, known, cpu)
        raise ConfigError(f"'{text}' is no run: MODEL:DTYPE:CPU, such as M3:int8:cortex-a53")

    def source(self) -> Source:
        """The model's shape and weights, before they are stored in ``dtype``."""
        if self.model == "demo":
            part = Bundle(DEMO).read_part(0)
            return Source(part.spec, part.tensors)
        return Source(MODELS[self.model][1], model_tensors(self.model))


def get_emulator(qemu: Path, source: Path, plugin_source: str, *, peers: bool) -> Emulator:
    """Compile a plugin, marks.c and our module, and install what runs them, under ``build/arm``.

    Args:
        qemu: the emulator.
        source: the folder of QEMU's source, for its header.
        plugin_source: a C file in this folder.
        peers: install the peers too.
    """
    rootfs = get_rootfs()
    plugin, marks = (BUILD / plugin_source).with_suffix(".so"), BUILD / "marks.so"
    shared = ("-shared", "-fPIC", "-O2", "-Wall", "-Wextra")
    flags = check("pkg-config", "--cflags", "glib-2.0").split()
    headers = f"-I{source / 'include' / 'qemu'}"
    check("cc", *shared, *flags, headers, HERE / plugin_source, "-o", plugin)
    check("aarch64-linux-gnu-gcc", *shared, HERE / "marks.c", "-o", marks)
    tree = BUILD / "counted"
    shutil.rmtree(tree, ignore_errors=True)
    shutil.copytree(ROOT / "devit_iot", tree / "devit_iot", ignore=shutil.ignore_patterns("*.so"))
    shutil.copy(cross_build(rootfs), tree / "devit_iot")
    path = f"{tree}:{get_site()}"
    if peers:
        installed = cached(BUILD / "site-peers", lambda to: pip_install(to, *PEERS.values()))
        path = f"{path}:{installed}"
    return Emulator(qemu.resolve(), plugin, marks, path)


def watch(
    emulator: Emulator, run: Run, engine: str, source: Source, folder: Path
) -> tuple[str, dict[str, int]]:
    """What the engine chose, and what the plugin counted of one inference.

    Args:
        emulator: with the plugin.
        run: what is watched.
        engine: a name of ``ENGINES``.
        source: ``run.source()``.
        folder: an empty one, for files.
    """
    peer, counts, file = ENGINES[engine], folder / "counts.json", folder / "job.json"
    image = source.tensors["golden.image"]
    pixels = peer_pixels(source.tensors, image, peer.layout) if peer.layout else image
    np.save(folder / "pixels.npy", pixels)
    model = str(peer.write(source, folder, run.dtype))
    job = Job(engine, model, str(folder / "pixels.npy"), threads=1, dtype=run.dtype)
    file.write_text(json.dumps(job._asdict()))
    rootfs = get_rootfs()
    said = check(
        emulator.qemu, "-cpu", run.cpu, "-L", rootfs,
        "-plugin", f"{emulator.plugin},out={counts}",
        rootfs / "usr" / "bin" / f"python{PYTHON}", HERE / "contender.py", file, emulator.marks,
        PYTHONPATH=emulator.path, OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1",
    )  # fmt: skip
    counted: dict[str, int] = json.loads(counts.read_text())
    return said.rpartition("chose: ")[2].strip(), counted
