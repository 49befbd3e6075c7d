"""``devit fleet sign`` and ``rotate``: which bundles a fleet's owner allows, and by which keys."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from devit_iot.bundle.manifest import MANIFEST, file_entry
from devit_iot.bundle.reading import Bundle
from devit_iot.cli.common import one_line_errors
from devit_iot.cli.hub_token import command_token
from devit_iot.cli.options import CLIENT, HUB_CLIENT, TRUST, configuration, settings
from devit_iot.config.config import Config
from devit_iot.errors import ConfigError, TrustError
from devit_iot.hub.client import HubClient
from devit_iot.hub.commands import SignRequest
from devit_iot.transport.tls import client_context

if TYPE_CHECKING:
    from devit_iot.fleet.update_keys import UpdateKeys
    from devit_iot.trust.metadata import Allowed

in_folder = click.option(
    "--folder",
    "path",
    default=".",
    show_default=True,
    type=click.Path(path_type=Path),
    help="The fleet's folder.",
)

_NEXT: dict[str, str] = {
    "root": """\
`devit fleet sign` gives the new root to the hub, and every board takes it from there. Keep the new
spare key in another place.""",
    "targets": """\
What the old key signed counts no more: `devit fleet sign BUNDLE` for those that are served.""",
    "hub": """\
Paste the line of `devit fleet add` for the hub on it and start it again, then `devit fleet sign`.\
""",
    "all": """\
No board knows the new root: paste the lines of `devit fleet add` on the hub, the aggregators and
every board and start them again, then `devit fleet sign BUNDLE` for those that are served.""",
}
"""What to do after keys were replaced."""


@click.command()
@click.argument("bundles", nargs=-1, type=click.Path(path_type=Path))
@settings(CLIENT, TRUST, HUB_CLIENT)
@in_folder
@click.option("--only", is_flag=True, help="Allow nothing but BUNDLES: no way back to others.")
@one_line_errors
def sign(
    config_file: Path | None, *, bundles: tuple[Path, ...], path: Path, only: bool, **values: object
) -> None:
    """Allow BUNDLES, and again what is allowed and served, for another year.

    `devit fleet push` does this too. New keys reach the boards by it.

    \b
        devit fleet sign --folder fleet --hub-url http://hub.local:8484 --token-file token
    """
    config = configuration(config_file, values)
    opened = [Bundle(bundle, trust=config.trust) for bundle in bundles]
    for bundle in opened:
        bundle.verify()
    allowed = sign_for(hub_client(config), path, opened, only=only)
    if allowed is None:
        raise ConfigError(
            "the hub asks for no signature: paste the line of `devit fleet add` for it on the hub"
        )
    click.echo("allowed: " + ", ".join(f"bundle {one.fingerprint}" for one in allowed))


@click.command()
@click.argument("role", type=click.Choice(["root", "targets", "hub", "all"]))
@in_folder
@one_line_errors
def rotate(*, role: Literal["root", "targets", "hub", "all"], path: Path) -> None:
    """Replace the keys of releases: root (with its spare), targets, the hub's, or all.

    The first three are made known by the root, so that boards follow. With `all` nothing of the
    old keys is needed, and no board follows by itself.
    """
    from devit_iot.fleet.folder import FleetFolder

    opened = FleetFolder(path)
    if role == "all":
        opened.begin_anew()
    else:
        opened.rotate(role)
    click.echo(_NEXT[role])


def sign_for(
    client: HubClient, path: Path, bundles: Sequence[Bundle], *, only: bool = False
) -> "list[Allowed] | None":
    """Give the hub what the owner allows: ``bundles``, and of what was allowed what it still needs.

    Args:
        client: the hub.
        path: folder of the fleet.
        bundles: bundles to allow.
        only: whether to allow nothing else.

    Returns:
        What is allowed now; None if the hub asks for no signature.

    Raises:
        ConfigError: the keys are not there.
        DevitError: the hub cannot be reached, or says why it does not.
    """
    view = client.signed()
    if view is None:
        return None
    from devit_iot.trust.metadata import Allowed, allowed_by, version_of

    keys = _keys(path)
    entries = [(bundle, file_entry(bundle.path / MANIFEST)) for bundle in bundles]
    allowed = [Allowed(b.manifest.fingerprint, e.sha256, e.size) for b, e in entries]
    known, version = keys.allowed, keys.targets_version
    at_hub = view.targets.encode()
    if at_hub and version_of(at_hub) > version:  # this folder is a copy of an earlier day
        known = allowed_by(at_hub) if keys.is_ours(at_hub) else known
        version = version_of(at_hub)
    if not only:
        named = {one.fingerprint for one in allowed}
        wanted = set(view.kept) - named
        allowed += [one for one in known if one.fingerprint in wanted]
    if not allowed:
        raise TrustError("there is nothing to allow yet: name a BUNDLE, or push one")
    targets = keys.sign(allowed, version + 1)
    client.sign(SignRequest(tuple(root.decode() for root in keys.roots), targets.decode()))
    return allowed


def _keys(path: Path) -> "UpdateKeys":
    from devit_iot.fleet.folder import FleetFolder

    try:
        keys = FleetFolder(path).update_keys
    except ConfigError as error:
        raise ConfigError(
            f"the hub takes what the fleet's owner signs, give --folder FLEET: {error}"
        ) from error
    if keys is None:
        raise ConfigError(
            f"{path} has no keys of releases: put your copy back, or `devit fleet rotate all`"
        )
    return keys


def hub_client(config: Config) -> HubClient:
    """The hub that a configuration names.

    Raises:
        ConfigError: there is no token, or a file of TLS cannot be read.
    """
    token = command_token(config.hub)
    is_secure = config.hub.url.startswith("https:")
    return HubClient(config.hub.url, token, client_context(config.broker) if is_secure else None)
