"""Groups features by request. Pure: time and the parts to wait for are arguments."""

from collections import OrderedDict
from collections.abc import Set as AbstractSet
from typing import Literal

from devit_iot.messages import Feature

_MAX_REMEMBERED = 65536


class Request:
    """One image on its way to a label.

    Attributes:
        features: part -> feature.
        first: when the first feature came, monotonic seconds.
        last: when the latest came; the part that sent it is ``last_part``.
    """

    def __init__(self, feature: Feature, now: float) -> None:
        self.request_id = feature.request_id
        self.camera = feature.camera
        self.features: dict[int, Feature] = {}
        self.first = now
        self.add(feature, now)

    def add(self, feature: Feature, now: float) -> None:
        """Take one more part's feature."""
        self.features[feature.part] = feature
        self.last = now
        self.last_part = feature.part


Verdict = Literal["taken", "late", "duplicate"]


class Collector:
    """Requests that wait for parts, and the ids of those answered lately.

    Args:
        deadline_s: after its first feature a request is answered with what it has.
        lifetime_s: an answered id is remembered this long; the same bytes are a new request after.
        max_open: beyond it the oldest request is answered at once.
    """

    def __init__(self, *, deadline_s: float, lifetime_s: float, max_open: int) -> None:
        self._deadline_s = deadline_s
        self._lifetime_s = lifetime_s
        self._max_open = max_open
        self._open: OrderedDict[bytes, Request] = OrderedDict()  # oldest first
        self._answered: OrderedDict[bytes, float] = OrderedDict()  # id -> when to forget it

    def __len__(self) -> int:
        return len(self._open)

    def add(self, feature: Feature, now: float) -> Verdict:
        """Take a feature, or say why not; ask :meth:`due` next."""
        self._forget(now)
        if feature.request_id in self._answered:
            return "late"
        request = self._open.get(feature.request_id)
        if request is None:
            self._open[feature.request_id] = Request(feature, now)
        elif feature.part in request.features:
            return "duplicate"
        else:
            request.add(feature, now)
        return "taken"

    def due(self, now: float, expected: AbstractSet[int]) -> list[Request]:
        """Remove and return the requests to answer now.

        Args:
            now: monotonic seconds.
            expected: the parts that are alive; a request that has them all waits no longer.
        """
        surplus = len(self._open) - self._max_open
        ready = [
            request
            for position, request in enumerate(self._open.values())
            if position < surplus
            or now >= request.first + self._deadline_s
            or expected <= request.features.keys()
        ]
        for request in ready:
            del self._open[request.request_id]
            self._answered[request.request_id] = now + self._lifetime_s
        return ready

    def next_deadline(self) -> float | None:
        """When :meth:`due` must be asked next, monotonic seconds; None if nothing waits."""
        oldest = next(iter(self._open.values()), None)
        return None if oldest is None else oldest.first + self._deadline_s

    def _forget(self, now: float) -> None:
        while self._answered:
            request_id, forget_at = next(iter(self._answered.items()))
            if now < forget_at and len(self._answered) <= _MAX_REMEMBERED:
                return
            del self._answered[request_id]
