"""A camera's JPEG to the square that a network takes: ours beside what others do.

    python benchmarks/image.py [FILE] [--seconds 20] [--json]

All run in turn on one thread; times are that thread's CPU time. "error" is the distance from
Pillow's whole decoding and bicubic resizing, in levels of 255. The peers normalise with numpy;
ours has that folded into the weights.
"""

import argparse
import io
import json
import time
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from devit_iot import _core
from devit_iot.bench.interleave import interleave
from devit_iot.bundle.spec import BlockSpec, SubVitSpec
from devit_iot.engine.image import load_image

SIDE, RESIZE = 224, 256
HALF = 240
"""Peers may decode at a reduced scale down to this side: half of 480, and less than RESIZE."""
SPEC = SubVitSpec(SIDE, RESIZE, 16, 64, 64, 1, (BlockSpec(1, 8),))
MEAN = np.array([123.675, 116.28, 103.53], np.float32)
SCALE = 1 / np.array([58.395, 57.12, 57.375], np.float32)
U8 = NDArray[np.uint8]


class Contender(NamedTuple):
    """One way to the square.

    Attributes:
        pixels: the file's bytes -> uint8[SIDE, SIDE, 3].
        antialiased: no frequency above the output's is folded into it.
        normalises: the network behind it wants normalised float32.
    """

    pixels: Callable[[bytes], U8]
    antialiased: bool
    normalises: bool = True

    def seconds(self, payload: bytes) -> float:
        """The CPU time that it takes; it runs on one thread, and waits for nothing."""
        begin = time.thread_time()
        pixels = self.pixels(payload)
        if self.normalises:
            _ = (pixels - MEAN) * SCALE
        return time.thread_time() - begin


def pillow(payload: bytes, *, draft: bool) -> U8:
    image = Image.open(io.BytesIO(payload))
    if draft:
        image.draft("RGB", (HALF, HALF))
    rgb = image.convert("RGB")
    width, height = _full(rgb.size)
    left, top = (width - SIDE) // 2, (height - SIDE) // 2
    resized = rgb.resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(resized.crop((left, top, left + SIDE, top + SIDE)))


def opencv(decode: Callable[[bytes], U8], interpolation: int) -> Callable[[bytes], U8]:
    import cv2

    def pixels(payload: bytes) -> U8:
        decoded = decode(payload)
        width, height = _full((decoded.shape[1], decoded.shape[0]))
        left, top = (width - SIDE) // 2, (height - SIDE) // 2
        resized: Any = cv2.resize(decoded, (width, height), interpolation=interpolation)
        square: U8 = resized[top : top + SIDE, left : left + SIDE]
        return square

    return pixels


def contenders() -> dict[str, Contender]:
    """Ours, Pillow, and those of the others that are installed."""
    found = {
        "ours": Contender(lambda p: load_image(p, SPEC), antialiased=True, normalises=False),
        "Pillow, bicubic": Contender(lambda p: pillow(p, draft=False), antialiased=True),
        "Pillow, draft, bicubic": Contender(lambda p: pillow(p, draft=True), antialiased=True),
    }
    if find_spec("cv2") is None:
        return found
    import cv2

    cv2.setNumThreads(1)

    def by_opencv(payload: bytes) -> U8:
        colour = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
        decoded: Any = cv2.imdecode(np.frombuffer(payload, np.uint8), colour)
        whole: U8 = decoded
        return whole

    found["OpenCV, linear"] = Contender(opencv(by_opencv, cv2.INTER_LINEAR), antialiased=False)
    found["OpenCV, area"] = Contender(opencv(by_opencv, cv2.INTER_AREA), antialiased=True)
    if find_spec("simplejpeg") is None:
        return found
    import simplejpeg

    def whole(payload: bytes) -> U8:
        decoded: U8 = simplejpeg.decode_jpeg(payload)
        return decoded

    def half(payload: bytes) -> U8:
        decoded: U8 = simplejpeg.decode_jpeg(payload, min_height=HALF, min_width=HALF)
        return decoded

    found["simplejpeg, area"] = Contender(opencv(whole, cv2.INTER_AREA), antialiased=True)
    found["simplejpeg, half, cubic"] = Contender(opencv(half, cv2.INTER_CUBIC), antialiased=True)
    return found


def sample() -> bytes:
    """A JPEG of 640 x 480 pixels, of about 95 kB: soft shapes and a sensor's noise."""
    rng = np.random.default_rng(0)
    shapes = Image.fromarray(rng.integers(0, 256, (60, 80, 3), np.uint8))
    soft = np.asarray(shapes.resize((640, 480), Image.Resampling.BICUBIC)).astype(np.int16)
    noisy = soft + rng.integers(-12, 13, soft.shape)
    file = io.BytesIO()
    Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)).save(file, "JPEG", quality=84)
    return file.getvalue()


def _full(size: tuple[int, int]) -> tuple[int, int]:
    width, height = (max(RESIZE, round(side * RESIZE / min(size))) for side in size)
    return width, height


def main() -> None:
    parser = argparse.ArgumentParser(description="See benchmarks/README.md.")
    parser.add_argument("file", nargs="?", type=Path, help="a JPEG; default: a made one")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    payload = options.file.read_bytes() if options.file else sample()
    ways = contenders()
    wanted = pillow(payload, draft=False).astype(np.float64)
    runs = {name: partial(way.seconds, payload) for name, way in ways.items()}
    times = interleave(runs, seconds=options.seconds, least=20, most=2000)
    rows = []
    for name, way in ways.items():
        error = np.abs(way.pixels(payload) - wanted)
        rows.append(
            {
                "name": name,
                "ms": times[name].median,
                "ms_least": times[name].least,
                "antialiased": way.antialiased,
                "error_mean": float(error.mean()),
                "error_max": float(error.max()),
            }
        )
    if options.json:
        print(json.dumps({"bytes": len(payload), "fma_peak": _core.fma_peak(), "ways": rows}))
        return
    with Image.open(io.BytesIO(payload)) as image:
        print(f"{image.width}x{image.height}, {len(payload)} bytes, to {SIDE}x{SIDE};", end=" ")
    print(f"FMA peak {_core.fma_peak():.1f} GFLOP/s")
    print("                              ms least  antialiased  error, mean / max")
    for row in rows:
        print(
            f"{row['name']:26s} {row['ms']:6.2f} {row['ms_least']:5.2f}  "
            f"{'yes' if row['antialiased'] else 'no':11s}  "
            f"{row['error_mean']:.2f} / {row['error_max']:.0f}"
        )


if __name__ == "__main__":
    main()
