"""Filters match what a broker would deliver, and say whose image it is."""

import itertools

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from paho.mqtt.client import topic_matches_sub

from devit_iot.errors import ConfigError, MessageError
from devit_iot.protocol.topics import (
    DEFAULT_IMAGE_FILTERS,
    DiscoveryTopics,
    ImageFilter,
    ImageRoute,
    Topics,
    check_name,
    check_topic,
)

REQUEST = "00112233445566778899aabbccddeeff"

LEVEL = st.sampled_from(["a", "b", "image", "", "a b", "é"])
PATTERN = st.builds(
    lambda levels, end: "/".join(levels + end),
    st.lists(st.one_of(LEVEL, st.sampled_from(["+", "{camera}"])), min_size=1, max_size=4),
    st.sampled_from([[], [], ["#"], ["{request}"]]),
).filter(bool)
TOPIC = st.lists(st.one_of(LEVEL, st.just(REQUEST)), min_size=1, max_size=5).map("/".join)


@settings(max_examples=500, deadline=None)
@given(PATTERN, TOPIC)
@example("a/#", "a")
@example("#", "a/b")
@example("+/#", "a")
@example("a/{camera}/#", "a/b")
@example("a/+", "a")
def test_a_filter_matches_what_a_broker_delivers(pattern: str, topic: str) -> None:
    image_filter = ImageFilter(pattern)
    try:
        matched = image_filter.match(topic) is not None
    except MessageError:  # it matches, and a level is unusable
        matched = True
    assert matched == topic_matches_sub(image_filter.mqtt, topic)


@settings(max_examples=200, deadline=None)
@given(st.text("ab/+#{}camerquest\0", max_size=20))
def test_any_pattern_is_a_filter_or_refused(pattern: str) -> None:
    try:
        mqtt = ImageFilter(pattern).mqtt
    except ConfigError:
        return
    for position, level in enumerate(mqtt.split("/")):
        assert level in {"+", "#"} or not set(level) & set("+#{}\0")
        assert level != "#" or position == mqtt.count("/")


@pytest.mark.parametrize(
    ("pattern", "mqtt", "topic", "camera"),
    [
        ("cameras/{camera}/image", "cameras/+/image", "cameras/door/image", "door"),
        (
            "frigate/{camera}/{camera}/snapshot",
            "frigate/+/+/snapshot",
            "frigate/a/b/snapshot",
            "a-b",
        ),
        ("home/+/{camera}/jpg", "home/+/+/jpg", "home/x/door/jpg", "door"),
        ("home/+/cam/+", "home/+/cam/+", "home/x/cam/y", "x-y"),
        ("home/+/#", "home/+/#", "home/x/y/z", "x-y-z"),
        ("#", "#", "x/y", "x-y"),
        ("a/#", "a/#", "a", "a"),
        ("{camera}/#", "+/#", "x/y/z", "x"),
        ("home/door", "home/door", "home/door", "home-door"),
        ("cameras/{camera}/image", "cameras/+/image", f"cameras/{'x' * 64}/image", "x" * 64),
        ("cameras/{camera}/image", "cameras/+/image", "cameras/entrée 2/image", "entrée 2"),
    ],
)
def test_the_camera_rule(pattern: str, mqtt: str, topic: str, camera: str) -> None:
    assert ImageFilter(pattern).mqtt == mqtt
    assert ImageFilter(pattern).match(topic) == ImageRoute(camera, None)


def test_the_request_level() -> None:
    image_filter = ImageFilter("cameras/{camera}/image/{request}")
    assert image_filter.mqtt == "cameras/+/image/+"
    route = image_filter.match(f"cameras/door/image/{REQUEST}")
    assert route == ImageRoute("door", bytes.fromhex(REQUEST))
    assert image_filter.match("cameras/door/image") is None
    assert ImageFilter("in/{request}").match(f"in/{REQUEST}") == ImageRoute(
        f"in-{REQUEST}", bytes.fromhex(REQUEST)
    )


