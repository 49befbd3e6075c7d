"""What a configuration becomes: the memory that is checked, the MQTT session that is asked for."""

import dataclasses
import math
from typing import Literal

import msgspec
import pytest
from paho.mqtt.enums import MQTTProtocolVersion

from devit_iot import build
from devit_iot.aggregator import aggregator
from devit_iot.aggregator.collector import Collector, Limits
from devit_iot.aggregator.deadline import SAMPLES, Deadline
from devit_iot.build import build_node, check_memory, has_room
from devit_iot.build_aggregator import build_aggregator
from devit_iot.bundle.reading import Bundle
from devit_iot.config.config import AggregatorConfig, BrokerConfig, Config, ImagesConfig, NodeConfig
from devit_iot.errors import ConfigError
from devit_iot.transport.base import NO_SESSION, Handler, Session, Will
from devit_iot.transport.versions import connect_options

MIB = 2**20
SMALL = NodeConfig(max_cameras=1, max_pixels=1_000_000, memory_mib=200)
LATEST = ImagesConfig("cameras/{camera}/image")
EVERY = ImagesConfig("line/{camera}/image", delivery="every")
DTYPES: tuple[Literal["", "float32", "float16", "int8"], ...] = ("", "float32", "float16", "int8")
IN_HALVES = 2
"""The part of the tiny fleet that is stored in float16."""


def config(bundle: Bundle, *images: ImagesConfig, **node: object) -> Config:
    return Config(
        bundle=str(bundle.path),
        broker=BrokerConfig(session_s=1234),
        images=images or (LATEST,),
        node=msgspec.structs.replace(SMALL, **node),
    )


def refused(config: Config, bundle: Bundle, part: int = 0) -> bool:
    """Whether ``part`` needs more memory than the node may count on."""
    try:
        check_memory(config, bundle.part(part))
    except ConfigError:
        return True
    return False


def room(config: Config, bundle: Bundle, part: int = 0) -> int:
    """The longest payload for which the part still fits: what the memory leaves over."""
    low, high = 0, config.node.memory_mib * MIB
    while high - low > 1:
        middle = (low + high) // 2
        node = msgspec.structs.replace(config.node, max_payload_bytes=middle)
        if refused(msgspec.structs.replace(config, node=node), bundle, part):
            high = middle
        else:
            low = middle
    return low


def test_a_part_that_needs_too_much_memory_is_refused_at_its_last_byte(bundle: Bundle) -> None:
    """The interpreter, the file, the weights as they are computed with, an image, a message."""
    entry = bundle.part(0)
    packed = 4 * sum(math.prod(tensor.shape) for tensor in entry.spec.tensors())
    decoding = 17 * SMALL.max_pixels + 32 * MIB
    left = 200 * MIB - 64 * MIB - entry.weights.size - packed - decoding
    assert room(config(bundle), bundle) == left
    check_memory(config(bundle, max_payload_bytes=left), entry)
    with pytest.raises(ConfigError, match=r"part 0 may need 201 MiB and node.memory_mib is 200: "):
        check_memory(config(bundle, max_payload_bytes=left + 1, part=0), entry)
    with pytest.raises(ConfigError, match=r"its part may need 201 MiB"):
        check_memory(config(bundle, max_payload_bytes=left + 1), entry)


def test_what_a_node_needs_grows_with_what_may_wait(bundle: Bundle) -> None:
    left = room(config(bundle), bundle)
    assert room(config(bundle, max_cameras=2), bundle) == left // 2
    assert room(config(bundle, max_pixels=2_000_000), bundle) == left - 17_000_000
    assert room(config(bundle, max_waiting_mib=9), bundle) == left  # nothing is of `every`
    assert room(config(bundle, LATEST, EVERY, max_waiting_mib=9), bundle) == left - 9 * MIB
    assert room(config(bundle, memory_mib=199), bundle) == left - MIB


def test_what_a_node_needs_depends_on_what_it_computes_in(bundle: Bundle) -> None:
    for part, default in ((0, "float32"), (IN_HALVES, "float16")):
        rooms = {str(dtype): room(config(bundle, dtype=dtype), bundle, part) for dtype in DTYPES}
        assert rooms["int8"] > rooms["float16"] > rooms["float32"]
        assert room(config(bundle), bundle, part) == rooms[default]


def test_a_node_with_too_little_memory_does_not_start(bundle: Bundle) -> None:
    with pytest.raises(ConfigError, match=r"may need \d+ MiB and node.memory_mib is 100: choose a"):
        build_node(config(bundle, memory_mib=100), {})
    build_node(config(bundle), {})


