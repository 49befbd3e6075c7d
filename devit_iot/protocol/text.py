"""Text that somebody else wrote: what may pass, and how the rest is shown."""

MAX_TEXT = 1000
"""Characters of any text in a message."""

MAX_CAMERA_LENGTH = 64
MAX_CAMERA_BYTES = 255
_MAX_SHOWN = 2000


def is_plain(text: str, max_length: int = MAX_TEXT) -> bool:
    """Whether ``text`` is short and has printable characters only.

    Nothing printable moves a cursor, ends a line or turns the writing direction round.
    """
    return len(text) <= max_length and text.isprintable()


def is_camera(name: str) -> bool:
    """Whether ``name`` can be a camera's name."""
    return (
        bool(name) and is_plain(name, MAX_CAMERA_LENGTH) and len(name.encode()) <= MAX_CAMERA_BYTES
    )


def is_camera_level(name: str) -> bool:
    """Whether ``name`` can be a camera's name and one level of a topic."""
    return is_camera(name) and not set(name) & set("/+#")


def shown(text: str) -> str:
    """``text`` for a log or a terminal: one line, with escapes for what is not printable."""
    cut = text[:_MAX_SHOWN]
    if not cut.isprintable():
        escaped = (c if c.isprintable() else c.encode("unicode_escape").decode() for c in cut)
        cut = "".join(escaped)
    return cut if len(text) <= _MAX_SHOWN else f"{cut}... ({len(text)} characters)"
