"""What a broker of each kind is given: its configuration and its access list."""

from collections.abc import Mapping, Sequence
from typing import Literal

from devit_iot.fleet import mosquitto, nats
from devit_iot.fleet.access import mosquitto_acl
from devit_iot.fleet.grants import Grants

BrokerKind = Literal["mosquitto", "nats"]


def check_broker(kind: BrokerKind, hosts: Sequence[str]) -> None:
    """Raise ConfigError if brokers of that kind cannot run on these hosts."""
    if kind == "nats":
        nats.check_hosts(hosts)


def broker_files(
    kind: BrokerKind,
    fleet: str,
    hosts: Sequence[str],
    access: Mapping[str, Grants],
    *,
    port: int,
    broker_folder: str,
) -> dict[str, str]:
    """The files beside the certificates, by name.

    Args:
        kind: the broker that reads the files.
        fleet: the fleet's name.
        hosts: names or addresses of the broker, or of the brokers of a NATS cluster.
        access: what each user may do.
        port: port of the TLS listener, the only one for clients.
        broker_folder: where the broker finds its files; empty: where they are by custom.
    """
    data = f"{broker_folder}/data" if broker_folder else ""
    if kind == "nats":
        conf = nats.nats_conf(
            fleet,
            hosts,
            port=port,
            folder=broker_folder or nats.CONFIG_FOLDER,
            data_folder=data or nats.DATA_FOLDER,
        )
        return {"nats.conf": conf, "acl.conf": nats.nats_acl(access)}
    conf = mosquitto.mosquitto_conf(
        fleet,
        port=port,
        folder=broker_folder or mosquitto.CONFIG_FOLDER,
        data_folder=data or mosquitto.DATA_FOLDER,
    )
    return {"mosquitto.conf": conf, "acl": mosquitto_acl(access)}
