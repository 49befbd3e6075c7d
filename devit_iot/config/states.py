"""``[states.<head>]``: when the labels of a head change its steady state."""

from typing import Literal

import msgspec

from devit_iot.config.rules import Rules

_MOST_REPEATS = 1000
_DAY_S = 86400.0

DeviceClass = Literal[
    "",
    "door",
    "garage_door",
    "light",
    "lock",
    "motion",
    "moving",
    "occupancy",
    "opening",
    "plug",
    "presence",
    "problem",
    "running",
    "safety",
    "window",
]
"""Kinds of binary sensors of Home Assistant that a camera can tell."""


class StateConfig(msgspec.Struct, frozen=True):
    """``[states.<head>]``: when the labels of a head change its steady state.

    Attributes:
        threshold: a label whose confidence is below it counts as ``unknown``; 0: the head's own
            threshold decides alone.
        repeats: a state changes after so many equal labels in a row.
        settle_s: the first and the last of these labels lie at least so far apart.
        hold_s: a state lasts at least so long.
        on: class that a binary sensor in Home Assistant shows as on, if the head has two classes;
            empty: a sensor that shows the name of the class.
        device_class: kind of that binary sensor, which decides its icon and words.
    """

    threshold: float = 0.0
    repeats: int = 3
    settle_s: float = 0.0
    hold_s: float = 0.0
    on: str = ""
    device_class: DeviceClass = ""

    def rules(self) -> Rules:
        """What must hold, and what is wrong where it does not."""
        return (
            (0 <= self.threshold <= 1, "states: threshold must be 0 to 1"),
            (1 <= self.repeats <= _MOST_REPEATS, f"states: repeats must be 1 to {_MOST_REPEATS}"),
            (0 <= self.settle_s <= _DAY_S, "states: settle_s must be 0 to 86400"),
            (0 <= self.hold_s <= _DAY_S, "states: hold_s must be 0 to 86400"),
            (
                not self.device_class or bool(self.on),
                "states: device_class is of a binary sensor: say which class is `on`",
            ),
        )
