"""``devit hub``: keeps a fleet's releases and leads from one to the next."""

import os
import secrets
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from devit_iot.cli.common import one_line_errors, serve, set_up_logging
from devit_iot.cli.options import CLIENT, FLEET_NAME, HUB, TRUST, configuration, settings
from devit_iot.config.config import Config, read_password
from devit_iot.config.listen import metrics_address
from devit_iot.config.updates import read_file
from devit_iot.errors import ConfigError
from devit_iot.hub.conductor import Conductor, Limits
from devit_iot.hub.files import Files
from devit_iot.hub.hub import GONE, Hub
from devit_iot.hub.state import read_state
from devit_iot.protocol.topics import Topics
from devit_iot.text_file import read_text
from devit_iot.transport.base import Will
from devit_iot.transport.mqtt import MqttTransport

if TYPE_CHECKING:
    from devit_iot.hub.repository import Repository


@click.command()
@settings(CLIENT, FLEET_NAME, TRUST, HUB)
@one_line_errors
def hub(config_file: Path | None, **values: object) -> None:
    """Keep the fleet's releases and lead from one to the next, until SIGTERM or Ctrl-C.

    One process beside the broker. `devit fleet push` gives it bundles.

    \b
        devit hub --broker mqtt://localhost --hub-folder /var/lib/devit-hub --hub-listen :8484 \\
          --hub-url http://hub.local:8484
    """
    from devit_iot.hub.server import HubServer, Tls

    config = configuration(config_file, values)
    set_up_logging(config.log.format, config.log.level)
    settings_ = config.hub
    if not settings_.folder:
        raise ConfigError("no folder for the releases: give --hub-folder DIR")
    folder = Path(settings_.folder)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        files = Files(folder / "files")
        token = _token(Path(settings_.token_file or folder / "token"))
    except OSError as error:
        raise ConfigError(f"cannot use the hub's folder {folder}: {error.strerror}") from error
    service = _hub(config, folder, files)
    tls = None
    if settings_.cert_file:
        tls = Tls(
            settings_.cert_file, settings_.key_file, config.broker.ca_file, settings_.crl_file
        )
    host, port = metrics_address(settings_.listen, "hub.listen")
    downloads = settings_.downloads
    with HubServer(host, port, files, service, token=token, downloads=downloads, tls=tls):
        serve(service)


def _hub(config: Config, folder: Path, files: Files) -> Hub:
    topics = Topics(config.fleet)
    limits = Limits(*(getattr(config.hub, name) for name in Limits._fields))
    state = read_state(folder, config.hub.url.rstrip("/"))
    transport = MqttTransport(
        config.broker,
        client_id=topics.hub_client_id,
        password=read_password(config.broker, os.environ),
        will=Will(topics.hub_status, GONE.encode()),
    )
    conductor = Conductor(state, limits, time.monotonic(), files.needs)
    signed = _repository(config, folder) if config.updates.root_file else None
    return Hub(
        conductor, folder, files, transport, topics=topics, trust=config.trust, signed=signed
    )


def _repository(config: Config, folder: Path) -> "Repository":
    from devit_iot.hub.repository import Repository

    if not config.updates.key_file:
        raise ConfigError("updates.root_file needs updates.key_file, the hub's own key")
    root = read_file(config.updates.root_file, "updates.root_file")
    key = read_file(config.updates.key_file, "updates.key_file")
    try:
        return Repository(folder / "metadata", root, key)
    except OSError as error:
        raise ConfigError(f"cannot use {folder / 'metadata'}: {error.strerror}") from error


def _token(path: Path) -> str:
    """The token in a file that only its owner reads; made if it is not there."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        token = read_text(path).strip()
        if not token:
            raise ConfigError(f"{path} is empty: delete it, the hub makes another one") from None
        return token
    with os.fdopen(handle, "w") as file:
        token = secrets.token_hex(32)
        file.write(token + "\n")
    return token
