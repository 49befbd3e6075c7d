"""``devit hub wheels``: the software that boards install when they join."""

from collections.abc import Iterator
from pathlib import Path

import click

from devit_iot.cli.common import one_line_errors
from devit_iot.cli.hub_token import command_token
from devit_iot.cli.options import CLIENT, JOIN_CLIENT, configuration, settings
from devit_iot.errors import ConfigError
from devit_iot.hub.join_client import JoinClient
from devit_iot.transport.tls import client_context


@click.group()
def wheels() -> None:
    """The wheels that boards install when they join: devit-iot, what it needs, and pip."""


@wheels.command()
@click.argument(
    "files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path)
)
@settings(CLIENT, JOIN_CLIENT)
@one_line_errors
def add(config_file: Path | None, *, files: tuple[Path, ...], **values: object) -> None:
    """Give the hub wheels; a folder stands for all that lie in it.

    \b
        devit hub wheels add wheels --hub-join-url https://hub.local:8485 --token-file token \\
          --config fleet/clients/viewer/devit.toml
    """
    config = configuration(config_file, values)
    url = config.hub.join_url
    if not url:
        raise ConfigError("no hub: give --hub-join-url, where boards reach it")
    context = client_context(config.broker) if url.startswith("https:") else None
    client = JoinClient(url, command_token(config.hub), context)
    for path in _wheels(files):
        click.echo(client.add_wheel(path).said)


def _wheels(files: tuple[Path, ...]) -> Iterator[Path]:
    for path in files:
        if not path.is_dir():
            yield path
        elif found := sorted(path.glob("*.whl")):
            yield from found
        else:
            raise ConfigError(f"{path} holds no wheel")
