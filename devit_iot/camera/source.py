"""What every source of pictures gives."""

from collections.abc import Iterator
from typing import NamedTuple, Protocol, Self

MIN_PAUSE_S = 1.0
"""The pause before a lost source is tried for the first time, seconds."""
MAX_PAUSE_S = 30.0
"""The longest pause between two tries, seconds."""


class CameraImage(NamedTuple):
    """One image file, and where it came from."""

    name: str
    payload: bytes


class Form(NamedTuple):
    """What an image is made into.

    Attributes:
        size: pixels of its longer side at most; None: as it is.
        quality: JPEG quality, 1 to 100; an image file that need not become smaller stays as it is.
    """

    size: int | None = None
    quality: int = 85


class CameraImages(Protocol):
    """An iterator of images that another thread may end."""

    def __iter__(self) -> Self:
        """Itself."""

    def __next__(self) -> CameraImage:
        """Wait for the next one."""

    def close(self) -> None:
        """End it, also while somebody waits for the next one."""


def pauses() -> Iterator[float]:
    """Give the seconds to wait before each try of a lost source: each pause is twice the last."""
    pause_s = MIN_PAUSE_S
    while True:
        yield pause_s
        pause_s = min(2 * pause_s, MAX_PAUSE_S)
