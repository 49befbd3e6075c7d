"""Text files that people write with the editor that they have."""

import codecs
import io
from pathlib import Path


def read_text(path: Path) -> str:
    """The text of a file; see :func:`decode_text`. A pipe is read as well as a file.

    Raises:
        OSError: it cannot be read.
        UnicodeDecodeError: it is no text.
    """
    return decode_text(path.read_bytes())


def decode_text(content: bytes, errors: str = "strict") -> str:
    r"""The text in ``content``, whatever the locale is, with ``\n`` at the end of each line.

    A byte-order mark, which Windows' editors write, is left out. The encoding is UTF-8, or UTF-16
    where the mark says so.

    Args:
        content: a whole file.
        errors: what becomes of bytes that are no text, as for :meth:`bytes.decode`.

    Raises:
        UnicodeDecodeError: it is no text, and ``errors`` is ``strict``.
    """
    wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    encoding = "utf-16" if wide else "utf-8-sig"
    return io.TextIOWrapper(io.BytesIO(content), encoding, errors).read()
