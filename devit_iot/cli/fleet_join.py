"""What ``devit fleet add`` does where a hub lets boards join."""

import hashlib
import secrets
import ssl
from pathlib import Path

from devit_iot.cli.hub_token import command_token
from devit_iot.config.broker import BrokerConfig
from devit_iot.config.hub import HubConfig
from devit_iot.errors import ConfigError
from devit_iot.fleet.folder import FleetFolder
from devit_iot.fleet.join_line import Ticket
from devit_iot.hub.join_client import JoinClient
from devit_iot.hub.joins import JoinRequest
from devit_iot.transport.tls import client_context


def invite(opened: FleetFolder, name: str, hub: HubConfig, valid_s: float) -> Ticket:
    """Let one board join by the hub as the client ``name``, which is in the fleet.

    Args:
        opened: the fleet.
        name: name of the board.
        hub: where boards join, and the token of those who command.
        valid_s: for how long the ticket is good.

    Raises:
        DevitError: the hub cannot be reached, or a board has joined as ``name`` already.
    """
    url = hub.join_url.rstrip("/")
    if not url.startswith("https://"):
        raise ConfigError(f"boards join by https, and hub.join_url is '{url}'")
    files = opened.client_files(name)
    token = secrets.token_urlsafe(24)
    request = JoinRequest(
        hashlib.sha256(token.encode()).hexdigest(),
        valid_s,
        opened.client(name).serial,
        _requirement(opened),
        dict(files),
    )
    ca_file = opened.path / "authority" / "ca.crt"
    context = client_context(BrokerConfig(ca_file=str(ca_file)))
    JoinClient(url, command_token(hub), context).allow(name, request)
    authority = ssl.PEM_cert_to_DER_cert(files["ca.crt"].decode().strip())
    return Ticket(url, authority, name, token)


def _requirement(opened: FleetFolder) -> str:
    """What a board installs: it checks signatures where the fleet's owner signs."""
    needed = {"signed": bool(opened.fleet.trust), "updates": opened.update_keys is not None}
    extras = ",".join(extra for extra, is_needed in needed.items() if is_needed)
    return f"devit-iot[{extras}]" if extras else "devit-iot"


def write_user_data(path: Path, text: str) -> None:
    """Write a file that lets a board join, for its owner's eyes only where the disk knows owners.

    Raises:
        ConfigError: it exists, or cannot be written.
    """
    try:
        path.touch(mode=0o600, exist_ok=False)
        path.write_text(text)
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}") from error
