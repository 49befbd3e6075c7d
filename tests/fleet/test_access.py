"""What users of a broker may do, and that four brokers are told the same."""

import itertools
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from paho.mqtt.client import topic_matches_sub

from devit_iot.cli.broker import acl
from devit_iot.config.camera_apps import PRESETS
from devit_iot.errors import ConfigError
from devit_iot.fleet.access import (
    FORMATS,
    access_list,
    emqx_acl,
    members,
    mosquitto_acl,
    rabbitmq_definitions,
)
from devit_iot.fleet.grants import Grants
from devit_iot.fleet.nats import nats_acl
from devit_iot.protocol.crop import Crop
from devit_iot.protocol.looks import LookTopics
from devit_iot.protocol.topics import DEFAULT_IMAGE_FILTERS, Topics

FOLDER = Path(__file__).parents[2] / "broker"
EXPECTED = Path(__file__).parent
SHIPPED = {
    "mosquitto": "acl",
    "emqx": "emqx/acl.conf",
    "rabbitmq": "rabbitmq/definitions.json",
    "nats": "nats/acl.conf",
}
NODES = ["pi-1", "pi-2"]
ACCESS = access_list("home", members(NODES), [*DEFAULT_IMAGE_FILTERS, "in/#"])

Allowed = Callable[[str, str, str], bool]
"""user, ``publish`` or ``subscribe``, topic or filter -> whether the broker lets it through."""

OWNED = (EXPECTED / "owner.acl").read_text()

ACL = (EXPECTED / "members.acl").read_text()


@pytest.mark.parametrize("kind", FORMATS)
def test_only_the_hub_says_which_release_is_served(kind: str) -> None:
    """Not a node whose certificate was stolen, nor an aggregator."""
    topics = Topics("home")
    writers = [user for user, grants in ACCESS.items() if topics.release in grants.write]
    assert writers == ["hub"]
    if kind in BROKERS:
        users = [user for user in ACCESS if BROKERS[kind](user, "publish", topics.release)]
        assert users == ["hub"]


def check_writers(kind: str, topic: str, writers: list[str]) -> None:
    """Assert that these users, and no others, may publish on a topic."""
    granted = [
        user
        for user, grants in ACCESS.items()
        if any(topic_matches_sub(rule, topic) for rule in grants.write)
    ]
    assert granted == writers
    if kind in BROKERS:
        assert [user for user in ACCESS if BROKERS[kind](user, "publish", topic)] == writers


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize(
    ("topic", "writers"),
    [
        (Topics("home").head("gate"), ["collector", "teacher"]),
        (Topics("home").teach_ask("0123abcd"), ["teacher"]),
        (Topics("home").teach_answer("0123abcd"), ["collector"]),
    ],
)
def test_only_who_teaches_says_what_shall_answer(kind: str, topic: str, writers: list[str]) -> None:
    check_writers(kind, topic, writers)


@pytest.mark.parametrize("kind", FORMATS)
def test_a_node_says_only_of_itself_how_far_it_is(kind: str) -> None:
    check_writers(kind, Topics("home").node_update("pi-1"), ["pi-1"])


@pytest.mark.parametrize("kind", FORMATS)
def test_aggregators_alone_say_that_an_image_needs_no_further_part(kind: str) -> None:
    check_writers(kind, Topics("home").enough(0), ["aggregator"])


@pytest.mark.parametrize("kind", FORMATS)
def test_aggregators_alone_send_images_to_be_looked_at(kind: str) -> None:
    """A camera's user could otherwise have crops computed that nobody asked for."""
    crop, image = Crop.of(0, 0, 0.5, 1), bytes(16)
    check_writers(kind, LookTopics("home").look(crop, "door", image), ["aggregator"])


@pytest.mark.parametrize("kind", FORMATS)
def test_home_assistant_may_ask_the_hub_and_no_viewer(kind: str) -> None:
    command, status = Topics("home").hub_command, Topics("home").hub_status
    writers = [user for user, grants in ACCESS.items() if command in grants.write]
    assert writers == ["homeassistant"]
    assert [user for user, grants in ACCESS.items() if status in grants.write] == ["hub"]
    if kind in BROKERS:
        may = BROKERS[kind]
        assert [u for u in ACCESS if may(u, "publish", command)] == ["homeassistant"]
        assert [u for u in ACCESS if may(u, "publish", status)] == ["hub"]
        assert may("hub", "subscribe", command)


