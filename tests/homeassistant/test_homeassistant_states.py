"""What Home Assistant makes of labels and statuses by the announced templates.

A template is rendered here as its MQTT integration does it (2024.11 to 2026.2): JSON as
``value_json``, white space cut off, ``None`` for unknown, a template that fails leaves the state.
``make test-homeassistant`` shows the same messages to the real one.
"""

import itertools
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from devit_iot.config.states import StateConfig
from devit_iot.homeassistant.devices import Announcement, Devices
from devit_iot.homeassistant.heads import MAX_OPTIONS, HeadSensor
from devit_iot.homeassistant.templates import shown_class
from devit_iot.protocol.text import is_plain
from devit_iot.protocol.topics import Topics
from tests.golden.make import AGGREGATOR_STATUS_2, LABEL, NODE_STATUS_3, STEADY_STATE
from tests.support.templates import rendered

MAX_STATE = 255
DEVICES = Devices("home", shards=1, version="1")
CAMERA = DEVICES.camera("door")
NODE = DEVICES.node("pi-1", NODE_STATUS_3, has_thermometer=True)


def templates(announcement: Announcement) -> dict[str, str]:
    """Key of each component -> the template of its state."""
    content: dict[str, Any] = msgspec.json.decode(announcement.payload)
    return {key: part["value_template"] for key, part in content["components"].items()}


def label_state(name: str, class_index: int = 7) -> str:
    """What the entity Label shows of a class."""
    label = msgspec.structs.replace(LABEL, label=name, class_index=class_index)
    text = rendered(templates(CAMERA)["label"], label.encode())
    assert text is not None
    return "unknown" if text == "None" else text


@pytest.mark.parametrize(
    ("name", "state"),
    [
        ("cat", "cat"),
        ("None", "None (class)"),
        ("none", "none (class)"),
        ("UNKNOWN", "UNKNOWN (class)"),
        ("unavailable", "unavailable (class)"),
        ("", "(class)"),
        ("none of these", "none of these"),
        ("unknown bird", "unknown bird"),
        ("{{ x }}", "{{ x }}"),
        ("{% raw %}", "{% raw %}"),
        ("{{ value_json.label }}", "{{ value_json.label }}"),
        ('"quoted"', '"quoted"'),
        ("[]", "[]"),
        ("1e5", "1e5"),
        ("nan", "nan"),
        ("on", "on"),
        ("Straße & <b>", "Straße & <b>"),
        (" cat", "cat (class 7)"),
        ("cat ", "cat (class 7)"),
        (" None ", "None (class 7)"),
        ("   ", "(class 7)"),
        ("None (class)", "None (class) (class 7)"),
        ("y" * MAX_STATE, "y" * MAX_STATE),
        ("y" * (MAX_STATE + 1), "y" * 230 + " (class 7)"),
        ("😀" * 1000, "😀" * 230 + " (class 7)"),
    ],
)
def test_a_class_has_a_state_of_its_own(name: str, state: str) -> None:
    assert label_state(name) == state


HARD = st.sampled_from(["None", "none", "unknown", "unavailable", "(class", "(class)", "7", "cat"])
NAMES = st.lists(st.one_of(HARD, st.just(" "), st.just("y" * 240)), max_size=4).map("".join)


@given(NAMES, NAMES)
def test_two_classes_never_have_the_same_state(one: str, two: str) -> None:
    states = [label_state(name, index) for index, name in enumerate((one, two))]
    assert is_plain(one)
    assert (states[0] == states[1]) <= (one == two)
    for state in states:
        assert 0 < len(state) <= MAX_STATE
        assert state.lower() not in {"none", "unknown", "unavailable"}


@given(NAMES, st.integers(0, 999))
def test_the_options_of_a_sensor_are_the_states_that_it_takes(name: str, index: int) -> None:
    assert shown_class(name, index) == label_state(name, index)


HEADS = DEVICES.camera(
    "door",
    [
        HeadSensor(
            "gate", is_main=True, classes=("closed", "open", "unknown"), rule=StateConfig(on="open")
        ),
        HeadSensor("bird", is_main=False, classes=("tit", " None"), rule=StateConfig()),
    ],
)


def head_states(state: str, class_index: int = 1) -> dict[str, str | None]:
    """What the entities of states show of one state."""
    message = msgspec.structs.replace(STEADY_STATE, state=state, class_index=class_index).encode()
    shown = {key: rendered(template, message) for key, template in templates(HEADS).items()}
    return {key: shown[key] for key in ("state_gate", "state_bird")}


