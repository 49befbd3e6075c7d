"""Configuration and access list of a NATS server, or of a cluster of them, for MQTT.

NATS names topics otherwise: a dot stands between levels, ``*`` for one level, ``>`` for the rest.
The common name of its certificate says who a client is.
"""

from collections.abc import Iterable, Mapping, Sequence

from devit_iot.errors import ConfigError
from devit_iot.fleet.grants import ORIGIN, Grants

CONFIG_FOLDER = "/etc/nats"
DATA_FOLDER = "/var/lib/nats"
CLUSTER_PORT = 6222
_COPIES = 3
_WILD = {"+": "*", "#": ">", "": "/"}

_CONF = """\
# NATS server 2.12 or later as MQTT broker of the devit-iot fleet '{fleet}', made by `devit fleet`.
# All brokers have the same file, and each has a name of its own. It stands in the environment: with
# --name NATS would not read its access list again.
#     BROKER_NAME=broker-1 nats-server -c {folder}/nats.conf
server_name: $BROKER_NAME

# Who speaks NATS instead of MQTT gets in from this machine only, and may do nothing.
listen: "127.0.0.1:4222"

# Sessions, what waits in them, retained statuses and labels. A broker without room for more takes
# no message that must not be lost, so this is generous. Our services send again what was
# acknowledged within twice the interval of saving (broker.persist_s).
jetstream {{
  store_dir: "{data_folder}"
  max_file_store: 8GB
  sync_interval: "5s"
}}

# 16 MiB for the largest image (node.max_payload_bytes, by default) and 64 KiB for the packet.
max_payload: 16842752
# Bytes that may wait for a client with a slow link before it is disconnected.
max_pending: 134217728

# Who may connect: whoever shows a certificate of this fleet and is in the access list. A revoked
# certificate is not looked for in crl.pem: its user is taken off the list.
mqtt {{
  listen: "0.0.0.0:{port}"
  tls {{
    ca_file: "{folder}/ca.crt"
    cert_file: "{folder}/broker.crt"
    key_file: "{folder}/broker.key"
    verify_and_map: true
  }}
  # On how many brokers each message lies before it is acknowledged.
  stream_replicas: {copies}
  # What a client does not acknowledge in this time comes again, no earlier if it was away.
  ack_wait: "10s"
  # Messages that a client may have unacknowledged, in each of its subscriptions.
  max_ack_pending: 1000
}}
"""
_CLUSTER = """
# The brokers among themselves: whoever shows the certificate that they share. It has an authority
# of its own, so that no member of the fleet can pass for a broker.
cluster {{
  name: "{fleet}"
  listen: "0.0.0.0:{cluster_port}"
  tls {{
    ca_file: "{folder}/peers.crt"
    cert_file: "{folder}/peer.crt"
    key_file: "{folder}/peer.key"
  }}
  routes: [{routes}]
}}
"""
_ACCESS = """
# Who may publish and read what.
include "acl.conf"
"""


def nats_acl(access: Mapping[str, Grants]) -> str:
    """The list as a file that ``nats.conf`` includes.

    NATS denies a subscription that is not granted, and drops forbidden messages without a word.

    Raises:
        ConfigError: a topic that NATS knows no name for.
    """
    users = [_user(user, grants) for user, grants in access.items()]
    return "\n".join((f"# {ORIGIN}", "authorization {", "  users: [", *users, "  ]", "}")) + "\n"


def nats_conf(fleet: str, hosts: Sequence[str], *, port: int, folder: str, data_folder: str) -> str:
    """The configuration of every broker: certificates, limits, and the cluster if there is one.

    Args:
        fleet: the fleet's name.
        hosts: names or addresses of the brokers' machines; from three on they are a cluster.
        port: MQTT's TLS port.
        folder: where a broker finds its files.
        data_folder: where it keeps retained and waiting messages.

    Raises:
        ConfigError: two brokers, of which none may fail.
    """
    count = check_hosts(hosts)
    values = {
        "fleet": fleet,
        "folder": folder,
        "data_folder": data_folder,
        "port": str(port),
        "copies": str(min(_COPIES, count)),
    }
    text = _CONF.format(**values)
    if count > 1:
        listed = ", ".join(f'"nats-route://{_bracketed(host)}:{CLUSTER_PORT}"' for host in hosts)
        text += _CLUSTER.format(**values, cluster_port=CLUSTER_PORT, routes=listed)
    return text + _ACCESS


def check_hosts(hosts: Sequence[str]) -> int:
    """How many brokers there are.

    Raises:
        ConfigError: two, which is worse than one: when either is gone, the other does nothing.
    """
    if len(hosts) == 2:  # noqa: PLR2004
        raise ConfigError("two NATS brokers stop as soon as one is gone: give one host, or three")
    return len(hosts)


def _user(user: str, grants: Grants) -> str:
    return (
        f'    {{ user: "CN={user}", allowed_connection_types: ["MQTT"], permissions: {{\n'
        f"      publish: {_rule(grants.write)}\n"
        f"      subscribe: {_rule(grants.read)}\n"
        "    } }"
    )


def _rule(filters: Sequence[str]) -> str:
    """An empty list would allow everything."""
    if not filters:
        return '{ deny: [">"] }'
    listed = ", ".join(f'"{subject}"' for each in filters for subject in _subjects(each))
    return f"{{ allow: [{listed}] }}"


def _subjects(topic_filter: str) -> Iterable[str]:
    """``a/#`` matches ``a`` too, ``a.>`` does not.

    A dot within a level becomes two slashes, an empty level one, as NATS's own conversion has it.
    """
    if " " in topic_filter:
        raise ConfigError(f"topic '{topic_filter}': NATS takes no topic with a space; rename it")
    levels = [_WILD.get(level, level.replace(".", "//")) for level in topic_filter.split("/")]
    yield ".".join(levels)
    if levels[-1] == ">" and len(levels) > 1:
        yield ".".join(levels[:-1])


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