@dataclasses.dataclass
class Asked:
    """In place of the MQTT transport: what a service asks of the broker."""

    client_id: str
    session: Session
    subscriptions: dict[str, tuple[int, bool]]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Asked]:
    found: list[Asked] = []

    class Recording:
        unsent = refused = 0

        def __init__(
            self,
            config: BrokerConfig,
            *,
            client_id: str,
            password: str | None,
            will: Will,
            session: Session,
        ) -> None:
            del config, password, will
            self._asked = Asked(client_id, session, {})
            found.append(self._asked)

        def subscribe(
            self,
            topic_filter: str,
            handler: Handler,
            *,
            qos: int = 0,
            manual_ack: bool = False,
            required: bool = True,
        ) -> None:
            del handler, required
            self._asked.subscriptions[topic_filter] = qos, manual_ack

    monkeypatch.setattr(build, "MqttTransport", Recording)
    return found


def test_only_nodes_of_every_have_a_session_that_lasts(bundle: Bundle, asked: list[Asked]) -> None:
    payload = 3_000_000
    for images in ((LATEST,), (EVERY,), (LATEST, EVERY)):
        build_node(config(bundle, *images, max_payload_bytes=payload, name="pi"), {})
    longest = MIB + 2 * payload
    latest, every, both = (each.session for each in asked)
    assert latest == NO_SESSION._replace(max_packet=longest)
    assert latest.expiry_s == 0
    assert every == both == Session(expiry_s=1234, window=32, max_packet=longest)
    assert {each.client_id for each in asked} == {"devit-home-node-pi"}


def test_images_of_every_and_no_others_are_kept(bundle: Bundle, asked: list[Asked]) -> None:
    build_node(config(bundle, LATEST, EVERY), {})
    subscriptions = asked[0].subscriptions
    assert subscriptions["cameras/+/image"] == (0, False)
    assert subscriptions["line/+/image"] == (1, True)


@pytest.mark.parametrize("images", [(LATEST,), (EVERY,)])
def test_an_aggregator_has_a_session_that_lasts(
    bundle: Bundle, asked: list[Asked], images: tuple[ImagesConfig, ...]
) -> None:
    """Whatever its own filters say: features of `every` come at QoS 1, and by that it knows."""
    build_aggregator(config(bundle, *images), {})
    (found,) = asked
    assert found.session == Session(expiry_s=1234, window=4096, max_packet=9 * MIB)
    assert found.client_id == "devit-home-aggregator-0"
    assert found.subscriptions["devit/v1/home/features/0/+"] == (1, True)
    assert found.subscriptions["devit/v1/home/nodes/+/status"] == (0, False)


def test_every_limit_of_an_aggregator_is_the_configured_one(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requests of `every` are remembered as long as the broker's session may deliver them again."""
    made: list[tuple[Deadline, Limits]] = []

    class Recording(Collector):
        def __init__(self, deadline: Deadline, limits: Limits) -> None:
            super().__init__(deadline, limits)
            made.append((deadline, limits))

    monkeypatch.setattr(aggregator, "Collector", Recording)
    given = AggregatorConfig(
        deadline_s=7.0,
        min_deadline_s=3.0,
        every_deadline_s=11.0,
        lifetime_s=13.0,
        max_open=17,
        max_open_per_camera=5,
    )
    build_aggregator(msgspec.structs.replace(config(bundle), aggregator=given), {})
    ((deadline, limits),) = made
    assert limits == Limits(
        every_deadline_s=11.0,
        lifetime_s=13.0,
        every_lifetime_s=1234,
        max_open=17,
        max_open_per_camera=5,
    )
    assert deadline.seconds == 7.0
    for _ in range(SAMPLES):
        deadline.observe(0.0)
    assert deadline.seconds == 3.0
    deadline.observe(99.0)
    assert deadline.seconds == 7.0


@pytest.mark.parametrize("session", [NO_SESSION, Session(1234, 32, 7 * MIB)])
def test_connect_says_what_the_session_is(session: Session) -> None:
    """Clean start 0 and an expiry, or clean start 1."""
    options = connect_options(MQTTProtocolVersion.MQTTv5, session)
    assert options["clean_start"] == (session is NO_SESSION)
    properties = options["properties"]
    assert properties.SessionExpiryInterval == session.expiry_s
    assert properties.ReceiveMaximum == session.window
    assert properties.MaximumPacketSize == session.max_packet


def test_two_parts_need_the_room_of_two(bundle: Bundle) -> None:
    """While a fleet goes over, a node has the part that serves and the next one in memory."""
    big = msgspec.structs.replace(
        bundle.part(0),
        weights=msgspec.structs.replace(bundle.part(0).weights, size=200 * 2**20),
    )
    limits = config(bundle, memory_mib=900)
    check_memory(limits, big)
    assert has_room(limits, bundle.part(1), bundle.part(0))
    roomy = config(bundle, memory_mib=4000)
    assert has_room(roomy, big, big)
    tight = next(
        config(bundle, memory_mib=mib)
        for mib in range(200, 4000, 100)
        if has_room(config(bundle, memory_mib=mib), big, bundle.part(1))
    )
    check_memory(tight, big)
    assert not has_room(tight, big, big)
