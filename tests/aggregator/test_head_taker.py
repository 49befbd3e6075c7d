"""Heads that come over MQTT: live between two images, refused in one line, kept whole."""

import contextlib
import errno
import hashlib
import itertools
import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest

from devit_iot.aggregator.aggregator import Aggregator
from devit_iot.aggregator.fusions import Fusions
from devit_iot.aggregator.head_taker import HeadTaker
from devit_iot.aggregator.heads import CameraHeads
from devit_iot.bundle import head_writing
from devit_iot.bundle.head import Fit, HeadManifest, head_fingerprint, read_head
from devit_iot.bundle.head_files import HeadFiles, PartsOfHead, pack_head
from devit_iot.bundle.manifest import FileEntry
from devit_iot.bundle.reading import Bundle
from devit_iot.bundle.signature import new_key, sign
from devit_iot.bundle.spec import FusionSpec
from devit_iot.config.config import Config
from devit_iot.protocol import head_message
from devit_iot.protocol.head_message import HeadMessage, HeadReport, HeadsReport
from devit_iot.protocol.label import Label
from devit_iot.service.counters import Counters
from devit_iot.transport.memory import MemoryBroker, MemoryTransport
from tests.support.features import PARTS, make_feature
from tests.support.fleets import make_bundle, wait_until
from tests.support.running import TOPICS, make_aggregator, running

PUSHES = (f"{number:08x}" for number in itertools.count())


@pytest.fixture
def bundle(bundle: Bundle, tmp_path: Path) -> Bundle:
    return Bundle(Path(shutil.copytree(bundle.path, tmp_path / "bundle")))


def gate(bundle: Bundle, seed: int, name: str = "gate", key: bytes = b"") -> HeadFiles:
    """A head with the classes no and yes."""
    dims = bundle.manifest.fusion_spec.feature_dims
    rng = np.random.default_rng(seed)
    return pack_head(
        PartsOfHead(bundle.parts_fingerprint.hex(), dims),
        name,
        classes=("no", "yes"),
        tensors={
            tensor.name: rng.standard_normal(tensor.shape).astype(np.float32) / 9
            for tensor in FusionSpec(2, dims).tensors()
        },
        unknown=0.0,
        fit=Fit("random", (1, 1), 1.0, 1.0, 2, 0.5),
        provenance={},
        key=key,
    )


def version_of(files: HeadFiles) -> str:
    version: str = msgspec.json.decode(files.manifest)["fingerprint"]
    return version


def message_of(files: HeadFiles, *cameras: str) -> HeadMessage:
    return HeadMessage(next(PUSHES), version_of(files), cameras or None, *files)


class World:
    """An aggregator with a taker over a broker in memory."""

    def __init__(self, bundle: Bundle, broker: MemoryBroker | None = None) -> None:
        self.broker = broker or MemoryBroker()
        self.bundle = bundle
        self.fusions = Fusions((CameraHeads(bundle, Config().head_choice),))
        transport = MemoryTransport(self.broker)
        self.counters = Counters(logging.getLogger("test"))
        taker = HeadTaker(self.fusions, transport, topics=TOPICS, shard=0, counters=self.counters)
        self.aggregator: Aggregator = make_aggregator(
            self.broker,
            bundle,
            transport=transport,
            observer=taker,
            fusions=self.fusions,
            counters=self.counters,
        )
        self._requests = itertools.count()

    def say(self, name: str, message: HeadMessage) -> HeadReport:
        """Publish it; what the aggregator answers."""
        self.broker.publish(TOPICS.head(name), message.encode(), retain=True, qos=1)
        return self.answer(name, message.push)

    def answer(self, name: str, push: str) -> HeadReport:
        wait_until(lambda: self.report(name).push == push)
        return self.report(name)

    def report(self, name: str) -> HeadReport:
        payload = self.broker.retained.get(TOPICS.aggregator_heads(0))
        found = HeadsReport.decode(payload).heads if payload else ()
        return next((report for report in found if report.name == name), HeadReport(name))

    def ask(self) -> Label:
        """The label of the camera door for another image."""
        request = next(self._requests)
        wanted = make_feature(self.bundle, 0, request).request_id.hex()
        for part in range(PARTS):
            feature = make_feature(self.bundle, part, request)
            self.broker.publish(TOPICS.feature(0, f"node-{part}"), feature.encode(), qos=0)

        def labelled() -> bool:
            payload = self.broker.retained.get(TOPICS.label("door"))
            return payload is not None and Label.decode(payload).request_id == wanted

        wait_until(labelled)
        return Label.decode(self.broker.retained[TOPICS.label("door")])


