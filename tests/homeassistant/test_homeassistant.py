"""What Home Assistant is told: the bytes that it took, ids that cannot collide, and no template
that holds a name."""

from collections.abc import Iterator

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devit_iot.aggregator.presence import Presence
from devit_iot.homeassistant.devices import Announcement, Devices, belongs_to, device_id, is_ours
from devit_iot.protocol.json_message import MAX_JSON_BYTES
from devit_iot.protocol.status import NodeStatus
from devit_iot.protocol.text import is_camera
from devit_iot.protocol.topics import check_name
from tests.golden.make_homeassistant import CASES, FOLDER, HOSTILE

ALLOWED = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")
STATUS = NodeStatus(state="online", node="x", part=1, parts=4, fingerprint="00" * 8)


def possible(name: str) -> bool:
    """Whether a camera can be called so: its name is a level of the label's topic."""
    return is_camera(name) and not set(name) & set("/+#")


FLEETS = st.sampled_from(["home", "home-2", "a", "a-camera", "a-2D", "a.b", "a_b", "camera", "A"])
NAMES = st.one_of(
    st.sampled_from(["x", "X", "-x", "-2Dx", "x-label", "camera", "camera-x", "é", "E9", "a.b"]),
    st.text(st.characters(codec="utf-8"), min_size=1, max_size=12).filter(possible),
)
KINDS = st.sampled_from(["camera", "node"])


def templates(value: object, key: str = "") -> Iterator[str]:
    """Every template in an announcement."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield from templates(item, name)
    elif isinstance(value, list):
        for item in value:
            yield from templates(item, key)
    elif key.endswith("template"):
        yield str(value)


def content(announcement: Announcement) -> dict[str, object]:
    return msgspec.json.decode(announcement.payload, type=dict[str, object])


@pytest.mark.parametrize("name", CASES)
def test_what_a_real_home_assistant_took(name: str) -> None:
    assert CASES[name].payload == (FOLDER / f"{name}.json").read_bytes()


def test_every_golden_file_has_its_case() -> None:
    assert {path.stem for path in FOLDER.iterdir()} == set(CASES)


@settings(max_examples=300, deadline=None)
@given(st.tuples(FLEETS, KINDS, NAMES), st.tuples(FLEETS, KINDS, NAMES))
def test_ids_differ_where_names_do(one: tuple[str, str, str], two: tuple[str, str, str]) -> None:
    first, second = device_id(*one), device_id(*two)
    assert set(first) <= ALLOWED
    assert (first == second) == (one == two)
    assert belongs_to(first, two[0]) == (one[0] == two[0])


@given(FLEETS, FLEETS, st.sampled_from(["fleet"]))
def test_a_fleets_own_device_is_its_own(one: str, two: str, kind: str) -> None:
    assert belongs_to(device_id(one, kind), two) == (one == two)
    assert device_id(one, kind) != device_id(one, "node", kind)


def test_other_programs_devices_are_not_ours() -> None:
    for other in ("zigbee2mqtt_bridge", "devit-home", "devit-home-camera", "devit-home-fleet-x"):
        assert not belongs_to(other, "home")


@pytest.mark.parametrize(
    "payload",
    [b"", b"{", b"[]", b"null", b"\xff", b'{"origin": "devit-iot"}', b'{"origin": {"name": 3}}',
     b'{"origin": {"name": "other"}}', b'{"o": {"name": "devit-iot"}}', b'{"origin": null}',
     b'{"a":' * 100_000],
    ids=range(11),
)  # fmt: skip
def test_what_others_announced_is_not_ours(payload: bytes) -> None:
    assert not is_ours(payload)


def test_what_we_announce_is_ours() -> None:
    assert all(is_ours(announcement.payload) for announcement in CASES.values())


@settings(max_examples=100, deadline=None)
@given(NAMES)
def test_a_cameras_name_is_in_no_template(name: str) -> None:
    devices = Devices("home", shards=2, version="1")
    ours = content(devices.camera(name))
    assert list(templates(ours)) == list(templates(content(devices.camera("x"))))
    about = ours["device"]
    assert isinstance(about, dict)
    assert about["name"] == name


def test_what_a_node_says_is_in_no_template() -> None:
    devices = Devices("home", shards=1, version="1")
    status = msgspec.structs.replace(STATUS, machine=HOSTILE, version=HOSTILE, engine=HOSTILE)
    hostile = content(devices.node("pi-1", status, has_thermometer=True))
    plain = content(devices.node("pi-1", STATUS, has_thermometer=True))
    assert list(templates(hostile)) == list(templates(plain))


@settings(max_examples=50, deadline=None)
@given(NAMES)
def test_names_leave_an_announcement_small(name: str) -> None:
    devices = Devices("f" * 64, shards=1, version="1")
    longest = name * (255 // len(name.encode()))
    for announcement in (devices.camera(longest[:64]), devices.fleet()):
        assert len(announcement.payload) < MAX_JSON_BYTES


def test_every_entity_has_an_id_of_its_own_that_stays() -> None:
    for announcement in CASES.values():
        components = content(announcement)["components"]
        assert isinstance(components, dict)
        ids = {component["unique_id"] for component in components.values()}
        assert ids == {f"{announcement.device_id}-{key}" for key in components}
        assert all(set(one) <= ALLOWED for one in ids)


def test_the_test_names_are_possible() -> None:
    """Hostile names that no fleet can have would prove nothing of real fleets."""
    assert possible(HOSTILE)
    assert check_name("fleet", "barn.2") == "barn.2"


def test_a_silent_node_is_unavailable_when_it_is_no_longer_alive() -> None:
    """Each entity that shows its status, and not one second before or after."""
    node = Devices("home", shards=1, version="1").node("x", STATUS, has_thermometer=True)
    shown = msgspec.json.decode(node.payload)["components"].values()
    (lifetime,) = {entity["expire_after"] for entity in shown if "expire_after" in entity}
    alive = Presence(STATUS.parts, now=0.0)
    alive.online("x", STATUS.part, 100.0)
    assert alive.alive(100.0 + lifetime - 0.001) == {STATUS.part}
    assert alive.alive(100.0 + lifetime) == set()
