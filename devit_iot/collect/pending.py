"""Puts a picture together with its features and its label, which come as messages of their own.

Pure: time is an argument.
"""

from collections import OrderedDict
from typing import NamedTuple

from devit_iot.protocol.feature import Feature
from devit_iot.protocol.label import Label

MAX_PENDING = 512
MAX_BYTES = 64 * 2**20
LABEL_S = 2.0
"""A picture with all its features waits so long for its label."""

LIFETIME_S = 15.0
"""What is not complete by then is dropped."""


class Whole(NamedTuple):
    """A picture with the features of all parts.

    Attributes:
        camera: name of the camera.
        file: the picture's file.
        features: features by part.
        label: the label of the camera's main head; None: it did not come in time.
    """

    camera: str
    file: bytes
    features: dict[int, Feature]
    label: Label | None


class _Request:
    def __init__(self, now: float) -> None:
        self.begun = now
        self.camera = ""
        self.file = b""
        self.features: dict[int, Feature] = {}
        self.label: Label | None = None
        self.complete_at = 0.0

    @property
    def complete(self) -> bool:
        """Whether picture and features of one set of parts are there."""
        if not self.file or not self.features:
            return False
        kinds = {(f.parts, f.parts_fingerprint) for f in self.features.values()}
        return len(kinds) == 1 and len(self.features) == next(iter(kinds))[0]


class Pending:
    """Requests that wait for what belongs to them, of bounded number and size.

    Attributes:
        dropped: pictures that were given up.
    """

    def __init__(self) -> None:
        self._open: OrderedDict[bytes, _Request] = OrderedDict()
        self._bytes = 0
        self.dropped = 0

    def image(self, request_id: bytes, camera: str, file: bytes, now: float) -> None:
        """A picture came."""
        request = self._request(request_id, now)
        if request.file:
            return
        request.camera, request.file = camera, file
        self._bytes += len(file)
        while self._bytes > MAX_BYTES and self._open:
            self._drop(next(iter(self._open)))

    def feature(self, feature: Feature, now: float) -> None:
        """One part's feature came; the first one of each part counts, and none of a crop."""
        if feature.crop is not None:
            return
        self._request(feature.request_id, now).features.setdefault(feature.part, feature)

    def label(self, label: Label, now: float) -> None:
        """The label of the camera's main head came."""
        try:
            request_id = bytes.fromhex(label.request_id)
        except ValueError:
            return
        if request_id in self._open:
            self._request(request_id, now).label = label

    def due(self, now: float) -> list[Whole]:
        """The pictures that are whole, and no longer wait for a label."""
        found = []
        for request_id, request in list(self._open.items()):
            if request.complete:
                request.complete_at = request.complete_at or now
                if request.label is not None or now >= request.complete_at + LABEL_S:
                    self._remove(request_id)
                    found.append(
                        Whole(request.camera, request.file, request.features, request.label)
                    )
                    continue
            if now >= request.begun + LIFETIME_S:
                self._drop(request_id)
        return found

    def _request(self, request_id: bytes, now: float) -> _Request:
        if request_id not in self._open:
            if len(self._open) >= MAX_PENDING:
                self._drop(next(iter(self._open)))
            self._open[request_id] = _Request(now)
        return self._open[request_id]

    def _remove(self, request_id: bytes) -> _Request:
        request = self._open.pop(request_id)
        self._bytes -= len(request.file)
        return request

    def _drop(self, request_id: bytes) -> None:
        self.dropped += bool(self._remove(request_id).file)