@pytest.mark.parametrize("kind", FORMATS)
def test_nodes_hear_of_each_other(kind: str) -> None:
    topics = Topics("home")
    for topic in (topics.node_statuses, topics.feature("+", "pi-2")):
        covered = [rule for rule in ACCESS["pi-1"].read if topic_matches_sub(rule, topic)]
        assert covered
        if kind in BROKERS and "+" not in topic:
            assert BROKERS[kind]("pi-1", "subscribe", topic)


def test_the_access_list() -> None:
    patterns = ["cameras/{camera}/image", "in/{request}"]
    text = mosquitto_acl(access_list("home", members(NODES), patterns))
    comment, _, rest = text.partition("\n\n")
    assert comment.startswith("#")
    assert rest == ACL


@pytest.mark.parametrize("node", ["", "a/b", "+", "pi\ntopic readwrite #"])
def test_the_access_list_refuses_a_node_that_would_widen_it(node: str) -> None:
    with pytest.raises(ConfigError):
        access_list("home", members(["pi-1", node]), ["cameras/{camera}/image"])


@pytest.mark.parametrize(
    "role",
    ["camera", "aggregator", "hub", "viewer", "dashboard", "homeassistant", "collector", "teacher"],
)
def test_the_access_list_refuses_a_node_that_is_called_like_a_role(role: str) -> None:
    """Otherwise the role loses its rights, or the node gets more than a node may."""
    with pytest.raises(ConfigError):
        members([role])


def test_no_image_filter_can_add_a_line_to_the_access_list() -> None:
    with pytest.raises(ConfigError):
        access_list("home", members(["pi-1"]), ["cameras/x\ntopic readwrite devit/{camera}"])


@pytest.mark.parametrize("kind", FORMATS)
def test_the_shipped_lists_are_the_generated_ones(kind: str) -> None:
    nodes = ["pi-0", "pi-1", "pi-2", "pi-3"]
    access = access_list("home", members(nodes), DEFAULT_IMAGE_FILTERS)
    assert (FOLDER / SHIPPED[kind]).read_text() == FORMATS[kind](access)


def emqx(text: str) -> Allowed:
    """EMQX's file source: the first rule whose user, action and topic match decides."""
    assert text.rstrip().endswith("{deny, all}.")
    rules = re.findall(r'^\{allow, \{user, "(.+?)"\}, (\w+), \[(.*)\]\}\.$', text, re.MULTILINE)
    assert len(rules) == text.count("allow")

    def allowed(user: str, action: str, topic: str) -> bool:
        return any(
            (who, what) == (user, action)
            and any(matches(rule, topic) for rule in re.findall(r'"(.*?)"', topics))
            for who, what, topics in rules
        )

    def matches(rule: str, topic: str) -> bool:
        """emqx_topic:match: wildcards of a subscription are words that only wildcards match."""
        words, pattern = topic.split("/"), rule.split("/")
        for index, want in enumerate(pattern):
            if want == "#":
                return True
            if index == len(words) or words[index] == "#" or want not in {"+", words[index]}:
                return False
        return len(words) == len(pattern)

    return allowed


def rabbitmq(text: str) -> Allowed:
    """RabbitMQ's topic permissions, on the routing key that its MQTT plugin makes."""
    entries = {entry["user"]: entry for entry in json.loads(text)["topic_permissions"]}

    def allowed(user: str, action: str, topic: str) -> bool:
        key = topic.replace("/", ".").replace("+", "*")
        expression = entries[user]["write" if action == "publish" else "read"]
        return bool(key) and re.search(expression, key) is not None

    return allowed


