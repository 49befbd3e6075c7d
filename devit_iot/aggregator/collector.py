"""Groups features by request. Pure: time and the parts to wait for are arguments."""

from collections import OrderedDict
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from itertools import islice
from typing import Literal, NamedTuple

from devit_iot.aggregator.deadline import Deadline
from devit_iot.protocol.feature import Feature

MAX_REMEMBERED = 65536
"""Answered ids that are remembered at most, of each delivery."""


class Group:
    """The features of one request that are fused with the heads of one bundle.

    Attributes:
        bundle: fingerprint of the bundle, hex.
        features: part -> feature.
        last: when the latest feature came, monotonic seconds.
        last_part: part that sent it.
    """

    def __init__(self, bundle: str) -> None:
        self.bundle = bundle
        self.features: dict[int, Feature] = {}
        self.last = 0.0
        self.last_part = 0


class Request:
    """One image on its way to a label.

    While a fleet goes over to another bundle, some nodes may answer with the one, some with the
    other: their features are never fused together.

    Attributes:
        groups: features by the fingerprint of the bundle, hex.
        first: when the first feature came, monotonic seconds.
        is_every: whether a feature of it is of ``every``.
        patience_s: how much longer than others it waits, since its nodes compute in turn.
        number: counts the requests, so that older ones have smaller numbers.
        parts: the parts that have answered, with whatever bundle: no more comes of them.
    """

    def __init__(
        self,
        feature: Feature,
        now: float,
        *,
        bundle: str,
        is_every: bool,
        patience_s: float = 0.0,
        number: int = 0,
    ) -> None:
        self.number = number
        self.parts: set[int] = set()
        self.request_id = feature.request_id
        self.camera = feature.camera
        self.groups: dict[str, Group] = {}
        self.first = now
        self.is_every = is_every
        self.patience_s = patience_s
        self.add(feature, now, bundle)

    def has(self, feature: Feature, bundle: str) -> bool:
        """Whether that part has answered already with that bundle."""
        group = self.groups.get(bundle)
        return group is not None and feature.part in group.features

    def add(self, feature: Feature, now: float, bundle: str) -> None:
        """Take one more part's feature."""
        group = self.groups.setdefault(bundle, Group(bundle))
        group.features[feature.part] = feature
        group.last = now
        group.last_part = feature.part
        self.parts.add(feature.part)

    @property
    def fullest(self) -> Group:
        """The features to fuse: those of the bundle that most parts have answered with."""
        return max(self.groups.values(), key=lambda group: len(group.features))


class _Answered(NamedTuple):
    parts: frozenset[int]
    first: float
    forget_at: float


class Limits(NamedTuple):
    """How long and how many.

    Attributes:
        every_deadline_s: a request of ``every`` is answered with what it has so long after its
            first feature.
        lifetime_s: an answered id is remembered this long; the same bytes are a new request after.
        every_lifetime_s: an answered id of ``every`` is remembered this long.
        max_open: requests that may wait; one more answers the oldest at once.
        max_open_per_camera: requests of ``latest`` that may wait for one camera; one more answers
            the camera's oldest.
    """

    every_deadline_s: float
    lifetime_s: float
    every_lifetime_s: float
    max_open: int
    max_open_per_camera: int


Verdict = Literal["taken", "late", "duplicate"]


