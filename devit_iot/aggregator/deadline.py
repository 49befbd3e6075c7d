"""How long a request waits for its parts: as long as this fleet lately needed, and some. Pure."""

from collections import deque

MARGIN = 2.0
SAMPLES = 100


class Deadline:
    """Twice the longest of the last hundred spreads, within a floor and a ceiling.

    A spread is the time from a request's first feature to a later one of it, also to one that came
    after its label: so a deadline that became too short grows again. Until there are a hundred,
    the ceiling holds.
    """

    def __init__(self, floor_s: float, ceiling_s: float) -> None:
        self._floor_s = min(floor_s, ceiling_s)
        self._ceiling_s = ceiling_s
        self._spreads: deque[float] = deque(maxlen=SAMPLES)

    def observe(self, spread_s: float) -> None:
        """One more spread."""
        self._spreads.append(spread_s)

    @property
    def seconds(self) -> float:
        """The deadline now."""
        if len(self._spreads) < SAMPLES:
            return self._ceiling_s
        return min(self._ceiling_s, max(self._floor_s, MARGIN * max(self._spreads)))
