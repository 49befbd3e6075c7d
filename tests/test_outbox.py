"""What is trusted to the broker, and when."""

import pytest

from devit_iot.transport import outbox as outbox_module
from devit_iot.transport.outbox import Outbox, Outgoing


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
    on_stored = None if told is None else lambda: told.append(name)
    return Outgoing(name, b"payload", retain=False, on_stored=on_stored)


def send(outbox: Outbox, number: int, what: Outgoing) -> None:
    outbox.sending()
    outbox.sent(number, what)


def test_the_sender_is_told_once(outbox: Outbox) -> None:
    told: list[str] = []
    send(outbox, 1, message("a", told))
    assert (len(outbox), told) == (1, [])
    for _ in range(2):
        outbox.acknowledged(1)
    assert (len(outbox), told) == (0, ["a"])


def test_an_acknowledgement_may_overtake_the_number(outbox: Outbox) -> None:
    told: list[str] = []
    outbox.sending()
    outbox.sending()
    outbox.acknowledged(2)
    assert told == []
    outbox.sent(1, message("a", told))
    outbox.sent(2, message("b", told))
    assert (len(outbox), told) == (1, ["b"])
    outbox.acknowledged(1)
    assert told == ["b", "a"]


def test_a_number_of_something_else_is_not_kept(outbox: Outbox) -> None:
    told: list[str] = []
    outbox.acknowledged(1)  # QoS 0, say
    send(outbox, 1, message("a", told))
    assert told == []
    outbox.sending()
    outbox.acknowledged(2)
    outbox.sent(3, message("b", told))
    send(outbox, 2, message("c", told))
    assert (len(outbox), told) == (3, [])


def test_what_is_refused_is_given_up(outbox: Outbox) -> None:
    told: list[str] = []
    send(outbox, 1, message("a", told))
    outbox.acknowledged(1, "refused")
    outbox.sending()
    outbox.acknowledged(2, "refused")
    outbox.sent(2, message("b", told))
    outbox.sending()
    outbox.sent(None, message("c", told))
    assert (len(outbox), told, outbox.lost()) == (0, [], [])


def test_what_nobody_heard_is_sent_again(outbox: Outbox) -> None:
    told: list[str] = []
    send(outbox, 1, message("a", told))
    again = outbox.acknowledged(1, "unheard")
    assert again is not None
    assert again.topic == "a"
    outbox.sending()
    outbox.acknowledged(2, "unheard")
    assert outbox.sent(2, message("b", told)) is not None
    for number, kept in ((3, message("c", told)._replace(retain=True)), (4, message("status"))):
        send(outbox, number, kept)
        assert outbox.acknowledged(number, "unheard") is None
    assert told == ["c"]
    assert [item.topic for item in outbox.lost()] == ["c"]


def test_only_what_is_settled_is_trusted(outbox: Outbox, clock: Clock) -> None:
    told: list[str] = []
    for number, name in enumerate("abc"):
        send(outbox, number, message(name, told))
        outbox.acknowledged(number)
        clock.now += 6
    assert [item.topic for item in outbox.lost()] == ["c"]  # 6 s ago; b is 12 s old
    assert outbox.lost() == []


def test_messages_that_may_be_lost_do_not_settle(outbox: Outbox) -> None:
    send(outbox, 1, message("status"))
    outbox.acknowledged(1)
    assert outbox.lost() == []


def test_another_connection_takes_what_waits(outbox: Outbox) -> None:
    told: list[str] = []
    send(outbox, 1, message("a", told))
    send(outbox, 2, message("status"))
    assert [item.topic for item in outbox.take_all()] == ["a", "status"]
    outbox.acknowledged(1)
    assert (len(outbox), told) == (0, [])


def test_what_settles_is_bounded(
    outbox: Outbox, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(outbox_module, "MAX_SETTLING_BYTES", 3 * len(b"payload"))
    told: list[str] = []
    for number in range(5):
        send(outbox, number, message(str(number), told))
        outbox.acknowledged(number)
    assert outbox.unsettled == 2
    assert [item.topic for item in outbox.lost()] == ["2", "3", "4"]
    assert len(told) == 5
    assert caplog.text.count("may lose some of it") == 1


def test_waiting_for_nothing_returns_at_once(outbox: Outbox) -> None:
    outbox.wait_empty(1000)