@pytest.mark.parametrize(
    "level", ["", "7", REQUEST[:-1], REQUEST + "0", REQUEST.upper(), "g" * 32, REQUEST + "\n"]
)
def test_a_bad_request_level_is_refused(level: str) -> None:
    with pytest.raises(MessageError) as caught:
        ImageFilter("cameras/{camera}/image/{request}").match(f"cameras/door/image/{level}")
    assert caught.value.reason == "request_id"


@pytest.mark.parametrize(
    "level", ["", "x" * 65, "a\nb", "a\x7f", "\u202ea", "\N{CAMERA}" * 64], ids=range(6)
)
def test_an_unusable_camera_is_refused(level: str) -> None:
    """The last one has 64 characters and 256 bytes, one more than a feature can carry."""
    with pytest.raises(MessageError) as caught:
        ImageFilter("cameras/{camera}/image").match(f"cameras/{level}/image")
    assert caught.value.reason == "camera"


@pytest.mark.parametrize(
    "pattern",
    [
        "",
        "a/#/b",
        "a/b#",
        "a/b+",
        "a/{camera",
        "a/x{camera}",
        "a/{room}/b",
        "{request}/a",
        "a/{request}/#",
        "a/\0",
        "a" * 513,
        "é" * 257,
    ],
)
def test_bad_filters_are_refused(pattern: str) -> None:
    with pytest.raises(ConfigError):
        ImageFilter(pattern)


def test_the_longest_filter_passes() -> None:
    assert ImageFilter("é" * 256).mqtt == "é" * 256


def test_the_default_filters_are_valid() -> None:
    assert [ImageFilter(pattern).mqtt for pattern in DEFAULT_IMAGE_FILTERS] == [
        "cameras/+/image",
        "cameras/+/image/+",
        "frigate/+/+/snapshot",
    ]


@pytest.mark.parametrize("name", ["a", "pi-1", "A.b_c-9", "0", "x" * 64])
def test_good_names(name: str) -> None:
    assert check_name("node", name) == name


@pytest.mark.parametrize("name", ["", "-a", ".a", "a/b", "a+", "a#", "a b", "é", "a\n", "x" * 65])
def test_bad_names(name: str) -> None:
    with pytest.raises(ConfigError, match="node"):
        check_name("node", name)
    with pytest.raises(ConfigError, match="fleet"):
        Topics(name)


def test_the_topic_tree() -> None:
    topics = Topics("home")
    assert topics.feature(0, "pi-1") == "devit/v1/home/features/0/pi-1"
    assert topics.features(0) == "devit/v1/home/features/0/+"
    assert topics.label("door") == "devit/v1/home/labels/door"
    assert topics.labels == "devit/v1/home/labels/+"
    assert topics.head_label("door", "gate") == "devit/v1/home/labels/door/gate"
    assert topics.head_labels == "devit/v1/home/labels/+/+"
    assert not topics.camera_of(topics.head_label("door", "gate"))
    assert topics.label_of(topics.label("door")) == ("door", "")
    assert topics.label_of(topics.head_label("door", "gate")) == ("door", "gate")
    assert topics.state("door", "gate") == "devit/v1/home/states/door/gate"
    assert topics.states == "devit/v1/home/states/+/+"
    assert topics.state_of(topics.state("door", "gate")) == ("door", "gate")
    for other in (topics.label("door"), topics.state("door", "a/b"), topics.release, "states/a/b"):
        assert topics.state_of(other) == ("", "")
    assert topics.label_of(topics.state("door", "gate")) == ("", "")
    assert topics.label_of(topics.head_label("door", "a/b")) == ("", "")
    assert topics.node_status("pi-1") == "devit/v1/home/nodes/pi-1/status"
    assert topics.node_statuses == "devit/v1/home/nodes/+/status"
    assert topics.aggregator_status(1) == "devit/v1/home/aggregators/1/status"
    assert topics.node_client_id("pi-1") == "devit-home-node-pi-1"
    assert topics.aggregator_client_id(1) == "devit-home-aggregator-1"
    assert topics.command_client_id("top", "0123abcd") == "devit-home-top-0123abcd"
    assert topics.doctor_client_id("pi-1", "0123abcd") == "devit-home-doctor-pi-1-0123abcd"
    assert topics.node_of(topics.feature(3, "pi-1")) == "pi-1"
    assert topics.node_of(topics.node_status("pi-1")) == "pi-1"


