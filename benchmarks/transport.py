"""What the network costs: a fleet of real processes whose parts compute next to nothing."""

import io
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from devit_iot.bundle.reading import Bundle
from devit_iot.camera.source import CameraImage
from devit_iot.demo.demo import Demo, Plan, summarise
from devit_iot.demo.processes import BrokerKind
from devit_iot.errors import BrokerError

PHOTO_BYTES = 40_000
SMALL_IMAGE = 64
"""Up to this side an image travels as the small picture that it is, else as a photo."""
_PHOTO = (640, 480)
_WARM_UP = 20


class Transport(NamedTuple):
    """Median milliseconds, of ``frames`` images.

    Attributes:
        transport: image to label less the stages that nodes and aggregator measure: waiting for
            the node's worker, decoding, computing, fusing.
        waiting: how long the image waits in the node; small where a board has its cores for itself.
        fusing: time in the aggregator, beside all other processes; what a latency counts as fusion
            is timed alone.
        payload: bytes of the image file.
    """

    transport: float
    waiting: float
    fusing: float
    payload: int
    frames: int


def measure(fleet: Bundle, payload: bytes, *, broker: BrokerKind, frames: int) -> Transport:
    """Publish ``payload`` again and again through a broker to one process per part.

    Raises:
        DevitError: a process ended, or an image got no label.
    """
    plan = Plan(
        bundle=fleet.path,
        samples=[(CameraImage("image", payload), "")],
        frames=_WARM_UP + frames,
        rate=20.0,
        broker=broker,
        kill_part=None,
        kill_after=0,
    )
    with tempfile.TemporaryDirectory(prefix="devit-transport-") as folder:
        demo = Demo(plan, Path(folder), on_answer=lambda _: None, on_event=lambda _: None)
        answers = demo.run()[_WARM_UP:]
    summary = summarise(answers)
    if summary.labels < frames or summary.degraded:
        raise BrokerError(
            f"of {frames} images through {broker} {frames - summary.labels} got no label and "
            f"{summary.degraded} labels lacked a part; is the machine too busy?"
        )
    stages = summary.latencies_ms
    return Transport(stages["transport"], stages["wait"], stages["fuse"], len(payload), frames)


def image_file(image_size: int) -> bytes:
    """What a camera would send to a network of this input: a JPEG of 40 kB, or a small PNG."""
    rng = np.random.default_rng(0)
    if image_size <= SMALL_IMAGE:
        return _encoded(_picture(rng, (image_size, image_size)), "PNG")
    photo = _picture(rng, _PHOTO)
    files = (_encoded(photo, "JPEG", quality=quality) for quality in range(20, 96))
    return min(files, key=lambda file: abs(len(file) - PHOTO_BYTES))


def _picture(rng: np.random.Generator, size: tuple[int, int]) -> Image.Image:
    """Smooth shapes with some grain."""
    width, height = size
    coarse = rng.integers(0, 256, (max(2, height // 16), max(2, width // 16), 3), np.uint8)
    smooth = np.asarray(Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC), np.float32)
    grain = rng.normal(0, 4, (height, width, 1))
    return Image.fromarray(np.clip(smooth + grain, 0, 255).astype(np.uint8))


def _encoded(image: Image.Image, kind: str, **options: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()
