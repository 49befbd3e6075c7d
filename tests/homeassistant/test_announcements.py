"""A real Home Assistant takes every golden announcement, and shows the golden messages."""

import msgspec
import pytest

from devit_iot.protocol.label import Ranked
from devit_iot.protocol.topics import DiscoveryTopics, Topics
from tests.golden.make import (
    AGGREGATOR_STATUS_2,
    HUB_STATUS,
    LABEL,
    NODE_STATUS,
    NODE_STATUS_3,
    STEADY_STATE,
)
from tests.golden.make_homeassistant import CASES, FOLDER, HOSTILE
from tests.homeassistant.core import Core
from tests.support.fleets import wait_until
from tests.support.mosquitto import Client

HOME, BARN, BARN_WITH_HUB = Topics("home"), Topics("barn.2"), Topics("barn")
LONG = LABEL.label * 200
WAIT_S = 60.0


def online(topics: Topics, shards: int, *, but: int | None = None) -> dict[str, bytes]:
    state = msgspec.structs.replace(AGGREGATOR_STATUS_2, state="online", problem="heat")
    return {
        topics.aggregator_status(shard): (state if shard != but else state.gone()).encode()
        for shard in range(shards)
    }


MESSAGES = {
    **online(HOME, 1),
    **online(BARN, 2, but=1),
    **online(BARN_WITH_HUB, 1),
    BARN_WITH_HUB.hub_status: HUB_STATUS.encode(),
    HOME.label("entrée"): LABEL.encode(),
    BARN.label(HOSTILE): msgspec.structs.replace(
        LABEL, camera=HOSTILE, label=LONG, degraded=False
    ).encode(),
    HOME.label("yard"): msgspec.structs.replace(LABEL, camera="yard").encode(),
    HOME.head_label("yard", "bird"): msgspec.structs.replace(LABEL, label="tit").encode(),
    HOME.state("yard", "gate"): STEADY_STATE.encode(),
    HOME.state("yard", "bird"): msgspec.structs.replace(STEADY_STATE, state="None").encode(),
    HOME.node_status("pi-1"): NODE_STATUS_3.encode(),
    BARN.node_status("pi.2"): NODE_STATUS.encode(),
}
YARD = CASES["camera_heads"].device_id
ENTREE, BARN_CAMERA = CASES["camera"].device_id, CASES["camera_hostile"].device_id
PI_1, PI_2 = CASES["node"].device_id, CASES["node_plain"].device_id
FLEET, BARN_FLEET = CASES["fleet"].device_id, CASES["fleet_of_two_aggregators"].device_id
HUB_FLEET = CASES["fleet_with_hub"].device_id
SHOWN = {
    f"{ENTREE}-label": "cat",
    f"{ENTREE}-confidence": "75.0",
    f"{ENTREE}-degraded": "on",
    f"{YARD}-label": "cat",
    f"{YARD}-confidence": "75.0",
    f"{YARD}-degraded": "on",
    f"{YARD}-label_bird": "tit",
    f"{YARD}-label_default": "unknown",
    f"{YARD}-state_gate": "on",
    f"{YARD}-state_bird": "None (class)",
    f"{BARN_CAMERA}-label": f"{LONG[:230]} (class {LABEL.class_index})",
    f"{BARN_CAMERA}-confidence": "75.0",
    f"{BARN_CAMERA}-degraded": "off",
    f"{PI_1}-online": "on",
    f"{PI_1}-latency": "44.75",
    f"{PI_1}-dropped": "3",
    f"{PI_1}-temperature": "61.5",
    f"{PI_1}-problem": "on",
    f"{PI_2}-online": "on",
    f"{PI_2}-latency": "44.75",
    f"{PI_2}-dropped": "1",
    f"{PI_2}-problem": "off",
    f"{FLEET}-parts_online": "3",
    f"{FLEET}-aggregator_0": "on",
    f"{FLEET}-problem_0": "on",
    f"{BARN_FLEET}-parts_online": "3",
    f"{BARN_FLEET}-aggregator_0": "on",
    f"{BARN_FLEET}-aggregator_1": "off",
    f"{BARN_FLEET}-problem_0": "on",
    f"{BARN_FLEET}-problem_1": "unavailable",
    f"{HUB_FLEET}-parts_online": "3",
    f"{HUB_FLEET}-aggregator_0": "on",
    f"{HUB_FLEET}-problem_0": "on",
    f"{HUB_FLEET}-update": "on",
}


