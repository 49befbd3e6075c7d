"""Every feature that is taken is in exactly one answer, and no request waits past its deadline."""

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from devit_iot.aggregator import collector as collector_module
from devit_iot.aggregator.collector import Collector, Limits, Request
from devit_iot.aggregator.deadline import Deadline
from devit_iot.protocol.feature import Feature
from tests.golden.make import FEATURE

DEADLINE_S = 4.0
LIFETIME_S = 12.0
EVERY_DEADLINE_S = 30.0
EVERY_LIFETIME_S = 100.0
MAX_OPEN = 3
ALL = frozenset({0, 1, 2})
NOBODY: frozenset[int] = frozenset()


def feature(request: int, part: int, camera: str = "door") -> Feature:
    return msgspec.structs.replace(
        FEATURE, request_id=bytes([request]) * 16, part=part, parts=3, camera=camera
    )


def collector(max_open: int = MAX_OPEN, max_open_per_camera: int = 99) -> Collector:
    limits = Limits(
        every_deadline_s=EVERY_DEADLINE_S,
        lifetime_s=LIFETIME_S,
        every_lifetime_s=EVERY_LIFETIME_S,
        max_open=max_open,
        max_open_per_camera=max_open_per_camera,
    )
    return Collector(Deadline(1.0, DEADLINE_S), limits)


def ids(requests: list[Request]) -> list[int]:
    return [request.request_id[0] for request in requests]


