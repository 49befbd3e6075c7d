"""Files that say little and cost much, made by hand: no encoder writes them."""

import struct
import zlib
from collections.abc import Iterator

_CODE_LENGTH_ORDER = (17, 18, 0, 1, 2, 3, 4, 5, 16, 6, 7, 8)  # VP8L's order, as far as needed


def segment(code: int, data: bytes = b"") -> bytes:
    """One of a JPEG."""
    return bytes((0xFF, code)) + struct.pack(">H", len(data) + 2) + data


def after_start(jpeg: bytes, segments: bytes) -> bytes:
    """``jpeg`` with ``segments`` behind its first marker."""
    return jpeg[:2] + segments + jpeg[2:]


_ONE_CODE = bytes((1, *bytes(15), 0))
"""A Huffman table: one code, 0, for the symbol 0."""


def scans_jpeg(width: int, height: int, scans: int, *, frame: int = 0xC0) -> bytes:
    """A grey-blue-red JPEG of one scan a component, and ``scans`` of the first that say nothing.

    ``frame``: 0xC0 for baseline, 0xC2 for progressive: then they refine what is zero.
    """
    blocks = _blocks(width, height)
    table, last, again = _ONE_CODE, 63, _scan((1,), 0, 63, 0, 0)
    if frame == 0xC2:  # a code, 0, and 14 bits that make a run of 16384 blocks longer
        table, last = bytes((1, *bytes(15), 0xE0)), 0
        again = _scan((1,), 1, 63, 0x10, 2 + 2 * (blocks // 16384))
    firsts = b"".join(_scan((number,), 0, last, 0, blocks // 4 + 1) for number in (1, 2, 3))
    return _three_components(width, height, frame, table, firsts + again * scans)


def interleaved_jpeg(width: int, height: int, scans: int, components: tuple[int, ...]) -> bytes:
    """A progressive grey JPEG: the means of all blocks, then ``scans`` that refine those of
    ``components`` together, each by a bit that is zero.
    """
    blocks = _blocks(width, height)
    first = _scan((1, 2, 3), 0, 0, 1, 3 * blocks // 8 + 1)
    again = _scan(components, 0, 0, 0x10, len(components) * blocks // 8 + 1)
    return _three_components(width, height, 0xC2, _ONE_CODE, first + again * scans)


def pairs_jpeg(width: int, height: int, scans: int, *, frame: int = 0xC0) -> bytes:
    """A baseline JPEG of three components, and ``scans`` that hold the first two together."""
    scan = _scan((1, 2), 0, 63, 0, _blocks(width, height) // 2 + 1)
    return _three_components(width, height, frame, _ONE_CODE, scan * scans)


def _blocks(width: int, height: int) -> int:
    return -(-width // 8) * -(-height // 8)


def _scan(components: tuple[int, ...], first: int, last: int, bits: int, size: int) -> bytes:
    """A scan of the coefficients ``first`` to ``last``: ``size`` bytes of zeros."""
    chosen = b"".join(bytes((number, 0)) for number in components)
    head = bytes((len(components),)) + chosen + bytes((first, last, bits))
    return segment(0xDA, head) + bytes(size)


def _three_components(width: int, height: int, frame: int, table: bytes, scans: bytes) -> bytes:
    """A JPEG of one block size, with one code for means and ``table`` for the rest."""
    components = b"".join(bytes((number, 0x11, 0)) for number in (1, 2, 3))
    return b"".join(
        (
            b"\xff\xd8",
            segment(0xDB, b"\0" + b"\1" * 64),
            segment(frame, struct.pack(">BHHB", 8, height, width, 3) + components),
            segment(0xC4, b"\0" + _ONE_CODE) + segment(0xC4, b"\x10" + table),
            scans,
            b"\xff\xd9",
        )
    )


def chunk(name: bytes, data: bytes = b"") -> bytes:
    """One of a PNG."""
    body = name + data
    return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))


def png(width: int, height: int, *chunks: bytes, depth: int = 8, colour: int = 2) -> bytes:
    """A PNG of these chunks between its first and its last one."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    ends = chunk(b"IHDR", header), chunk(b"IEND")
    return b"\x89PNG\r\n\x1a\n" + ends[0] + b"".join(chunks) + ends[1]


def black(width: int, height: int) -> bytes:
    """The pixels of a black 8-bit RGB PNG."""
    return chunk(b"IDAT", zlib.compress(bytes((1 + 3 * width) * height), 9))


def webp(*chunks: tuple[bytes, bytes]) -> bytes:
    """A WebP of these chunks."""
    body = b"".join(
        name + struct.pack("<I", len(data)) + data + bytes(len(data) % 2) for name, data in chunks
    )
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def groups_webp(side: int) -> bytes:
    """A lossless WebP of side x side pixels in which every 4 x 4 of them have code tables of their
    own, up to 65536: six kilobytes each for the decoder, twenty bits in the file.
    """
    return webp((b"VP8L", _packed(_groups(side)) + bytes(16)))


def _groups(side: int) -> Iterator[tuple[int, int]]:
    """Values and their bits."""
    blocks = -(-side // 4)
    single = ((1, 1), (0, 1), (0, 1), (0, 1))  # a code of one symbol, 0
    yield from ((0x2F, 8), (side - 1, 14), (side - 1, 14), (0, 1), (0, 3))
    yield from ((0, 1), (0, 1), (1, 1), (0, 3), (0, 1))  # no transform, no cache, groups of 4 x 4
    for symbols in (280, 256):  # green and red of the group's number: 8 bits each
        yield from ((0, 1), (len(_CODE_LENGTH_ORDER) - 4, 4))
        yield from ((int(length in {0, 8}), 3) for length in _CODE_LENGTH_ORDER)
        yield from ((0, 1), *((int(symbol < 256), 1) for symbol in range(symbols)))
    yield from single * 3
    for number in range(blocks * blocks):
        for byte in (number & 255, number >> 8 & 255):
            yield int(f"{byte:08b}"[::-1], 2), 8
    for _ in range(min(65536, blocks * blocks)):
        yield from single * 5


def _packed(fields: Iterator[tuple[int, int]]) -> bytes:
    """Least significant bit first."""
    out = bytearray()
    value = bits = 0
    for field, size in fields:
        value |= field << bits
        bits += size
        while bits >= 8:
            out.append(value & 255)
            value >>= 8
            bits -= 8
    return bytes(out) + bytes((value,))
