"""The states that an aggregator publishes: topics, restarts, several aggregators, hostile words."""

import json
import logging
import shutil
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from hashlib import blake2b
from pathlib import Path

import msgspec
import pytest

from devit_iot.aggregator import states as states_module
from devit_iot.aggregator.collector import Request
from devit_iot.aggregator.states import Seen, States, seen_at
from devit_iot.bundle.reading import Bundle
from devit_iot.config.config import Config
from devit_iot.config.states import StateConfig
from devit_iot.engine.fusion import Fusion
from devit_iot.errors import MessageError
from devit_iot.protocol.feature import Timing
from devit_iot.protocol.label import Label
from devit_iot.protocol.steady_state import SteadyState
from devit_iot.service.counters import Counters
from devit_iot.transport.memory import MemoryBroker, MemoryTransport
from tests.aggregator.make_flicker import CHANGES, FLICKER, changes
from tests.golden.make import LABEL_3
from tests.support.features import PARTS, make_feature
from tests.support.fleets import wait_until
from tests.support.heads import write_random
from tests.support.running import TOPICS, aggregator_status, make_aggregator, running

GATE = TOPICS.state("door", "gate")
NO_MARKS: dict[int, int] = {}


class Keeper:
    """States on a broker, with a clock of images that is turned by hand."""

    def __init__(
        self,
        broker: MemoryBroker,
        *,
        shard: int = 0,
        shards: int = 1,
        heads: tuple[str, ...] | None = None,
    ) -> None:
        self.broker = broker
        self.transport = MemoryTransport(broker)
        self.counters = Counters(logging.getLogger())
        self.now = time.monotonic() - 1000
        self.states = States(
            Config(states={"gate": StateConfig(threshold=0.5)}).state_rule,
            self.transport,
            topics=TOPICS,
            shard=shard,
            shards=shards,
            heads=heads,
        )
        self.connect()

    def connect(self) -> None:
        self.transport.start(on_ready=self.states.connected, on_refused=lambda _: None)

    def see(
        self,
        name: str,
        times: int = 1,
        *,
        confidence: float = 0.9,
        received_ms: dict[int, int] = NO_MARKS,
        label: Label = LABEL_3,
    ) -> None:
        for _ in range(times):
            self.now += 1
            said = msgspec.structs.replace(
                label, camera="door", label=name, class_index=1, confidence=confidence
            )
            self.states.take(said, Seen(self.now, received_ms), self.counters)

    @property
    def said(self) -> list[str]:
        """Every state that was published."""
        return [SteadyState.decode(text).state for topic, text in self.broker.log if topic == GATE]

    def restarted(self) -> "Keeper":
        """Another process after this one was killed."""
        self.transport.stop()
        after = Keeper(self.broker)
        after.now = self.now
        return after


@pytest.fixture
def keeper() -> Iterator[Keeper]:
    made = Keeper(MemoryBroker())
    yield made
    made.transport.stop()


def test_a_recorded_flicker_moves_the_state_twice(keeper: Keeper) -> None:
    images = json.loads(FLICKER.read_text())["images"]
    for _, name, confidence in images:
        keeper.see(name, confidence=confidence)
    assert changes([name for _, name, _ in images]) == CHANGES
    assert keeper.said == ["closed", "open", "closed"]


def test_a_state_says_what_it_rests_on(keeper: Keeper) -> None:
    keeper.see("closed", 3)
    keeper.see("open", 3, received_ms={0: 1234, 2: 1300})
    state = SteadyState.decode(keeper.broker.retained[GATE])
    age = time.monotonic() - keeper.now
    assert abs((datetime.now(UTC) - state.since).total_seconds() - age) < 1
    wanted = SteadyState(
        camera="door",
        head="gate",
        state="open",
        class_index=1,
        since=state.since,
        before="closed",
        confidence=0.9,
        request_id=LABEL_3.request_id,
        head_version=LABEL_3.head_version,
        fingerprint=LABEL_3.fingerprint,
        received_ms={0: 1234, 2: 1300},
    )
    assert state == wanted


