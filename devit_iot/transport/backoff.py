"""How long to wait before the next connection. Pure of MQTT."""

import random

FIRST_PAUSE_S = 0.5
"""The pause after a connection that lasted, seconds."""
MAX_PAUSE_S = 30.0
"""The longest pause, seconds."""


class Backoff:
    """Doubles the pause, from half a second up to 30 s, until a connection lasts.

    A connection lasts when it served for twice as long as the pause before it. So a broker that
    lets us in and hangs up at once, and two clients that take one name from each other, wait as
    long as those whom a broker refuses.
    """

    def __init__(self) -> None:
        self._pause_s = 0.0

    def pause_s(self, served_s: float) -> float:
        """Seconds to wait, with a jitter of up to a half, after a connection has ended.

        Args:
            served_s: how long the connection was ready; 0 if it never was.
        """
        lasted = served_s > 2 * self._pause_s
        longer = FIRST_PAUSE_S if lasted else max(FIRST_PAUSE_S, 2 * self._pause_s)
        self._pause_s = min(MAX_PAUSE_S, longer)
        return self._pause_s * random.uniform(0.5, 1.0)
