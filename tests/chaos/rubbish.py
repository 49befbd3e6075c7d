"""Payloads that nobody should send, and what each reader should make of them.

Made anew in each run, always the same.
"""

import base64
import functools
import random
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from devit_iot.engine.image_file import MAX_PIECES, MAX_SCANS
from tests.support.bombs import (
    after_start,
    black,
    chunk,
    groups_webp,
    png,
    scans_jpeg,
    segment,
    webp,
)
from tests.support.fleets import image_file
from tests.support.images import encoded, jpeg_that_claims, noise, png_that_claims

MAX_PIXELS = 1_000_000
MAX_PAYLOAD = 512 * 2**10
"""The nodes' limits in this test: low, or it would take long to exceed them."""

FINE = ""
CUTS = tuple(number / 16 for number in range(16))
TEXTS = {
    "ansi": "\x1b[2J\x1b]0;owned\x07",
    "newline": "a\nERROR all is lost",
    "return": "a\rb",
    "nul": "a\0b",
    "c1": "\x9b31m",
    "bidi": "\u202egpj.door",
    "isolate": "\u2066door\u2069",
    "line-separator": "a\u2028b",
    "zero-width": "do\u200bor",
    "private": "\ue000",
    "long": "x" * 2000,
}
"""What may not be shown."""


class Image(NamedTuple):
    """An image message.

    Attributes:
        reason: reason of its refusal; FINE if it is an image whatever else it is.
    """

    name: str
    payload: bytes
    reason: str


def files() -> Iterator[Image]:
    """Image files; all of them can be sent in three forms."""
    yield from _cut()
    yield from _bombs()
    yield from _strangers()
    yield from _chimeras()


def _reason_of_cut(kind: str, file: bytes, size: int) -> str:
    """A JPEG may end in its scans, and a progressive one in the last of them, a refinement."""
    if kind not in {"jpeg", "progressive"} or size < file.index(b"\xff\xda") + 14:
        return "damaged"
    refines = kind == "progressive" and size >= file.rindex(b"\xff\xda") + 10
    return FINE if refines else "incomplete"


def _cut() -> Iterator[Image]:
    picture = noise(90, 70)
    whole = {
        "jpeg": encoded(picture, "JPEG"),
        "progressive": encoded(picture, "JPEG", progressive=True),
        "png": encoded(picture, "PNG"),
        "webp": encoded(picture, "WEBP"),
        "lossless": encoded(picture, "WEBP", lossless=True),
    }
    for kind, file in whole.items():
        for cut in CUTS[1:]:
            reason = _reason_of_cut(kind, file, int(cut * len(file)))
            yield Image(f"{kind} cut at {cut}", file[: int(cut * len(file))], reason)
        short = "damaged" if file.startswith(b"\xff") else "unknown_codec"
        yield Image(f"{kind} of three bytes", file[:3] + b"\0", short)
    for kind in ("jpeg", "png"):  # all zeros where the pixels should begin
        half = len(whole[kind]) // 2
        yield Image(f"{kind} with a hole", whole[kind][:60] + bytes(half), "damaged")


