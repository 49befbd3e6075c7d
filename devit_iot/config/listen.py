"""Addresses to listen on, as options and files write them."""

import re

from devit_iot.errors import ConfigError

_ADDRESS = re.compile(r"(?:\[([^\[\]]+)\]|([^\[\]:]*)):([0-9]+)")
_MAX_PORT = 65535


def metrics_address(text: str, key: str = "metrics") -> tuple[str, int]:
    """Host and port of ``[host]:port``; no host, an empty string, means every interface.

    Args:
        text: as it was written.
        key: what it is, for the message.

    Raises:
        ConfigError: it is something else.
    """
    found = _parsed(text)
    if found is None:
        raise ConfigError(f"{key} '{text}' is not [host]:port, for instance :9464")
    return found


def page_address(text: str) -> tuple[str, int]:
    """Host and port of ``host:port`` for the live page: every interface must be asked for by name.

    Raises:
        ConfigError: it is something else.
    """
    found = _parsed(text)
    if found is None or not found[0]:
        raise ConfigError(
            f"'{text}' is not host:port, for instance 127.0.0.1:8080 (only this machine) or "
            "0.0.0.0:8080 (every interface); an IPv6 host stands in brackets"
        )
    return found


def _parsed(text: str) -> tuple[str, int] | None:
    """Host and port; an IPv6 host, which has colons of its own, stands in brackets."""
    found = _ADDRESS.fullmatch(text)
    if found is None or int(found[3]) > _MAX_PORT:
        return None
    return found[1] or found[2], int(found[3])
