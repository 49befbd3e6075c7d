"""``devit fleet push`` and its neighbours: another bundle for a fleet with a hub."""

import time
from pathlib import Path

import click

from devit_iot.bundle.reading import Bundle
from devit_iot.cli.common import one_line_errors
from devit_iot.cli.fleet_keys import hub_client, in_folder, sign_for
from devit_iot.cli.options import CLIENT, HUB_CLIENT, TRUST, configuration, settings
from devit_iot.errors import DevitError
from devit_iot.hub.client import HubClient
from devit_iot.hub.commands import MemberView, Status
from devit_iot.protocol.text import shown

_INTERVAL_S = 0.5


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@settings(CLIENT, TRUST, HUB_CLIENT)
@in_folder
@click.option("--canary", default="", help="Node that proves the bundle before any other begins.")
@click.option("--offer", is_flag=True, help="Only offer it, to be installed in Home Assistant.")
@click.option("--wait/--no-wait", default=True, help="Whether to show progress until it is done.")
@one_line_errors
def push(
    config_file: Path | None,
    *,
    bundle: Path,
    path: Path,
    canary: str,
    offer: bool,
    wait: bool,
    **values: object,
) -> None:
    """Bring BUNDLE to every board, and go over to it when all parts are ready.

    The old bundle serves meanwhile, and goes on if anything fails. In a fleet with keys of
    releases it is signed with those in the fleet's folder.

    \b
        devit fleet push ./bundle --hub-url http://hub.local:8484 --token-file token
    """
    config = configuration(config_file, values)
    opened = Bundle(bundle, trust=config.trust)
    opened.verify()
    client = hub_client(config)
    sign_for(client, path, [opened])
    done = client.push(opened, canary, offer=offer)
    click.echo(done.said)
    if wait and not offer:
        _follow(client, done.number)


@click.command()
@settings(CLIENT, HUB_CLIENT)
@one_line_errors
def status(config_file: Path | None, **values: object) -> None:
    """Show which bundle the fleet serves, which one is next, and how far each board is."""
    now = hub_client(configuration(config_file, values)).status()
    rollout = now.rollout
    for what, release in (("serves", rollout.current), ("next", rollout.next)):
        if release is not None:
            click.echo(f"{what}: release {release.number}, bundle {release.fingerprint}")
    click.echo(shown(now.outcome or "nothing was pushed yet") + (", paused" * rollout.paused))
    for line in (*_planned(now), *_lines(now)):
        click.echo(line)


@click.command()
@settings(CLIENT, HUB_CLIENT)
@click.option("--wait/--no-wait", default=True, help="Whether to show progress until it is done.")
@one_line_errors
def rollback(config_file: Path | None, *, wait: bool, **values: object) -> None:
    """Take back what is under way, or go back to the bundle before."""
    client = hub_client(configuration(config_file, values))
    done = client.tell("rollback")
    click.echo(done.said)
    if wait and done.number:
        _follow(client, done.number)


@click.command()
@settings(CLIENT, HUB_CLIENT)
@click.option("--resume", is_flag=True, help="Go on.")
@one_line_errors
def pause(config_file: Path | None, *, resume: bool, **values: object) -> None:
    """Give out no files and go over to nothing until `--resume`."""
    client = hub_client(configuration(config_file, values))
    click.echo(client.tell("resume" if resume else "pause").said)


def _follow(client: HubClient, number: int) -> None:
    """Show what changes until the release serves everywhere, or was ended."""
    shown_before: list[str] = []
    while True:
        now = client.status()
        coming = now.rollout.next
        lines = _lines(now)
        for line in lines:
            if line not in shown_before:
                click.echo(line)
        shown_before = lines
        if coming is None or coming.number != number:
            current = now.rollout.current
            if current is None or current.number != number:
                raise DevitError(now.outcome)
            click.echo(now.outcome)
            return
        if now.rollout.activate and _all_serve(now, number):
            click.echo(f"release {number} serves on trial: it is good after some labels")
            return
        time.sleep(_INTERVAL_S)


def _all_serve(now: Status, number: int) -> bool:
    coming = now.rollout.next
    members = coming.members if coming is not None else {}
    views = [now.nodes.get(name) for name in members]
    return all(v is not None and v.update is not None and v.update.serving == number for v in views)


def _lines(now: Status) -> list[str]:
    nodes = [(name, view) for name, view in now.nodes.items()]
    shards = [(f"aggregator {shard}", view) for shard, view in now.aggregators.items()]
    return [shown(_line(name, view)) for name, view in (*nodes, *shards)]


def _planned(now: Status) -> list[str]:
    """What the plan says, one line; none without a plan."""
    if now.plan is None:
        return []
    about = f"bundle {now.plan.fingerprint}" if now.plan.fingerprint else "any bundle"
    boards = sorted(now.plan.members.items(), key=lambda board: (board[1], board[0]))
    says = ", ".join(f"{part} on {name}" for name, part in boards)
    return [shown(f"plan for {about} of {now.plan.parts} parts: {says}")]


def _line(name: str, view: MemberView) -> str:
    part = "" if view.part is None else f", part {view.part}"
    there = "" if view.online else ", offline"
    update = view.update
    if update is None:
        return f"{name}{there}: has a bundle of its own"
    far = f" {100 * update.progress:.0f} %" if update.state == "DOWNLOADING" else ""
    about = f"release {update.release} {update.state}{far}" if update.release else "waits"
    return f"{name}{part}{there}: {about}" + (f" ({update.error})" if update.error else "")
