"""Whether a JPEG has all of its picture: scan data that end early decode to grey without a word.

ITU-T T.81, annexes B and G.
"""

import re

from devit_iot.engine.image_file import (
    END,
    END_OF_SCAN,
    FRAMES,
    PROGRESSIVE,
    RESTARTS,
    SCAN,
    is_all,
)
from devit_iot.errors import ImageError

END_OF_IMAGE = b"\xff\xd9"

_HUNGER = b"\xff\x00" * 8
"""What follows the scan instead of an end: a decoder reads ahead by eight bytes at most. They are
ones, which no code is made of, so that few blocks can be decoded from them."""

_END_WITHOUT_RESTARTS = re.compile(rb"\xff[^\x00\xff]")
_RESTART = re.compile(rb"\xff[\xd0-\xd7]")
_COEFFICIENTS = 64
_BLOCK = 8  # pixels of its side


def missing(what: str) -> ImageError:
    """The refusal of a JPEG without some of its data."""
    return ImageError(
        "incomplete",
        f'JPEG without all of its picture: {what}; nodes with images.incomplete = "take" take it',
    )


def open_ended(file: bytes) -> bytes:
    """A JPEG whose decoder asks for more bytes than there are if scan data are missing.

    A decoder fills the rest with grey at an end of image that comes early. The end is therefore
    taken away from a JPEG of one scan, also a forged one: a decoder that has all blocks needs none,
    any other runs out of bytes. One or two blocks can be missing unnoticed. A decoder goes on after
    a gap at a restart marker, so those are counted.

    In a JPEG of several scans each fills the whole picture, and early ends of all but the last one
    mean that there are no later ones: so it must have scans for all bits of all components. An
    early end of its last scan costs sharpness, or the colour of the lower part, and passes.

    Args:
        file: a JPEG that :func:`devit_iot.engine.image_file.without_metadata` gave, with or without
            the end of the image.

    Raises:
        ImageError: ``incomplete``: scans or restart intervals are missing.
    """
    position, frame, interval = 2, b"", 0
    bits: dict[int, list[int]] = {}
    while file[position : position + 1] == b"\xff" and file[position + 1] != END:
        code, begin = file[position + 1], position
        position += 2 + int.from_bytes(file[position + 2 : position + 4], "big")
        segment = file[begin:position]
        if code in FRAMES:
            frame = segment
            bits = {component: [1] * _COEFFICIENTS for component in frame[10::3]}
        elif code == RESTARTS:
            interval = int.from_bytes(segment[4:6], "big")
        elif code == SCAN:
            pattern = END_OF_SCAN if interval else _END_WITHOUT_RESTARTS
            end = pattern.search(file, position)
            data, position = position, len(file) if end is None else end.start()
            if is_all(frame, segment):
                restarts = len(_RESTART.findall(file, data, position)) if interval else 0
                if interval and restarts < _restarts(frame, interval):
                    raise missing("it lacks restart intervals")
                return file[:position] + _HUNGER
            _cover(bits, segment, is_progressive=frame[1:2] == PROGRESSIVE)
    if any(any(lacking) for lacking in bits.values()):
        raise missing("scans are missing")
    return file[:position] + END_OF_IMAGE


def _restarts(frame: bytes, interval: int) -> int:
    """Restart markers that a scan of all components has."""
    height, width = (int.from_bytes(frame[at : at + 2], "big") for at in (5, 7))
    sampling = frame[11::3] if frame[9] > 1 else b"\x11"  # one component counts by blocks
    across = max(1, *(factors >> 4 for factors in sampling)) * _BLOCK
    down = max(1, *(factors & 15 for factors in sampling)) * _BLOCK
    return (-(-width // across) * -(-height // down) - 1) // interval


def _cover(bits: dict[int, list[int]], scan: bytes, *, is_progressive: bool) -> None:
    """Note which bit of which coefficients ``scan`` gives to its components."""
    components = scan[5:-3:2]
    first, last, shift = (scan[-3], scan[-2], scan[-1] & 15) if is_progressive else (0, 63, 0)
    if first <= last < _COEFFICIENTS:
        for component in components:
            if component in bits:
                bits[component][first : last + 1] = [shift] * (last + 1 - first)
