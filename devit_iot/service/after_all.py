"""One thing to do when several others are done."""

import threading
from collections.abc import Callable, Hashable, Iterable, Sequence
from functools import partial


class AfterAll:
    """Calls ``then`` once, when each of ``waiting`` was reported at least once, on any thread."""

    def __init__(self, waiting: Iterable[Hashable], then: Callable[[], None]) -> None:
        self._lock = threading.Lock()
        self._waiting = set(waiting)
        self._then = then

    def done(self, one: Hashable) -> None:
        """Report one of them; what was reported before changes nothing."""
        with self._lock:
            was_last = self._waiting == {one}
            self._waiting.discard(one)
        if was_last:
            self._then()


def after_all(waiting: Sequence[Hashable], then: Callable[[], None]) -> list[Callable[[], None]]:
    """The reports of ``waiting``, in its order; ``then`` is called when each was called.

    One alone costs nothing more: its report is ``then``. Where nothing is waited for, ``then`` is
    called at once.
    """
    if not waiting:
        then()
    if len(waiting) == 1:
        return [then]
    everything = AfterAll(waiting, then)
    return [partial(everything.done, one) for one in waiting]
