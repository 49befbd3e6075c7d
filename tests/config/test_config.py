"""One TOML file: what is wrong is named, and the later layer wins."""

import socket
from pathlib import Path

import msgspec
import pytest

from devit_iot.config.camera_apps import PRESETS
from devit_iot.config.config import (
    AggregatorConfig,
    BrokerConfig,
    Config,
    ImagesConfig,
    fraction,
    load_config,
    read_password,
)
from devit_iot.errors import ConfigError
from devit_iot.protocol.topics import DEFAULT_IMAGE_FILTERS


@pytest.fixture(autouse=True)
def _host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "pi-1.lan")


def toml(tmp_path: Path, text: str, name: str = "devit.toml") -> Path:
    path = tmp_path / name
    path.write_text(text)
    return path


def test_the_defaults_are_valid() -> None:
    config = load_config([], {})
    assert config == Config()
    assert config.node_name == "pi-1"
    assert tuple(images.topic for images in config.images) == DEFAULT_IMAGE_FILTERS
    assert not any(images.retained for images in config.images)


def test_a_whole_file(tmp_path: Path) -> None:
    text = """
    fleet = "barn"
    bundle = "/srv/bundle"
    shards = 2
    [broker]
    url = "mqtts://hub.lan"
    keepalive_s = 5
    [[images]]
    topic = "a/{camera}"
    [[images]]
    topic = "b/+"
    retained = true
    [node]
    name = "door"
    part = 3
    replica = "1/2"
    [aggregator]
    shard = 1
    deadline_s = 2
    [log]
    format = "json"
    """
    config = load_config([toml(tmp_path, text)], {})
    assert (config.fleet, config.bundle, config.shards) == ("barn", "/srv/bundle", 2)
    assert config.broker == BrokerConfig(url="mqtts://hub.lan", keepalive_s=5)
    assert config.images == (ImagesConfig("a/{camera}"), ImagesConfig("b/+", retained=True))
    assert (config.node_name, config.node.part, config.node.replica) == ("door", 3, "1/2")
    assert config.aggregator == AggregatorConfig(shard=1, deadline_s=2.0)
    assert (config.log.format, config.log.level) == ("json", "info")


def test_later_layers_win(tmp_path: Path) -> None:
    board = toml(tmp_path, "fleet = 'board'\n[node]\npart = 1\nthreads = 2\nisa = 'scalar'", "b")
    file = toml(tmp_path, "[node]\npart = 2\nthreads = 3\n[log]\nlevel = 'debug'", "f")
    config = load_config([board, file], {"node.part": 4, "node.name": None, "shards": 3})
    assert (config.node.part, config.node.threads, config.node.isa) == (4, 3, "scalar")
    assert (config.fleet, config.shards, config.log.level) == ("board", 3, "debug")
    assert load_config([file, board], {}).node.part == 1


def test_paths_in_a_file_count_from_its_folder(tmp_path: Path) -> None:
    text = """
    bundle = "bundle"
    [broker]
    url = "mqtts://hub.lan"
    ca_file = "/etc/ca.crt"
    cert_file = "client.crt"
    key_file = "keys/client.key"
    """
    config = load_config([toml(tmp_path, text)], {"broker.password_file": "pw"})
    assert config.bundle == str(tmp_path / "bundle")
    assert config.broker.ca_file == "/etc/ca.crt"
    assert config.broker.cert_file == str(tmp_path / "client.crt")
    assert config.broker.key_file == str(tmp_path / "keys/client.key")
    assert config.broker.password_file == "pw"  # noqa: S105 - an option counts from where we are


@pytest.mark.parametrize("name", ["ca_file", "cert_file"])
def test_certificates_without_tls_are_refused(name: str) -> None:
    """Whoever names them believes that the connection is protected."""
    files = {f"broker.{name}": "x"} | ({} if name == "ca_file" else {"broker.key_file": "x"})
    with pytest.raises(ConfigError, match="mqtts"):
        load_config([], files)
    assert load_config([], files | {"broker.url": "mqtts://hub"}).broker.url == "mqtts://hub"


@pytest.mark.parametrize("name", ["cert_file", "key_file"])
def test_a_certificate_and_its_key_belong_together(name: str) -> None:
    with pytest.raises(ConfigError, match="belong together"):
        load_config([], {"broker.url": "mqtts://hub", f"broker.{name}": "x"})


def test_a_false_or_zero_option_is_an_option(tmp_path: Path) -> None:
    file = toml(tmp_path, "[node]\npart = 2\nthreads = 3\nisa = 'scalar'")
    config = load_config([file], {"node.part": 0, "node.threads": 0, "node.isa": ""})
    assert (config.node.part, config.node.threads, config.node.isa) == (0, 0, "")


def test_images_are_replaced_not_appended(tmp_path: Path) -> None:
    one = toml(tmp_path, "[[images]]\ntopic = 'a'\n[[images]]\ntopic = 'b'", "one")
    two = toml(tmp_path, "[[images]]\ntopic = 'c'", "two")
    assert [images.topic for images in load_config([one, two], {}).images] == ["c"]
    config = load_config([one], {"images": [{"topic": "d"}]})
    assert [images.topic for images in config.images] == ["d"]


