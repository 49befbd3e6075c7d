"""URLs of cameras: what may be shown of one, since many carry a password."""

import re

from devit_iot.errors import DataError

HIDDEN = "***"
UNESCAPED = (
    "in a user's name or a password write %23 for #, %25 for %, %2F for /, %3A for :, %3F for ? "
    "and %40 for @"
)

_URL = re.compile(r"([A-Za-z][\w+.-]*)://([^/?#]*)(.*)", re.DOTALL)
_HOST = re.compile(r"(?:\[[\w:.%]+\]|[^\s:\[\]]*)(?::[0-9]*)?")
_NAME = re.compile(r"[A-Za-z_]\w{0,24}")
_PLAIN_VALUE = re.compile(r"[A-Za-z0-9.-]{0,16}")
_RANDOM = re.compile(r"(?=.*[0-9])(?=.*[A-Za-z])[\w-]{16,}")  # a token
_TOLD = frozenset(
    {"action", "cam", "camera", "ch", "channel", "cmd", "format", "fps", "h", "height", "profile"}
    | {"quality", "resolution", "size", "stream", "subtype", "t", "timestamp", "type", "w", "width"}
)
"""Parameters that say what is asked for, and not who asks."""


def is_url(source: str) -> bool:
    """Whether it is one, rather than a path."""
    return "://" in source


def without_password(url: str) -> str:
    """A URL that may be logged: without user, fragment, and values that may be secret.

    Parameters, in the query or in the path, are shown only with values that are known to be
    harmless. If the user's name or the password seems to hold an unescaped ``/``, ``?``, ``#`` or
    ``@``, nothing tells where it ends, and only the protocol is shown.

    Raises:
        DataError: it is none.
    """
    found = _URL.fullmatch(url)
    if found is None:
        raise DataError(f"that is no URL: {UNESCAPED}")
    scheme, authority, rest = found.groups()
    host = authority.rpartition("@")[2]
    if "@" in rest or _HOST.fullmatch(host) is None:
        return f"{scheme}://{HIDDEN}"
    path, mark, query = rest.partition("#")[0].partition("?")
    shown = "/".join(_level(level) for level in path.split("/"))
    return f"{scheme}://{host}{shown}{mark}{_parameters(query)}"


def advice(name: str) -> str:
    """What to say behind the error of a URL that is shown as ``name``."""
    return f"; {UNESCAPED}" if name.endswith(f"://{HIDDEN}") else ""


def scrubbed(text: str) -> str:
    """``text`` with every URL in it as it may be logged."""
    return re.sub(r"[A-Za-z][\w+.-]*://[^\s'\"]+", lambda url: without_password(url[0]), text)


def shown_source(source: str) -> str:
    """A source, URL or path, as it may be logged."""
    if is_url(source):
        return without_password(source)
    return HIDDEN + source.rpartition("@")[2] if "@" in source and ":" in source else source


def _level(text: str) -> str:
    if "=" in text:
        return _parameters(text)
    return HIDDEN if _RANDOM.fullmatch(text) else text


def _parameters(text: str) -> str:
    return re.sub(r"[^&;]+", lambda parameter: _parameter(parameter[0]), text)


def _parameter(text: str) -> str:
    name, sign, value = text.partition("=")
    if name.lower() in _TOLD and _PLAIN_VALUE.fullmatch(value):
        return text
    return f"{name}={HIDDEN}" if sign and _NAME.fullmatch(name) else HIDDEN