def nats(text: str) -> Allowed:
    """NATS's permissions: a subject that a client asks for must lie within an allowed one."""
    rules = {
        user: {
            "publish": re.findall(r'"(.*?)"', write) if granted == "allow" else [],
            "subscribe": re.findall(r'"(.*?)"', read) if also == "allow" else [],
        }
        for user, granted, write, also, read in re.findall(
            r'user: "CN=(.+?)".*\n +publish: \{ (\w+): \[(.*)\] \}\n'
            r" +subscribe: \{ (\w+): \[(.*)\] \}",
            text,
        )
    }

    def within(rule: str, subject: str) -> bool:
        wanted, have = rule.split("."), subject.split(".")
        for index, level in enumerate(wanted):
            if level == ">":
                return len(have) > index
            if index == len(have) or have[index] == ">" or level not in {"*", have[index]}:
                return False
        return len(wanted) == len(have)

    def allowed(user: str, action: str, topic: str) -> bool:
        subject = ".".join({"+": "*", "#": ">", "": "/"}.get(n, n) for n in topic.split("/"))
        asked = [subject, subject.removesuffix(".>")]  # `a/#` is two subscriptions
        return all(any(within(rule, each) for rule in rules[user][action]) for each in asked)

    return allowed


def near(filters: list[str]) -> st.SearchStrategy[str]:
    """Topics and filters that differ in a few levels from those that somebody is granted."""
    level = st.sampled_from(["+", "#", "x", "pi-1", "pi-2", "labels", "features", "status", ""])

    def varied(chosen: str) -> st.SearchStrategy[str]:
        levels = [st.one_of(st.just(name), st.just(name), level) for name in chosen.split("/")]
        ends = st.sampled_from([[], [], ["#"], ["x"], ["x", "#"]])
        return st.builds(lambda parts, end: "/".join([*parts, *end]), st.tuples(*levels), ends)

    return st.sampled_from(filters).flatmap(varied)


FILTERS = sorted({topic for grants in ACCESS.values() for topic in (*grants.read, *grants.write)})
ASKED = near(FILTERS).filter(lambda text: bool(text) and "#" not in text.split("/")[:-1])
USERS = st.sampled_from(sorted(ACCESS))
BROKERS = {
    "emqx": emqx(emqx_acl(ACCESS)),
    "rabbitmq": rabbitmq(rabbitmq_definitions(ACCESS)),
    "nats": nats(nats_acl(ACCESS)),
}


def below(topic_filter: str) -> set[str]:
    """Topics that the filter matches, enough of them to tell it from any other."""
    levels = [["new", "other"] if name == "+" else [name] for name in topic_filter.split("/")]
    if levels[-1] != ["#"]:
        return {"/".join(topic) for topic in itertools.product(*levels)}
    stem = [*itertools.product(*levels[:-1])]
    return {"/".join([*topic, *rest]) for topic in stem for rest in ([], ["new"], ["new", "z"])}


@pytest.mark.parametrize("kind", BROKERS)
@settings(max_examples=1000, deadline=None)
@given(user=USERS, topic=ASKED.filter(lambda text: not set(text) & set("+#")))
def test_brokers_take_what_is_granted(kind: str, user: str, topic: str) -> None:
    granted = any(topic_matches_sub(rule, topic) for rule in ACCESS[user].write)
    assert BROKERS[kind](user, "publish", topic) == granted


@pytest.mark.parametrize("kind", BROKERS)
@settings(max_examples=1000, deadline=None)
@given(user=USERS, asked=ASKED)
def test_brokers_deliver_no_more_than_is_granted(kind: str, user: str, asked: str) -> None:
    if BROKERS[kind](user, "subscribe", asked):
        grants = ACCESS[user].read
        for topic in below(asked) - {""}:
            assert any(topic_matches_sub(rule, topic) for rule in grants), topic


@pytest.mark.parametrize("kind", BROKERS)
@pytest.mark.parametrize(("user", "grants"), ACCESS.items(), ids=ACCESS)
def test_brokers_deliver_what_is_granted(kind: str, user: str, grants: Grants) -> None:
    assert all(BROKERS[kind](user, "subscribe", topic) for topic in grants.read)


@pytest.mark.parametrize("kind", FORMATS)
def test_nobody_has_what_is_not_granted(kind: str) -> None:
    """A user without a right has no entry that an empty expression or list would open."""
    text = FORMATS[kind](ACCESS)
    for user, grants in ACCESS.items():
        if kind == "emqx":
            assert (f'{{user, "{user}"}}, subscribe' in text) == bool(grants.read)
        elif kind == "rabbitmq":
            assert rabbitmq(text)(user, "subscribe", "x") is False


