"""Why a broker turns us away, what a person can do about it, and how a client hears of it."""

from collections.abc import Callable

from devit_iot.errors import BrokerError

FOR_GOOD = {
    "Bad user name or password": "check broker.username and the password",
    "Not authorized": "check broker.username, the password and the broker's access list",
    "Banned": "ask the broker's owner",
    "Client identifier not valid": "choose another node name",
    "Retain not supported": "allow retained messages there (mosquitto: retain_available true)",
    "QoS not supported": "allow QoS 1 there (mosquitto: max_qos 1 or 2)",
    "Use another server": "set broker.url to that server",
    "Server moved": "set broker.url to that server",
}
"""Answers to CONNECT that another attempt would not change, by their names, and the remedy."""

NO_SUBSCRIBERS = 16
"""Of a PUBACK: nobody subscribes to the topic."""


class Refusal:
    """The broker's refusal, heard on the network thread and raised on the client's own.

    An instance is the ``on_refused`` of :meth:`devit_iot.transport.base.Transport.start`.

    Args:
        then: called on the network thread when the refusal was noted, to wake whoever waits.
    """

    def __init__(self, then: Callable[[], None] = lambda: None) -> None:
        self._then = then
        self._error: BrokerError | None = None

    def __call__(self, error: BrokerError) -> None:
        """Note the refusal."""
        self._error = error
        self._then()

    @property
    def came(self) -> bool:
        """Whether the broker refused us for good."""
        return self._error is not None

    def check(self) -> None:
        """Raise the BrokerError that came, if one did."""
        if self._error is not None:
            raise self._error
