"""The collecting process over a broker in memory: what it keeps, answers and refuses."""

import itertools
import logging
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from devit_iot.aggregator.fusions import Fusions
from devit_iot.aggregator.head_taker import HeadTaker
from devit_iot.aggregator.heads import CameraHeads
from devit_iot.bundle.reading import Bundle
from devit_iot.collect import pending, teacher
from devit_iot.collect.album import Album, Limits
from devit_iot.collect.service import Collector
from devit_iot.config.collect import CollectConfig
from devit_iot.config.config import Config
from devit_iot.errors import DataError
from devit_iot.protocol.feature import Feature
from devit_iot.protocol.head_message import HeadsReport
from devit_iot.protocol.teaching import TeachAnswer, TeachState
from devit_iot.protocol.topics import ImageFilter
from devit_iot.service.counters import Counters
from devit_iot.transport.memory import MemoryBroker, MemoryTransport
from tests.support.features import PARTS, make_feature
from tests.support.fleets import wait_until
from tests.support.running import TOPICS, make_aggregator, running
from tests.teach.pictures import picture

TAB = "0123abcd"
FILTER = "cameras/{camera}/image/{request}"


class World:
    """A collector and an aggregator that takes heads; features come from no network."""

    def __init__(self, bundle: Bundle, folder: Path, **config: Any) -> None:  # noqa: ANN401
        self.broker = MemoryBroker()
        self.bundle = bundle
        self._ids = itertools.count(1)
        self._requests = itertools.count(1)
        wanted = CollectConfig(**{"interval_s": 0.0, **config})
        self.album = Album(folder, Limits(wanted.last, wanted.least_certain, 2**24, 30, 8))
        self.collector = Collector(
            self.album,
            MemoryTransport(self.broker),
            topics=TOPICS,
            images=[ImageFilter(FILTER)],
            config=wanted,
            key=b"",
            can_fit=True,
        )
        transport = MemoryTransport(self.broker)
        fusions = Fusions((CameraHeads(bundle, Config().head_choice),))
        self.aggregator = make_aggregator(
            self.broker,
            bundle,
            transport=transport,
            fusions=fusions,
            observer=HeadTaker(
                fusions,
                transport,
                topics=TOPICS,
                shard=0,
                counters=Counters(logging.getLogger("test")),
            ),
        )

    def show(self, kind: str = "open", *, parts: int = PARTS, camera: str = "door") -> None:
        """One picture, and the features of so many parts."""
        request = next(self._requests)
        made = [self._feature(part, request, kind, camera) for part in range(parts)]
        topic = f"cameras/{camera}/image/{request.to_bytes(16, 'little').hex()}"
        self.broker.publish(topic, picture(kind, request))
        for feature in made:
            self.broker.publish(TOPICS.feature(0, f"node-{feature.part}"), feature.encode())

    def _feature(self, part: int, request: int, kind: str, camera: str) -> Feature:
        feature = make_feature(self.bundle, part, request)
        towards = np.float32(1 if kind == "open" else -1)
        return msgspec.structs.replace(
            feature,
            camera=camera,
            values=feature.values / 10 + towards,
            parts_fingerprint=self.bundle.parts_fingerprint,
        )

    @property
    def state(self) -> TeachState:
        payload = self.broker.retained.get(TOPICS.teach_state)
        return TeachState.decode(payload) if payload else TeachState(collecting=False)

    @property
    def live(self) -> tuple[str, ...]:
        """Names of the heads that answer, as the aggregator says."""
        payload = self.broker.retained.get(TOPICS.aggregator_heads(0))
        found = HeadsReport.decode(payload).heads if payload else ()
        return tuple(head.name for head in found if head.version)

    def kept(self, count: int, camera: str = "door") -> None:
        wait_until(lambda: self.state.cameras.get(camera, 0) == count)

    def ask(self, do: str, **fields: Any) -> TeachAnswer:  # noqa: ANN401 - of any ask
        """What it answers, as the page would hear it."""
        ask_id = f"{next(self._ids):08x}"
        payload = msgspec.json.encode({"do": do, "id": ask_id, "head": "gate", **fields})
        self.broker.publish(TOPICS.teach_ask(TAB), payload, qos=1)

        def answers() -> list[TeachAnswer]:
            said = [p for topic, p in self.broker.log if topic == TOPICS.teach_answer(TAB)]
            found = [msgspec.json.decode(payload, type=TeachAnswer) for payload in said]
            return [answer for answer in found if answer.id == ask_id]

        wait_until(lambda: bool(answers()), 60)
        return answers()[0]