def test_what_is_too_improbable_is_unknown(keeper: Keeper) -> None:
    keeper.see("closed", 3)
    keeper.see("open", 3, confidence=0.49)
    state = SteadyState.decode(keeper.broker.retained[GATE])
    assert (state.state, state.class_index) == ("unknown", -1)
    keeper.see("open", 3, confidence=0.5)
    keeper.see("unknown", 3)  # the head's own threshold, or a class that is called so
    assert keeper.said == ["closed", "unknown", "open", "unknown"]
    assert SteadyState.decode(keeper.broker.retained[GATE]).class_index == -1


def test_the_bundles_own_fusion_has_a_state_only_if_the_file_says_so(keeper: Keeper) -> None:
    keeper.see("cat", 3, label=msgspec.structs.replace(LABEL_3, head="default"))
    assert not keeper.broker.retained
    keeper.see("robin", 3, label=msgspec.structs.replace(LABEL_3, head="bird"))
    assert list(keeper.broker.retained) == [TOPICS.state("door", "bird")]
    assert Config(states={"default": StateConfig()}).state_rule("default") == StateConfig()


def test_a_state_goes_on_after_a_restart(keeper: Keeper) -> None:
    keeper.see("closed", 3)
    after = keeper.restarted()
    after.see("open", 2)
    after.see("closed")
    after.see("open", 2)
    assert keeper.said == ["closed"]
    after.see("open")
    assert keeper.said == ["closed", "open"]
    assert SteadyState.decode(keeper.broker.retained[GATE]).before == "closed"


def test_images_that_come_again_after_a_restart_move_no_state_backward(keeper: Keeper) -> None:
    """Images 5 to 12, which were answered and not acknowledged, showed the gate as it was."""
    for second in range(1, 21):
        name = "closed" if second <= 10 else "open"
        keeper.see(name, received_ms={0: 1000 * second, 1: 1000 * second + 300})
    after = keeper.restarted()
    for second in range(5, 13):
        after.see("closed", received_ms={0: 1000 * second, 1: 1000 * second + 300})
    assert keeper.said == ["closed", "open"]
    after.see("closed", 3, received_ms={0: 21000})
    assert keeper.said == ["closed", "open", "closed"]


def test_a_clock_that_went_back_holds_a_state_up_for_a_minute_only(
    keeper: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper.see("open", 3, received_ms={0: 9000})
    monkeypatch.setattr(states_module, "RESTORED_S", -1.0)
    after = keeper.restarted()
    after.see("closed", 3, received_ms={0: 5})
    assert keeper.said == ["open", "closed"]


def test_latest_images_and_other_parts_are_never_taken_for_old_ones(keeper: Keeper) -> None:
    keeper.see("open", 3, received_ms={0: 9000})
    after = keeper.restarted()
    after.see("closed", 3)
    after.see("open", 3, received_ms={1: 5})
    after.see("closed", 3, received_ms={0: 9001, 1: 5})
    assert keeper.said == ["open", "closed", "open", "closed"]


def test_a_broker_that_forgot_is_told_again_with_the_next_label(keeper: Keeper) -> None:
    keeper.see("open", 4)
    assert keeper.said == ["open"]
    keeper.transport.stop()
    keeper.broker.retained.clear()
    keeper.connect()
    keeper.see("open", 2)
    assert keeper.said == ["open", "open"]


def test_a_state_that_somebody_deleted_begins_anew(keeper: Keeper) -> None:
    keeper.see("open", 3)
    keeper.broker.publish(GATE, b"", retain=True)
    keeper.see("open", 2)
    assert GATE not in keeper.broker.retained
    keeper.see("open")
    assert SteadyState.decode(keeper.broker.retained[GATE]).before == ""


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"camera": "garden"}, "camera"),
        ({"head": "post"}, "camera"),
        ({"state": "\x1b[2J"}, "text"),
        ({"state": 7}, "json"),
        ({"since": "yesterday"}, "json"),
        ({"since": "2026-05-01T07:30:11"}, "json"),  # without a time zone
        ({"received_ms": {"-1": 5}}, "json"),
        ({"received_ms": {"0": 2**64}}, "json"),
        ({"before": "x" * 1001}, "text"),
        ({"state": "x" * 70000}, "too_large"),
    ],
)
def test_a_wrong_state_at_the_broker_is_refused_and_counted(
    change: dict[str, object], reason: str
) -> None:
    broker = MemoryBroker()
    good = msgspec.to_builtins(GOOD, str_keys=True)
    broker.publish(GATE, msgspec.json.encode(good | change), retain=True)
    keeper = Keeper(broker)
    keeper.see("closed", 3)
    assert keeper.counters.refused == {reason: 1}
    assert SteadyState.decode(broker.retained[GATE]).state == "closed"


