"""What is trusted to the broker, when, and how much of it at once."""

import pytest

from devit_iot.errors import MessageError
from devit_iot.transport import unpersisted
from devit_iot.transport.limits import MAX_IN_FLIGHT
from devit_iot.transport.outbox import NO_SUBSCRIBERS_PAUSE_S, Acknowledgement, Outbox
from devit_iot.transport.outgoing import Outgoing
from devit_iot.transport.suspects import HANG_UPS


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def outbox(clock: Clock) -> Outbox:
    return Outbox(10.0, clock)


def message(name: str, told: list[str] | None = None) -> Outgoing:
    def never(error: MessageError) -> None:
        raise AssertionError(error)

    on_puback = None if told is None else lambda: told.append(name)
    return Outgoing(name, b"payload", retain=False, on_puback=on_puback, on_given_up=never)


def send(outbox: Outbox, number: int, what: Outgoing) -> None:
    outbox.put(what)
    assert outbox.take() is what
    outbox.sent(number, what)


def deliver(
    outbox: Outbox, number: int, what: Outgoing, answer: Acknowledgement = "accepted"
) -> None:
    send(outbox, number, what)
    outbox.acknowledged(number, answer)


def drain(outbox: Outbox) -> list[str]:
    """Take all that is queued, and have it acknowledged."""
    topics = []
    while (taken := outbox.take()) is not None:
        topics.append(taken.topic)
        outbox.sent(1000 + len(topics), taken)
        outbox.acknowledged(1000 + len(topics))
    return topics


def lose(outbox: Outbox, *, hung_up: bool = False) -> Outgoing | None:
    given_up = outbox.lost(hung_up=hung_up)
    outbox.connected(MAX_IN_FLIGHT)
    return given_up


def test_the_sender_is_told_once(outbox: Outbox) -> None:
    told: list[str] = []
    send(outbox, 1, message("a", told))
    assert (len(outbox), told) == (1, [])
    for _ in range(2):
        outbox.acknowledged(1)
    assert (len(outbox), told) == (0, ["a"])


def test_an_acknowledgement_may_overtake_the_number(outbox: Outbox) -> None:
    told: list[str] = []
    for name in "ab":
        outbox.put(message(name, told))
    first, second = outbox.take(), outbox.take()
    assert first is not None
    assert second is not None
    outbox.acknowledged(2)
    assert told == []
    outbox.sent(1, first)
    outbox.sent(2, second)
    assert (len(outbox), told) == (1, ["b"])
    outbox.acknowledged(1)
    assert told == ["b", "a"]


def test_a_number_of_something_else_is_not_kept(outbox: Outbox) -> None:
    told: list[str] = []
    outbox.acknowledged(1)  # the number of a SUBSCRIBE, say
    send(outbox, 1, message("a", told))
    assert told == []
    outbox.put(message("b", told))
    taken = outbox.take()
    assert taken is not None
    outbox.acknowledged(2)
    outbox.sent(3, taken)
    send(outbox, 2, message("c", told))
    assert (len(outbox), told) == (3, [])


def test_what_is_refused_is_given_up(outbox: Outbox) -> None:
    told: list[str] = []
    deliver(outbox, 1, message("a", told), "refused")
    lose(outbox)
    assert (len(outbox), told, drain(outbox)) == (0, [], [])


def test_what_could_not_be_sent_is_the_next_again(outbox: Outbox) -> None:
    for name in "ab":
        outbox.put(message(name))
    taken = outbox.take()
    assert taken is not None
    outbox.sent(None, taken)
    assert drain(outbox) == ["a", "b"]


def test_what_is_dropped_is_not_sent(outbox: Outbox) -> None:
    outbox.put(message("a"))
    outbox.take()
    outbox.drop()
    assert (len(outbox), drain(outbox)) == (0, [])


def test_what_nobody_heard_is_sent_again_after_a_pause(outbox: Outbox, clock: Clock) -> None:
    told: list[str] = []
    deliver(outbox, 1, message("a", told), "no_subscribers")
    assert (outbox.topic_without_subscribers, outbox.persisted, outbox.take()) == ("a", False, None)
    for number, kept in ((2, message("b", told)._replace(retain=True)), (3, message("status"))):
        deliver(outbox, number, kept, "no_subscribers")
    clock.now += NO_SUBSCRIBERS_PAUSE_S
    assert drain(outbox) == ["a"]
    assert told == ["b", "a"]
    assert outbox.topic_without_subscribers == ""


