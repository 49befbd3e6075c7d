"""``devit doctor``: what is wrong with a board, and what to do about it."""

import itertools
import os
import sys
from pathlib import Path

import click
import msgspec

from devit_iot.cli.common import one_line_errors, set_up_logging
from devit_iot.cli.old_options import Command
from devit_iot.cli.options import CLIENT, FLEET, NODE, configuration, settings
from devit_iot.doctor.board import Machine, check_board
from devit_iot.doctor.broker import check_broker
from devit_iot.doctor.finding import Finding
from devit_iot.doctor.part import check_part
from devit_iot.protocol.text import shown

_COLOURS = {"ok": "green", "warn": "yellow", "bad": "red"}


@click.command(cls=Command, path="devit doctor")
@settings(CLIENT, FLEET, NODE)
@click.option("--board", envvar="DEVIT_BOARD", help="Board that it is, for instance pi5.")
@click.option("--json", "as_json", is_flag=True, help="For machines: one JSON object.")
@one_line_errors
def doctor(config_file: Path | None, *, board: str | None, as_json: bool, **values: object) -> None:
    """Check this board: CPU, memory, heat, clock, bundle, engine and broker.

    Takes the options of `devit-node start`.

    \b
        devit doctor --broker mqtt://hub.local --bundle ./bundle --part 2 --name pi-2

    Exit code 1 if something is bad, each with what to do about it.
    """
    config = configuration(config_file, values, board=board)
    set_up_logging(config.log.format, "critical")  # the findings say it
    findings = []
    for finding in itertools.chain(
        check_board(config, Machine()), check_part(config), check_broker(config, os.environ)
    ):
        findings.append(finding)
        if not as_json:
            _show(finding)
    sound = all(finding.level != "bad" for finding in findings)
    if as_json:
        report = {"sound": sound, "findings": findings}
        click.echo(msgspec.json.format(msgspec.json.encode(report)))
    if not sound:
        sys.exit(1)


def _show(finding: Finding) -> None:
    level = click.style(f"{finding.level:5}", fg=_COLOURS[finding.level], bold=True)
    click.echo(f"{level}{finding.check:21}{shown(finding.text)}")
    if finding.remedy:
        click.echo(f"{'':5}{'':21}-> {shown(finding.remedy)}")