@pytest.fixture
def bundle(bundle: Bundle, tmp_path: Path) -> Bundle:
    return Bundle(Path(shutil.copytree(bundle.path, tmp_path / "bundle")))


@pytest.fixture
def world(bundle: Bundle, tmp_path: Path) -> Iterator[World]:
    world = World(bundle, tmp_path / "kept")
    with running(world.aggregator, world.collector):
        wait_until(lambda: world.state.collecting)
        wait_until(lambda: TOPICS.aggregator_status(0) in world.broker.retained)
        yield world


def test_pictures_become_a_head_that_answers_and_is_taken_back(world: World) -> None:
    for kind in ("closed", "open"):
        for _ in range(6):
            world.show(kind)
    world.kept(12)
    shown = world.ask("pictures", camera="door")
    assert [one.id for one in shown.pictures] == list(range(12, 0, -1))
    assert shown.pictures[0].small.startswith(b"\xff\xd8\xff")
    assert shown.pictures[0].label != ""
    assert world.ask("mark", pictures=list(range(1, 7)), name="closed").classes == {"closed": 6}
    one_class = world.ask("fit")
    assert "mark some of another class too" in one_class.error
    world.ask("mark", pictures=list(range(7, 13)), name="open")
    assert "all 6 pictures of class" in world.ask("fit").error
    fitted = world.ask("fit", each=True)
    assert (fitted.error, fitted.accuracy, fitted.measured) == ("", 1.0, 12)
    assert [(one.name, one.images) for one in fitted.fitted] == [("closed", 6), ("open", 6)]
    live = world.ask("live", cameras=["door"])
    assert live.error == ""
    assert re.fullmatch("[0-9a-f]{16}", live.version)
    world.show("open")
    wait_until(lambda: b'"head":"gate"' in world.broker.retained[TOPICS.label("door")])
    back = world.ask("undo")
    assert (back.error, back.version) == ("", "")
    world.show("open")
    wait_until(lambda: b'"head":"default"' in world.broker.retained[TOPICS.label("door")])
    assert "no aggregator says that head 'gate' answers" in world.ask("undo").error


def test_wrong_pictures_are_shown(world: World) -> None:
    for kind in ("closed", "open"):
        for _ in range(6):
            world.show(kind)
    world.kept(12)
    world.ask("mark", pictures=[1, 2, 3, 4, 5, 12], name="closed")
    world.ask("mark", pictures=[6, 7, 8, 9, 10, 11], name="open")
    fitted = world.ask("fit", each=True)
    wrong = {(one.id, one.name, one.given) for one in fitted.pictures}
    assert {(12, "closed", "open"), (6, "open", "closed")} <= wrong


@pytest.mark.parametrize(
    ("do", "fields", "words"),
    [
        ("live", {"cameras": ["door"]}, "was not fitted since"),
        ("live", {"cameras": []}, "name the cameras"),
        ("fit", {}, "no picture has a class of head 'gate'"),
        ("fit", {"head": "default"}, "bundle's own fusion"),
        ("fit", {"head": "../gate"}, "no usable name"),
        ("mark", {"pictures": [1], "name": " x"}, "printable characters"),
        ("mark", {"pictures": [1], "name": "x" * 65}, "printable characters"),
        ("undo", {}, "no aggregator says that head"),
    ],
)
def test_what_cannot_be_done_is_answered_in_one_line(
    world: World, do: str, fields: dict[str, Any], words: str
) -> None:
    answer = world.ask(do, **fields)
    assert words in answer.error
    assert "\n" not in answer.error


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xff",
        b"[" * 50_000,
        b'{"do":"format","id":"00000000"}',
        b'{"do":"mark","id":"00000000","head":"gate","pictures":[-1],"name":"x"}',
        b'{"do":"mark","id":"00000000","head":"gate","pictures":[99999999999999999999],"name":""}',
        b'{"do":"mark","id":"00000000","head":"gate","pictures":['
        + b"1," * 500
        + b'1],"name":"x"}',
        b'{"do":"mark","id":"00000000","head":"gate","pictures":[1],"name":"a\\u202eb"}',
        b'{"do":"fit","id":"../../../x","head":"gate"}',
        b'{"do":"pictures","id":"00000000","camera":"x","head":"gate","order":"id; DROP TABLE x"}',
        b" " * 70_000,
    ],
)
def test_a_hostile_ask_is_counted_and_nothing_ends(world: World, payload: bytes) -> None:
    world.broker.publish(TOPICS.teach_ask(TAB), payload, qos=1)
    world.broker.publish(TOPICS.teach_ask("not-a-tab"), b"{}", qos=1)
    wait_until(lambda: sum(world.collector.counters.refused.values()) == 1 + bool(payload))
    assert world.ask("pictures", camera="door").error == ""


