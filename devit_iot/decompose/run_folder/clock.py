"""The time that a run may take, over all its interruptions, and how its trainings share it."""

import os
import re
import time
from collections.abc import Mapping
from pathlib import Path

import msgspec
import torch
import torch.distributed

from devit_iot.decompose.run_folder.folder import RunFolder
from devit_iot.errors import ConfigError

SPENT = "spent"
_STORE_S = 5.0
"""Between two writes of the time spent: so much of it a kill may forget."""
_UNITS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "min": 60.0, "s": 1.0}
_PIECE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(min|d|h|m|s)")


def parse_duration(text: str) -> float:
    """``3h``, ``1h 30m``, ``8m`` or ``90s`` in seconds.

    Raises:
        ConfigError: it is none of these, or no time at all.
    """
    seconds, end = 0.0, 0
    while (piece := _PIECE.match(text, end)) is not None:
        seconds += float(piece[1]) * _UNITS[piece[2]]
        end = piece.end()
    if text[end:].strip() or not seconds:
        raise ConfigError(f"'{text}' is no duration; give one like 3h, 1h 30m, 8m or 90s")
    return seconds


def process_age_s() -> float:
    """Seconds since this process began: imports are time that its user waits for, too."""
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    begun = int(fields[19]) / os.sysconf("SC_CLK_TCK")
    return time.clock_gettime(time.CLOCK_BOOTTIME) - begun


class Spent(msgspec.Struct, frozen=True):
    """Seconds that all attempts at a run have taken."""

    seconds: float


class Clock:
    """Counts the seconds of a run, its earlier attempts included.

    Args:
        folder: keeps the count.
        limit_s: seconds that the whole run may take; None for a run whose epochs are given.
        before_s: seconds that this attempt has taken already.
    """

    def __init__(self, folder: RunFolder, limit_s: float | None, before_s: float = 0.0) -> None:
        earlier = folder.load(SPENT, Spent).seconds if folder.has(SPENT) else 0.0
        self._folder = folder
        self._started = time.monotonic() - earlier - before_s
        self._stored = time.monotonic()
        self.limit_s = limit_s

    def now(self) -> float:
        """Seconds spent. Several processes all get the first one's: all must ask together."""
        spent = time.monotonic() - self._started
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            device = "cpu" if torch.distributed.get_backend() == "gloo" else "cuda"
            told = torch.tensor(spent, dtype=torch.float64, device=device)
            torch.distributed.broadcast(told, 0)
            spent = float(told)
            if torch.distributed.get_rank():
                return spent
        if self.limit_s is not None and time.monotonic() - self._stored > _STORE_S:
            self._stored = time.monotonic()
            self._folder.store(SPENT, Spent(spent))
        return spent

    def end_of(self, name: str, costs: Mapping[str, float], after_s: float) -> float | None:
        """When the training ``name`` must end, in seconds of this clock.

        What is left of the limit is shared out over the trainings that are left.

        Args:
            name: a key of ``costs``.
            costs: costs of the trainings that are left, in any unit, the one that begins included.
            after_s: seconds that will be needed for all else.

        Returns:
            None if there is no limit.
        """
        if self.limit_s is None:
            return None
        now = self.now()
        left = max(0.0, self.limit_s - after_s - now)
        return now + left * costs[name] / sum(costs.values())