def shown(core: Core) -> dict[str, str]:
    """The states of all MQTT entities by unique id."""
    states = core.states()
    return {
        unique: states[entity]["state"]
        for unique, entity in core.unique_ids().items()
        if entity in states
    }


@pytest.fixture
def announced(core: Core, client: Client) -> Core:
    topics = DiscoveryTopics()
    for topic, payload in MESSAGES.items():
        client.publish(topic, payload, retain=True)
    for name, announcement in CASES.items():
        golden = (FOLDER / f"{name}.json").read_bytes()
        client.publish(topics.device(announcement.device_id), golden, retain=True)
    return core


def test_every_golden_entity_is_expected() -> None:
    """A golden announcement without a line in SHOWN would make the test of the core wait for it."""
    announced = {
        component["unique_id"]
        for announcement in CASES.values()
        for component in msgspec.json.decode(announcement.payload)["components"].values()
    }
    assert announced == SHOWN.keys()


def test_every_golden_announcement_is_taken(announced: Core, client: Client) -> None:
    wait_until(lambda: shown(announced) == SHOWN, WAIT_S)
    devices = announced.devices()
    assert devices.keys() == {announcement.device_id for announcement in CASES.values()}
    assert devices[BARN_CAMERA]["name"] == HOSTILE
    assert devices[PI_1]["model"] == "Part 2 of 4 of fleet home"
    assert (devices[PI_1]["hw_version"], devices[PI_1]["sw_version"]) == ("aarch64", "0.1.0")
    states, ids = announced.states(), announced.unique_ids()
    attributes = states[ids[f"{ENTREE}-label"]]["attributes"]
    assert msgspec.convert(attributes["top5"], tuple[Ranked, ...]) == LABEL.top5
    assert attributes["parts_used"] == [0, 2]
    assert states[ids[f"{PI_1}-dropped"]]["attributes"]["drops"] == NODE_STATUS_3.drops
    assert states[ids[f"{PI_1}-problem"]]["attributes"]["problem"] == NODE_STATUS_3.problem
    gate = states[ids[f"{YARD}-state_gate"]]["attributes"]
    assert (gate["device_class"], gate["before"]) == ("garage_door", "closed")
    assert gate["since"] == "2026-05-01T07:30:11.250000Z"
    update = states[ids[f"{HUB_FLEET}-update"]]["attributes"]
    assert (update["installed_version"], update["latest_version"]) == ("7", "8")
    assert (update["in_progress"], update["update_percentage"]) == (True, 45)
    assert update["release_summary"] == HUB_STATUS.release_summary
    assert states[ids[f"{YARD}-state_bird"]]["attributes"]["options"][0] == "tit"
    tells_its_own_states_from_classes(announced, client)
    complaints = [line for line in announced.log().splitlines() if "mqtt" in line.lower()]
    assert [line for line in complaints if " WARNING " in line or " ERROR " in line] == []
    for announcement in CASES.values():
        client.publish(DiscoveryTopics().device(announcement.device_id), b"", retain=True)
    for topic in MESSAGES:
        client.publish(topic, b"", retain=True)
    wait_until(lambda: not announced.unique_ids() and not announced.devices(), WAIT_S)


def tells_its_own_states_from_classes(core: Core, client: Client) -> None:
    """A class may be called like one of its states; a deleted label has no class."""
    topic = HOME.label("entrée")
    for name in ("None", "unknown", "Unavailable"):
        client.publish(topic, msgspec.structs.replace(LABEL, label=name).encode(), retain=True)
        wait_shown(core, f"{ENTREE}-label", f"{name} (class)")
    client.publish(topic, b"", retain=True)
    for key in ("label", "confidence", "degraded"):
        wait_shown(core, f"{ENTREE}-{key}", "unknown")


def wait_shown(core: Core, unique_id: str, state: str) -> None:
    wait_until(lambda: shown(core)[unique_id] == state, WAIT_S)
