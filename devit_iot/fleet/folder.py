"""The folder that a fleet's owner keeps: who belongs to the fleet, and all their secrets.

fleet.json        what the fleet is and who belongs to it
authority/        ca.crt, ca.key: whoever has the key can make members
broker/           what the broker needs: copy it there, or to each broker of a cluster
updates/          keys of releases: :mod:`devit_iot.fleet.update_keys`
clients/<name>/   what each client needs: :mod:`devit_iot.fleet.parcel`
cells/<name>/     such a folder for each cell of an upper broker: :mod:`devit_iot.fleet.cells`

Folders are open to their owner only (0700), files too (0600).
"""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import msgspec

from devit_iot.bundle.signature import check_trust
from devit_iot.errors import ConfigError
from devit_iot.fleet import authority
from devit_iot.fleet.access import Role, access_list
from devit_iot.fleet.authority import Pair
from devit_iot.fleet.bridge import Bridge, bridge_conf
from devit_iot.fleet.broker_files import BrokerKind, broker_files, check_broker
from devit_iot.fleet.grants import Grants
from devit_iot.fleet.mosquitto import CONFIG_FOLDER
from devit_iot.fleet.parcel import client_config
from devit_iot.fleet.update_keys import KeyRole, UpdateKeys
from devit_iot.fleet.upper_access import UPPER_ROLES, upper_access_list
from devit_iot.protocol.topics import DEFAULT_IMAGE_FILTERS, check_name
from devit_iot.text_file import read_text

STATE = "fleet.json"
ROLES: tuple[Role, ...] = ("aggregator", "camera", "viewer")
"""Each has a first client from the start, called like it."""


_ROOT = "root.json"
_HUB_KEY = "hub.key"
_UPDATES: dict[Role, dict[str, str]] = {
    "node": {"root_file": _ROOT},
    "aggregator": {"root_file": _ROOT},
    "hub": {"root_file": _ROOT, "key_file": _HUB_KEY},
}
"""What the table ``[updates]`` of a client says, by its role."""


