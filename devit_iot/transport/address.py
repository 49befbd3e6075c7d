"""The broker's address, as the configuration writes it."""

import urllib.parse

from devit_iot.errors import ConfigError

_DEFAULT_PORTS = {"mqtt": 1883, "mqtts": 8883}


def parse_url(url: str) -> tuple[str, int, bool]:
    """Host, port and whether to use TLS, of mqtt://host[:port] or mqtts://host[:port].

    Raises:
        ConfigError: another scheme, no host, a path, or credentials, which do not belong in a URL.
    """
    try:
        parts = urllib.parse.urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ConfigError(f"broker url '{url}': {error}") from error
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname or parts.path.strip("/"):
        raise ConfigError(f"broker url '{url}' is not mqtt://host[:port] or mqtts://host[:port]")
    if parts.username or parts.password:
        raise ConfigError("no credentials in the broker url: use username and password_file")
    return parts.hostname, port or _DEFAULT_PORTS[parts.scheme], parts.scheme == "mqtts"
