"""What it costs to decode a JPEG, by its header, and what that may be.

A JPEG is decoded at a reduced scale, so its own size says little about memory and time. Measured
for 50 megapixels at an eighth of their side: with one scan no memory beside what is left, with
several (progressive) 3 to 6 bytes for each pixel, by the sampling of its colours, and a pass for
each scan.
"""

import math
from collections.abc import Iterable
from typing import NamedTuple

from devit_iot.engine.image_file import FRAMES, MAX_SCANS, SCAN, JpegPiece, is_all
from devit_iot.errors import ImageError

HEADER_PIXELS = 8
"""So many times the pixels that may be decoded may a JPEG's header say: with the usual limit 256
million, since phones make 200."""

_FRAME_HEADER = 10  # bytes of a frame before its components, of three bytes each
_BLOCK = 8  # samples in a row of a block
_BLOCK_BYTES = 2 * _BLOCK**2  # its coefficients
_PIXEL_BYTES = 8  # a decoded pixel: Pillow's four, and four more for what it is converted to


class JpegFrame(NamedTuple):
    """What decides what it costs to decode a JPEG.

    Attributes:
        width: pixels.
        height: pixels.
        scans: each of them a pass over all pixels.
        kept_bytes: coefficients of the whole picture that a decoder keeps until the last scan; 0
            where it decodes row by row, since there is one scan only.
    """

    width: int
    height: int
    scans: int
    kept_bytes: int

    def check(self, max_pixels: int) -> None:
        """Raise ImageError ``too_large`` if it costs too much at every scale."""
        pixels = self.width * self.height
        if pixels > HEADER_PIXELS * max_pixels:
            raise too_large(self.width, self.height, HEADER_PIXELS * max_pixels)
        if pixels * self.scans > MAX_SCANS * max_pixels:
            raise ImageError(
                "too_large",
                f"JPEG of {self.width}x{self.height} pixels in {self.scans} scans, each a pass "
                f"over all of them, is over the limit of {MAX_SCANS} times {max_pixels} pixels",
            )

    def check_decoded(self, width: int, height: int, max_pixels: int, max_bytes: int) -> None:
        """Raise ImageError ``too_large`` if it costs too much at a scale.

        Args:
            width: width of the decoded picture, pixels.
            height: height of the decoded picture, pixels.
            max_pixels: largest number of pixels that may be decoded.
            max_bytes: largest number of bytes that decoding may take.
        """
        if width * height > max_pixels:
            raise too_large(width, height, max_pixels)
        needed = self.kept_bytes + _PIXEL_BYTES * width * height
        if needed > max_bytes:
            raise ImageError(
                "too_large",
                f"JPEG of {self.width}x{self.height} pixels in {self.scans} scans takes "
                f"{needed // 10**6} MB to decode, over the limit of {max_bytes // 10**6} MB; save "
                "it without progressive scans",
            )


def too_large(width: int, height: int, max_pixels: int) -> ImageError:
    """The refusal of an image that has too many pixels."""
    text = f"image of {width}x{height} pixels is over the limit of {max_pixels}"
    return ImageError("too_large", text)


def jpeg_frame(pieces: Iterable[JpegPiece]) -> JpegFrame:
    """The frame of a JPEG.

    Args:
        pieces: what :func:`devit_iot.engine.image_file.jpeg_pieces` finds in the file.

    Raises:
        ImageError: ``damaged``: it has no frame, or one that says what cannot be.
    """
    frame, scan, scans = b"", b"", 0
    for code, piece in pieces:
        if code in FRAMES:
            frame = piece
        elif code == SCAN:
            scan, scans = piece, scans + 1
    components = frame[_FRAME_HEADER:]
    if not frame or len(components) != 3 * frame[_FRAME_HEADER - 1] or not components:
        raise ImageError("damaged", "JPEG without a frame")
    factors = [(factor >> 4, factor & 15) for factor in components[1::3]]
    if not all(map(all, factors)):
        raise ImageError("damaged", "JPEG with a colour of no samples")
    height, width = (int.from_bytes(frame[at : at + 2], "big") for at in (5, 7))
    kept = 0 if is_all(frame, scan) else _coefficients(width, height, factors)
    return JpegFrame(width, height, scans, kept)


def _coefficients(width: int, height: int, factors: list[tuple[int, int]]) -> int:
    """Bytes of all coefficients: whole blocks, in whole groups of as many as are interleaved."""
    across = max(horizontal for horizontal, _ in factors)
    down = max(vertical for _, vertical in factors)
    groups = math.ceil(width / (_BLOCK * across)) * math.ceil(height / (_BLOCK * down))
    return _BLOCK_BYTES * groups * sum(h * v for h, v in factors)
