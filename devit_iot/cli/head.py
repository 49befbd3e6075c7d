"""``devit head``: which heads answer, a new one without a restart, the one before again."""

import time
from pathlib import Path
from typing import Self

import click

from devit_iot.bundle.checked_file import check_signature
from devit_iot.bundle.head import CURRENT, HEAD, SIGNATURE
from devit_iot.bundle.head_files import read_files
from devit_iot.cli.cells import percent
from devit_iot.cli.common import one_line_errors, set_up_logging
from devit_iot.cli.number import Number
from devit_iot.cli.options import CLIENT, FLEET_NAME, TRUST, configuration, settings
from devit_iot.cli.watching import command_transport
from devit_iot.config.config import Config
from devit_iot.errors import ConfigError, DevitError
from devit_iot.monitor.watch import Watch
from devit_iot.protocol.head_message import HeadReport
from devit_iot.protocol.text import is_camera, shown
from devit_iot.protocol.topics import Topics
from devit_iot.teach.live_heads import LiveHeads
from devit_iot.transport.mqtt import MqttTransport

_CONNECT_S = 10.0
_LOOK_S = 0.1
_SETTLE_S = 1.0
"""What the broker keeps comes within that after the subscription."""

_wait = click.option(
    "--wait",
    type=Number(0),
    default=10.0,
    show_default=True,
    help="Seconds to wait for the aggregators' answer.",
)


@click.group()
def head() -> None:
    """Heads of a running fleet: classes of one's own, see `devit teach`."""


@head.command()
@click.argument("folder", type=click.Path(path_type=Path))
@settings(CLIENT, FLEET_NAME, TRUST)
@click.option(
    "--camera", "cameras", multiple=True, help="Camera whose main head it becomes; repeat."
)
@_wait
@one_line_errors
def push(
    config_file: Path | None,
    *,
    folder: Path,
    cameras: tuple[str, ...],
    wait: float,
    **values: object,
) -> None:
    """Bring the head in FOLDER to the aggregators, which take it between two images.

    FOLDER is that of a head, whose live version is taken, or that of one version. An aggregator
    that is away gets the head when it comes. The version before stays there, see `rollback`.

    \b
        devit head push bundles/deit-tiny/heads/gate --camera door
    """
    config = configuration(config_file, values)
    wrong = [camera for camera in cameras if not is_camera(camera)]
    if wrong:
        raise ConfigError(f"'{wrong[0][:100]}' can be no camera's name")
    version = _version_in(folder)
    manifest, files = read_files(version)
    if config.trust:
        check_signature(version / SIGNATURE, version / HEAD, files.manifest, config.trust, "head")
    with _Link(config) as link:
        said = link.heads.push(manifest.name, files, cameras or None)
        link.follow(manifest.name, said, wait)


@head.command("list")
@settings(CLIENT, FLEET_NAME)
@one_line_errors
def list_(config_file: Path | None, **values: object) -> None:
    """Show the heads that the aggregators have, and what they last refused."""
    with _Link(configuration(config_file, values)) as link:
        time.sleep(_SETTLE_S)
        reports = link.heads.reports
        lines = [_line(shard, report) for shard, found in reports.items() for report in found.heads]
    for line in lines or ["no aggregator says that it has a head beside the bundle's own"]:
        click.echo(shown(line))


@head.command()
@click.argument("name")
@settings(CLIENT, FLEET_NAME)
@_wait
@one_line_errors
def rollback(config_file: Path | None, *, name: str, wait: float, **values: object) -> None:
    """Let the version before of head NAME answer again; the first one is taken from its cameras."""
    with _Link(configuration(config_file, values)) as link:
        time.sleep(_SETTLE_S)
        said, _version = link.heads.go_back(name)
        link.follow(name, said, wait)


class _Link:
    """A connection to a fleet's aggregators inside the ``with`` block."""

    def __init__(self, config: Config) -> None:
        set_up_logging(config.log.format, "error")
        self._transport: MqttTransport = command_transport(config, "head")
        self.heads = LiveHeads(self._transport, Topics(config.fleet))
        self._watch = Watch(self._transport, (), lambda _message: None)

    def __enter__(self) -> Self:
        self._watch.__enter__()
        try:
            self._watch.wait_ready(_CONNECT_S)
        except DevitError:
            self._transport.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._transport.stop()

    def follow(self, name: str, push: str, wait: float) -> None:
        """Show what the aggregators answer.

        Raises:
            DevitError: one of them refused, or did not answer in time.
        """
        until = time.monotonic() + wait
        settled = time.monotonic() + min(_SETTLE_S, wait)
        while time.monotonic() < until:
            missing = self.heads.online - self.heads.answers(push).keys()
            if not missing and time.monotonic() > settled:
                break
            time.sleep(_LOOK_S)
        answers, online = self.heads.answers(push), self.heads.online
        for shard, report in sorted(answers.items()):
            click.echo(shown(_line(shard, report)))
        refused = [report.problem for report in answers.values() if report.problem]
        if refused:
            raise DevitError(f"head '{name}' was refused, the old one goes on: {refused[0]}")
        silent = sorted(online - answers.keys())
        if silent:
            raise DevitError(
                f"aggregator {silent[0]} did not answer within {wait:g} s: this user may not write "
                "heads, or the aggregator is of an older release"
            )
        if not answers:
            click.echo("no aggregator is online; the head is at the broker, for the next one")


def _version_in(folder: Path) -> Path:
    """The folder of a version: ``folder`` itself, or the live one in it."""
    current = folder / CURRENT
    if not current.is_file():
        return folder
    return folder / current.read_bytes()[:64].decode("ascii", "replace").strip()


def _line(shard: str, report: HeadReport) -> str:
    cells = [f"aggregator {shard}: head {report.name}"]
    if report.version:
        cells.append(f"version {report.version}")
        cells.append(f"{report.classes} classes, {percent(report.accuracy)} right")
        if report.cameras:
            cells.append("cameras " + ", ".join(report.cameras))
    else:
        cells.append("answers for no camera: give --camera, or name it in the configuration")
    if report.before:
        cells.append(f"before {report.before}")
    if report.problem:
        cells.append(f"refused: {report.problem}")
    return ", ".join(cells)
