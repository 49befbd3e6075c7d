"""Heads at the aggregator: which answers where, with which name, and who waits for whom."""

import itertools
import shutil
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from devit_iot.aggregator import heads as heads_module
from devit_iot.aggregator.heads import CameraHeads
from devit_iot.build_aggregator import build_aggregator
from devit_iot.bundle.reading import Bundle
from devit_iot.bundle.signature import new_key
from devit_iot.cli.bundle import bundle as bundle_command
from devit_iot.config.config import Config, load_config
from devit_iot.engine.fusion import Fusion
from devit_iot.errors import BundleError, MessageError
from devit_iot.protocol.label import Label
from devit_iot.service.after_all import AfterAll, after_all
from devit_iot.transport.memory import MemoryBroker, MemoryTransport
from tests.support.features import PARTS, make_feature
from tests.support.fleets import wait_until
from tests.support.heads import write_random
from tests.support.running import TOPICS, aggregator_status, make_aggregator, running


@pytest.fixture
def bundle(bundle: Bundle, tmp_path: Path) -> Bundle:
    """The bundle of all tests of services, with the heads gate and post beside it."""
    own = Bundle(Path(shutil.copytree(bundle.path, tmp_path / "bundle")))
    write_random(own, "gate", 0)
    write_random(own, "post", 1, unknown=0.999999)
    return own


def choosing(**heads: tuple[str, ...]) -> Config:
    return Config(heads=heads)


def ask(broker: MemoryBroker, bundle: Bundle, *, qos: int = 0, request: int = 0) -> None:
    wait_until(lambda: TOPICS.aggregator_status(0) in broker.retained)
    for part in range(PARTS):
        feature = make_feature(bundle, part, request)
        broker.publish(TOPICS.feature(0, f"node-{part}"), feature.encode(), qos=qos)


def label_at(broker: MemoryBroker, topic: str) -> Label:
    wait_until(lambda: topic in broker.retained)
    return Label.decode(broker.retained[topic])


def test_a_label_says_which_head_and_version(bundle: Bundle) -> None:
    broker = MemoryBroker()
    with running(make_aggregator(broker, bundle)):
        ask(broker, bundle)
        label = label_at(broker, TOPICS.label("door"))
    assert (label.head, label.head_version) == ("default", bundle.manifest.fingerprint)


def test_several_heads_answer_for_one_camera(bundle: Bundle) -> None:
    broker = MemoryBroker()
    heads = choosing(door=("gate", "default"))
    with running(make_aggregator(broker, bundle, heads=heads)):
        ask(broker, bundle)
        main = label_at(broker, TOPICS.label("door"))
        other = label_at(broker, TOPICS.head_label("door", "default"))
        wait_until(lambda: aggregator_status(broker).labels == 2)
    gate = Fusion(bundle, "gate")
    values = {part: make_feature(bundle, part).values for part in range(PARTS)}
    wire = {part: value.astype(np.float16).astype(np.float32) for part, value in values.items()}
    assert main.top5 == tuple(gate.rank(gate.logits(wire)))
    assert (main.head, main.head_version) == ("gate", gate.version)
    assert (other.head, len(other.top5)) == ("default", 5)
    assert main.request_id == other.request_id


def test_other_cameras_have_other_heads(bundle: Bundle) -> None:
    broker = MemoryBroker()
    with running(make_aggregator(broker, bundle, heads=choosing(garden=("gate",)))):
        ask(broker, bundle)
        assert label_at(broker, TOPICS.label("door")).head == "default"
    assert not [topic for topic in broker.retained if topic.count("/labels/") and "gate" in topic]


def test_an_unsure_head_says_unknown(bundle: Bundle) -> None:
    broker = MemoryBroker()
    with running(make_aggregator(broker, bundle, heads=choosing(door=("post",)))):
        ask(broker, bundle)
        label = label_at(broker, TOPICS.label("door"))
    assert (label.label, label.class_index) == ("unknown", -1)
    assert label.confidence == label.top5[0].confidence
    assert {entry.label for entry in label.top5} == {"no", "yes"}


class HoldingTransport(MemoryTransport):
    """Keeps back the acknowledgement of every label, as a broker that takes its time."""

    def __init__(self, broker: MemoryBroker) -> None:
        super().__init__(broker)
        self.held: dict[str, Callable[[], None]] = {}
        self.refuses = ""

    def publish(
        self,
        topic: str,
        payload: bytes,
        *,
        qos: int = 0,
        retain: bool = False,
        on_puback: Callable[[], None] | None = None,
        on_given_up: Callable[[MessageError], None] | None = None,
    ) -> None:
        if "/labels/" in topic and on_puback is not None:
            if topic == self.refuses:
                raise MessageError("packet_size", "too long for this broker")
            self.held[topic] = on_puback
            on_puback = None
        super().publish(
            topic, payload, qos=qos, retain=retain, on_puback=on_puback, on_given_up=on_given_up
        )


@pytest.mark.parametrize("refused", ["", "main", "other"])
def test_features_of_every_are_acknowledged_when_all_heads_have_their_label(
    bundle: Bundle, refused: str
) -> None:
    """A label that the broker does not take holds up nothing, and counts."""
    broker = MemoryBroker()
    transport = HoldingTransport(broker)
    main, other = TOPICS.label("door"), TOPICS.head_label("door", "default")
    transport.refuses = {"main": main, "other": other}.get(refused, "")
    left = {main, other} - {transport.refuses}
    heads = choosing(door=("gate", "default"))
    with running(make_aggregator(broker, bundle, transport=transport, heads=heads)):
        ask(broker, bundle, qos=1)
        wait_until(lambda: set(transport.held) == left)
        for topic in sorted(left):
            assert len(transport.unacknowledged) == PARTS
            transport.held[topic]()
            transport.held[topic]()  # a broker may say so twice
        wait_until(lambda: not transport.unacknowledged)
        wait_until(lambda: aggregator_status(broker).labels == len(left))
        assert aggregator_status(broker).refused == ({"packet_size": 1} if refused else {})


