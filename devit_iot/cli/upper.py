"""``devit upper``: what an upper broker tells Home Assistant and Prometheus of all cells."""

import os
import secrets
from pathlib import Path

import click

from devit_iot import __version__
from devit_iot.cli.common import one_line_errors, serve, set_up_logging
from devit_iot.cli.options import (
    CLIENT,
    FLEET,
    FLEET_NAME,
    HOME_ASSISTANT,
    configuration,
    settings,
)
from devit_iot.config.config import read_password
from devit_iot.homeassistant.announcer import Announcer
from devit_iot.homeassistant.cells import CellDevices
from devit_iot.monitor.cell_metrics import samples
from devit_iot.monitor.upper import Upper
from devit_iot.protocol.topics import DiscoveryTopics, Topics
from devit_iot.service.exporter import exporting_samples
from devit_iot.transport.mqtt import MqttTransport

_METRICS = tuple(setting for setting in FLEET if setting.flag == "--metrics")


@click.command()
@settings(CLIENT, FLEET_NAME, _METRICS, HOME_ASSISTANT)
@one_line_errors
def upper(config_file: Path | None, **values: object) -> None:
    """Announce all cells of an upper broker to Home Assistant, and serve their metrics.

    Cells need it neither to label nor to be seen: `devit top` and the live page ask the broker.

    \b
        devit upper --config upper/devit.toml --metrics :9464
    """
    config = configuration(config_file, values)
    set_up_logging(config.log.format, config.log.level)
    transport = MqttTransport(
        config.broker,
        client_id=Topics(config.fleet).command_client_id("upper", secrets.token_hex(4)),
        password=read_password(config.broker, os.environ),
    )
    home = config.homeassistant
    devices = CellDevices(config.fleet, version=__version__, label_expire_s=home.expire_s)
    announcer = None
    if home.enabled:
        topics = DiscoveryTopics(home.prefix)
        announcer = Announcer(devices, transport, topics=topics, state_rule=config.state_rule)
    service = Upper(config.fleet, transport, devices, announcer)
    with exporting_samples(config.metrics, lambda: samples(service.facts), service.health_problem):
        serve(service)
