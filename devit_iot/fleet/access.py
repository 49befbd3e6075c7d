"""Who may publish and read what at the broker, in the words of four brokers.

Topics come from :mod:`devit_iot.protocol`; whatever is not granted here is denied.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import msgspec

from devit_iot.errors import ConfigError
from devit_iot.fleet import teaching
from devit_iot.fleet.grants import ORIGIN, Grants
from devit_iot.fleet.nats import nats_acl
from devit_iot.protocol.looks import LookTopics
from devit_iot.protocol.topics import (
    DISCOVERY_PREFIX,
    HOME_ASSISTANT_STATUS,
    DiscoveryTopics,
    ImageFilter,
    Topics,
    check_name,
)

Role = Literal[
    "aggregator",
    "camera",
    "cell",
    "collector",
    "dashboard",
    "homeassistant",
    "hub",
    "labels",
    "node",
    "owner",
    "teacher",
    "upper",
    "viewer",
]

ONLY_UPPER: frozenset[Role] = frozenset({"cell", "labels", "upper"})
"""Roles at an upper broker alone: a cell's two bridges, and the service of ``devit upper``."""

_EXCHANGE = "amq.topic"
_RUN = "[0-9a-f]{8}"
"""What client ids of commands and browser tabs end with."""


def members(nodes: Sequence[str]) -> dict[str, Role]:
    """The users that run a fleet: its nodes, and one of every other role but ``owner``.

    A user that is no node is called like its role.

    Raises:
        ConfigError: a node is named like a role.
    """
    roles: tuple[Role, ...] = (
        *("camera", "aggregator", "hub", "viewer", "dashboard", "homeassistant"),
        *("collector", "teacher"),
    )
    users: dict[str, Role] = {role: role for role in roles}
    for node in nodes:
        if node in users:
            raise ConfigError(f"node '{node}': choose another name, that one is taken")
        users[node] = "node"
    return users


def access_list(  # noqa: C901, PLR0915 - one case for each role
    fleet: str, users: Mapping[str, Role], image_patterns: Sequence[str]
) -> dict[str, Grants]:
    """What each user of a fleet may do.

    A node reads images and writes its own features and status, and reads those of other nodes, to
    share the images of its part with them; a camera writes images; an aggregator reads features and
    nodes' statuses and writes labels, states, aggregators' statuses, and which images need no
    further part, which nodes read; it reads images, and sends nodes those of which they compute a
    crop at times; it reads labels and states of other aggregators and from before
    its restart; a viewer reads labels, states, statuses and releases, a dashboard images too. The
    hub alone writes the release; nodes and aggregators read it, and write how far they are with it,
    which the hub reads. Both also read what they say of themselves, to find out whether the broker
    delivers. Home Assistant reads what a viewer reads and what is announced to it, which
    aggregators write, and which it deletes when a person deletes a device there; it says when it
    starts, and may tell the hub to install what is offered, as an owner may. An owner deletes what
    is kept of members that are gone, and nobody else can.

    A collector reads images, features and labels, keeps some, and answers a teacher, who reads what
    a dashboard reads. Both say which heads shall answer, which aggregators read; nobody else can.

    Raises:
        ConfigError: a name or a pattern is unusable, or a role belongs to an upper broker.
    """
    topics = Topics(fleet)
    looking = LookTopics(fleet)
    looks = ImageFilter(looking.images).mqtt
    images = tuple(ImageFilter(pattern).mqtt for pattern in image_patterns)
    labels = (topics.labels, topics.head_labels, topics.states)
    statuses = (topics.node_statuses, topics.aggregator_status("+"))
    updates = (topics.node_update("+"), topics.aggregator_update("+"))
    results = (*labels, *statuses, *updates, topics.release, topics.hub_status)
    devices = DiscoveryTopics().devices
    for user, role in users.items():
        if role in ONLY_UPPER:
            raise ConfigError(f"'{user}': only an upper broker has the role '{role}'")

    def client_ids(own: str, *commands: str) -> str:
        runs = (re.escape(command) + _RUN for command in commands)
        return f"({'|'.join((re.escape(own), *runs))})"

    def grants(user: str, role: Role) -> Grants:
        check_name("node" if role == "node" else "user", user)
        write: tuple[str, ...] = ()
        read: tuple[str, ...] = ()
        client_id = re.escape(user)
        match role:
            case "node":
                write = (
                    topics.feature("+", user),
                    topics.node_status(user),
                    topics.node_update(user),
                )
                read = (
                    *images,
                    looks,
                    topics.node_statuses,
                    topics.features("+"),
                    topics.crops,
                    topics.release,
                    topics.all_enough,
                )
                doctor = topics.doctor_client_id(user, "")
                client_id = client_ids(topics.node_client_id(user), doctor)
            case "camera":
                write = images
            case "aggregator":
                own = (topics.aggregator_status("+"), topics.aggregator_update("+"))
                own_heads = topics.aggregator_heads("+")
                write = (*labels, topics.crops, looks, *own, topics.all_enough, own_heads, devices)
                read = (
                    *images,
                    topics.features("+"),
                    *labels,
                    topics.node_statuses,
                    topics.aggregator_status("+"),
                    HOME_ASSISTANT_STATUS,
                    topics.crops,
                    topics.release,
                    topics.heads,
                )
                client_ids_of = (topics.aggregator_client_id(""), looking.client_id(""))
                client_id = "(" + "|".join(re.escape(one) for one in client_ids_of) + r")\d+"
            case "hub":
                write = (topics.release, topics.hub_status)
                read = (topics.labels, *statuses, *updates, topics.hub_command)
                client_id = re.escape(topics.hub_client_id)
            case "homeassistant":
                write = (devices, HOME_ASSISTANT_STATUS, topics.hub_command)
                read = (*results, f"{DISCOVERY_PREFIX}/#")
                client_id = client_ids(user, topics.command_client_id("homeassistant", ""))
            case "viewer" | "owner":
                taught = teaching.kept(topics)
                kept = (*labels, *statuses, *updates, topics.hub_status, devices, *taught)
                is_owner = role == "owner"
                write = (*kept, topics.hub_command) if is_owner else ()
                read = (*results, devices, *taught) if is_owner else results
                names = ("top", "labels", *(("forget", "homeassistant") if write else ()))
                client_id = client_ids(user, *(topics.command_client_id(n, "") for n in names))
            case "dashboard":
                read = (*results, *images, topics.teach_state)
                client_id = re.escape(topics.dashboard_client_id("")) + _RUN
            case "teacher":
                write, asked = teaching.teacher(topics)
                read = (*results, *images, *asked)
                names = (topics.dashboard_client_id(""), topics.command_client_id("head", ""))
                client_id = client_ids(user, *names)
            case "collector":
                write, heard = teaching.collector(topics)
                read = (*images, *heard)
                client_id = re.escape(topics.collector_client_id)
        return Grants(write, read, client_id)

    return {user: grants(user, role) for user, role in users.items()}


