"""Facts of a fleet as short text, for terminals. Whatever came over the wire, they stay short."""

from collections.abc import Sequence

_WIDEST = 40
_MANY_PARTS = 32
_LARGEST = 1e9


def text(value: str) -> str:
    """The first forty characters of a text, all of it where it is shorter."""
    return value if len(value) <= _WIDEST else value[: _WIDEST - 1] + "…"


def number(value: float | None, form: str = ".0f", unit: str = "") -> str:
    """``value`` in the format ``form`` with its unit; a dash for none and for what cannot be."""
    if value is None or not -_LARGEST <= value <= _LARGEST:
        return "-"
    return f"{value:{form}}{unit}"


def percent(share: float) -> str:
    """A share of 0 to 1; a dash for another number."""
    return f"{share:.1%}" if 0 <= share <= 1 else "-"


def parts_bar(used: Sequence[int], parts: int) -> str:
    """``##.#``: which of the parts took part, as numbers where there are many."""
    if parts > _MANY_PARTS:
        return f"{len(used)} of {number(parts)}"
    return "".join("#" if part in used else "." for part in range(parts))


def age(seconds: float, *, at_least: bool = False) -> str:
    """How long ago, in the largest fitting unit."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            shown = f"{seconds / length:.0f} {unit}"
            break
    else:
        shown = f"{seconds:.0f} s"
    return f"> {shown}" if at_least else shown