@pytest.mark.parametrize("name", ["", "-a", "a b", "\x1b[2J", "x" * 65])
def test_a_topic_names_no_node(name: str) -> None:
    topics = Topics("home")
    for topic in (topics.feature(0, name), topics.node_status(name)):
        with pytest.raises(MessageError, match="no usable node name in topic") as caught:
            topics.node_of(topic)
        assert caught.value.reason == "node"
        assert str(caught.value).isprintable()


@pytest.mark.parametrize("fleet", ["features", "nodes", "labels"])
def test_the_node_is_found_whatever_the_fleet_is_called(fleet: str) -> None:
    topics = Topics(fleet)
    assert topics.node_of(topics.feature(3, "pi-1")) == "pi-1"
    assert topics.node_of(topics.node_status("pi-1")) == "pi-1"


def test_the_longest_discovery_prefix_has_128_characters() -> None:
    assert DiscoveryTopics("a/" * 63 + "ab").device("x").endswith("/ab/device/x/config")
    for prefix in ("a/" * 63 + "abc", ""):
        with pytest.raises(ConfigError, match="1 to 128"):
            DiscoveryTopics(prefix)


LEVEL = st.sampled_from(["a", "b", "+"])
PATTERN = st.builds(
    lambda levels, tail: "/".join([*levels, *tail]),
    st.lists(LEVEL, min_size=1, max_size=3),
    st.sampled_from([[], ["#"]]),
)


@given(PATTERN, PATTERN)
def test_filters_overlap_when_a_topic_matches_both(one: str, two: str) -> None:
    """Four levels of two letters are enough to tell any two filters of three levels apart."""
    levels = ["a", "b"]
    topics = [
        "/".join(chosen)
        for count in range(1, 5)
        for chosen in itertools.product(levels, repeat=count)
    ]
    common = [t for t in topics if topic_matches_sub(one, t) and topic_matches_sub(two, t)]
    assert ImageFilter(one).overlaps(ImageFilter(two)) == bool(common)
    assert ImageFilter(two).overlaps(ImageFilter(one)) == bool(common)


@pytest.mark.parametrize(
    ("topic", "words"),
    [
        ("", "is empty"),
        ("cameras/+/image", "has a wildcard"),
        ("cameras/#", "has a wildcard"),
        ("cameras/c++/image", "has a wildcard"),
        ("cameras/{camera}/image", "the camera's name"),
        *((f"cameras/{sign}/image", "does not allow") for sign in "\0\n\x7f\ud800\uffff"),
        ("$SYS/image", "the broker's own"),
        ("ü" * 40_000, "is longer than"),
    ],
)
def test_topics_that_nobody_can_publish_to_are_refused(topic: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        check_topic(topic)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "topic", ["cameras/door/image/{request}", 'Meine  Kameras/Küche "neu"/👩‍👧/Bild', "/", " "]
)
def test_other_topics_are_taken(topic: str) -> None:
    assert check_topic(topic) == topic


def test_topics_are_as_long_as_mqtt_allows() -> None:
    check_topic("a" * 65535)
    check_topic("a" * (65535 - 33) + "/{request}")
    for topic in ("a" * 65536, "a" * (65535 - 32) + "/{request}"):
        with pytest.raises(ConfigError, match="65535"):
            check_topic(topic)
