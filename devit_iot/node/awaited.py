"""Which features make an image done, where rectangles of it are computed as images of their own."""

from collections import OrderedDict
from collections.abc import Iterable

_MAX_IMAGES = 4096


class Awaited:
    """The features that images still wait for, by request ids.

    An image that was never named here waits for the feature with its own request id.
    """

    def __init__(self) -> None:
        self._missing: OrderedDict[bytes, set[bytes]] = OrderedDict()
        self._image_of: dict[bytes, bytes] = {}

    def expect(self, image: bytes, requests: Iterable[bytes]) -> None:
        """Let ``image`` be done when all of ``requests`` were seen."""
        if image in self._missing:
            return
        self._missing[image] = set(requests)
        self._image_of |= dict.fromkeys(self._missing[image], image)
        if len(self._missing) > _MAX_IMAGES:
            _, forgotten = self._missing.popitem(last=False)
            for request in forgotten:
                del self._image_of[request]

    def seen(self, request: bytes) -> bytes | None:
        """The image that is done with the feature of ``request``; None: others are missing."""
        image = self._image_of.pop(request, None)
        if image is None:
            return None if request in self._missing else request
        missing = self._missing[image]
        missing.remove(request)
        return None if missing else image

    def is_done(self, image: bytes) -> bool | None:
        """Whether all features of ``image`` were seen; None: it was never named."""
        missing = self._missing.get(image)
        return None if missing is None else not missing