def _bombs() -> Iterator[Image]:
    for side in (13_000, 20_000, 65_500):
        yield Image(f"jpeg that claims {side}", jpeg_that_claims(side, side), "too_large")
    for side in (13_000, 100_000, 2**31 - 1):
        yield Image(f"png that claims {side}", png_that_claims(side, side), "too_large")
    canvas = bytes(4) + (16_383).to_bytes(3, "little") * 2
    yield Image("webp that claims 16384", webp((b"VP8X", canvas)), "too_large")
    lossless = b"\x2f" + (16_383 | 16_383 << 14).to_bytes(4, "little") + bytes(40)
    yield Image("lossless webp that claims 16384", webp((b"VP8L", lossless)), "too_large")
    yield Image("png of a million pixels more", png(1001, 1000, black(1001, 1000)), "too_large")
    yield Image("webp of code tables", groups_webp(512), "damaged")
    deep = chunk(b"IDAT", zlib.compress(bytes(20_000_000), 9))
    yield Image("png of pixels without end", png(64, 48, deep), FINE)
    packed = zlib.compress(bytes(8_000_000), 9)
    for kind in (b"zTXt", b"iCCP"):
        bomb = chunk(kind, b"k\0\0" + packed) * 3
        yield Image(f"png with {kind.decode()}", png(8, 8, bomb, black(8, 8)), FINE)
    bomb = chunk(b"iTXt", b"k\0\1\0\0\0" + packed) * 3
    yield Image("png with iTXt", png(8, 8, bomb, black(8, 8)), FINE)
    for frame, name in ((0xC0, "baseline"), (0xC2, "progressive")):
        yield Image(f"{name} of a thousand scans", scans_jpeg(64, 48, 1000, frame=frame), "slow")
        most = scans_jpeg(64, 48, MAX_SCANS - 3, frame=frame)
        reason = FINE if name == "baseline" else "incomplete"  # some bits are in no scan
        yield Image(f"{name} of as many scans as allowed", most, reason)
    jpeg = encoded(noise(64, 48), "JPEG")
    for name, piece in (
        ("comments", segment(0xFE)),
        ("applications", segment(0xE5)),
        ("tables", segment(0xDB)),
        ("restarts", b"\xff\xd0"),
    ):
        yield Image(f"jpeg of {name}", after_start(jpeg, piece * MAX_PIECES), "slow")
    for kind in (b"IDAT", b"tEXt", b"prVt", b"fcTL"):
        many = png(8, 8, chunk(kind) * MAX_PIECES, black(8, 8))
        yield Image(f"png of {kind.decode()}", many, "slow")
    yield Image("webp of chunks", webp(*[(b"ABCD", b"")] * (MAX_PIECES + 1)), "slow")
    yield Image("jpeg behind padding", after_start(jpeg, b"\xff" * 300_000), FINE)
    directory = b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + b"\0\1\1\0\xff\xff\0\0\x08\0\0\0" * 5000
    yield Image(
        "jpeg with a directory of itself", after_start(jpeg, segment(0xE1, directory)), FINE
    )
    for code in (0xC3, 0xC5, 0xC9, 0xCA, 0xCF):
        changed = jpeg.replace(b"\xff\xc0", bytes((0xFF, code)))
        yield Image(f"jpeg of kind {code - 0xC0}", changed, "unknown_codec")


def _strangers() -> Iterator[Image]:
    for name, start in {
        "gif": b"GIF89a\1\0\1\0",
        "bmp": b"BM",
        "tiff": b"II*\0",
        "heic": b"\0\0\0\x18ftypheic",
        "avif": b"\0\0\0\x1cftypavif",
        "jpeg 2000": b"\0\0\0\x0cjP  \r\n\x87\n",
        "jpeg xl": b"\xff\x0a",
        "pdf": b"%PDF-1.7\n",
        "zip": b"PK\3\4",
        "gzip": b"\x1f\x8b\x08",
        "elf": b"\x7fELF",
        "wave": b"RIFF\x24\0\0\0WAVEfmt ",
        "svg": b"<svg onload='x()'/>",
        "pickle": b"\x80\4cos\nsystem\n",
        "script": b"#!/bin/sh\nrm -rf .\n",
        "zeros": b"",
        "a bare png": b"\x89PNG",
        "a unix png": b"\x89PNG\n\x1a\n",
    }.items():
        yield Image(name, start + bytes(200), "unknown_codec")