def test_hostile_pictures_and_features_are_counted(world: World) -> None:
    request = "0" * 32
    world.broker.publish(f"cameras/door/image/{request}", b"{")
    world.broker.publish("cameras/door/image/short", b"\xff\xd8\xff")
    world.broker.publish(TOPICS.feature(0, "node-0"), b"DVF1 and then nothing")
    world.broker.publish(TOPICS.label("door"), b"{}")
    wait_until(lambda: len(world.collector.counters.refused) >= 3)
    world.show()
    world.kept(1)


def test_a_picture_that_does_not_decode_is_not_kept(world: World) -> None:
    request = 77
    topic = f"cameras/door/image/{request.to_bytes(16, 'little').hex()}"
    world.broker.publish(topic, b"\x89PNG\r\n\x1a\n and then nothing")
    for part in range(PARTS):
        feature = make_feature(world.bundle, part, request)
        named = msgspec.structs.replace(feature, parts_fingerprint=world.bundle.parts_fingerprint)
        world.broker.publish(TOPICS.feature(0, f"node-{part}"), named.encode())
    wait_until(lambda: world.collector.counters.refused == {"damaged": 1})
    assert world.state.cameras == {}


def test_a_picture_without_all_features_is_dropped(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pending, "LIFETIME_S", 0.2)
    world.show(parts=PARTS - 1)
    wait_until(lambda: world.state.dropped == 1)
    assert world.state.cameras == {}


def test_a_picture_whose_label_stays_away_is_kept_without_one(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pending, "LABEL_S", 0.1)
    world = World(bundle, tmp_path / "kept")
    with running(world.collector):
        world.show()
        world.kept(1)
        assert world.ask("pictures", camera="door").pictures[0].confidence is None
        assert world.ask("pictures", camera="door", order="unsure").pictures == ()


def test_a_disk_that_fails_is_said_and_asked_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = world.album.add

    def full(*_: object) -> bool:
        raise DataError("cannot keep pictures in x (disk full): free some space there")

    monkeypatch.setattr(world.album, "add", full)
    world.show()
    wait_until(lambda: "free some space" in world.state.problem)
    assert world.state.refused == {"kept": 1}
    monkeypatch.setattr(world.album, "add", real)
    world.show()
    world.kept(1)
    assert world.state.problem == ""


def test_at_most_one_picture_in_an_interval(bundle: Bundle, tmp_path: Path) -> None:
    world = World(bundle, tmp_path / "kept", interval_s=3600.0)
    with running(world.aggregator, world.collector):
        wait_until(lambda: TOPICS.aggregator_status(0) in world.broker.retained)
        for _ in range(5):
            world.show()
        world.show(camera="hall")
        world.kept(1, "hall")
        assert world.state.cameras == {"door": 1, "hall": 1}


def test_without_an_aggregator_the_head_waits_at_the_broker(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(teacher, "LIVE_S", 0.3)
    monkeypatch.setattr(pending, "LABEL_S", 0.0)
    world = World(bundle, tmp_path / "kept")
    label = TOPICS.label("door")
    with running(world.collector):
        for kind in ("closed", "open"):
            for _ in range(3):
                world.show(kind)
        world.kept(6)
        world.ask("mark", pictures=[1, 2, 3], name="closed")
        world.ask("mark", pictures=[4, 5, 6], name="open")
        assert world.ask("fit", each=True).error == ""
        assert "It gets this head when it comes" in world.ask("live", cameras=["door"]).note
        assert TOPICS.head("gate") in world.broker.retained
        with running(world.aggregator):
            wait_until(lambda: world.live == ("gate",))
            world.show("open")
            wait_until(lambda: b'"head":"gate"' in world.broker.retained.get(label, b""))


def test_it_says_that_it_ended(bundle: Bundle, tmp_path: Path) -> None:
    world = World(bundle, tmp_path / "kept")
    with running(world.collector):
        wait_until(lambda: world.state.collecting)
    assert not world.state.collecting
