"""``[broker]``: how to reach the MQTT broker."""

from collections.abc import Mapping
from pathlib import Path

import msgspec

from devit_iot.config.rules import Rules
from devit_iot.errors import ConfigError
from devit_iot.text_file import read_text

TLS_FILES = ("ca_file", "cert_file", "key_file")
_MIN_KEEPALIVE_S = 2  # a link is checked once a second
_MAX_KEEPALIVE_S = 65535  # MQTT's
_MAX_SESSION_S = 2**32 - 1  # MQTT's "for ever", too long for our memory


class BrokerConfig(msgspec.Struct, frozen=True):
    """``[broker]``: how to reach the MQTT broker.

    Attributes:
        url: mqtt://host[:port], or mqtts:// for TLS; ports 1883 and 8883 unless given. Those of a
            cluster are separated by commas and tried in turn.
        username: user name, if the broker asks for one.
        password_file: file whose first line is the password; DEVIT_PASSWORD goes first.
        ca_file: certificate authority of an mqtts broker; the system's unless given.
        cert_file: our certificate, for a broker that asks for one.
        key_file: its private key, without a password.
        keepalive_s: seconds between pings; a dead link is noticed within 1.5 of it.
        queue: QoS 1 messages kept while the broker is away; later ones are dropped and counted.
        persist_s: how long after its acknowledgement a message may still be missing on the
            broker's disk. Younger messages of ``every`` are sent again when the broker was lost.
            Twice mosquitto's autosave_interval.
        session_s: how long the broker keeps images and features of ``every`` for a service that
            is away.
    """

    url: str = "mqtt://localhost:1883"
    username: str = ""
    password_file: str = ""
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    keepalive_s: int = 30
    queue: int = 100
    persist_s: float = 10.0
    session_s: int = 3600

    def rules(self) -> Rules:
        """What must hold, and what is wrong where it does not."""
        return (
            (
                _MIN_KEEPALIVE_S <= self.keepalive_s <= _MAX_KEEPALIVE_S,
                f"broker.keepalive_s must be {_MIN_KEEPALIVE_S} to {_MAX_KEEPALIVE_S}",
            ),
            (
                bool(self.cert_file) == bool(self.key_file),
                "broker.cert_file and broker.key_file belong together",
            ),
            (
                self.url.startswith("mqtts:") or not any(getattr(self, name) for name in TLS_FILES),
                "broker.ca_file, cert_file and key_file need TLS: an mqtts:// url",
            ),
            (self.queue > 0, "broker.queue must be positive"),
            (self.persist_s >= 0, "broker.persist_s must not be negative"),
            (
                0 < self.session_s < _MAX_SESSION_S,
                f"broker.session_s must be positive and below {_MAX_SESSION_S}",
            ),
        )


def read_password(broker: BrokerConfig, environment: Mapping[str, str]) -> str | None:
    """The broker's password: DEVIT_PASSWORD, else the first line of ``password_file``."""
    if "DEVIT_PASSWORD" in environment:
        return environment["DEVIT_PASSWORD"]
    if not broker.password_file:
        return None
    try:
        lines = read_text(Path(broker.password_file)).splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read broker.password_file: {error}") from error
    if not lines:
        raise ConfigError(f"broker.password_file {broker.password_file} is empty")
    return lines[0]
