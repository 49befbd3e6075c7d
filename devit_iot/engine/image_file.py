"""What of an image file decides its pixels; the rest never reaches a decoder.

A decoder follows whatever a file says: a million comments, a thousand scans, kilobytes of metadata
that unpack to gigabytes. So the file is taken apart first, by its lengths alone, and what is left
takes time and memory in proportion to its pixels and bytes.

JPEG: ITU-T T.81, annex B. PNG: www.w3.org/TR/png-3, section 5. WebP: RFC 9649, section 2.
"""

import re
from collections.abc import Iterable, Iterator
from typing import TypeAlias

from devit_iot.errors import ImageError
from devit_iot.protocol.image_message import JPEG, PNG, is_webp

MAX_PIECES = 10_000
"""Segments of a JPEG, chunks of a PNG or WebP. A PNG may have one for each row."""

MAX_SCANS = 100
"""Of a JPEG, each of which may be a pass over all pixels; encoders make about ten."""

JpegPiece: TypeAlias = tuple[int, bytes]
"""Code of the marker that begins a piece of a JPEG, and the piece itself with its marker."""

_START_OF_IMAGE = b"\xff\xd8"

# A marker is 0xFF and a code; before it any number of 0xFF may stand.
_MARKER = re.compile(rb"\xff[^\x00\xff]")
END_OF_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # a stuffed 0xFF and restarts belong to it
_ALONE = frozenset({0x01, *range(0xD0, 0xD9)})  # markers without a length
FRAMES = frozenset({0xC0, 0xC1, 0xC2})  # Huffman-coded: baseline, extended, progressive
PROGRESSIVE = b"\xc2"
_OTHER_FRAMES = frozenset(range(0xC3, 0xD0)) - {0xC4, 0xC8, 0xCC}
_HUFFMAN, _QUANTIZATION, RESTARTS, SCAN, END = 0xC4, 0xDB, 0xDD, 0xDA, 0xD9
_TABLES = frozenset({_HUFFMAN, _QUANTIZATION, RESTARTS})
_COLOURS = {0xE0: b"JFIF\0", 0xEE: b"Adobe"}  # they say how three or four components are colours

_LENGTH_BYTES = 2  # a segment's length, which counts itself too

_PNG_KEPT = frozenset({b"IHDR", b"PLTE", b"IDAT", b"IEND"})
_PNG_FRAME = 12  # bytes of a chunk beside its data
_RIFF_FRAME = 8


def without_metadata(payload: bytes) -> bytes:
    """The file without metadata and thumbnails.

    Raises:
        ImageError: ``unknown_codec``: not one of the three formats, or a JPEG that is not
            Huffman-coded; ``slow``: more pieces or scans than any encoder makes; ``damaged``: a
            piece runs past the end.
    """
    if payload.startswith(JPEG):
        return jpeg_of(jpeg_pieces(payload))
    if payload.startswith(PNG):
        return _png(payload)
    if is_webp(payload):
        return _webp(payload)
    raise ImageError(
        "unknown_codec", f"payload of {len(payload)} bytes is no JPEG, PNG or WebP image"
    )


def jpeg_of(pieces: Iterable[JpegPiece]) -> bytes:
    """A JPEG of the pieces that :func:`jpeg_pieces` found in one: without metadata."""
    return b"".join((_START_OF_IMAGE, *(piece for _, piece in pieces)))


def jpeg_pieces(payload: bytes) -> Iterator[JpegPiece]:
    """Marker codes and bytes of the frame, tables and scans of a JPEG, one after the other.

    Raises:
        ImageError: a refusal of :func:`without_metadata`; some come only after all pieces.
    """
    position, pieces, scans, frame = 2, 0, 0, b""
    while (marker := _MARKER.search(payload, position)) is not None:
        pieces = _counted(pieces, "JPEG", "segments")
        code, begin, position = payload[marker.end() - 1], marker.start(), marker.end()
        if code == END:
            yield code, marker.group()
            break
        if code in _ALONE:
            continue
        _check_kind(code, frame)
        length = int.from_bytes(payload[position : position + _LENGTH_BYTES], "big")
        if scans and position + length > len(payload):
            break  # what is left shows a picture; whether it is whole is for others to judge
        position = _end_of_segment(payload, position)
        if code in FRAMES:
            frame = payload[begin:position]
        if code == SCAN:
            scans += 1
            if is_all(frame, payload[begin:position]):
                yield code, payload[begin:]
                break
            end = END_OF_SCAN.search(payload, position)
            position = len(payload) if end is None else end.start()
        elif not (
            code in FRAMES or code in _TABLES or _is_colour(code, payload[begin + 4 : begin + 9])
        ):
            continue
        yield code, payload[begin:position]
    _check_scans(scans)


def _check_kind(code: int, frame: bytes) -> None:
    """Refuse frames that are not Huffman-coded, and a frame after ``frame``."""
    if code in _OTHER_FRAMES:
        raise ImageError("unknown_codec", f"JPEG of a kind that nobody writes: SOF{code - 0xC0}")
    if code in FRAMES and frame:
        raise ImageError("damaged", "JPEG of several frames")


def _check_scans(scans: int) -> None:
    if scans > MAX_SCANS:
        raise ImageError("slow", f"JPEG of more than {MAX_SCANS} scans")
    if not scans:
        raise ImageError("damaged", "JPEG without a scan")


def _end_of_segment(payload: bytes, position: int) -> int:
    length = int.from_bytes(payload[position : position + _LENGTH_BYTES], "big")
    if length < _LENGTH_BYTES or position + length > len(payload):
        raise ImageError("damaged", "a segment of the JPEG runs past its end")
    return position + length


def is_all(frame: bytes, scan: bytes) -> bool:
    """Whether a decoder stops after this scan: it has all components, and all of their bits."""
    return frame[1:2] != PROGRESSIVE and frame[9:10] == scan[4:5] != b""


def _is_colour(code: int, name: bytes) -> bool:
    return _COLOURS.get(code) == name


def _png(payload: bytes) -> bytes:
    """Header, palette and pixels."""
    kept = [PNG]
    position, pieces = len(PNG), 0
    while position < len(payload):
        pieces = _counted(pieces, "PNG", "chunks")
        begin = position
        length = int.from_bytes(payload[begin : begin + 4], "big")
        kind = payload[begin + 4 : begin + 8]
        position += _PNG_FRAME + length
        if kind in _PNG_KEPT:
            kept.append(payload[begin:position])  # if it is cut, the decoder says so
        if kind == b"IEND":
            break
    return b"".join(kept)


def _webp(payload: bytes) -> bytes:
    """The whole file: its decoder skips what it does not need."""
    position, pieces = 12, 0
    while position < len(payload):
        pieces = _counted(pieces, "WebP", "chunks")
        length = int.from_bytes(payload[position + 4 : position + 8], "little")
        position += _RIFF_FRAME + length + length % 2
    return payload


def _counted(pieces: int, kind: str, what: str) -> int:
    if pieces >= MAX_PIECES:
        raise ImageError("slow", f"{kind} of more than {MAX_PIECES} {what}")
    return pieces + 1
