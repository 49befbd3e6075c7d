"""Whether this machine's clock follows a time server.

Boards have no battery for their clock: until a server was reached it shows some moment of the past,
and it says nothing about what is out of date.
"""

import ctypes

UNSYNCHRONIZED_US = 16_000_000
"""The kernel's error of a clock that nobody sets; systemd's ``timedatectl`` judges by it too."""


class _Timex(ctypes.Structure):
    """The beginning of ``struct timex`` (adjtimex(2)), and room for the rest of it."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("rest", ctypes.c_char * 512),
    )


def maximum_error_us() -> int:
    """How far the clock may be off by the kernel's reckoning, microseconds.

    The service that follows a time server (systemd-timesyncd, chrony, ntpd) resets it, and it grows
    by 500 for each second without one: after nine hours the clock counts as one that nobody sets.
    """
    timex = _Timex()
    try:
        state: int = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(timex))
    except (OSError, AttributeError):  # another libc
        return UNSYNCHRONIZED_US
    return UNSYNCHRONIZED_US if state < 0 else int(timex.maxerror)


def follows_time_server() -> bool:
    """Whether the clock may be believed."""
    return maximum_error_us() < UNSYNCHRONIZED_US
