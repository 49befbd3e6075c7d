"""When the labels of one head on one camera change its state. Pure: time is an argument."""

from typing import NamedTuple

from devit_iot.config.states import StateConfig


class Steady:
    """A state that flickering labels do not move.

    It changes after ``repeats`` equal labels in a row which span at least ``settle_s``, when it
    has lasted for ``hold_s``. A label of an image that is older than one that counted already
    counts for nothing, so that a late answer moves no state backward.

    Args:
        rule: how many labels, and how long.

    Attributes:
        name: the state; None before the first one.
    """

    def __init__(self, rule: StateConfig) -> None:
        self._rule = rule
        self.name: str | None = None
        self._since = float("-inf")
        self._newest = float("-inf")
        self._row = _Row(None, 0, 0.0)

    def restore(self, name: str, since: float) -> None:
        """Go on with the state of an earlier process; ``since`` is in monotonic seconds."""
        self.name, self._since = name, since

    def take(self, name: str, at: float) -> bool:
        """Take what one more label says.

        Args:
            name: class of the label.
            at: when the fleet received its image, monotonic seconds.

        Returns:
            Whether the state changed; it is ``name`` then.
        """
        if at < self._newest:
            return False
        self._newest = at
        row = self._row if self._row.name == name else _Row(name, 0, at)
        self._row = row = row._replace(labels=row.labels + 1)
        if (
            name == self.name
            or row.labels < self._rule.repeats
            or at - row.first < self._rule.settle_s
            or at - self._since < self._rule.hold_s
        ):
            return False
        self.name, self._since = name, at
        return True


class _Row(NamedTuple):
    """Equal labels one after the other.

    Attributes:
        first: when the image of the first one came, monotonic seconds.
    """

    name: str | None
    labels: int
    first: float
