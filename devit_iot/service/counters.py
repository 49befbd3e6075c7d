"""Counters that a status message shows, and log lines that a flood cannot multiply."""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Literal

from devit_iot.errors import InputError

Reason = Literal["overload", "age", "rate"]
"""Why an image of ``latest`` is not computed."""

OTHER_CAMERAS = "*"
_MAX_CAMERAS = 64
_QUIET_S = 1.0


class Counters:
    """Counts events by name and refusals by reason. Safe to use from several threads."""

    def __init__(self, logger: logging.Logger, clock: Callable[[], float] = time.monotonic) -> None:
        self._logger = logger
        self._clock = clock
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._refused: Counter[str] = Counter()
        self._last_logged: dict[str, float] = {}
        self._unlogged: Counter[str] = Counter()

    def __getitem__(self, event: str) -> int:
        return self._counts[event]

    @property
    def refused(self) -> dict[str, int]:
        """Refusals by reason."""
        with self._lock:
            return dict(self._refused)

    def count(self, event: str) -> None:
        """Add one to ``event``."""
        with self._lock:
            self._counts[event] += 1

    def refuse(self, error: InputError, where: str) -> None:
        """Count a refusal, and log it unless the same reason was logged within the last second."""
        now = self._clock()
        with self._lock:
            self._refused[error.reason] += 1
            if now - self._last_logged.get(error.reason, -_QUIET_S) < _QUIET_S:
                self._unlogged[error.reason] += 1
                return
            self._last_logged[error.reason] = now
            before = self._unlogged.pop(error.reason, 0)
        more = f" (and {before} like it before)" if before else ""
        self._logger.warning("refused %s: %s%s", where, error, more)


class Drops:
    """Images of each camera that were not computed, by reason. Safe to use from several threads.

    At most 64 cameras are told apart; further ones count together as ``*``.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[str, Counter[str]] = {}

    def count(self, camera: str, reason: Reason) -> None:
        """Add one."""
        with self._lock:
            if camera not in self._counts and len(self._counts) >= _MAX_CAMERAS:
                camera = OTHER_CAMERAS
            self._counts.setdefault(camera, Counter())[reason] += 1

    @property
    def by_camera(self) -> dict[str, dict[str, int]]:
        """Camera -> reason -> images."""
        with self._lock:
            return {camera: dict(counts) for camera, counts in self._counts.items()}

    @property
    def total(self) -> int:
        """All of them."""
        with self._lock:
            return sum(counts.total() for counts in self._counts.values())