@pytest.mark.parametrize(
    ("text", "unknown", "nearest"),
    [
        ("flet = 'x'", "flet", "fleet"),
        ("[brokr]\nurl = 'x'", "brokr", "broker"),
        ("[node]\nprat = 1", "node.prat", "node.part"),
        ("[broker]\nkeepalive = 1", "broker.keepalive", "broker.keepalive_s"),
        ("[[images]]\ntopics = 'x'", "images.topics", "images.topic"),
        ("[[images]]\ntopic = 'x'\n[[images]]\nretain = true", "images.retain", "images.retained"),
        ("[node.broker]\nurl = 'x'", "node.broker", "node."),
        ("'' = 1", "", ""),
    ],
)
def test_an_unknown_key_is_named_with_the_nearest(
    tmp_path: Path, text: str, unknown: str, nearest: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config([toml(tmp_path, text)], {})
    assert f"devit.toml: unknown key '{unknown}'; did you mean '{nearest}" in str(caught.value)


@pytest.mark.parametrize("key", ["node.prat", "flet", "node.broker.url", "nod.part"])
def test_an_unknown_option_is_refused(key: str) -> None:
    with pytest.raises(ConfigError):
        load_config([], {key: "1"})


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("fleet = 3", "fleet"),
        ("shards = '2'", "shards"),
        ("shards = true", "shards"),
        ("shards = 1.5", "shards"),
        ("node = 3", "node"),
        ("node = [1]", "node"),
        ("images = 'x'", "images"),
        ("images = ['x']", "images"),
        ("[[images]]\nretained = true", "topic"),
        ("[images]\ntopic = 'x'", "images"),
        ("[node]\npart = 'two'", "node.part"),
        ("[aggregator]\ndeadline_s = '1'", "aggregator.deadline_s"),
        ("[log]\nlevel = 'loud'", "log.level"),
        ("[log]\nformat = 1", "log.format"),
    ],
)
def test_a_wrong_type_is_named(tmp_path: Path, text: str, where: str) -> None:
    with pytest.raises(ConfigError, match=f"configuration: .*{where}"):
        load_config([toml(tmp_path, text)], {})


@pytest.mark.parametrize(
    ("key", "bad", "problem"),
    [
        ("fleet", "a/b", "fleet 'a/b'"),
        ("fleet", "", "fleet ''"),
        ("node.name", "a b", "node 'a b'"),
        ("node.replica", "2/2", "node.replica '2/2'"),
        ("metrics", "9464", "metrics '9464'"),
        ("metrics", ":", "metrics ':'"),
        ("metrics", "hub:65536", "metrics 'hub:65536'"),
        ("metrics", "::1:9464", "metrics '::1:9464'"),
        ("images", [{"topic": "a/#/b"}], "image filter 'a/#/b'"),
        ("images", [], "at least one filter"),
        ("shards", 0, "shards must be at least 1"),
        ("aggregator.shard", 1, "below shards"),
        ("aggregator.shard", -1, "below shards"),
        ("node.part", -1, "node.part"),
        ("node.threads", -1, "node.threads"),
        ("node.max_pixels", 0, "node.max_pixels"),
        ("node.max_payload_bytes", 0, "node.max_payload_bytes"),
        ("node.max_cameras", 0, "node.max_cameras"),
        ("node.memory_mib", 0, "node.memory_mib"),
        ("node.max_age_s", 0.0, "node.max_age_s"),
        ("node.max_waiting_mib", 0, "node.max_waiting_mib"),
        ("node.hang_s", 4.9, "node.hang_s"),
        ("images", [{"topic": "a", "max_rate": -1.0}], "max_rate"),
        ("homeassistant.expire_s", -1, "homeassistant.expire_s must not be negative"),
        ("images", [{"topic": "a", "delivery": "some"}], "delivery"),
        ("broker.persist_s", -1.0, "broker.persist_s"),
        ("broker.session_s", 0, "broker.session_s"),
        ("broker.session_s", 2**32 - 1, "broker.session_s"),
        ("broker.keepalive_s", 1, "broker.keepalive_s"),
        ("broker.keepalive_s", 65536, "broker.keepalive_s"),
        ("aggregator.min_deadline_s", 0.0, "aggregator.min_deadline_s"),
        ("aggregator.every_deadline_s", 0.0, "aggregator.every_deadline_s"),
        ("aggregator.min_parts", 0, "aggregator.min_parts"),
        ("aggregator.max_open_per_camera", 0, "aggregator.max_open_per_camera"),
        ("broker.queue", 0, "broker.queue"),
        ("aggregator.deadline_s", 0.0, "aggregator.deadline_s"),
        ("aggregator.deadline_s", float("nan"), "aggregator.deadline_s"),
        ("aggregator.lifetime_s", 0.9, "aggregator.lifetime_s"),
        ("aggregator.lifetime_s", float("nan"), "aggregator.lifetime_s"),
        ("aggregator.max_open", 0, "aggregator.max_open"),
    ],
)
def test_a_value_out_of_range_is_named(key: str, bad: object, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config([], {key: bad})
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("shards", 1),
        ("node.part", 0),
        ("node.max_pixels", 1),
        ("node.max_payload_bytes", 1),
        ("node.max_cameras", 1),
        ("node.memory_mib", 1),
        ("node.max_age_s", 0.001),
        ("node.max_waiting_mib", 1),
        ("node.hang_s", 5.0),
        ("broker.persist_s", 0.0),
        ("broker.session_s", 1),
        ("broker.keepalive_s", 2),
        ("aggregator.min_deadline_s", 0.001),
        ("aggregator.every_deadline_s", 0.001),
        ("aggregator.min_parts", 1),
        ("aggregator.max_open_per_camera", 1),
        ("broker.queue", 1),
        ("aggregator.deadline_s", 0.001),
        ("aggregator.lifetime_s", 1.0),
        ("aggregator.max_open", 1),
        ("node.replica", "2/3"),
    ],
)
def test_the_smallest_good_values_pass(key: str, value: object) -> None:
    table, _, name = key.rpartition(".")
    config = msgspec.to_builtins(load_config([], {key: value}))
    assert (config[table] if table else config)[name] == value


