"""Pictures that a tiny random fleet can tell apart by colour, and runs of the command."""

import io
from pathlib import Path

import numpy as np
from click.testing import CliRunner, Result
from PIL import Image

from devit_iot.bundle.reading import Bundle
from devit_iot.cli.devit import main

COLOURS = {"closed": (200, 40, 40), "open": (40, 60, 210), "ajar": (60, 200, 60)}


def picture(kind: str, seed: int, noise: int = 60) -> bytes:
    """A PNG of about one colour; every seed makes another one."""
    rng = np.random.default_rng((seed, *COLOURS[kind]))
    pixels = np.array(COLOURS[kind]) + rng.integers(-noise, noise + 1, (16, 20, 3))
    buffer = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def photos(path: Path, counts: dict[str, int], first: int = 0) -> Path:
    """Class folders with so many pictures each, an hour between any two."""
    for kind, count in counts.items():
        (path / kind).mkdir(parents=True, exist_ok=True)
        for index in range(first, first + count):
            at = 1_777_600_000 + 3600 * index
            (path / kind / f"door-{at}.png").write_bytes(picture(kind, index))
    return path


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def teach(bundle: Bundle, data: Path, *options: str | Path, name: str = "gate") -> Result:
    """Run ``devit teach`` with cache and report beside the bundle."""
    beside = bundle.path.parent
    folders = ("--cache", beside / "cache", "--report", beside / "report")
    return run("teach", bundle.path, "--data", data, "--name", name, *folders, *options)


def failure(result: Result) -> str:
    """The one line that a person sees."""
    assert result.exit_code == 1, result.output
    lines = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert len(lines) == 1, result.output
    assert "Traceback" not in result.output
    return lines[0]
