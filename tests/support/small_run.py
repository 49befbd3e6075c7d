"""A decomposition of four of the digits that takes seconds, run as a user runs it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from click.testing import CliRunner, Result

from devit_iot.cli.decompose import decompose
from devit_iot.datasets.digits import read_digits
from devit_iot.datasets.source import write_image_zip
from devit_iot.programs import own_program

PER_CLASS = 30
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
RECIPE = """
name = "small"
seed = 42
threads = 1
storage = "float16"
method = "dekd"

[data]
source = "images"
held_out = 0.2
normalisation = { mean = [0.3, 0.3, 0.3], std = [0.35, 0.35, 0.35] }

[augment]
rotate_deg = 5.0

[teacher.model]
image_size = 32
resize_size = 32
patch_size = 8
embed_dim = 32
head_dim = 8
prefix_tokens = 1
blocks = [{ heads = 4, mlp_dim = 64 }]
depth = 2

[teacher.train]
epochs = 4
learning_rate = 3e-3
batch = 32

[teacher.part]
epochs = 1
learning_rate = 1e-3
batch = 32

[partition]
parts = 2
by = "similarity"

[shrink]
macs = [0.5, 0.4]
candidates = 6
images = 12

[joint]
individual = 0.2

[joint.train]
epochs = 5
learning_rate = 3e-3
batch = 32
ema = 0.5

[distill.train]
epochs = 2
learning_rate = 3e-3
batch = 32

[ensemble.train]
epochs = 3
learning_rate = 3e-3
batch = 32
ema = 0.5
"""


JOINT = (
    RECIPE.replace('"dekd"', '"joint"')
    .replace("[teacher.model]", "[teacher]\npasses = 3\n\n[teacher.model]")
    .replace('by = "similarity"', 'by = "similarity"\nviews = "grid"')
)
"""The same parts, trained together, each on its view, by a teacher that is asked once."""


def prepare(base: Path, recipe: str = RECIPE) -> None:
    """Write a recipe, and four of the digits as its images."""
    (base / "images").mkdir()
    for split, held_out in (("train", False), ("test", True)):
        samples = [s for s in read_digits(held_out=held_out) if s.class_name in "0123"]
        write_image_zip(base / "images" / f"{split}.zip", samples[: 4 * PER_CLASS])
    (base / "small.toml").write_text(recipe)


def run(base: Path, stage: str = "run", *options: str, folder: str = "run") -> Result:
    arguments = [stage, str(base / "small.toml"), "--folder", str(base / folder), "--cpu", *options]
    return CliRunner().invoke(decompose, arguments)


def command(base: Path, folder: str, *launcher: str) -> list[str]:
    """The same run as a program, with torchrun's options in ``launcher`` of several processes."""
    torchrun = (sys.executable, "-P", "-m", "torch.distributed.run", "--standalone", *launcher)
    return [
        *((*torchrun, "--no-python") if launcher else ()),
        *(*own_program("devit_iot.cli.devit"), "decompose", "run"),
        *(str(base / "small.toml"), "--folder", str(base / folder), "--cpu"),
    ]


TWO_PROCESSES = ("--nproc-per-node", "2")


def kill_at(state: Path, command: list[str]) -> None:
    """SIGKILL a run and all of its processes while ``state`` is there."""
    with subprocess.Popen(
        command,
        env=ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        deadline = time.monotonic() + 300
        while not state.exists():
            assert process.poll() is None, f"it ended before {state}"
            assert time.monotonic() < deadline
            time.sleep(0.002)
        os.killpg(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL


def failure(result: Result) -> str:
    """The one line that a person sees."""
    assert result.exit_code == 1, result.output
    lines = [line for line in result.stderr.splitlines() if line.startswith("Error")]
    assert len(lines) == 1, result.output
    return lines[0]
