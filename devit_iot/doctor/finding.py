"""What a check found."""

from typing import Literal

import msgspec

Level = Literal["ok", "warn", "bad"]


class Finding(msgspec.Struct, frozen=True):
    """One line of the doctor's report.

    Attributes:
        check: short name of what was checked.
        level: ``bad`` keeps a node from working, ``warn`` makes it work less well.
        text: what was found.
        remedy: what to do about it; empty if it is ``ok``.
    """

    check: str
    level: Level
    text: str
    remedy: str = ""


def ok(check: str, text: str) -> Finding:
    """A finding that leaves nothing to do."""
    return Finding(check, "ok", text)


def warn(check: str, text: str, remedy: str) -> Finding:
    """A finding that something works, and could be better."""
    return Finding(check, "warn", text, remedy)


def bad(check: str, text: str, remedy: str) -> Finding:
    """A finding that something does not work."""
    return Finding(check, "bad", text, remedy)


def bad_error(check: str, error: Exception, otherwise: str) -> Finding:
    """An error of ours: what comes after its last semicolon is the remedy, else ``otherwise``."""
    text = " ".join(str(error).split())
    problem, semicolon, remedy = text.rpartition("; ")
    return bad(check, problem, remedy) if semicolon else bad(check, text, otherwise)
