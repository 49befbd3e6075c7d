"""What every source of pictures gives."""

from typing import NamedTuple, Protocol, Self


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