GOOD = SteadyState("door", "gate", "open", 1, datetime(2026, 5, 1, tzinfo=UTC))


@pytest.mark.parametrize(
    "since",
    [
        datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14))),
        datetime(9999, 12, 31, 23, 59, 59, tzinfo=timezone(-timedelta(hours=14))),
    ],
)
def test_a_state_of_any_age_is_restored(since: datetime) -> None:
    broker = MemoryBroker()
    broker.publish(GATE, msgspec.structs.replace(GOOD, since=since).encode(), retain=True)
    keeper = Keeper(broker)
    keeper.now = time.monotonic()
    keeper.see("closed", 3)
    assert keeper.said[1:] == ["closed"]


def test_states_are_bounded(keeper: Keeper, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(states_module, "MAX_STATES", 2)
    for head in ("gate", "bird", "post"):
        keeper.see("a", 3, label=msgspec.structs.replace(LABEL_3, head=head))
    keeper.see("b", 2)  # the gate's was given up: its row begins anew
    keeper.see("a")
    assert keeper.said == ["a"]


def keeper_of(camera: str, shards: int) -> int:
    return blake2b(camera.encode(), digest_size=1).digest()[0] % shards


def test_of_several_aggregators_one_keeps_a_cameras_states() -> None:
    """It reads the labels of the others, and counts its own once."""
    broker = MemoryBroker()
    both = [Keeper(broker, shard=shard, shards=2) for shard in range(2)]
    own = keeper_of("door", 2)
    for request in range(6):
        shard = request % 2
        label = msgspec.structs.replace(
            LABEL_3, camera="door", label="open", request_id=f"{request:02x}" + "0" * 30
        )
        broker.publish(TOPICS.head_label("door", "gate"), label.encode(), retain=True)
        at = time.monotonic() - sum(label.latency_ms.values()) / 1e3
        both[shard].states.take(label, Seen(at, {}), both[shard].counters)
        both[own].states.refresh(both[own].counters)
        assert bool(both[own].said) == (request >= 2)
    assert both[own].said == ["open"]
    assert both[1 - own].counters.refused == both[own].counters.refused == {}


def test_labels_of_other_aggregators_are_read_from_when_a_head_has_a_state() -> None:
    broker = MemoryBroker()
    shard = keeper_of("door", 2)
    keeper = Keeper(broker, shard=shard, shards=2, heads=("default",))
    request_id = f"0{1 - shard}{30 * '0'}"
    other = msgspec.structs.replace(
        LABEL_3, camera="door", label="open", confidence=0.9, request_id=request_id
    )
    topic = TOPICS.head_label("door", LABEL_3.head)
    broker.publish(topic, other.encode())
    keeper.states.refresh(keeper.counters)
    assert not keeper.states.reads_others
    keeper.see("open")  # a head was taught meanwhile
    assert keeper.states.reads_others
    for _ in range(2):
        broker.publish(topic, other.encode())
    keeper.states.refresh(keeper.counters)
    assert SteadyState.decode(broker.retained[GATE]).state == "open"
    assert Keeper(broker, shard=shard, shards=2, heads=("default", "gate")).states.reads_others
    assert Keeper(broker, shard=shard, shards=2).states.reads_others


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"camera": "garden"}, "camera"),
        ({"request_id": "zz"}, "request_id"),
        ({"request_id": ""}, "request_id"),
        ({"label": "\n"}, "text"),
    ],
)
def test_a_forged_label_of_another_aggregator_is_refused(
    change: dict[str, str], reason: str
) -> None:
    broker = MemoryBroker()
    keeper = Keeper(broker, shard=keeper_of("door", 2), shards=2)
    label = msgspec.structs.replace(LABEL_3, **({"camera": "door"} | change))
    broker.publish(TOPICS.label("door"), label.encode())
    keeper.states.refresh(keeper.counters)
    assert keeper.counters.refused == {reason: 1}