def test_what_nobody_heard_is_sent_again_on_the_next_connection(outbox: Outbox) -> None:
    deliver(outbox, 1, message("a", []), "no_subscribers")
    lose(outbox)
    assert drain(outbox) == ["a"]


def test_only_what_is_persisted_is_trusted(outbox: Outbox, clock: Clock) -> None:
    told: list[str] = []
    for number, name in enumerate("abc"):
        deliver(outbox, number, message(name, told))
        clock.now += 6
    assert not outbox.persisted
    lose(outbox)
    assert drain(outbox) == ["c"]  # 6 s ago; b is 12 s old
    assert told == ["a", "b", "c"]
    clock.now += 11
    assert outbox.persisted


def test_a_lost_connection_keeps_the_order(outbox: Outbox) -> None:
    deliver(outbox, 1, message("unpersisted", []))
    for number, name in enumerate(("first", "second"), 2):
        send(outbox, number, message(name, []))
    outbox.put(message("queued", []))
    lose(outbox)
    assert drain(outbox) == ["unpersisted", "first", "second", "queued"]


def test_a_connection_that_we_end_costs_no_message(outbox: Outbox) -> None:
    deliver(outbox, 1, message("accepted", []))
    send(outbox, 2, message("in flight", []))
    outbox.closed()
    assert drain(outbox) == ["in flight"]


def test_messages_that_may_be_lost_are_not_kept(outbox: Outbox) -> None:
    deliver(outbox, 1, message("status"))
    assert outbox.persisted
    lose(outbox)
    assert drain(outbox) == []


def test_no_more_are_in_flight_than_the_broker_takes(outbox: Outbox) -> None:
    outbox.connected(3)
    for number in range(5):
        outbox.put(message(str(number), []))
    taken = [outbox.take() for _ in range(4)]
    assert [item.topic for item in taken if item is not None] == ["0", "1", "2"]
    for number, item in enumerate(taken[:3]):
        assert item is not None
        outbox.sent(number, item)
    assert outbox.take() is None
    outbox.acknowledged(1)
    assert drain(outbox) == ["3", "4"]


def test_the_message_that_ends_connections_is_found(outbox: Outbox) -> None:
    for number in range(6):
        send(outbox, number, message(str(number), []))
    assert lose(outbox, hung_up=True) is None
    for number in range(3):  # these were innocent
        taken = outbox.take()
        assert taken is not None
        assert outbox.take() is None  # each goes alone
        outbox.sent(number, taken)
        outbox.acknowledged(number)
    for attempt in range(HANG_UPS - 1):
        while (taken := outbox.take()) is not None:
            outbox.sent(0, taken)
            if taken.topic == "3":
                break
            outbox.acknowledged(0)
        given_up = lose(outbox, hung_up=True)
        assert (given_up is not None) == (attempt == HANG_UPS - 2)
    assert given_up is not None
    assert given_up.topic == "3"
    assert drain(outbox) == ["0", "1", "2", "4", "5"]


@pytest.mark.parametrize("way", ["a silence", "an acknowledgement", "an unreachable broker"])
def test_a_message_is_not_blamed_for_what_is_not_its_fault(outbox: Outbox, way: str) -> None:
    outbox.put(message("a", []))
    for _ in range(3 * HANG_UPS):
        taken = outbox.take()
        assert taken is not None
        outbox.sent(1, taken)
        if way == "an acknowledgement":
            outbox.acknowledged(1)
            outbox.put(taken)
        elif way == "an unreachable broker":
            outbox.unreachable()
        assert lose(outbox, hung_up=way != "a silence") is None


def test_what_is_not_persisted_is_bounded(
    outbox: Outbox, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(unpersisted, "MAX_BYTES", 3 * len(b"payload"))
    told: list[str] = []
    for number in range(5):
        deliver(outbox, number, message(str(number), told))
    lose(outbox)
    assert drain(outbox) == ["2", "3", "4"]
    assert len(told) == 5
    assert caplog.text.count("may lose some of it") == 1


def test_waiting_for_nothing_returns_at_once(outbox: Outbox) -> None:
    outbox.wait_empty(1000)
