"""The broker's address, as the configuration writes it."""

import re
import urllib.parse

from devit_iot.errors import ConfigError

_DEFAULT_PORTS = {"mqtt": 1883, "mqtts": 8883}
_WEBSOCKET_PORT = 9001


def parse_url(url: str) -> tuple[str, int, bool]:
    """Host, port and whether to use TLS, of mqtt://host[:port] or mqtts://host[:port].

    The host of ``[fe80::1%25eth0]``, a link-local address with its interface as RFC 6874 writes it,
    is ``fe80::1%eth0``; that form is taken in the URL too.

    Raises:
        ConfigError: another scheme, no host, a path, or credentials, which do not belong in a URL
            and are not repeated.
    """
    _refuse_credentials("broker", url, "use username and password_file")
    try:
        parts = urllib.parse.urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ConfigError(f"broker url '{url}': {error}") from error
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname or parts.path.strip("/"):
        raise ConfigError(f"broker url '{url}' is not mqtt://host[:port] or mqtts://host[:port]")
    host = _with_plain_zone(parts.hostname)
    return host, port or _DEFAULT_PORTS[parts.scheme], parts.scheme == "mqtts"


def parse_urls(urls: str) -> tuple[str, ...]:
    """The brokers of one cluster, whose URLs are separated by commas, each a sound one.

    Raises:
        ConfigError: one of them is unusable, or some are with TLS and others without.
    """
    _refuse_credentials("broker", urls, "use username and password_file")  # may hold a comma
    listed = tuple(dict.fromkeys(url.strip() for url in urls.split(",")))
    if len({parse_url(url)[2] for url in listed}) > 1:
        raise ConfigError(f"broker url '{urls}' mixes mqtt and mqtts: give all brokers alike")
    return listed


def _refuse_credentials(which: str, url: str, instead: str) -> None:
    """Whatever stands around it: a parser may take part of a password for something else."""
    if "@" in url:
        raise ConfigError(f"no credentials in the {which} url: {instead}")


def _with_plain_zone(host: str) -> str:
    """``fe80::1%eth0`` of ``fe80::1%25eth0``; ``%25`` alone is the interface of that number."""
    address, percent, zone = host.partition("%")
    return address + percent + (zone.removeprefix("25") or zone) if ":" in address else host


def check_websocket_url(url: str) -> str:
    """The broker's address for browsers, ws://host:port[/path] or wss://; return it.

    Raises:
        ConfigError: another scheme, no host or port, or credentials.
    """
    _refuse_credentials("websocket", url, "people type them on the page")
    try:
        parts = urllib.parse.urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ConfigError(f"websocket url '{url}': {error}") from error
    if parts.scheme not in {"ws", "wss"} or not parts.hostname or not port:
        raise ConfigError(f"websocket url '{url}' is not ws://host:port/path or wss://...")
    if not re.fullmatch(r"[\w.:/\[\]-]*", parts.netloc + parts.path, re.ASCII):
        raise ConfigError(f"websocket url '{url}' has characters that do not belong there")
    if parts.query or parts.fragment:
        raise ConfigError(f"websocket url '{url}' has more than a path")
    return url


def websocket_of(url: str) -> str:
    """Where mosquitto's WebSocket listener is by custom, beside the broker at ``url``.

    Args:
        url: address of the broker, or the addresses of a cluster; the first one counts.

    Raises:
        ConfigError: ``url`` is no broker's, or names an interface, which no browser can.
    """
    host, _, tls = parse_url(parse_urls(url)[0])
    if "%" in host:
        raise ConfigError(
            f"broker url '{url}' names an interface, which no browser can: give --websocket with "
            "another address of the broker"
        )
    bracketed = f"[{host}]" if ":" in host else host
    return f"{'wss' if tls else 'ws'}://{bracketed}:{_WEBSOCKET_PORT}/mqtt"
