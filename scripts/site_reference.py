"""Pages that are made from the code: commands, topics, messages."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, get_args

import msgspec
from docstrings import fields
from paho.mqtt.client import topic_matches_sub

from devit_iot.fleet.access import ONLY_UPPER, Role, access_list
from devit_iot.fleet.grants import Grants
from devit_iot.protocol import topics
from devit_iot.protocol.board import BoardProfile, Speed, Speeds
from devit_iot.protocol.crop import CameraCrops, CropOrder, CropPlan
from devit_iot.protocol.feature import Feature, Timing
from devit_iot.protocol.hub_status import HubStatus
from devit_iot.protocol.label import Label, Ranked
from devit_iot.protocol.release import Release, Rollout, UpdateStatus
from devit_iot.protocol.status import AggregatorStatus, NodeStatus
from devit_iot.protocol.steady_state import SteadyState

MESSAGES = (
    Label,
    Ranked,
    NodeStatus,
    BoardProfile,
    Speeds,
    Speed,
    AggregatorStatus,
    Feature,
    Timing,
    Rollout,
    HubStatus,
    Release,
    UpdateStatus,
    SteadyState,
    CropPlan,
    CameraCrops,
    CropOrder,
)
"""Every struct that crosses the wire."""

_EXAMPLES = {"<fleet>": "home", "<shard>": "0", "<node>": "pi-0", "<camera>": "door"}


def commands(program: str, module: str) -> str:
    """A program's options and sub-commands, by the extension mkdocs-click."""
    return f"""::: mkdocs-click
    :module: {module}
    :command: main
    :prog_name: {program}
    :list_subcommands: true
"""


def topic_page() -> str:
    """The topic tree, and who may publish and read each topic by the access list."""
    roles: list[Role] = [role for role in get_args(Role) if role not in ONLY_UPPER]
    users: dict[str, Role] = {role if role != "node" else "pi-0": role for role in roles}
    access = access_list("home", users, topics.DEFAULT_IMAGE_FILTERS)
    tree = re.findall(r"^((?:devit|homeassistant)/\S+) +(.+)$", topics.__doc__ or "", re.MULTILINE)
    images = [(pattern, "an image") for pattern in topics.DEFAULT_IMAGE_FILTERS]
    rows = [
        (f"`{topic}`", message, *_parties(topic, access, users)) for topic, message in images + tree
    ]
    return f"""# Topics

Who may publish and read them is what `devit acl` and `devit fleet` grant; whatever is not here is
denied. The image topics are the default ones; `--images` names others.
[The protocol](../docs/protocol.md#2-topics) has the rules.

{table(("topic", "message", "published by", "read by"), rows)}
"""


def message_page() -> str:
    """Every message's fields."""
    sections = []
    for struct in MESSAGES:
        rows = [
            (f"`{f.name}`", f.kind, shown(f.default), f.meaning.replace("None", "null"))
            for f in fields(struct)
        ]
        summary = (struct.__doc__ or "").partition("\n")[0]
        head = ("field", "type", "default", "meaning")
        sections.append(f"## {struct.__name__}\n\n{summary}\n\n{table(head, rows)}")
    body = "\n\n".join(sections)
    return f"""# Messages

`Feature` is binary, the others are JSON. [The protocol](../docs/protocol.md#6-feature) has every
byte.

{body}
"""


def shown(default: Any) -> str:  # noqa: ANN401 - of any field
    """A default in a table's cell."""
    if default is msgspec.NODEFAULT:
        return "must be there"
    if default is msgspec.UNSET:
        return "left out"
    return f"`{msgspec.json.encode(default).decode()}`"


def table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """A Markdown table."""
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(_row(cells) for cells in lines)


def _row(cells: Sequence[str]) -> str:
    return "|" + "".join(f" {cell} |" if cell else " |" for cell in cells)


def _parties(topic: str, access: Mapping[str, Grants], users: Mapping[str, Role]) -> list[str]:
    """The roles that may publish ``topic``, and those that may read it."""
    concrete = re.sub(r"[<{]\w+[>}]", lambda level: _EXAMPLES.get(level[0], "x"), topic)
    return [
        ", ".join(
            users[user]
            for user, grants in access.items()
            if any(topic_matches_sub(pattern, concrete) for pattern in getattr(grants, way))
        )
        for way in ("write", "read")
    ]


PAGES: Mapping[str, Callable[[], str]] = {
    "reference/devit.md": lambda: commands("devit", "devit_iot.cli.devit"),
    "reference/devit-node.md": lambda: commands("devit-node", "devit_iot.cli.node"),
    "reference/devit-aggregate.md": lambda: commands("devit-aggregate", "devit_iot.cli.aggregate"),
    "reference/topics.md": topic_page,
    "reference/messages.md": message_page,
}
"""Place in the site -> what makes the page."""
