"""The connections of commands that look on, or tidy up."""

import os
import secrets
from collections.abc import Callable, Iterable

from devit_iot.config.config import Config, read_password
from devit_iot.monitor.watch import Watch
from devit_iot.protocol.topics import Topics
from devit_iot.transport.base import Message
from devit_iot.transport.mqtt import MqttTransport


def watch(
    config: Config,
    name: str,
    filters: Iterable[str],
    on_message: Callable[[Message], None],
    on_ready: Callable[[], None] = lambda: None,
) -> Watch:
    """Look on as ``config`` says, see :func:`command_transport`."""
    return Watch(command_transport(config, name), filters, on_message, on_ready)


def command_transport(config: Config, name: str) -> MqttTransport:
    """A connection as ``config`` says, under a client id of our own that has ``name`` in it."""
    return MqttTransport(
        config.broker,
        client_id=Topics(config.fleet).command_client_id(name, secrets.token_hex(4)),
        password=read_password(config.broker, os.environ),
    )