def test_a_head_goes_live_and_back_without_a_restart(bundle: Bundle) -> None:
    world = World(bundle)
    one, two = gate(bundle, 0), gate(bundle, 1)
    with running(world.aggregator):
        assert world.ask().head == "default"
        report = world.say("gate", message_of(one, "door"))
        assert (report.version, report.before, report.cameras) == (version_of(one), "", ("door",))
        assert (report.classes, report.images, report.accuracy, report.problem) == (2, 2, 0.5, "")
        label = world.ask()
        assert (label.head, label.head_version) == ("gate", version_of(one))
        assert {ranked.label for ranked in label.top5} == {"no", "yes"}

        report = world.say("gate", message_of(two))
        assert (report.version, report.before) == (version_of(two), version_of(one))
        assert world.ask().head_version == version_of(two)

        report = world.say("gate", HeadMessage(next(PUSHES), version_of(one)))
        assert (report.version, report.before) == (version_of(one), version_of(two))
        assert world.ask().head_version == version_of(one)

        report = world.say("gate", HeadMessage(next(PUSHES), ""))
        assert (report.version, report.cameras) == ("", ())
        assert world.ask().head == "default"
    assert world.counters.refused == {}


def test_who_has_no_head_says_nothing_of_heads(bundle: Bundle) -> None:
    """An access list of an older release does not grant the topic."""
    world = World(bundle)
    with running(world.aggregator):
        assert world.ask().head == "default"
    assert TOPICS.aggregator_heads(0) not in dict(world.broker.log)


def test_an_aggregator_that_starts_again_has_the_head_and_its_cameras(bundle: Bundle) -> None:
    world = World(bundle)
    files = gate(bundle, 0)
    with running(world.aggregator):
        world.say("gate", message_of(files, "door"))
    again = World(bundle)  # its broker has lost everything
    with running(again.aggregator):
        assert again.ask().head_version == version_of(files)
        assert again.report("gate").cameras == ("door",)


def test_an_aggregator_that_was_away_takes_what_the_broker_kept(bundle: Bundle) -> None:
    broker = MemoryBroker()
    files = gate(bundle, 0)
    message = message_of(files, "door")
    broker.publish(TOPICS.head("gate"), message.encode(), retain=True)
    world = World(bundle, broker)
    with running(world.aggregator):
        world.answer("gate", message.push)
        assert world.ask().head_version == version_of(files)


def other_parts(_bundle: Bundle, tmp_path: Path) -> HeadMessage:
    return message_of(gate(make_bundle(tmp_path / "other", seed=5), 3))


def cut(bundle: Bundle, _tmp_path: Path) -> HeadMessage:
    files = gate(bundle, 3)
    return message_of(files._replace(tensors=files.tensors[:-4]))


def no_tensors(bundle: Bundle, _tmp_path: Path) -> HeadMessage:
    """The manifest names the bytes that come, and they are no tensors."""
    junk = b"\xff" * 64
    head = msgspec.json.decode(gate(bundle, 3).manifest, type=HeadManifest)
    entry = FileEntry("head.safetensors", len(junk), hashlib.sha256(junk).hexdigest())
    head = msgspec.structs.replace(head, tensors=entry)
    head = msgspec.structs.replace(head, fingerprint=head_fingerprint(head))
    return message_of(HeadFiles(msgspec.json.encode(head), b"", junk))


def edited(bundle: Bundle, _tmp_path: Path) -> HeadMessage:
    files = gate(bundle, 3)
    return message_of(files._replace(manifest=files.manifest.replace(b'"yes"', b'"yea"')))


def other_name(bundle: Bundle, _tmp_path: Path) -> HeadMessage:
    return message_of(gate(bundle, 3, name="door"))


def other_version(bundle: Bundle, _tmp_path: Path) -> HeadMessage:
    return msgspec.structs.replace(message_of(gate(bundle, 3)), version="0" * 16)


def unknown_version(_bundle: Bundle, _tmp_path: Path) -> HeadMessage:
    return HeadMessage(next(PUSHES), "0" * 16)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (other_parts, "teach it again on this bundle"),
        (cut, "its tensors are not those that it names"),
        (no_tensors, "is not a safetensors file"),
        (edited, "its fingerprint does not match"),
        (other_name, "says that it is 'door'"),
        (other_version, "its message says 0000000000000000"),
        (unknown_version, "push it again"),
    ],
)
def test_a_bad_head_is_refused_in_one_line_and_the_old_one_goes_on(
    bundle: Bundle,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    make: Callable[[Bundle, Path], HeadMessage],
    words: str,
) -> None:
    world = World(bundle)
    good = gate(bundle, 0)
    with running(world.aggregator):
        world.say("gate", message_of(good, "door"))
        report = world.say("gate", make(bundle, tmp_path))
        assert words in report.problem
        assert "\n" not in report.problem
        assert report.version == version_of(good)
        assert world.ask().head_version == version_of(good)
    assert words in caplog.text
    assert "Traceback" not in caplog.text
    assert sum(world.counters.refused.values()) == 1
    folders = [path.name for path in (bundle.path / "heads/gate").iterdir() if path.is_dir()]
    assert folders == [version_of(good)]