class CollectorMachine(RuleBasedStateMachine):
    """Compares a collector with dictionaries; the clock runs in whole seconds."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 100.0
        self.collector = collector()
        self.open: dict[int, dict[int, Feature]] = {}
        self.first: dict[int, float] = {}
        self.latest: dict[int, tuple[float, int]] = {}
        self.forget: dict[int, float] = {}
        self.taken: list[Feature] = []
        self.answered: list[Feature] = []

    @rule(request=st.integers(0, 5), part=st.integers(0, 2))
    def add(self, request: int, part: int) -> None:
        sent = feature(request, part)
        verdict = self.collector.add(sent, self.now)
        if self.now < self.forget.get(request, 0.0):
            assert verdict == "late"
        elif part in self.open.get(request, {}):
            assert verdict == "duplicate"
        else:
            assert verdict == "taken"
            self.taken.append(sent)
            self.open.setdefault(request, {})[part] = sent
            self.first.setdefault(request, self.now)
            self.latest[request] = (self.now, part)

    @rule(seconds=st.integers(0, 3))
    def wait(self, seconds: int) -> None:
        self.now += seconds

    @precondition(lambda self: self.forget)
    @rule()
    def wait_for_forgetting(self) -> None:
        self.now = max(self.now, min(self.forget.values()))

    @rule(expected=st.frozensets(st.integers(0, 2)))
    def due(self, expected: frozenset[int]) -> None:
        order = sorted(self.open, key=lambda request: self.first[request])
        surplus = set(list(self.open)[: max(0, len(order) - MAX_OPEN)])
        wanted = {
            request
            for request, parts in self.open.items()
            if request in surplus
            or self.now >= self.first[request] + DEADLINE_S
            or expected <= parts.keys()
        }
        ready = self.collector.due(self.now, expected)
        assert set(ids(ready)) == wanted
        assert len(ready) == len(wanted)
        for request in ready:
            key = request.request_id[0]
            features = self.open.pop(key)
            assert request.camera == "door"
            assert request.first == self.first.pop(key)
            assert (request.fullest.last, request.fullest.last_part) == self.latest.pop(key)
            assert request.fullest.features.keys() == features.keys()
            for part, found in request.fullest.features.items():
                assert found is features[part]
            self.answered += request.fullest.features.values()
            self.forget[key] = self.now + LIFETIME_S

    @invariant()
    def no_feature_is_lost_or_answered_twice(self) -> None:
        waiting = [found for parts in self.open.values() for found in parts.values()]
        found = [id(each) for each in (*waiting, *self.answered)]
        assert len(set(found)) == len(found)
        assert set(found) == {id(each) for each in self.taken}

    @invariant()
    def the_next_deadline_is_the_oldest_request(self) -> None:
        assert len(self.collector) == len(self.open)
        wanted = min(self.first.values()) + DEADLINE_S if self.first else None
        assert self.collector.next_deadline() == wanted

    def teardown(self) -> None:
        ready = self.collector.due(self.now + DEADLINE_S, ALL)
        assert set(ids(ready)) == self.open.keys()
        assert self.collector.next_deadline() is None


TestCollectorMachine = CollectorMachine.TestCase
TestCollectorMachine.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


def test_a_complete_request_is_answered_at_once() -> None:
    waiting = collector()
    for part in range(3):
        assert waiting.due(0.0, ALL) == []
        assert waiting.add(feature(1, part), 0.5 * part) == "taken"
    (request,) = waiting.due(1.0, ALL)
    assert sorted(request.fullest.features) == [0, 1, 2]
    assert (request.first, request.fullest.last, request.fullest.last_part) == (0.0, 1.0, 2)
    assert waiting.due(99.0, ALL) == []


def test_a_part_that_is_not_expected_is_used_but_not_awaited() -> None:
    waiting = collector()
    waiting.add(feature(1, 2), 0.0)
    assert waiting.due(0.0, frozenset({0})) == []
    waiting.add(feature(1, 0), 0.0)
    (request,) = waiting.due(0.0, frozenset({0}))
    assert sorted(request.fullest.features) == [0, 2]


def test_without_any_expected_part_nothing_waits() -> None:
    waiting = collector()
    waiting.add(feature(1, 2), 0.0)
    assert ids(waiting.due(0.0, NOBODY)) == [1]


def test_the_deadline_counts_from_the_first_feature() -> None:
    waiting = collector()
    waiting.add(feature(1, 0), 10.0)
    waiting.add(feature(1, 1), 13.0)
    assert waiting.next_deadline() == 14.0
    assert waiting.due(13.999, ALL) == []
    assert ids(waiting.due(14.0, ALL)) == [1]


def test_late_and_duplicate() -> None:
    waiting = collector()
    assert waiting.add(feature(1, 0), 0.0) == "taken"
    assert waiting.add(feature(1, 0), 1.0) == "duplicate"
    (request,) = waiting.due(4.0, ALL)
    assert (request.fullest.last, len(request.fullest.features)) == (0.0, 1)
    assert waiting.add(feature(1, 1), 15.9) == "late"
    assert waiting.add(feature(1, 0), 15.9) == "late"
    assert len(waiting) == 0
    assert waiting.add(feature(1, 1), 16.0) == "taken"  # the same bytes, a new request


def test_the_oldest_requests_give_way() -> None:
    waiting = collector(max_open=2)
    for request in range(5):
        waiting.add(feature(request, 0), float(request) / 10)
    assert ids(waiting.due(0.5, ALL)) == [0, 1, 2]
    assert len(waiting) == 2
    assert waiting.add(feature(0, 1), 0.5) == "late"
    assert waiting.add(feature(4, 1), 0.5) == "taken"


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collector_module, "MAX_REMEMBERED", 10)
    waiting = collector()
    for request in range(30):
        waiting.add(feature(request, 0), 0.0)
        waiting.due(0.0, NOBODY)
        assert len(waiting._answered[False]) <= 11
    assert waiting.add(feature(29, 1), 0.0) == "late"
    assert waiting.add(feature(20, 1), 0.0) == "late"  # the tenth from the end
    assert waiting.add(feature(19, 1), 0.0) == "taken"


def test_the_number_remembered_is_as_documented() -> None:
    assert collector_module.MAX_REMEMBERED == 65536


def test_a_promised_request_has_a_deadline_of_its_own() -> None:
    waiting = collector()
    waiting.add(feature(1, 0), 0.0, is_every=True)
    waiting.add(feature(2, 0), 1.0)
    assert waiting.next_deadline() == 5.0
    assert ids(waiting.due(29.9, ALL)) == [2]
    assert waiting.next_deadline() == 30.0
    (request,) = waiting.due(30.0, ALL)
    assert (request.request_id[0], request.is_every) == (1, True)


def test_one_promised_feature_makes_a_promised_request() -> None:
    waiting = collector()
    waiting.add(feature(1, 0), 0.0)
    assert waiting.add(feature(1, 0), 0.0, is_every=True) == "duplicate"
    assert waiting.next_deadline() == EVERY_DEADLINE_S


@pytest.mark.parametrize("of_every", [(True, False), (False, True)])
def test_a_request_is_of_every_whichever_feature_says_so(of_every: tuple[bool, bool]) -> None:
    waiting = collector()
    for part, is_every in enumerate(of_every):
        assert waiting.add(feature(1, part), 0.0, is_every=is_every) == "taken"
    assert waiting.next_deadline() == EVERY_DEADLINE_S


def test_a_promised_request_is_remembered_as_long_as_it_may_come_again() -> None:
    waiting = collector()
    waiting.add(feature(1, 0), 0.0, is_every=True)
    waiting.due(0.0, NOBODY)
    assert waiting.add(feature(1, 1), EVERY_LIFETIME_S - 0.1, is_every=True) == "late"
    assert waiting.add(feature(1, 1), EVERY_LIFETIME_S, is_every=True) == "taken"


def test_under_pressure_the_oldest_promised_request_gives_way() -> None:
    waiting = collector(max_open=99)
    waiting.add(feature(1, 0), 0.0)
    for request in (2, 3):
        waiting.add(feature(request, 0), 0.0, is_every=True)
    assert ids(waiting.due(0.0, ALL, window_full=True)) == [2]
    assert ids(waiting.due(0.0, ALL)) == []


def test_a_camera_may_not_fill_the_collector() -> None:
    waiting = collector(max_open=99, max_open_per_camera=2)
    for request in range(4):
        waiting.add(feature(request, 0, "busy"), 0.0)
    waiting.add(feature(9, 0, "calm"), 0.0)
    assert ids(waiting.due(0.0, ALL)) == [0, 1]
    assert len(waiting) == 3
    for request in range(10, 14):
        waiting.add(feature(request, 0, "busy"), 0.0, is_every=True)
    assert waiting.due(0.0, ALL) == []  # what is of `every` is bounded elsewhere


def test_a_promised_answer_makes_no_room_for_its_camera() -> None:
    waiting = collector(max_open=99, max_open_per_camera=2)
    for part in range(3):
        waiting.add(feature(1, part), 0.0, is_every=True)
    for request in (2, 3, 4):
        waiting.add(feature(request, 0), 0.0)
    assert ids(waiting.due(0.0, ALL)) == [1, 2]


def spread(waiting: Collector, count: int, seconds: float) -> None:
    for request in range(100, 100 + count):
        waiting.add(feature(request, 0), 50.0)
        waiting.add(feature(request, 1), 50.0 + seconds)
        waiting.due(50.0 + seconds, frozenset({0, 1}))


def test_the_deadline_follows_the_fleet() -> None:
    waiting = collector(max_open=99)
    spread(waiting, 100, 0.75)
    waiting.add(feature(1, 0), 60.0)
    assert waiting.next_deadline() == 61.5
    assert ids(waiting.due(61.5, ALL)) == [1]
    assert waiting.add(feature(1, 1), 61.8) == "late"  # the deadline was too short for part 1
    waiting.add(feature(2, 0), 70.0)
    assert waiting.next_deadline() == pytest.approx(73.6)


def test_an_image_that_came_again_teaches_nothing() -> None:
    waiting = collector(max_open=99)
    spread(waiting, 100, 0.75)
    for part in (0, 1):
        assert waiting.add(feature(150, part), 55.0) == "late"  # both were used
        assert waiting.add(feature(151, part), 55.0, is_every=True) == "late"
    assert waiting.add(feature(152, 2), 55.0, is_every=True) == "late"  # its node was away
    waiting.add(feature(1, 0), 60.0)
    assert waiting.next_deadline() == 61.5


def test_features_of_every_teach_nothing() -> None:
    """They wait in queues, which says nothing about the time that an image of `latest` needs."""
    waiting = collector(max_open=999)
    for request in range(100):
        waiting.add(feature(request, 0), 10.0, is_every=True)
        assert waiting.add(feature(request, 1), 10.0, is_every=True) == "taken"
    waiting.add(feature(200, 0), 20.0)
    assert waiting.next_deadline() == 20.0 + DEADLINE_S
    waiting.due(1000.0, ALL)
    spread(waiting, 100, 0.75)
    waiting.add(feature(201, 0), 60.0, is_every=True)
    waiting.add(feature(201, 1), 63.0, is_every=True)
    waiting.add(feature(202, 0), 63.0)
    assert waiting.next_deadline() == 64.5


def test_features_of_two_bundles_are_kept_apart() -> None:
    """A fleet goes over: no more comes of a part that has answered, with whichever bundle."""
    waiting = collector()
    assert waiting.add(feature(1, 0), 0.0, bundle="one") == "taken"
    assert waiting.add(feature(1, 1), 0.0, bundle="two") == "taken"
    assert waiting.due(0.0, ALL) == []
    assert waiting.add(feature(1, 2), 0.0, bundle="two") == "taken"
    (request,) = waiting.due(0.0, ALL)
    assert request.fullest.bundle == "two"
    assert sorted(request.fullest.features) == [1, 2]
    assert waiting.add(feature(1, 1), 0.1, bundle="one") == "late"


def test_one_part_may_answer_with_both_bundles() -> None:
    """For instance when its image came again after the node went over."""
    waiting = collector()
    for bundle, part in (("one", 0), ("two", 0), ("two", 1)):
        assert waiting.add(feature(1, part), 0.0, bundle=bundle) == "taken"
    assert waiting.add(feature(1, 0), 0.0, bundle="two") == "duplicate"
    (request,) = waiting.due(0.0, frozenset({0, 1}))
    assert sorted(request.fullest.features) == [0, 1]


class Compared(frozenset[int]):
    """Parts that are expected, and how many requests were compared with them."""

    count = 0

    def __le__(self, other: object) -> bool:
        Compared.count += 1
        return super().__le__(other)  # type: ignore[operator]


@pytest.mark.parametrize("is_every", [False, True])
def test_a_feature_costs_no_more_when_many_requests_wait(*, is_every: bool) -> None:
    waiting = collector(max_open=999, max_open_per_camera=999)
    expected = Compared(ALL)
    for request in range(200):
        waiting.add(feature(request, 0), 0.0, is_every=is_every)
        assert not waiting.due(0.0, expected)
    Compared.count = 0
    waiting.add(feature(7, 1), 0.0, is_every=is_every)
    assert not waiting.due(0.0, expected)
    waiting.add(feature(7, 2), 0.0, is_every=is_every)
    assert ids(waiting.due(0.0, expected)) == [7]
    assert Compared.count <= 2


def test_all_requests_are_looked_at_when_a_part_goes_away() -> None:
    waiting = collector(max_open=999)
    for request in range(5):
        waiting.add(feature(request, 0), 0.0)
    assert not waiting.due(0.0, frozenset({0, 1}))
    assert ids(waiting.due(0.0, frozenset({0}))) == [0, 1, 2, 3, 4]


def test_a_request_that_turns_out_to_be_of_every_keeps_its_turn() -> None:
    waiting = collector(max_open=999)
    waiting.add(feature(1, 0), 0.0)
    waiting.add(feature(2, 0), 1.0, is_every=True)
    waiting.add(feature(1, 1), 2.0, is_every=True)
    assert waiting.next_deadline() == EVERY_DEADLINE_S
    assert ids(waiting.due(2.0, ALL, window_full=True)) == [1]
    assert ids(waiting.due(1.0 + EVERY_DEADLINE_S, ALL)) == [2]
    assert waiting.next_deadline() is None