class Client(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who one certificate was made for; ``serial`` is its number in hex."""

    role: Role
    part: int | None
    serial: str


class FleetState(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The content of fleet.json.

    Attributes:
        name: the fleet's name, part of every topic.
        hosts: names and addresses of the broker, of which clients use the first one; with NATS of
            the brokers, of which clients try one after the other.
        port: port of the broker's TLS listener.
        images: image filters.
        trust: public key that bundles must be signed with, or empty.
        broker_folder: where the broker finds its files; empty: where Debian keeps them.
        clients: the fleet's clients by name.
        revoked: serial numbers of revoked certificates, in hex.
        upper: whether the broker is an upper one, which shows cells.
        bridge: where a cell's broker sends what an upper one shows; None: the fleet is no cell.
        broker_kind: the broker that configuration and access list are written for.
    """

    name: str
    hosts: tuple[str, ...]
    port: int = 8883
    images: tuple[str, ...] = DEFAULT_IMAGE_FILTERS
    trust: str = ""
    broker_folder: str = ""
    clients: dict[str, Client] = {}
    revoked: tuple[str, ...] = ()
    broker_kind: BrokerKind = "mosquitto"
    upper: bool = False
    bridge: Bridge | None = None

    def access(self, users: Mapping[str, Role]) -> dict[str, Grants]:
        """What each user may do at the broker; ConfigError if a name or a role is unusable."""
        if self.upper:
            return upper_access_list(self.name, users)
        return access_list(self.name, users, self.images)


class FleetFolder:
    """A fleet on disk. Each change is written before its method returns.

    Attributes:
        path: the folder.
        fleet: what fleet.json holds.

    Raises:
        ConfigError: ``path`` is no such folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.fleet = msgspec.json.decode(read_text(path / STATE), type=FleetState)
            self._authority = _read_pair(path / "authority", "ca")
        except OSError as error:
            raise ConfigError(
                f"{path} is no fleet ({error.strerror}: {error.filename}); "
                "`devit fleet init` makes one"
            ) from error
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path / STATE} does not parse: {error}") from error

    @classmethod
    def create(cls, path: Path, fleet: FleetState) -> Self:
        """Make the folder, the authority, the broker's files and a client of every role.

        Raises:
            ConfigError: ``path`` exists, or a name or filter is unusable.
        """
        if path.exists():
            raise ConfigError(f"{path} exists already; a new fleet needs a new folder")
        access_list(fleet.name, {}, fleet.images)  # checks the names before anything is made
        if fleet.trust:
            check_trust(fleet.trust)
        if fleet.broker_folder and not Path(fleet.broker_folder).is_absolute():
            raise ConfigError(f"the broker's folder '{fleet.broker_folder}' must begin with '/'")
        check_broker(fleet.broker_kind, fleet.hosts)
        path.parent.mkdir(parents=True, exist_ok=True)
        staging = path.with_name(path.name + ".partial")
        shutil.rmtree(staging, ignore_errors=True)
        for name in ("", "authority", "broker", "clients"):
            (staging / name).mkdir(mode=0o700)
        if fleet.broker_folder:
            (staging / "broker" / "data").mkdir(mode=0o700)
        root = authority.new_authority()
        _write_pair(staging / "authority", "ca", root)
        _write_pair(staging / "broker", "broker", authority.new_server(root, fleet.hosts))
        _write(staging / "broker" / "ca.crt", root.certificate)
        if fleet.broker_kind == "nats" and len(fleet.hosts) > 1:
            peers = authority.new_authority("devit fleet brokers")  # its key is kept nowhere
            _write_pair(staging / "broker", "peer", authority.new_peer(peers, fleet.hosts))
            _write(staging / "broker" / "peers.crt", peers.certificate)
        _write(staging / STATE, msgspec.json.encode(fleet))
        UpdateKeys.create(staging / "updates", _write)
        made = cls(staging)
        for role in UPPER_ROLES if fleet.upper else ROLES:
            made.add(role, role)
        staging.rename(path)
        return cls(path)

    def add(self, name: str, role: Role, part: int | None = None) -> bool:
        """Make a client's certificate and files, and extend the access list.

        Returns:
            False if it was there already, as asked for; then nothing changes.

        Raises:
            ConfigError: the name is unusable, or taken by a client of another kind.
        """
        check_name("node" if role == "node" else "client", name)
        known = self.fleet.clients.get(name)
        if known is not None:
            if (known.role, known.part) != (role, part):
                raise ConfigError(
                    f"'{name}' is in this fleet already, as {_described(known)}; choose another "
                    f"name, or revoke it first"
                )
            return False
        fleet = self.fleet
        fleet.access({name: role})  # refuses the role before anything is made
        pair = authority.new_client(self._authority, name)
        folder = self.path / "clients" / name
        shutil.rmtree(folder, ignore_errors=True)  # left by an attempt that did not get to the end
        folder.mkdir(mode=0o700)
        _write_pair(folder, "client", pair)
        _write(folder / "ca.crt", self._authority.certificate)
        client = Client(role, part, f"{pair.serial:x}")
        self._configure(name, client)
        self._save(msgspec.structs.replace(fleet, clients={**fleet.clients, name: client}))
        return True

    def revoke(self, name: str) -> None:
        """Take a client's rights and make its certificate worthless.

        Raises:
            ConfigError: there is no such client.
        """
        client = self.client(name)
        if client.role == "hub" and self.update_keys is not None:
            self.rotate("hub")  # who has its certificate has that key too
        rest = {other: known for other, known in self.fleet.clients.items() if other != name}
        revoked = (*self.fleet.revoked, client.serial)
        self._save(msgspec.structs.replace(self.fleet, clients=rest, revoked=revoked))
        shutil.rmtree(self.path / "clients" / name)

    def client(self, name: str) -> Client:
        """The client called ``name``, or ConfigError."""
        if name not in self.fleet.clients:
            raise ConfigError(
                f"no '{name}' in this fleet; there are: {', '.join(sorted(self.fleet.clients))}"
            )
        return self.fleet.clients[name]

    def client_files(self, name: str) -> Mapping[str, bytes]:
        """What the client called ``name`` needs, by file name."""
        self.client(name)
        folder = self.path / "clients" / name
        return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}

    @property
    def update_keys(self) -> UpdateKeys | None:
        """The keys of releases; None in a fleet that was made before there were any.

        Raises:
            ConfigError: they cannot be used.
        """
        path = self.path / "updates"
        return UpdateKeys(path, _write) if path.is_dir() else None

    def rotate(self, role: KeyRole) -> None:
        """Replace the keys of a role, and give every client the new root.

        Raises:
            ConfigError: there are no keys, or none of the root.
        """
        keys = self.update_keys
        if keys is None:
            raise ConfigError(
                f"{self.path} has no keys of releases yet: `devit fleet rotate all` makes them"
            )
        keys.rotate(role)
        self._configure_all()

    def begin_anew(self) -> None:
        """Make keys and a root that no board knows; the old ones are kept beside them."""
        path, staging = self.path / "updates", self.path / "updates.partial"
        shutil.rmtree(staging, ignore_errors=True)
        UpdateKeys.create(staging, _write)
        if path.is_dir():
            old = len([*self.path.glob("updates-old-*")]) + 1
            path.rename(self.path / f"updates-old-{old}")
        staging.rename(path)
        self._configure_all()

    def _configure_all(self) -> None:
        for name, client in self.fleet.clients.items():
            self._configure(name, client)

    def _configure(self, name: str, client: Client) -> None:
        """Write what is in a client's folder beside its certificate."""
        fleet, keys = self.fleet, self.update_keys
        updates = _UPDATES.get(client.role, {}) if keys is not None else {}
        config = client_config(
            fleet=fleet.name,
            url=_url(fleet),
            images=() if fleet.images == DEFAULT_IMAGE_FILTERS else fleet.images,
            trust=fleet.trust,
            node=name if client.role == "node" else "",
            part=client.part,
            updates=updates,
            cells=fleet.upper,
        )
        folder = self.path / "clients" / name
        _write(folder / "devit.toml", config.encode())
        if keys is not None and "root_file" in updates:
            _write(folder / _ROOT, keys.roots[-1])
        if keys is not None and "key_file" in updates:
            _write(folder / _HUB_KEY, keys.hub_key)

    def _save(self, fleet: FleetState) -> None:
        """Write what follows from ``fleet``, fleet.json last: until then nothing has changed."""
        users = {name: client.role for name, client in fleet.clients.items()}
        broker = self.path / "broker"
        revoked = authority.revocation_list(self._authority, (int(s, 16) for s in fleet.revoked))
        files = broker_files(
            fleet.broker_kind,
            fleet.name,
            fleet.hosts,
            fleet.access(users),
            port=fleet.port,
            broker_folder=fleet.broker_folder,
        )
        if fleet.bridge is not None:
            folder = fleet.broker_folder or CONFIG_FOLDER
            files["mosquitto.conf"] += bridge_conf(fleet.name, fleet.bridge, folder=folder)
        for name, text in files.items():
            _write(broker / name, text.encode())
        _write(broker / "crl.pem", revoked)
        _write(self.path / STATE, msgspec.json.format(msgspec.json.encode(fleet)))
        self.fleet = fleet


def _described(client: Client) -> str:
    return client.role if client.part is None else f"{client.role} of part {client.part}"


def _url(fleet: FleetState) -> str:
    """Where clients find the broker, or the brokers of a cluster."""
    hosts = fleet.hosts if fleet.broker_kind == "nats" else fleet.hosts[:1]
    bracketed = (f"[{host}]" if ":" in host else host for host in hosts)
    return ",".join(f"mqtts://{host}:{fleet.port}" for host in bracketed)


def _read_pair(folder: Path, name: str) -> Pair:
    return Pair((folder / f"{name}.crt").read_bytes(), (folder / f"{name}.key").read_bytes())


def _write_pair(folder: Path, name: str, pair: Pair) -> None:
    _write(folder / f"{name}.crt", pair.certificate)
    _write(folder / f"{name}.key", pair.key)


def _write(path: Path, content: bytes) -> None:
    """Replace a file by a private one, at once and whole."""
    partial = path.with_name(path.name + ".partial")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
