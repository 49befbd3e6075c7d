"""What a check found."""

from typing import Literal

import msgspec

Level = Literal["ok", "look", "bad"]


class Finding(msgspec.Struct, frozen=True):
    """One line of the doctor's report.

    Attributes:
        check: short name of what was checked.
        level: ``bad`` keeps a node from working, ``look`` makes it work less well.
        text: what was found.
        mend: what to do about it; empty if it is ``ok``.
    """

    check: str
    level: Level
    text: str
    mend: str = ""


def ok(check: str, text: str) -> Finding:
    """Nothing to do."""
    return Finding(check, "ok", text)


def look(check: str, text: str, mend: str) -> Finding:
    """It works, and could be better."""
    return Finding(check, "look", text, mend)


def bad(check: str, text: str, mend: str) -> Finding:
    """It does not work."""
    return Finding(check, "bad", text, mend)


def bad_error(check: str, error: Exception, otherwise: str) -> Finding:
    """An error of ours: what comes after its last semicolon is the mend, else ``otherwise``."""
    text = " ".join(str(error).split())
    problem, semicolon, mend = text.rpartition("; ")
    return bad(check, problem, mend) if semicolon else bad(check, text, otherwise)