def test_a_host_whose_name_is_unusable_must_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "küche")
    with pytest.raises(ConfigError, match="node 'küche'"):
        load_config([], {})
    assert load_config([], {"node.name": "kitchen"}).node_name == "kitchen"


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\x00")
    for path in (tmp_path / "nothing.toml", tmp_path, binary):
        with pytest.raises(ConfigError, match="cannot read"):
            load_config([path], {})
    for text in ("fleet = ", "a = 1\na = 2", "[node"):
        with pytest.raises(ConfigError, match="not valid TOML"):
            load_config([toml(tmp_path, text)], {})


@pytest.mark.parametrize(("text", "pair"), [("0/1", (0, 1)), ("2/3", (2, 3)), ("09/10", (9, 10))])
def test_fractions(text: str, pair: tuple[int, int]) -> None:
    assert fraction(text, "x") == pair


@pytest.mark.parametrize(
    "text", ["", "1", "/", "1/", "/1", "0/0", "1/1", "2/1", "-1/2", "0/2/3", " 0/1", "0.5/2", "²/3"]
)
def test_what_is_no_fraction(text: str) -> None:
    with pytest.raises(ConfigError, match=r"node\.replica"):
        fraction(text, "node.replica")


def test_sources_of_the_password(tmp_path: Path) -> None:
    file = toml(tmp_path, "from file\nsecond line\n", "password")
    broker = BrokerConfig(password_file=str(file))
    assert read_password(BrokerConfig(), {}) is None
    assert read_password(broker, {}) == "from file"
    assert read_password(broker, {"DEVIT_PASSWORD": "from variable"}) == "from variable"
    assert read_password(BrokerConfig(), {"DEVIT_PASSWORD": ""}) == ""


def test_a_password_keeps_its_spaces(tmp_path: Path) -> None:
    file = toml(tmp_path, " p w \r\n", "password")
    assert read_password(BrokerConfig(password_file=str(file)), {}) == " p w "


def test_a_password_file_that_gives_none(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff")
    for path in (tmp_path / "nothing", tmp_path, tmp_path / "binary"):
        with pytest.raises(ConfigError, match=r"cannot read broker\.password_file"):
            read_password(BrokerConfig(password_file=str(path)), {})
    with pytest.raises(ConfigError, match="is empty"):
        read_password(BrokerConfig(password_file=str(toml(tmp_path, "", "empty"))), {})


def test_a_camera_app_stands_for_its_topics(tmp_path: Path) -> None:
    def topics(text: str, **given: object) -> list[tuple[str, bool]]:
        config = load_config([toml(tmp_path, text)], given)
        return [(images.topic, images.retained) for images in config.images]

    snapshot = "frigate/{camera}/{camera}/snapshot"
    own = f"[[images]]\ntopic = '{snapshot}'\nretained = true\n[[images]]\ntopic = 'own'"
    defaults = [(topic, False) for topic in DEFAULT_IMAGE_FILTERS]
    assert topics("camera_apps = ['frigate']") == [(snapshot, False)]
    assert topics("camera_apps = ['frigate', 'default']")[1:] == [
        (topic, False) for topic, _ in defaults if topic != snapshot
    ]
    assert topics("camera_apps = []") == defaults
    assert topics(f"camera_apps = ['frigate']\n{own}") == [(snapshot, True), ("own", False)]
    assert topics("camera_apps = ['default']", camera_apps=["frigate"]) == [(snapshot, False)]
    with pytest.raises(ConfigError, match=r"no camera app 'frigat'.*frigate"):
        topics("camera_apps = ['frigat']")
    with pytest.raises(ConfigError, match="match the same topics"):
        topics("camera_apps = ['frigate']\n[[images]]\ntopic = 'frigate/#'")


def test_all_camera_apps_can_be_listened_to_at_once() -> None:
    assert len(load_config([], {"camera_apps": list(PRESETS)}).images) == len(
        {topic for preset in PRESETS.values() for topic in preset.filters}
    )