def test_a_steady_state_is_on_off_an_option_or_unknown() -> None:
    assert head_states("open") == {"state_gate": "open", "state_bird": "open"}
    assert head_states(" None") == {"state_gate": "None", "state_bird": "None (class 1)"}
    assert head_states("unknown", -1) == {"state_gate": "None", "state_bird": "None"}
    content: dict[str, Any] = msgspec.json.decode(HEADS.payload)
    gate, bird = (content["components"][key] for key in ("state_gate", "state_bird"))
    assert (gate["payload_on"], gate["payload_off"]) == ("open", "closed")
    assert bird["options"] == ["tit", "None (class 1)"]
    attributes = rendered(gate["json_attributes_template"], STEADY_STATE.encode())
    assert json.loads(attributes or "")["since"] == "2026-05-01T07:30:11.250000Z"


@pytest.mark.parametrize(
    ("classes", "on", "platform"),
    [
        (("closed", "open"), "open", "binary_sensor"),
        (("unknown", "closed", "open"), "closed", "binary_sensor"),
        (("closed", "open"), "", "sensor"),
        (("closed", "open", "ajar"), "open", "sensor"),
        (("closed", "open"), "opne", "sensor"),
        (("closed", "unknown"), "closed", "sensor"),
        (("closed ", "open"), "open", "sensor"),  # Home Assistant would cut the space off
        (("None", "open"), "open", "sensor"),
    ],
)
def test_two_classes_of_which_one_is_on_make_a_binary_sensor(
    classes: tuple[str, ...], on: str, platform: str
) -> None:
    sensor = HeadSensor("gate", is_main=True, classes=classes, rule=StateConfig(on=on))
    component = sensor.components(Topics("home"), "door")["state_gate"]
    assert component["platform"] == platform
    assert bool(sensor.problem) == (bool(on) and platform == "sensor")


def test_a_head_with_very_many_classes_lists_none() -> None:
    classes = tuple(f"class {index}" for index in range(MAX_OPTIONS + 1))
    many = HeadSensor("many", is_main=True, classes=classes, rule=StateConfig()).components(
        Topics("home"), "door"
    )
    few = HeadSensor("few", is_main=True, classes=classes[1:], rule=StateConfig()).components(
        Topics("home"), "door"
    )
    assert not {"options", "device_class"} & many["state_many"].keys()
    assert len(few["state_few"]["options"]) == MAX_OPTIONS


def test_a_deleted_label_is_unknown_and_no_failure() -> None:
    for key, template in (templates(CAMERA) | templates(HEADS)).items():
        assert rendered(template, b"") == "None", key


def test_a_deleted_status_is_offline_or_unknown_and_no_failure() -> None:
    for announcement in (NODE, DEVICES.fleet()):
        for key, template in templates(announcement).items():
            wanted = "offline" if key.startswith(("online", "aggregator")) else "None"
            assert rendered(template, b"") == wanted, key


@pytest.mark.parametrize("announcement", [CAMERA, HEADS, NODE, DEVICES.fleet()], ids=range(4))
def test_a_deletion_fails_in_no_template_at_all(announcement: Announcement) -> None:
    content: dict[str, Any] = msgspec.json.decode(announcement.payload)
    parts = [content, *content["components"].values()]
    available = itertools.chain(*(part.get("availability", ()) for part in parts))
    assert {rendered(entry["value_template"], b"") for entry in available} == {"offline"}
    attributes = [part for part in parts if "json_attributes_template" in part]
    assert {rendered(part["json_attributes_template"], b"") for part in attributes} == {"{}"}


def test_the_states_of_a_message_are_as_before() -> None:
    label = LABEL.encode()
    shown = {key: rendered(template, label) for key, template in templates(CAMERA).items()}
    assert shown == {"label": "cat", "confidence": "75.0", "degraded": "ON"}
    status = NODE_STATUS_3.encode()
    shown = {key: rendered(template, status) for key, template in templates(NODE).items()}
    assert shown == {
        "online": "online", "latency": "44.75", "dropped": "3", "problem": "ON",
        "temperature": "61.5",
    }  # fmt: skip
    status = AGGREGATOR_STATUS_2.encode()
    assert rendered(templates(DEVICES.fleet())["parts_online"], status) == "3"