def mosquitto_acl(access: Mapping[str, Grants]) -> str:
    """The list as mosquitto's ``acl_file``.

    Mosquitto grants every subscription and compares what it delivers with the list.
    """
    lines = [f"# {ORIGIN}"]
    for user, grants in access.items():
        lines += ["", f"user {user}"]
        lines += [f"topic read {topic}" for topic in grants.read]
        lines += [f"topic write {topic}" for topic in grants.write]
    return "\n".join(lines) + "\n"


def emqx_acl(access: Mapping[str, Grants]) -> str:
    """The list as EMQX's ``acl.conf``, a file of Erlang terms: the first that matches counts."""
    lines = [f"%% {ORIGIN}"]
    for user, grants in access.items():
        for action, topics in (("subscribe", grants.read), ("publish", grants.write)):
            if topics:
                listed = ", ".join(_erlang(topic) for topic in topics)
                lines.append(f"{{allow, {{user, {_erlang(user)}}}, {action}, [{listed}]}}.")
    return "\n".join([*lines, "{deny, all}."]) + "\n"


def rabbitmq_definitions(access: Mapping[str, Grants]) -> str:
    """The list for ``rabbitmqctl import_definitions``: JSON with permissions of existing users.

    RabbitMQ maps topics to routing keys, with '.' for '/' and '*' for '+', and compares those
    with one expression for writing and one for reading. A subscriber also needs queues of its own,
    which are called after its client id.

    Raises:
        ConfigError: a topic or name with a dot, which RabbitMQ would take for a '/'.
    """
    permissions, topic_permissions = [], []
    for user, grants in access.items():
        if any("." in text for text in (user, *grants.read, *grants.write)):
            raise ConfigError(f"'{user}': RabbitMQ takes a dot in a name or topic for a '/'")
        at = {"user": user, "vhost": "/"}
        queue = f"mqtt-subscription-{grants.client_id}qos[01]"
        exchange = re.escape(_EXCHANGE)
        permissions.append(
            at
            | {
                "configure": f"^{queue}$" if grants.read else "^$",
                "write": f"^({exchange}|{queue})$" if grants.read else f"^{exchange}$",
                "read": f"^({exchange}|{queue})$" if grants.read else "^$",
            }
        )
        topic_permissions.append(
            at
            | {
                "exchange": _EXCHANGE,
                "write": _any_of(grants.write, "[^.]*"),
                "read": _any_of(grants.read, "[^.#]*"),  # '#' would match all below
            }
        )
    content = {"permissions": permissions, "topic_permissions": topic_permissions}
    return msgspec.json.format(msgspec.json.encode(content)).decode() + "\n"


FORMATS: dict[str, Callable[[Mapping[str, Grants]], str]] = {
    "mosquitto": mosquitto_acl,
    "emqx": emqx_acl,
    "rabbitmq": rabbitmq_definitions,
    "nats": nats_acl,
}
"""Of access lists, by broker."""


def _erlang(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _any_of(filters: Sequence[str], level: str) -> str:
    """An expression for the routing keys of ``filters``; ``level`` is one of any content."""
    if not filters:
        return "^$"
    return f"^({'|'.join(_routing_key(topic, level) for topic in filters)})$"


def _routing_key(topic_filter: str, level: str) -> str:
    key = ""
    for index, name in enumerate(topic_filter.split("/")):
        dot = r"\." if index else ""
        if name == "#":
            key += rf"({dot}.*)?"  # its parent level too
        else:
            key += dot + (level if name == "+" else re.escape(name))
    return key
