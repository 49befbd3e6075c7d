"""A picture that compresses as photographs do, for measurements."""

import io

import numpy as np
from PIL import Image

SIZE = (640, 480)
"""Width and height, pixels."""
_QUALITY = 90


def picture_file() -> bytes:
    """A JPEG of SIZE, the same every time, about 75 kB: smooth waves with some noise."""
    width, height = SIZE
    noise = np.random.default_rng(0).normal(0, 6, (height, width, 3))
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    waves = [127 + 100 * np.sin(x / 37 + turn) * np.cos(y / 53 - turn) for turn in (0.0, 1.0, 2.0)]
    pixels = np.clip(np.stack(waves, axis=2) + noise, 0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=_QUALITY)
    return buffer.getvalue()
