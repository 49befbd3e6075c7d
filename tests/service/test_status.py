"""What a service says of itself, and of a broker that does not deliver."""

import logging

import pytest

from devit_iot.bundle.reading import Bundle
from devit_iot.service import status as status_module
from devit_iot.transport.base import Message
from devit_iot.transport.memory import MemoryBroker, MemoryTransport
from tests.support.fleets import wait_until
from tests.support.running import make_aggregator, make_node, node_status, running


class Deaf(MemoryTransport):
    """Its broker grants every subscription and delivers nothing."""

    def deliver(self, message: Message, qos: int) -> None:
        del message, qos


@pytest.fixture(autouse=True)
def prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status_module, "INTERVAL_S", 0.0)
    monkeypatch.setattr(status_module, "ECHO_S", 0.2)


def test_a_broker_that_delivers_nothing_is_found_out(
    bundle: Bundle, caplog: pytest.LogCaptureFixture
) -> None:
    broker = MemoryBroker()
    with (
        caplog.at_level(logging.ERROR),
        running(make_node(broker, bundle, 0, transport=Deaf(broker))),
    ):
        wait_until(lambda: broker.retained and node_status(broker).problem)
        assert node_status(broker).problem.endswith("delivers nothing")
    assert len([r for r in caplog.records if "delivers nothing" in r.getMessage()]) == 1


def test_a_broker_that_delivers_is_no_problem(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status_module, "HEARTBEAT_S", 0.05)
    broker = MemoryBroker()
    with running(make_node(broker, bundle, 0), make_aggregator(broker, bundle)):
        wait_until(lambda: "node-0" in str(broker.retained.keys()))
        wait_until(lambda: node_status(broker).uptime_s > 0.5)
        assert node_status(broker).problem == ""


def test_a_clock_before_this_software_is_wrong(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status_module, "EARLIEST", 2**40)
    broker = MemoryBroker()
    with running(make_node(broker, bundle, 0)):
        wait_until(lambda: broker.retained)
        assert "clock" in node_status(broker).problem
