"""How many images of one camera count in a second. Pure: time is an argument."""

from collections import OrderedDict

MAX_CAMERAS = 1024


class RateLimit:
    """A token bucket per camera, one second deep.

    At most 1024 cameras are remembered; one more takes the place of the one that was silent
    longest, whose bucket is then full again.

    Args:
        rate: images per second and camera.
    """

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._depth = max(1.0, rate)
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # tokens, when

    def allows(self, camera: str, now: float) -> bool:
        """Take a token of ``camera``, if it has one at ``now`` (monotonic seconds)."""
        tokens, then = self._buckets.pop(camera, (self._depth, now))
        tokens = min(self._depth, tokens + (now - then) * self._rate)
        allowed = tokens >= 1
        self._buckets[camera] = (tokens - allowed, now)
        if len(self._buckets) > MAX_CAMERAS:
            self._buckets.popitem(last=False)
        return allowed