@pytest.mark.parametrize(
    "payload",
    [
        b"\0",
        b"{}",
        b"[" * 10_000,
        b'{"push":"00000000","version":"../../../etc/x"}',
        b'{"push":"00000000","version":"","cameras":["a\\u202eb"]}',
        b'{"push":"00000000","version":"","cameras":[' + b'"a",' * 99 + b'"a"]}',
        b'{"push":"00000000","version":"0000000000000000","manifest":"!"}',
        b'{"push":"x","version":""}',
    ],
)
def test_a_hostile_message_is_counted_and_changes_nothing(bundle: Bundle, payload: bytes) -> None:
    world = World(bundle)
    files = gate(bundle, 0)
    with running(world.aggregator):
        world.say("gate", message_of(files, "door"))
        world.broker.publish(TOPICS.head("gate"), payload, qos=1)
        world.broker.publish("devit/v1/test/heads/..", payload, qos=1)
        wait_until(lambda: sum(world.counters.refused.values()) == 2)
        assert world.ask().head_version == version_of(files)
        wait_until(lambda: world.report("gate").problem != "")


def test_a_message_that_is_too_long_is_refused_unread(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("devit_iot.aggregator.head_taker.MAX_HEAD_MESSAGE", 1000)
    world = World(bundle)
    with running(world.aggregator):
        world.broker.publish(TOPICS.head("gate"), b"x" * 1001, qos=1)
        wait_until(lambda: world.counters.refused == {"too_large": 1})


def test_only_so_many_heads_are_taken(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("devit_iot.aggregator.head_taker.MAX_HEADS", 2)
    world = World(bundle)
    with running(world.aggregator):
        for number in range(2):
            files = gate(bundle, number, name=f"head{number}")
            assert world.say(f"head{number}", message_of(files)).problem == ""
        refused = world.say("more", message_of(gate(bundle, 9, name="more")))
    assert "2 heads are here already" in refused.problem
    assert head_message.MAX_HEADS > 2


def test_a_full_disk_leaves_the_old_head(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(bundle)
    files = gate(bundle, 0)
    with running(world.aggregator):
        world.say("gate", message_of(files, "door"))

        def full(*_: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(head_writing, "_write_file", full)
            report = world.say("gate", message_of(gate(bundle, 1)))
        assert "No space left on device; what was live before stays" in report.problem
        assert world.ask().head_version == version_of(files)
        assert world.say("gate", message_of(gate(bundle, 1))).problem == ""


def test_heads_must_be_signed_where_bundles_must_be(bundle: Bundle) -> None:
    key = new_key()
    text = (bundle.path / "manifest.json").read_bytes()
    signature, public = sign(key, text)
    (bundle.path / "manifest.sig").write_bytes(signature)
    world = World(Bundle(bundle.path, trust=public))
    with running(world.aggregator):
        for files in (gate(bundle, 0), gate(bundle, 0, key=new_key())):
            assert "is not signed by" in world.say("gate", message_of(files, "door")).problem
        assert world.ask().head == "default"
        files = gate(bundle, 0, key=key)
        assert world.say("gate", message_of(files, "door")).problem == ""
        assert world.ask().head_version == version_of(files)


def test_a_head_waits_for_the_bundle_with_its_parts(bundle: Bundle, tmp_path: Path) -> None:
    world = World(bundle)
    coming = make_bundle(tmp_path / "coming", seed=7)
    message = message_of(gate(coming, 0), "door")
    with running(world.aggregator):
        assert world.say("gate", message).problem != ""
        world.fusions.add(CameraHeads(coming, Config().head_choice))
        wait_until(lambda: world.report("gate").problem == "")
    assert read_head(coming, "gate").version == message.version


def test_old_versions_make_room(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head_writing, "MOST_VERSIONS", 2)
    world = World(bundle)
    with running(world.aggregator):
        for seed in range(5):
            files = gate(bundle, seed)
            assert world.say("gate", message_of(files, "door")).problem == ""
        before = world.report("gate").before
        assert world.say("gate", HeadMessage(next(PUSHES), before)).problem == ""
    folders = [path for path in (bundle.path / "heads/gate").iterdir() if path.is_dir()]
    assert len(folders) == 2


@pytest.mark.parametrize("step", ["_store", "_replace"])
@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_process_that_ends_at_any_step_leaves_a_whole_head(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, step: str, at: int
) -> None:
    """What was said stays at the broker, so it is done again by the next process."""
    one, two = gate(bundle, 0), gate(bundle, 1)
    world = World(bundle)
    with running(world.aggregator):
        world.say("gate", message_of(one, "door"))
    calls = itertools.count()
    real = getattr(head_writing, step)

    class Killed(BaseException):
        """No code of ours catches it."""

    def dying(*arguments: object) -> None:
        if next(calls) == at:
            raise Killed
        real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(head_writing, step, dying)
        with contextlib.suppress(Killed):
            head_writing.put_head(bundle, "gate", two)
    assert read_head(bundle, "gate").version in {version_of(one), version_of(two)}
    assert CameraHeads(bundle, Config().head_choice).of("door")[0].head == "gate"
    head_writing.put_head(bundle, "gate", two)
    assert read_head(bundle, "gate").version == version_of(two)
    head_writing.make_live(bundle, "gate", version_of(one))
    assert read_head(bundle, "gate").version == version_of(one)
