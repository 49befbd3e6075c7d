"""``[log]``: one line per event on standard error."""

from typing import Literal

import msgspec


class LogConfig(msgspec.Struct, frozen=True):
    """``[log]``: one line per event on standard error.

    Attributes:
        format: ``human``: lines for people; ``json``: one JSON object a line.
        level: the least severe events that are logged.
    """

    format: Literal["human", "json"] = "human"
    level: Literal["debug", "info", "warning", "error"] = "info"