@pytest.mark.parametrize("wait_ms", [float("1e308"), -5.0, 1e15])
def test_a_label_that_says_impossible_times_stops_no_state(wait_ms: float) -> None:
    broker = MemoryBroker()
    own = keeper_of("door", 2)
    keeper = Keeper(broker, shard=own, shards=2)
    other = f"{1 - own:02x}" + "0" * 30
    times = {"wait": wait_ms, "decode": wait_ms, "compute": wait_ms}
    label = msgspec.structs.replace(LABEL_3, camera="door", request_id=other, label="open")
    for _ in range(3):
        broker.publish(TOPICS.label("door"), label.encode())
        absurd = msgspec.structs.replace(label, latency_ms=times)
        broker.publish(TOPICS.label("door"), absurd.encode())
    keeper.states.refresh(keeper.counters)
    assert keeper.said == ["open"]


class RefusingTransport(MemoryTransport):
    """A broker that takes no message of such a size."""

    def publish(self, *_: object, **__: object) -> None:
        raise MessageError("packet_size", "too long for this broker")


def test_a_state_that_the_broker_does_not_take_is_counted() -> None:
    broker, counters = MemoryBroker(), Counters(logging.getLogger())
    rule = Config().state_rule
    states = States(rule, RefusingTransport(broker), topics=TOPICS, shard=0, shards=1)
    for at in range(3):
        states.take(LABEL_3, Seen(float(at), {}), counters)
    assert counters.refused == {"packet_size": 1}


def test_the_time_of_an_image_is_when_its_first_node_got_it(bundle: Bundle) -> None:
    slow = msgspec.structs.replace(make_feature(bundle, 1), timing=Timing(5_000_000, 0, 1_000_000))
    request = Request(make_feature(bundle, 0), 100.0, bundle="b", is_every=False)
    request.add(slow, 106.0, "b")
    seen = seen_at(request, request.fullest)
    assert seen.at == pytest.approx(100.0 - 0.006)
    assert not seen.received_ms
    request.is_every = True
    assert seen_at(request, request.fullest).received_ms == {0: 0, 1: 0}


@pytest.fixture
def taught(bundle: Bundle, tmp_path: Path) -> Bundle:
    own = Bundle(Path(shutil.copytree(bundle.path, tmp_path / "bundle")))
    write_random(own, "gate", 0)
    return own


def answer(bundle: Bundle, request: int) -> str:
    """What the head gate says of a request."""
    gate = Fusion(bundle, "gate")
    values = {part: make_feature(bundle, part, request).values for part in range(PARTS)}
    return gate.rank(gate.logits(values))[0].label


def test_an_answer_that_comes_late_moves_no_state_back(taught: Bundle) -> None:
    """The first image waits for a part while a newer one is answered."""
    broker = MemoryBroker()
    older = 0
    newer = next(r for r in range(1, 99) if answer(taught, r) != answer(taught, older))
    config = Config(heads={"door": ("gate",)}, states={"gate": StateConfig(repeats=1)})
    with running(make_aggregator(broker, taught, heads=config)):
        wait_until(lambda: TOPICS.aggregator_status(0) in broker.retained)
        for request, part in [(older, 0), *((newer, p) for p in range(3)), (older, 1), (older, 2)]:
            feature = make_feature(taught, part, request)
            broker.publish(TOPICS.feature(0, f"node-{part}"), feature.encode())
        wait_until(lambda: aggregator_status(broker).labels == 2)
    states = [SteadyState.decode(text) for topic, text in broker.log if topic == GATE]
    assert [state.state for state in states] == [answer(taught, newer)]
    assert states[0].received_ms == {}