class Collector:
    """Requests that wait for parts, and the ids of those answered lately.

    Args:
        deadline: how long requests of ``latest`` wait; it learns from the features that come.
        limits: all other limits.
    """

    def __init__(self, deadline: Deadline, limits: Limits) -> None:
        self._deadline = deadline
        self._limits = limits
        self._open: OrderedDict[bytes, Request] = OrderedDict()  # oldest first
        # The same ones by what they wait for, so that the first of each is due first.
        self._waiting: dict[tuple[bool, float], OrderedDict[bytes, Request]] = {}
        self._of_camera: dict[str, OrderedDict[bytes, Request]] = {}  # those of `latest`
        self._crowded: set[str] = set()  # cameras of which too many may wait
        self._count = 0
        self._grown: dict[bytes, Request] = {}  # since :meth:`due` was asked
        self._expected: AbstractSet[int] = frozenset()  # when it was
        # By whether they are of `every`, so that each of the two is in the order of forgetting.
        self._answered: dict[bool, OrderedDict[bytes, _Answered]] = {
            True: OrderedDict(),
            False: OrderedDict(),
        }

    def __len__(self) -> int:
        return len(self._open)

    def add(
        self,
        feature: Feature,
        now: float,
        *,
        bundle: str = "",
        is_every: bool = False,
        patience_s: float = 0.0,
    ) -> Verdict:
        """Take a feature, or say why not; ask :meth:`due` next.

        Args:
            feature: what a node sent.
            now: monotonic seconds.
            bundle: fingerprint of the bundle whose heads fuse it, hex; features of several bundles
                are never fused together.
            is_every: whether it is of ``every``.
            patience_s: how much longer than others its request waits. What such requests wait says
                nothing about how fast the nodes are.
        """
        self._forget(now)
        is_plain = not is_every and not patience_s
        for answered in self._answered.values():
            known = answered.get(feature.request_id)
            if known is not None:
                # A feature that was used before says nothing about the fleet: its image came again.
                if is_plain and feature.part not in known.parts:
                    self._deadline.observe(now - known.first)
                return "late"
        request = self._open.get(feature.request_id)
        if request is None:
            self._count += 1
            request = Request(
                feature,
                now,
                bundle=bundle,
                is_every=is_every,
                patience_s=patience_s,
                number=self._count,
            )
            self._open[feature.request_id] = self._grown[feature.request_id] = request
            self._line_up(request)
            return "taken"
        if is_every and not request.is_every:
            self._leave(request)
            request.is_every = True
            self._line_up(request)
        if request.has(feature, bundle):
            return "duplicate"
        request.add(feature, now, bundle)
        self._grown[feature.request_id] = request
        if is_plain:
            self._deadline.observe(now - request.first)
        return "taken"

    def due(
        self, now: float, expected: AbstractSet[int], *, window_full: bool = False
    ) -> list[Request]:
        """Remove and return the requests to answer now.

        Args:
            now: monotonic seconds.
            expected: the parts that are alive; a request that has them all waits no longer.
            window_full: whether to answer the oldest request of ``every`` whatever it has: the
                broker delivers no more, so the features that it waits for cannot come.
        """
        grown: Mapping[bytes, Request] = self._grown
        if expected != self._expected:
            self._expected = expected
            grown = self._open
        ready = {key: request for key, request in grown.items() if expected <= request.parts}
        self._grown = {}
        waits = self._waits
        for (is_every, patience_s), waiting in self._waiting.items():
            for key, request in waiting.items():
                if now < request.first + patience_s + waits[is_every]:
                    break
                ready[key] = request
        surplus = len(self._open) - self._limits.max_open
        ready.update(islice(self._open.items(), max(0, surplus)))
        for camera in self._crowded:
            of_camera = self._of_camera.get(camera, OrderedDict[bytes, Request]())
            surplus = len(of_camera) - self._limits.max_open_per_camera
            ready.update(islice(of_camera.items(), max(0, surplus)))
        self._crowded.clear()
        oldest = [next(iter(waiting.items())) for key, waiting in self._waiting.items() if key[0]]
        if window_full and oldest:
            ready.update([min(oldest, key=lambda item: item[1].first)])
        for request in ready.values():
            self._close(request, now)
        return sorted(ready.values(), key=lambda request: request.number)

    def next_deadline(self) -> float | None:
        """When :meth:`due` must be asked next, monotonic seconds; None if nothing waits."""
        waits = self._waits
        oldest = (next(iter(waiting.values())) for waiting in self._waiting.values())
        return min((r.first + r.patience_s + waits[r.is_every] for r in oldest), default=None)

    def get(self, request_id: bytes) -> Request | None:
        """A request that waits."""
        return self._open.get(request_id)

    def close(self, request: Request, now: float) -> None:
        """Remove a request that waits, since it is answered at ``now``, monotonic seconds."""
        self._close(request, now)

    @property
    def _waits(self) -> dict[bool, float]:
        """How long a request waits after its first feature: by whether it is of ``every``."""
        return {True: self._limits.every_deadline_s, False: self._deadline.seconds}

    def _close(self, request: Request, now: float) -> None:
        del self._open[request.request_id]
        self._grown.pop(request.request_id, None)
        self._leave(request)
        limits = self._limits
        lifetime = limits.every_lifetime_s if request.is_every else limits.lifetime_s
        answered = _Answered(frozenset(request.parts), request.first, now + lifetime)
        self._answered[request.is_every][request.request_id] = answered

    def _line_up(self, request: Request) -> None:
        key = (request.is_every, request.patience_s)
        waiting = self._waiting.setdefault(key, OrderedDict())
        behind = bool(waiting) and next(reversed(waiting.values())).number > request.number
        waiting[request.request_id] = request
        if behind:  # it was one of `latest` before
            in_order = sorted(waiting.items(), key=lambda item: item[1].number)
            self._waiting[key] = OrderedDict(in_order)
        if not request.is_every:
            of_camera = self._of_camera.setdefault(request.camera, OrderedDict())
            of_camera[request.request_id] = request
            if len(of_camera) > self._limits.max_open_per_camera:
                self._crowded.add(request.camera)

    def _leave(self, request: Request) -> None:
        key = (request.is_every, request.patience_s)
        del self._waiting[key][request.request_id]
        if not self._waiting[key]:
            del self._waiting[key]
        if not request.is_every:
            del self._of_camera[request.camera][request.request_id]
            if not self._of_camera[request.camera]:
                del self._of_camera[request.camera]

    def _forget(self, now: float) -> None:
        for answered in self._answered.values():
            while answered:
                request_id, known = next(iter(answered.items()))
                if now < known.forget_at and len(answered) <= MAX_REMEMBERED:
                    break
                del answered[request_id]
