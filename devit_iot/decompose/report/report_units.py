"""Numbers as a person reads them."""

_STEPS = (("G", 10**9), ("M", 10**6), ("k", 10**3))
_TIES = 0.005
"""Points that two decimals do not show."""


def percent(fraction: float) -> str:
    """A fraction as "91.25 %"; "-" where it is not known."""
    return f"{100 * fraction:.2f} %" if fraction == fraction else "-"  # noqa: PLR0124


def share(part: float, whole: float) -> str:
    """``part`` of ``whole`` as "12.5 %"."""
    return f"{100 * part / whole:.1f} %" if whole else "-"


def count(number: float) -> str:
    """A large number with three digits: "1.26 G", "86.6 M", "512"."""
    for letter, step in _STEPS:
        if number >= 0.9995 * step:
            value = number / step
            digits = 2 if value < 9.995 else 1 if value < 99.95 else 0  # noqa: PLR2004
            return f"{value:.{digits}f} {letter}"
    return f"{number:.0f}"


def size(number: int) -> str:
    """Bytes as "1.26 MB"."""
    return f"{count(number)}B" if number >= 0.9995 * _STEPS[-1][1] else f"{number} B"


def duration(seconds: float) -> str:
    """A time by its two largest units: "2 h 5 min"; "-" for none at all."""
    if seconds <= 0:
        return "-"
    if seconds < 9.95:  # noqa: PLR2004
        return f"{seconds:.1f} s"
    minutes, left = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    units = [(days, "d"), (hours, "h"), (minutes, "min"), (left, "s")]
    first = next(k for k, (number, _) in enumerate(units) if number)
    return " ".join(f"{number} {unit}" for number, unit in units[first : first + 2] if number)


def difference(fraction: float) -> str:
    """A change of accuracy as "2.20 points lost", "0.31 points won" or "no point lost or won"."""
    points = 100 * fraction
    if abs(points) < _TIES:
        return "no point lost or won"
    return f"{abs(points):.2f} points {'won' if points > 0 else 'lost'}"


def shorten(text: str, longest: int) -> str:
    """``text`` on one line, cut with an ellipsis where it is too long."""
    line = " ".join(text.split())
    return line if len(line) <= longest else f"{line[: longest - 1].rstrip()}…"