def resource(access: Mapping[str, Grants], user: str, right: str, name: str) -> bool:
    entries = {
        entry["user"]: entry for entry in json.loads(rabbitmq_definitions(access))["permissions"]
    }
    return re.search(entries[user][right], name) is not None


@pytest.mark.parametrize("right", ["configure", "read", "write"])
def test_a_rabbitmq_user_has_its_own_queues_only(right: str) -> None:
    queue = "mqtt-subscription-devit-home-{}qos1"
    access = access_list("home", members(["pi-1", "x-pi-1"]), ["in/{camera}"])
    assert resource(access, "pi-1", right, queue.format("node-pi-1"))
    assert not resource(access, "pi-1", right, queue.format("node-x-pi-1"))
    assert not resource(access, "pi-1", right, queue.format("aggregator-0"))
    assert resource(access, "aggregator", right, queue.format("aggregator-12"))
    assert not resource(access, "aggregator", right, queue.format("node-pi-1"))
    assert not resource(access, "camera", right, "mqtt-subscription-cameraqos1")
    assert resource(access, "dashboard", right, queue.format("dashboard-0123abcd"))
    assert not resource(access, "dashboard", right, queue.format("dashboard-../node-pi-1"))
    assert resource(access, "camera", right, "amq.topic") == (right == "write")


@pytest.mark.parametrize("right", ["configure", "read", "write"])
def test_commands_have_queues_at_rabbitmq_and_nobody_else_has_them(right: str) -> None:
    topics = Topics("home")
    access = access_list("home", members(["pi-1", "x-pi-1"]), ["in/{camera}"])
    client_ids = {
        topics.command_client_id("top", "0123abcd"): "viewer",
        topics.command_client_id("labels", "0123abcd"): "viewer",
        topics.command_client_id("homeassistant", "0123abcd"): "homeassistant",
        topics.doctor_client_id("pi-1", "0123abcd"): "pi-1",
        topics.doctor_client_id("x-pi-1", "0123abcd"): "x-pi-1",
        "viewer": "viewer",
        "homeassistant": "homeassistant",
    }
    for client_id, owner in client_ids.items():
        queue = f"mqtt-subscription-{client_id}qos1"
        assert [user for user in access if resource(access, user, right, queue)] == [owner]
        for other in (f"{queue}0", f"x{queue}", f"mqtt-subscription-{client_id}0qos1"):
            assert not any(resource(access, user, right, other) for user in access)


def test_rabbitmq_takes_no_dots() -> None:
    with pytest.raises(ConfigError, match="dot"):
        rabbitmq_definitions(access_list("home", members(["pi.1"]), ["in/{camera}"]))


@pytest.mark.parametrize("pattern", ["front door/{camera}", "in/{camera}/big image"])
def test_nats_is_given_no_topic_that_it_has_no_name_for(pattern: str) -> None:
    access = access_list("home", members(["pi-1"]), [pattern])
    with pytest.raises(ConfigError, match="NATS"):
        nats_acl(access)


def test_a_user_of_nats_without_a_right_is_denied_everything() -> None:
    """An empty list of what is allowed would allow everything."""
    camera = nats_acl(ACCESS).split('"CN=camera"')[1].split("user:")[0]
    assert 'subscribe: { deny: [">"] }' in camera


def test_the_command_knows_camera_apps_by_name() -> None:
    options = ["--node", "pi-1", "--camera-app", "frigate", "--images", "own/{camera}"]
    done = CliRunner().invoke(acl, options)
    patterns = [*PRESETS["frigate"].filters, "own/{camera}"]
    assert done.output == mosquitto_acl(access_list("home", members(["pi-1"]), patterns))
    done = CliRunner().invoke(acl, options[:2])
    assert done.output == mosquitto_acl(
        access_list("home", members(["pi-1"]), DEFAULT_IMAGE_FILTERS)
    )


def test_an_owner_deletes_what_is_kept_and_runs_nothing() -> None:
    written = mosquitto_acl(access_list("home", {"me": "owner"}, ["in/#"]))
    assert written.endswith(OWNED)
    assert "owner" not in members(NODES)
    (grants,) = access_list("home", {"me": "owner"}, ["in/#"]).values()
    for command in ("forget", "homeassistant", "labels", "top"):
        own = Topics("home").command_client_id(command, "0a1b2c3d")
        assert re.fullmatch(grants.client_id, own)