def is_answered(broker: MemoryBroker, request: int) -> bool:
    return labelled(broker).request_id == request.to_bytes(16, "little").hex()


def next_version(broker: MemoryBroker, bundle: Bundle, version: str) -> None:
    """Ask until a label is of ``version``."""
    for request in itertools.count(100):
        ask(broker, bundle, request=request)
        wait_until(partial(is_answered, broker, request))
        if labelled(broker).head_version == version:
            return
        assert request < 3000, "waited in vain"
        time.sleep(0.01)


def labelled(broker: MemoryBroker) -> Label:
    return label_at(broker, TOPICS.label("door"))


def test_a_new_version_goes_live_and_back_between_two_images(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heads_module, "LOOK_S", 0.0)
    broker = MemoryBroker()
    current = bundle.path / "heads/gate/current"
    first = current.read_text()
    with running(make_aggregator(broker, bundle, heads=choosing(door=("gate",)))):
        ask(broker, bundle)
        assert labelled(broker).head_version == first.strip()
        next_version(broker, bundle, write_random(bundle, "gate", 7))
        current.write_text(first)
        next_version(broker, bundle, first.strip())


@pytest.mark.parametrize(
    "spoil",
    [
        lambda home: (home / "current").write_text("0" * 16),
        lambda home: (home / "current").write_text("../../x"),
        lambda home: (home / "current").unlink(),
        lambda home: (home / (home / "current").read_text().strip() / "head.json").write_text("{"),
    ],
)
def test_a_bad_version_leaves_the_old_one_answering(
    bundle: Bundle,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    spoil: Callable[[Path], object],
) -> None:
    """It is said once, and a good version that follows is taken."""
    monkeypatch.setattr(heads_module, "LOOK_S", 0.0)
    camera_heads = CameraHeads(bundle, choosing(door=("gate",)).head_choice)
    first = camera_heads.of("door")[0].version
    write_random(bundle, "gate", 7)
    spoil(bundle.path / "heads/gate")
    for now in range(5):
        camera_heads.refresh(float(now))
        assert camera_heads.of("door")[0].version == first
    said = [entry for entry in caplog.records if "stays at version" in entry.getMessage()]
    assert len(said) == 1
    good = write_random(bundle, "gate", 8)
    camera_heads.refresh(9.0)
    assert camera_heads.of("door")[0].version == good


def test_a_new_version_is_taken_only_if_it_is_signed(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heads_module, "LOOK_S", 0.0)
    key = tmp_path / "signing.key"
    key.write_bytes(new_key())
    sign_bundle = ["sign", str(bundle.path), "--key", str(key)]
    public = CliRunner().invoke(bundle_command, sign_bundle).output.strip()
    trusting = Bundle(bundle.path, trust=public)
    camera_heads = CameraHeads(trusting, choosing(door=("gate",)).head_choice)
    first = camera_heads.of("door")[0].version
    new = write_random(bundle, "gate", 7)
    camera_heads.refresh(1.0)
    assert camera_heads.of("door")[0].version == first != new
    CliRunner().invoke(bundle_command, sign_bundle)
    camera_heads.refresh(2.0)
    assert camera_heads.of("door")[0].version == new


def test_the_disk_is_asked_once_a_second(bundle: Bundle) -> None:
    camera_heads = CameraHeads(bundle, choosing(door=("gate",)).head_choice)
    camera_heads.refresh(100.0)
    new = write_random(bundle, "gate", 7)
    camera_heads.refresh(100.9)
    assert camera_heads.of("door")[0].version != new
    camera_heads.refresh(101.0)
    assert camera_heads.of("door")[0].version == new


def test_after_all_calls_once() -> None:
    called: list[int] = []
    after = AfterAll("ab", lambda: called.append(1))
    for one, calls in (("a", 0), ("a", 0), ("stranger", 0), ("b", 1), ("b", 1), ("a", 1)):
        after.done(one)
        assert len(called) == calls


def test_reports_of_several_are_told_apart_and_one_alone_is_what_follows() -> None:
    called: list[int] = []

    def then() -> None:
        called.append(1)

    first, second = after_all("ab", then)
    first()
    first()
    assert not called
    second()
    assert called == [1]
    assert after_all("a", then) == [then]
    assert called == [1]
    assert after_all("", then) == []
    assert called == [1, 1]


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (shutil.rmtree, "has no head 'gate'"),
        (lambda home: (home / "current").write_text("x"), "names no version"),
        (lambda home: next(home.glob("*/head.safetensors")).write_bytes(b""), "head.safetensors"),
        (lambda home: next(home.glob("*/head.json")).write_bytes(b"{"), "does not parse"),
    ],
)
def test_an_aggregator_whose_head_is_missing_or_damaged_does_not_start(
    bundle: Bundle, damage: Callable[[Path], object], said: str
) -> None:
    config = load_config([], {"bundle": str(bundle.path)})
    heads: dict[str, tuple[str, ...]] = {"door": ("gate",)}
    config = type(config)(bundle=config.bundle, heads=heads)
    build_aggregator(config, {})
    damage(bundle.path / "heads/gate")
    with pytest.raises(BundleError, match=said):
        build_aggregator(config, {})
    build_aggregator(type(config)(bundle=config.bundle), {})  # who does not name it needs it not
