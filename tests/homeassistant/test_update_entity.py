"""The update entity: the documented schema, and what its template makes of the hub's status."""

import json
from typing import Any

import msgspec
import pytest

from devit_iot.homeassistant.devices import Devices
from devit_iot.protocol.hub_status import INSTALL, HubStatus
from devit_iot.protocol.topics import Topics
from tests.support.templates import rendered

TOPICS = Topics("home")
ENTITY: dict[str, Any] = json.loads(
    Devices("home", shards=1, version="1", has_hub=True).fleet().payload
)["components"]["update"]

# https://www.home-assistant.io/integrations/update.mqtt/
DOCUMENTED = {
    *("availability", "availability_mode", "availability_template", "availability_topic"),
    *("command_topic", "default_entity_id", "device", "device_class", "display_precision"),
    *("enabled_by_default", "encoding", "entity_category", "entity_picture", "icon"),
    *("json_attributes_template", "json_attributes_topic", "latest_version_template"),
    *("latest_version_topic", "name", "payload_install", "platform", "qos", "release_summary"),
    *("release_url", "retain", "state_topic", "title", "unique_id", "value_template"),
}
STATE = {
    *("installed_version", "latest_version", "title", "release_summary", "release_url"),
    *("entity_picture", "in_progress", "update_percentage"),
}
STATUS = HubStatus(
    state="online",
    installed_version="3",
    latest_version="4",
    in_progress=True,
    update_percentage=40,
    release_summary="bundle 12; release 4 is under way",
)


def state(status: HubStatus) -> dict[str, Any]:
    """What Home Assistant reads of a status."""
    text = rendered(ENTITY["value_template"], status.encode())
    assert text is not None
    content: dict[str, Any] = json.loads(text)
    return content


def test_every_key_is_documented() -> None:
    assert set(ENTITY) <= DOCUMENTED
    assert ENTITY["platform"] == "update"
    assert ENTITY["state_topic"] == TOPICS.hub_status
    assert ENTITY["command_topic"] == TOPICS.hub_command
    assert ENTITY["payload_install"].encode() == INSTALL
    assert ENTITY["availability"][0]["topic"] == TOPICS.hub_status
    assert not ENTITY.get("retain")  # a button that the broker presses again later


def test_the_state_is_as_documented() -> None:
    said = state(STATUS)
    assert set(said) <= STATE
    assert (said["installed_version"], said["latest_version"]) == ("3", "4")
    assert (said["in_progress"], said["update_percentage"]) == (True, 40)


@pytest.mark.parametrize("summary", ["{{ 1 }}", '"quoted" \\ text', "é" * 900, ""])
def test_texts_stay_texts_and_short(summary: str) -> None:
    said = state(msgspec.structs.replace(STATUS, release_summary=summary))
    assert said["release_summary"] == summary[:255]


def test_nothing_under_way_has_no_percentage() -> None:
    said = state(msgspec.structs.replace(STATUS, in_progress=False, update_percentage=None))
    assert said["update_percentage"] is None


def test_a_deleted_status_changes_nothing() -> None:
    assert rendered(ENTITY["value_template"], b"") == "{}"


def test_a_fleet_without_a_hub_has_no_update_entity() -> None:
    components = json.loads(Devices("home", shards=1, version="1").fleet().payload)["components"]
    assert "update" not in components
