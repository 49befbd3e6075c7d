"""The update entity that Home Assistant shows of a fleet with a hub."""

from typing import Any

from devit_iot.protocol.hub_status import INSTALL
from devit_iot.protocol.topics import Topics

_STATE = (
    "{{ {'installed_version': value_json.installed_version, "
    "'latest_version': value_json.latest_version, "
    "'release_summary': value_json.release_summary[:255], "
    "'in_progress': value_json.in_progress, "
    "'update_percentage': value_json.update_percentage} | tojson if value else '{}' }}"
)
"""The hub's status as what the update entity reads; it keeps 255 characters of the summary."""


def update_entity(topics: Topics) -> dict[str, Any]:
    """The entity: installed and latest release, progress, and a button that installs."""
    return {
        "platform": "update",
        "name": "Bundle",
        "title": "Bundle of the fleet",
        "entity_category": "config",
        "state_topic": topics.hub_status,
        "value_template": _STATE,
        "command_topic": topics.hub_command,
        "payload_install": INSTALL.decode(),
        "qos": 1,
    }