def _chimeras() -> Iterator[Image]:
    jpeg, plain = encoded(noise(64, 48), "JPEG"), png(8, 8, black(8, 8))
    yield Image("jpeg and zip", jpeg + b"PK\3\4" + bytes(300), FINE)
    yield Image("jpeg and jpeg", jpeg + jpeg, FINE)
    yield Image("jpeg with a page", after_start(jpeg, segment(0xFE, b"<?php x(); ?>")), FINE)
    yield Image("png and page", plain + b"<script>x()</script>", FINE)
    yield Image("png in jpeg", after_start(jpeg, plain), "unknown_codec")
    yield Image("jpeg in png", plain[:8] + jpeg, "damaged")
    yield Image("gif and jpeg", b"GIF89a" + jpeg, "unknown_codec")
    yield Image(
        "jpeg with two frames", jpeg.replace(b"\xff\xda", jpeg[2:] + b"\xff\xda"), "damaged"
    )
    yield Image("jpeg without scans", jpeg[: jpeg.index(b"\xff\xda")] + b"\xff\xd9", "damaged")
    yield Image("jpeg without codes", jpeg.replace(b"\xff\xc4", b"\xff\xe4"), FINE)  # known ones
    yield Image("png without pixels", png(8, 8), "damaged")
    yield Image("png of no width", png(0, 8, black(8, 8)), "damaged")
    yield Image(
        "png whose chunk has four gigabytes", plain[:33] + b"\xff\xff\xff\xffIDAT", "damaged"
    )


def messages() -> Iterator[Image]:
    """Image messages that hold no file."""
    text = base64.b64encode(image_file(0)).decode()
    for name, payload in {
        "white": b" \r\n\t",
        "data without comma": b"data:image/png;base64",
        "data without image": b"data:image/png;base64,",
        "empty text": b'{"image": ""}',
        "padding": b"====",
    }.items():
        yield Image(name, payload, "empty")
    for name, payload in {
        "one letter": b"A",
        "padding inside": b"AA==AAAA",
        "cut text": text.encode()[:-7],
        "a letter more": text.encode() + b"*",
        "data with a star": b"data:image/png;base64,A*AA",
        "text with an accent": f'{{"image": "{text}é"}}'.encode(),
        "text with a bell": b'{"image": "AA\\u0007A"}',
        "half a letter": b'{"image": "\\ud800AAA"}',
        "a page": b'{"image": "<script>x()</script>"}',
    }.items():
        yield Image(name, payload, _escaped(name))
    for name, payload in {
        "a brace": b"{",
        "no field": b"{}",
        "another field": b'{"picture": "AAAA"}',
        "a number": b'{"image": 3}',
        "a huge number": b'{"image": 1e999999}',
        "many digits": b'{"image": ' + b"9" * 100_000 + b"}",
        "null": b'{"image": null}',
        "lists": b'{"image": ' + b"[" * 100_000,
        "objects": b'{"a":' * 50_000,
        "closed objects": b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
        "no UTF-8": b'{"image": "\xff\xfe"}',
        "not a number": b'{"image": NaN}',
        "cut": b'{"image": "AAAA',
        "two values": b'{"image": 1}{"image": 2}',
        "a comment": b'{/**/"image": "AAAA"}',
        "many fields": b"{" + b",".join(b'"%d":0' % n for n in range(30_000)) + b"}",
        "empty lists": b'{"a":[' + b"[]," * 100_000 + b"0]}",
    }.items():
        yield Image(name, payload, "json")
    again = f'{{"image": "AAAA", "image": "{text}"}}'.encode()
    yield Image("the same field twice", again, FINE)
    yield Image("text of a bomb", base64.b64encode(png_that_claims(13_000, 13_000)), "too_large")
    yield Image("text of text", base64.b64encode(base64.b64encode(image_file(0))), "unknown_codec")
    yield Image("text of zeros", b"A" * 400_000, "unknown_codec")
    yield Image("too long", bytes(MAX_PAYLOAD + 1), "too_large")
    yield Image("twice too long", b"A" * (2 * MAX_PAYLOAD), "too_large")


def _escaped(name: str) -> str:
    return "json" if name == "half a letter" else "base64"


def wrapped(image: Image) -> tuple[Image, Image]:
    """The same file as base64 text, and in a JSON object."""
    text = base64.b64encode(image.payload)
    return (
        image._replace(name=f"{image.name}, base64", payload=text),
        image._replace(name=f"{image.name}, json", payload=b'{"image": "' + text + b'"}'),
    )


@functools.cache
def images() -> tuple[Image, ...]:
    """All of them, each file in two of the three forms."""
    rng = random.Random(0)
    found = tuple(files())
    return (*messages(), *found, *(rng.choice(wrapped(file)) for file in found))
